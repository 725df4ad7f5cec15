//! The scripts that run on the host, each a fixed text; whatever varies is a positional argument.

use lockgate_model::Millis;
use lockgate_own::{Foreign, NOT_OURS, SHELL};
use lockgate_ports::{Command, Host, Output, PortError};

macro_rules! with_lib {
    ($($file:literal),+) => {
        concat!("lg_me=\n", include_str!("sh/lib.sh"), $(include_str!($file)),+)
    };
}

pub(crate) const LOOK: &str = with_lib!("sh/look.sh");
pub(crate) const LAUNCH: &str = with_lib!("sh/leftovers.sh", "sh/launch.sh");
pub(crate) const LEFTOVERS: &str = with_lib!("sh/leftovers.sh");
pub(crate) const LAUNCHER: &str = concat!(include_str!("sh/who.sh"), include_str!("sh/launcher.sh"));
pub(crate) const STOP: &str = with_lib!("sh/wait.sh", "sh/stop.sh");
pub(crate) const ONE_OFF: &str = with_lib!("sh/one_off.sh");
pub(crate) const KEEPER: &str = concat!(include_str!("sh/who.sh"), include_str!("sh/keeper.sh"));
pub(crate) const ONE_OFFS: &str = with_lib!("sh/one_offs.sh");
pub(crate) const FOLLOW: &str = with_lib!("sh/follow.sh");
pub(crate) const END_ONE_OFF: &str = with_lib!("sh/wait.sh", "sh/end_one_off.sh");
pub(crate) const FILES: &str = include_str!("sh/files.sh");
pub(crate) const SOCKETS: &str = with_lib!("sh/sockets.sh");
pub(crate) const LOG: &str = include_str!("sh/log.sh");
pub(crate) const CHECK: &str = with_lib!("sh/check.sh");

/// Bound for a script that only looks or starts.
pub(crate) const SCRIPT_SECONDS_MAX: u64 = 30;

/// The script as a command with these arguments. It may call `lg_ours` of [`SHELL`].
pub(crate) fn command<'a>(script: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let script = format!("{SHELL}{script}");
    let head = ["sh", "-c", &script, "sh"];
    let command = Command::new(head);
    arguments
        .into_iter()
        .fold(command, |command, one| command.arg(one))
        .timeout(Millis::from_secs(SCRIPT_SECONDS_MAX))
}

/// Runs it; a failed script is an error that says what it wrote.
pub(crate) async fn run(host: &dyn Host, what: &str, command: &Command) -> Result<Output, PortError> {
    let output = host.exec(command).await.map_err(|error| error.context(what))?;
    if output.ok() {
        return Ok(output);
    }
    let said = output.stderr_text();
    if let (NOT_OURS, Some(foreign)) = (output.code, Foreign::reported(&said)) {
        return Err(PortError::from(foreign).context(what));
    }
    Err(PortError::other(format!("{what}: the host's shell ended with {}: {}", output.code, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a launcher of a start that somebody else has superseded does, however late it comes to life.
    #[test]
    fn a_launcher_that_is_no_longer_wanted_ends_itself() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("blue").display().to_string();
        std::fs::write(format!("{prefix}.json"), "{\"token\":\"new\",\"port\":1}\n").unwrap();
        let launch = |token: &str| {
            let script = format!("exec 3>&1\n{LAUNCHER}");
            let arguments = ["-c", &script, "sh", &prefix, token, "/", "echo", "it runs"];
            let output = std::process::Command::new("sh").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(launch("old"), "error another start or stop of this slot came in between\n");
        assert!(!std::fs::exists(format!("{prefix}.old.pid")).unwrap());
        assert_eq!(launch("new"), "started\nit runs\n");
        assert!(std::fs::exists(format!("{prefix}.new.pid")).unwrap());
    }
}
