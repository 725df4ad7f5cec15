//! One script run to its end, by a worker on the master connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockgate_model::{HostId, Millis};
use lockgate_ports::{Output, PortError};
use openssh::{Child, Session, Stdio};

use crate::link::Link;
use crate::pool::Turn;
use crate::script::{COMMAND_LINE, Script};
use crate::trouble;
use crate::worker::Worker;

/// How often a session that sshd refuses (`MaxSessions`) is asked for again, and the pause between.
const REFUSED_MAX: u32 = 30;
const REFUSED_PAUSE_MILLIS: u64 = 100;

/// What to run.
pub(crate) struct Call<'a> {
    pub(crate) script: Script,
    /// The line that the script reads, with its end.
    pub(crate) line: &'a [u8],
    /// What the script wants after it.
    pub(crate) content: &'a [u8],
    pub(crate) again: Again,
    pub(crate) timeout: Millis,
    /// Bytes of output kept, from the end.
    pub(crate) output_bytes_max: usize,
}

/// What may be done when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It only looks: it is done again.
    Safe,
    /// Done again only when it is certain that nothing was done.
    Unsafe,
}

/// Why there is no output.
pub(crate) enum Broken {
    /// Nothing was done on the host.
    Before(PortError),
    /// It may have been done.
    Midway(PortError),
}

/// A worker whose call was dropped, timed out or broke is in a state that nobody knows: it is dropped, and with it its
/// session, which ends what it runs.
pub(crate) async fn run(host: &HostId, link: &Link, call: &Call<'_>) -> Result<Output, Broken> {
    // Sessions are few: waiting for one counts as well, else a full host would hold callers for ever.
    let sent = AtomicBool::new(false);
    match tokio::time::timeout(call.timeout.duration(), start(host, link, call, &sent)).await {
        Ok(result) => result,
        Err(_) => {
            let error = PortError::timed_out(format!("ssh {host}: not done within {}", call.timeout));
            let is_certain = !sent.load(Ordering::Relaxed);
            Err(Broken::Midway(if is_certain { error.without_effect() } else { error }))
        }
    }
}

/// `sent` becomes true before the first byte of the request goes out.
async fn start(host: &HostId, link: &Link, call: &Call<'_>, sent: &AtomicBool) -> Result<Output, Broken> {
    let (mut turn, free) = link.workers.turn().await;
    let mut worker = match free {
        Some(worker) => worker,
        None => open(host, link, &mut turn).await?,
    };
    sent.store(true, Ordering::Relaxed);
    match worker.ask(call).await {
        Ok(output) => {
            if let Some(took) = worker.first_answer_took() {
                link.workers.opened_in(took);
            }
            if worker.knows_its_state(call.script) {
                turn.give_back(worker);
            }
            Ok(output)
        }
        Err(cut) => {
            drop(turn);
            Err(worker.lost(host, cut).await)
        }
    }
}

/// A new one or, while sshd refuses more sessions, one that has become free.
async fn open(host: &HostId, link: &Link, turn: &mut Turn<'_, Worker>) -> Result<Worker, Broken> {
    let began = Instant::now();
    match begin(host, link, || turn.free()).await? {
        Begun::Session(child) => Worker::new(child, began).map_err(Broken::Before),
        Begun::Instead(worker) => Ok(worker),
    }
}

/// What came of the wish for a session.
pub(crate) enum Begun<T> {
    Session(Child<Arc<Session>>),
    Instead(T),
}

/// A new session, whose shell waits for its first line. While sshd refuses more of them `instead` is asked, and what it
/// gives is taken.
pub(crate) async fn begin<T>(
    host: &HostId,
    link: &Link,
    mut instead: impl FnMut() -> Option<T>,
) -> Result<Begun<T>, Broken> {
    let mut tries = 0;
    loop {
        let mut command = link.session.clone().arc_raw_command(COMMAND_LINE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn().await {
            Ok(child) => return Ok(Begun::Session(child)),
            Err(error) if tries < REFUSED_MAX && refused(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(REFUSED_PAUSE_MILLIS)).await;
                if let Some(instead) = instead() {
                    return Ok(Begun::Instead(instead));
                }
            }
            Err(error) if refused(&error) => {
                return Err(Broken::Before(
                    trouble::broken(host, error)
                        .hint("allow 10 sessions or more in its sshd_config: MaxSessions 10"),
                ));
            }
            Err(error) => return Err(Broken::Before(trouble::broken(host, error))),
        }
    }
}

/// sshd has no session left for us: nothing was started.
fn refused(error: &openssh::Error) -> bool {
    let openssh::Error::SshMux(cause) = error else { return false };
    cause.to_string().contains("refused")
}
