//! What the unit's walls hide from the daemon: it has a /tmp and a /var/tmp of its own.

use lockgate_model::{GateKind, Project};

use super::Daemon;
use super::daemon::Starts;
use crate::error::CliError;

/// Folders of which the daemon has its own (`PrivateTmp=`).
const OWN: [&str; 2] = ["/tmp", "/var/tmp"];

/// What the configuration names and the daemon would not find: this program, files and folders, and programs of gates.
pub fn hidden(daemon: &Daemon, project: &Project) -> Vec<String> {
    if daemon.starts == Starts::Programs {
        return Vec::new();
    }
    let tls = project.serve.iter().flat_map(|serve| &serve.tls);
    let files =
        tls.flat_map(|files| [&files.cert, &files.key]).map(|path| path.to_string_lossy().into_owned());
    let gates = project.environments.iter().flat_map(|one| one.before.iter().chain(&one.after));
    let words = gates.flat_map(|gate| match &gate.kind {
        GateKind::Command(command) => command.argv.as_slice(),
        GateKind::Http(_) => &[],
    });
    let named = [daemon.program.clone(), daemon.config.clone()].into_iter();
    let named = named.chain(daemon.writes.iter().cloned()).chain(files);
    let named = named.chain(words.map(|word| word.as_str().to_owned()));
    let mut found: Vec<String> = named.filter(|path| is_hidden(path)).collect();
    found.sort();
    found.dedup();
    found
}

fn is_hidden(path: &str) -> bool {
    OWN.iter().any(|own| std::path::Path::new(path).starts_with(own))
}

const WHY: &str = "it has a /tmp and a /var/tmp of its own (`PrivateTmp=` of systemd): put them elsewhere, the program for example \
                   by `install -m 755 lockgate /usr/local/bin/lockgate`";

/// Why nothing is set up with them.
pub fn refused(hidden: &[String]) -> CliError {
    CliError::usage(not_found(hidden), WHY)
}

/// The same, where nothing is to be set up.
pub fn warning(hidden: &[String]) -> String {
    format!("warning: {}: {WHY}", not_found(hidden))
}

fn not_found(hidden: &[String]) -> String {
    format!("the daemon would not find {}", hidden.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_folder_of_which_the_daemon_has_its_own_is_hidden() {
        for path in ["/tmp", "/tmp/lockgate", "/var/tmp/x/y"] {
            assert!(is_hidden(path), "{path}");
        }
        for path in ["/tmpx", "/srv/tmp/x", "tmp/x", "/var/lib", "pytest"] {
            assert!(!is_hidden(path), "{path}");
        }
        let refused = refused(&["/tmp/lockgate".to_owned()]);
        assert!(format!("{refused:?}").contains("the daemon would not find /tmp/lockgate"));
    }
}
