//! One script run to its end in a session on the master connection.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lockgate_model::{HostId, Millis};
use lockgate_ports::{Output, PortError};
use openssh::Stdio;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::link::Link;
use crate::tail::Tail;
use crate::{script, trouble};

/// Bytes of error output kept, from the end.
const ERROR_BYTES_MAX: usize = 1024 * 1024;
/// How often a session that sshd refuses (`MaxSessions`) is asked for again, and the pause between.
const REFUSED_MAX: u32 = 30;
const REFUSED_PAUSE_MILLIS: u64 = 100;

/// What to run.
pub(crate) struct Call<'a> {
    pub(crate) script: &'static str,
    /// The line, then what the script wants after it.
    pub(crate) input: &'a [u8],
    /// Keep the input open until the end: [`script::EXEC`] takes its end for a wish to be killed.
    pub(crate) hold: bool,
    pub(crate) timeout: Millis,
    /// Bytes of output kept, from the end.
    pub(crate) output_bytes_max: usize,
}

/// Why there is no output.
pub(crate) enum Broken {
    /// Nothing was done on the host.
    Before(PortError),
    /// It may have been done.
    Midway(PortError),
}

pub(crate) async fn run(host: &HostId, link: &Link, call: &Call<'_>) -> Result<Output, Broken> {
    // Sessions are few: waiting for one counts as well, else a full host would hold callers for ever.
    match tokio::time::timeout(call.timeout.duration(), start(host, link, call)).await {
        Ok(result) => result,
        Err(_) => {
            Err(Broken::Midway(PortError::timed_out(format!("ssh {host}: not done within {}", call.timeout))))
        }
    }
}

async fn start(host: &HostId, link: &Link, call: &Call<'_>) -> Result<Output, Broken> {
    let before = |error: openssh::Error| Broken::Before(trouble::broken(host, &error));
    let _permit = link
        .sessions
        .acquire()
        .await
        .map_err(|error| Broken::Before(PortError::unreachable(format!("ssh {host}: {error}"))))?;
    let mut command = link.session.raw_command(script::command_line(call.script));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tries = 0;
    let mut child = loop {
        match command.spawn().await {
            Ok(child) => break child,
            Err(error) if tries < REFUSED_MAX && refused(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(REFUSED_PAUSE_MILLIS)).await;
            }
            Err(error) if refused(&error) => {
                return Err(Broken::Before(
                    trouble::broken(host, &error)
                        .hint("allow 10 sessions or more in its sshd_config: MaxSessions 10"),
                ));
            }
            Err(error) => return Err(before(error)),
        }
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take())
    else {
        return Err(Broken::Before(PortError::other("a session without its three streams")));
    };
    let (mut out, mut err) = (Tail::new(call.output_bytes_max), Tail::new(ERROR_BYTES_MAX));
    {
        let outputs = async { tokio::try_join!(out.fill(stdout), err.fill(stderr)).map(|_| ()) };
        let feed = feed(stdin, call.input, call.hold);
        tokio::pin!(outputs, feed);
        let mut fed = false;
        loop {
            tokio::select! {
                result = &mut outputs => break result.map_err(|error| midway(host, &error))?,
                result = &mut feed, if !fed => {
                    result.map_err(|error| midway(host, &error))?;
                    fed = true;
                }
            }
        }
    }
    // Only now: the exit code comes as soon as the program ends, and having it openssh hangs up, whereupon the master
    // drops what it has not yet written to our pipes.
    let waited = child.wait().await;
    let code = exit_code(host, waited)?;
    Ok(Output { code, stdout: out.take(), stderr: err.take() })
}

/// Writes all, then closes, or with `hold` keeps it open for as long as this future lives. The other side need not read
/// it all: its exit code says how it fared.
async fn feed(mut to: impl AsyncWrite + Unpin, input: &[u8], hold: bool) -> std::io::Result<()> {
    match to.write_all(input).await {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    }
    if hold {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Every script ends with an exit code of its own, also when its program was killed by a signal, so a session without
/// one was cut off.
fn exit_code(host: &HostId, waited: Result<std::process::ExitStatus, openssh::Error>) -> Result<i32, Broken> {
    match waited {
        Ok(status) => Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))),
        // What openssh makes of exit code 127.
        Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(127),
        Err(error) => Err(midway(host, &error)),
    }
}

fn midway(host: &HostId, error: &dyn std::error::Error) -> Broken {
    let error = trouble::broken(host, error);
    Broken::Midway(PortError {
        message: format!("{}; what was under way may have been done", error.message),
        ..error
    })
}

/// sshd has no session left for us: nothing was started.
fn refused(error: &openssh::Error) -> bool {
    let openssh::Error::SshMux(cause) = error else { return false };
    cause.to_string().contains("refused")
}
