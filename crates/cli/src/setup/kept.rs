//! A daemon's variables, for whoever has a shell of their own: where they are, and how a command is run with them.

use std::fmt::Write as _;
use std::path::Path;

use super::Variables;

/// Variables of daemons, which only root reads.
const FOLDER: &str = "/etc/lockgate";

/// The file of a project's daemon, whether it is there or not.
pub fn file(project: &str) -> String {
    format!("{FOLDER}/{project}.env")
}

/// What to do about a variable that is not set here, where a daemon's file may have it. `None` where there is no such file.
/// `typed`: the program with what was typed behind it; `user`: whose daemon it is.
pub fn hint(file: &str, name: &str, user: &str, typed: &[String]) -> Option<String> {
    if !Path::new(file).is_file() {
        return None;
    }
    // Who may not read the file is told how to have it read.
    let is_lacking = Variables::kept_in(file).is_ok_and(|kept| !kept.missing(&[name.to_owned()]).is_empty());
    Some(match is_lacking {
        true => format!("{file}, which has the daemon's variables, lacks it: add `{name}=…` there"),
        false => {
            let is_root = rustix::process::geteuid().is_root();
            let sudo = if is_root { "" } else { "sudo " };
            format!("the daemon's are in {file}: `{sudo}{}`", with(file, user, typed))
        }
    })
}

/// Runs the command with the variables of the file, as the user whose daemon it is. Root alone can.
fn with(file: &str, user: &str, typed: &[String]) -> String {
    format!("sh -c {}", shell_words::quote(&script(file, user, &shell_words::join(typed))))
}

fn script(file: &str, user: &str, command: &str) -> String {
    let user = if user == "root" { String::new() } else { format!("runuser -u {user} -- ") };
    format!("set -a; . {}; exec {user}{command}", shell_words::quote(file))
}

/// For a machine without systemd: the command that keeps variables of the shell that it is typed in, and the line for cron
/// that starts the daemon with them. `None` where there are no variables: it needs no file.
pub fn by_cron(file: &str, names: &[String], user: &str, command: &str) -> (Option<String>, String) {
    let keep = (!names.is_empty()).then(|| {
        let folder = Path::new(file).parent().map(|folder| folder.to_string_lossy().into_owned());
        let written = format!(
            "install -d -m 755 {}; umask 077; cat >{}",
            shell_words::quote(&folder.unwrap_or_default()),
            shell_words::quote(file)
        );
        format!(
            "sh -c 'export -p' | grep -E '^export ({})=' | sed 's/^export //' | sudo sh -c {}",
            names.join("|"),
            shell_words::quote(&written)
        )
    });
    let script = match &keep {
        Some(_) => script(file, user, command),
        None if user == "root" => command.to_owned(),
        None => format!("runuser -u {user} -- {command}"),
    };
    let mut line = String::from("@reboot root ");
    // A percent sign ends a line of cron.
    let _ = write!(line, "{}", script.replace('%', "\\%"));
    (keep, line)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn printed(command: &str, variables: &[(&str, &str)]) -> String {
        let mut shell = Command::new("sh");
        let output =
            shell.args(["-c", command]).env_remove("LOCKGATE_T").envs(variables.iter().copied()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is kept by one is read by the other.
    #[test]
    fn what_is_hinted_works_when_it_is_typed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etc/my shop.env").display().to_string();
        let command = shell_words::join(["printenv", "LOCKGATE_T"]);
        for value in ["plain", "two words", "it's $HOME `id` \"x\" \\ 100%"] {
            let (keep, line) = by_cron(&file, &["LOCKGATE_T".to_owned()], "root", &command);
            printed(&keep.unwrap().replace("sudo ", ""), &[("LOCKGATE_T", value), ("OTHER", "x")]);
            let started = line.strip_prefix("@reboot root ").unwrap().replace("\\%", "%");
            assert_eq!(printed(&started, &[]), format!("{value}\n"));
            let typed = ["printenv".to_owned(), "LOCKGATE_T".to_owned()];
            assert_eq!(printed(&with(&file, "root", &typed), &[]), format!("{value}\n"));
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_user_s_daemon_runs_as_that_user() {
        let (keep, line) =
            by_cron("/etc/lockgate/a.env", &[], "deploy", "lockgate -c /srv/100%/a.yaml serve");
        assert_eq!(keep, None);
        assert_eq!(line, "@reboot root runuser -u deploy -- lockgate -c /srv/100\\%/a.yaml serve");
        let (_, line) = by_cron("/etc/lockgate/a.env", &["A".to_owned()], "deploy", "lockgate serve");
        assert_eq!(
            line,
            "@reboot root set -a; . /etc/lockgate/a.env; exec runuser -u deploy -- lockgate serve"
        );
    }

    #[test]
    fn where_the_daemon_s_variables_are_is_said_only_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.env").display().to_string();
        let typed = ["lockgate", "serve", "--check"].map(str::to_owned);
        let of = |name: &str| hint(&file, name, "deploy", &typed);
        assert_eq!(of("SECRET"), None);
        std::fs::write(&file, "SECRET=\"x\"\n").unwrap();
        let found = of("SECRET").unwrap();
        let command = format!("sh -c 'set -a; . {file}; exec runuser -u deploy -- lockgate serve --check'`");
        assert!(found.starts_with("the daemon's are in ") && found.ends_with(&command), "{found}");
        let lacking = of("OTHER").unwrap();
        assert!(lacking.ends_with("lacks it: add `OTHER=…` there"), "{lacking}");
    }
}
