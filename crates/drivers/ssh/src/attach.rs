//! A command that has this process's own standard input, output and error, on the other machine.
//!
//! The command goes there as a file, which removes itself before it becomes the command: no login shell reads its words, and
//! no value of its environment is in an argument.

use std::process::Stdio;

use lockgate_model::FailureKind;
use lockgate_ports::{Command, Host, PortError};

use crate::host::Ssh;
use crate::script;

/// ssh's own code for what it could not do; a program's may be the same.
const SSH_FAILED: i32 = 255;
/// Keeps what it reads in a file that only we can read, and says which.
const KEEP: &str = "umask 077; lg_file=$(mktemp \"${TMPDIR:-/tmp}/lockgate-exec.XXXXXX\") && cat >\"$lg_file\" && printf '%s\\n' \"$lg_file\"";

/// # Errors
/// As [`Host::attach`].
pub(crate) async fn run(host: &Ssh, command: &Command, is_tty: bool) -> Result<i32, PortError> {
    let text = script::file(command).map_err(PortError::without_effect)?;
    let link = host.link().await?;
    let kept = host.exec(&Command::new(["sh", "-c", KEEP]).stdin(text)).await?;
    let file = kept.stdout_text().trim().to_owned();
    let is_plain = |text: &str| {
        text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    };
    if !kept.ok() || !is_plain(&file) {
        let said = kept.stderr_text();
        let message = format!("ssh {}: no temporary file can be made there: {}", host.id(), said.trim());
        return Err(PortError::other(message).without_effect());
    }
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.arg("-S").arg(link.socket()).arg(if is_tty { "-tt" } else { "-T" });
    ssh.args(["-o", "BatchMode=yes", "-q", "--"]).arg(host.id().as_str()).arg(format!("exec sh {file}"));
    ssh.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).kill_on_drop(true);
    let status = ssh.status().await.map_err(|error| PortError::from(error).context("cannot run ssh"))?;
    match status.code() {
        Some(SSH_FAILED) if !link.socket().exists() => {
            let message = format!("ssh {}: the connection broke", host.id());
            Err(PortError::new(FailureKind::Unreachable, message))
        }
        Some(code) => Ok(code),
        None => Err(PortError::other(format!("ssh {}: it was killed", host.id()))),
    }
}
