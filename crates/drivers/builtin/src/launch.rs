//! Starting the proxy on its host.

use std::time::Duration;

use lockgate_own::{Foreign, NOT_OURS, SHELL};
use lockgate_ports::{Command, PortError};
use lockgate_proxy::StatusView;
use tokio::time::Instant;

use crate::admin::Admin;

/// How long the proxy may take until it answers.
const LAUNCH_SECONDS_MAX: u64 = 5;
/// Pause between two looks.
const LOOK_MILLIS: u64 = 5;
/// How much of its log an error shows.
const LOG_LINES: &str = "5";

const LAUNCH: &str = include_str!("sh/launch.sh");

fn script() -> String {
    format!("lg_me=; {SHELL}{LAUNCH}")
}

/// Starts it and waits until it answers. When somebody else starts one at the same time, one of the two gives way and
/// the other answers.
///
/// # Errors
/// `TimedOut` with the end of its log, `Refused` when its folder or a file in it is not ours, or as the host.
pub(crate) async fn launch(admin: &Admin<'_>, argv: &[String]) -> Result<StatusView, PortError> {
    let script = script();
    let head = ["sh", "-c", &script, "sh", admin.dir].into_iter();
    let command = Command::new(head.chain(argv.iter().map(String::as_str)));
    let output = admin.host.exec(&command).await.map_err(|error| error.context("start the proxy"))?;
    if !output.ok() {
        let said = output.stderr_text();
        return Err(match (output.code, Foreign::reported(&said)) {
            (NOT_OURS, Some(foreign)) => PortError::from(foreign).context("start the proxy"),
            _ => PortError::other(format!("start the proxy: {}", said.trim())),
        });
    }
    let limit = Instant::now() + Duration::from_secs(LAUNCH_SECONDS_MAX);
    loop {
        if let Some(status) = admin.status().await? {
            return Ok(status);
        }
        if Instant::now() >= limit {
            let log = last_lines(admin).await;
            return Err(PortError::timed_out(format!(
                "the proxy does not answer {LAUNCH_SECONDS_MAX} s after its start: {log}"
            ))
            .hint(format!("run it by hand to see why: {}", argv.join(" "))));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

/// For an error that is on its way already, so this one's own failure is only mentioned.
async fn last_lines(admin: &Admin<'_>) -> String {
    let path = format!("{}/proxy.log", admin.dir);
    match admin.host.exec(&Command::new(["tail", "-n", LOG_LINES, "--", &path])).await {
        Ok(output) => output.stdout_text().lines().collect::<Vec<_>>().join("; "),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::process::Output;

    use super::*;

    /// With an umask that takes nothing away. What is started ends at once.
    fn launched(dir: &Path) -> Output {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("umask 000; {}", script()), "sh"]).arg(dir).arg("true");
        shell.env("LANG", "C").env("TZ", "UTC").output().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_nobody_elses_to_write_whatever_the_umask() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state/it's proxy");
        let output = launched(&dir);
        assert!(output.status.success(), "{output:?}");
        assert_eq!([mode(dir.parent().unwrap()), mode(&dir)], [0o755, 0o700]);
        let log = dir.join("proxy.log");
        assert_eq!(mode(&log), 0o600);
        std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(launched(&dir).status.success());
        assert_eq!(mode(&log), 0o600, "what an earlier version made");
    }

    #[test]
    fn what_somebody_else_can_have_put_there_is_told_of_and_nothing_started() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("proxy");
        assert!(launched(&dir).status.success());
        let refused = |wanted: &str| {
            let output = launched(&dir);
            let said = String::from_utf8(output.stderr).unwrap();
            let foreign = Foreign::reported(&said).unwrap_or_else(|| panic!("{wanted}: {said}"));
            assert_eq!(output.status.code(), Some(NOT_OURS), "{said}");
            assert!(foreign.message.contains(wanted), "{foreign:?}");
        };
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        refused("proxy can be written by every user");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let target = root.path().join("target");
        std::fs::write(&target, "somebody's").unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
        for name in ["proxy.log", "proxy.lock", "supervisor.lock", "routes.json"] {
            let path = dir.join(name);
            let _none_yet = std::fs::remove_file(&path);
            symlink(&target, &path).unwrap();
            refused(&format!("{name} is a symbolic link"));
            std::fs::remove_file(&path).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            refused(&format!("{name} is a FIFO"));
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!((std::fs::read_to_string(&target).unwrap(), mode(&target)), ("somebody's".into(), 0o644));
    }
}
