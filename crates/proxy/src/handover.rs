//! Upgrade without a lost request, the old process's side.
//!
//! old → starts the new process with copies of the listening sockets, the lock and one end of a socket pair
//! new → `Ready`: routes loaded, everything prepared, nothing served yet
//! old → `Go` with the ask token and what is in flight here
//! new → takes `admin.sock` over, accepts, → `Serving`
//! old → stops accepting, drains; `InFlight` whenever it changes; follows every `Apply` and answers `Applied`
//!
//! Both processes accept from the same kernel queue, so no connection is refused or lost in between. Until
//! `Serving` arrives, everything can still be undone by killing the new process.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::config::ProxyError;
use crate::inherit::Copies;
use crate::listen::Listeners;
use crate::lock::Lock;
use crate::shared::{Phase, Shared};
use crate::store::RoutesFile;
use crate::wire::{InFlightByRoute, UpgradeRequest};

/// No message is longer: 1,024 routes of at most 16 KiB each.
const MESSAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long writing a message may take before the other side counts as gone.
const SEND_SECONDS_MAX: u64 = 5;
/// How often the draining process looks whether its in-flight counts changed.
const REPORT_MS: u64 = 10;

/// What the two processes say to each other, a JSON line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    Ready {
        pid: u32,
    },
    Go {
        pid: u32,
        ask_token: String,
        in_flight: InFlightByRoute,
        /// This process and its own predecessors heed holds; older ones don't say so, and don't.
        #[serde(default)]
        heeds_holds: bool,
    },
    Serving,
    InFlight {
        in_flight: InFlightByRoute,
    },
    Apply {
        sequence: u64,
        routes: RoutesFile,
    },
    Applied {
        sequence: u64,
        in_flight: InFlightByRoute,
    },
}

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Link {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// A line that has partly arrived; kept here so that `receive` may be cancelled.
    line: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: std::os::unix::net::UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, line: Vec::new() })
    }

    pub(crate) async fn send(&mut self, message: &Message) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let limit = Duration::from_secs(SEND_SECONDS_MAX);
        tokio::time::timeout(limit, self.writer.write_all(&line)).await?
    }

    /// The next message; `None` when the other side is gone. May be cancelled.
    pub(crate) async fn receive(&mut self) -> std::io::Result<Option<Message>> {
        let room = MESSAGE_BYTES_MAX.saturating_sub(self.line.len() as u64);
        (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.line)?;
        self.line.clear();
        Ok(Some(message))
    }

    /// The next message, which must be there before the deadline.
    pub(crate) async fn expect(&mut self, deadline: Instant) -> Result<Message, String> {
        match tokio::time::timeout_at(deadline, self.receive()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err("the other process ended".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the other process took too long".to_owned()),
        }
    }
}

/// Why there was no handover. The old process serves on.
pub(crate) struct Refused {
    pub(crate) reason: String,
    /// The new process may have taken the admin socket before it failed.
    pub(crate) admin_lost: bool,
}

/// Starts the successor and waits until it serves. Routes don't change meanwhile, and never again here once it does.
pub(crate) async fn hand_over(
    shared: &Shared,
    listeners: &Listeners,
    lock: &Lock,
    request: UpgradeRequest,
    program: &Program,
) -> Result<(Link, u32), Refused> {
    let early = |reason: String| Refused { reason, admin_lost: false };
    let frozen = shared.router.freeze().await;
    let deadline = Instant::now() + shared.config.upgrade_ready;
    let (mut child, mut link) = start(listeners, lock, request, program).map_err(early)?;
    let mut asked_to_go = false;
    match introduce(shared, &mut child, &mut link, deadline, &mut asked_to_go).await {
        Ok(pid) => {
            frozen.hand_over();
            shared.handed_over.store(true, SeqCst);
            Ok((link, pid))
        }
        Err(reason) => {
            if let Err(error) = child.kill().await {
                tracing::warn!(%error, "the failed successor can't be killed");
            }
            Err(Refused { reason, admin_lost: asked_to_go })
        }
    }
}

async fn introduce(
    shared: &Shared,
    child: &mut Child,
    link: &mut Link,
    deadline: Instant,
    asked_to_go: &mut bool,
) -> Result<u32, String> {
    let pid = match link.expect(deadline).await {
        Ok(Message::Ready { pid }) => pid,
        Ok(other) => return Err(format!("it said {other:?} instead of being ready")),
        Err(reason) => return Err(format!("it didn't become ready: {reason}{}", ending(child).await)),
    };
    let ask_token = shared.ask_token.clone();
    let go = Message::Go {
        pid: std::process::id(),
        ask_token,
        in_flight: shared.router.in_flight(),
        heeds_holds: shared.router.predecessor().is_none_or(|predecessor| predecessor.heeds_holds),
    };
    *asked_to_go = true;
    link.send(&go).await.map_err(|error| format!("it went away: {error}"))?;
    match link.expect(deadline).await {
        Ok(Message::Serving) => Ok(pid),
        Ok(_) => Err("it said something else instead of serving".to_owned()),
        Err(reason) => Err(format!("it was ready but didn't serve: {reason}{}", ending(child).await)),
    }
}

/// How the child ended, if it did.
async fn ending(child: &mut Child) -> String {
    match tokio::time::timeout(Duration::from_millis(200), child.wait()).await {
        Ok(Ok(status)) => format!(" ({status})"),
        Ok(Err(error)) => format!(" ({error})"),
        Err(_) => String::new(),
    }
}

/// How this process was started, to start a successor the same way.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) exe: std::path::PathBuf,
    pub(crate) args: Vec<std::ffi::OsString>,
}

impl Program {
    /// To be called at the start: later the file may have been replaced, and its name with it.
    pub(crate) fn current() -> Result<Self, ProxyError> {
        let exe = std::env::current_exe()
            .map_err(|error| ProxyError::io("find the program", "/proc/self/exe", error))?;
        Ok(Self { exe, args: std::env::args_os().skip(1).collect() })
    }
}

fn start(
    listeners: &Listeners,
    lock: &Lock,
    request: UpgradeRequest,
    program: &Program,
) -> Result<(Child, Link), String> {
    use std::os::fd::AsFd;
    let text = |error: std::io::Error| error.to_string();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(text)?;
    let link = Link::new(ours).map_err(text)?;
    let exe = request.exe.unwrap_or_else(|| program.exe.clone());
    let mut command = Command::new(&exe);
    match request.args {
        Some(args) => command.args(args),
        None => command.args(&program.args),
    };
    command.stdin(Stdio::null());
    let copies = Copies::new(listeners.descriptors(), lock.as_fd(), &theirs).map_err(text)?;
    copies.announce(&mut command).map_err(text)?;
    let child = command.spawn().map_err(|error| format!("{} can't be started: {error}", exe.display()))?;
    Ok((child, link))
}

/// Keeps the successor informed while this process drains, and follows its switches: connections that clients still
/// have here must not lead to a slot that is no longer the route's.
pub(crate) async fn follow_successor(shared: Arc<Shared>, mut link: Link) {
    let mut told = shared.router.in_flight();
    let mut tick = tokio::time::interval(Duration::from_millis(REPORT_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            received = link.receive() => match received {
                Ok(Some(Message::Apply { sequence, routes })) => {
                    shared.router.follow(Arc::new(routes)).await;
                    told = shared.router.in_flight();
                    link.send(&Message::Applied { sequence, in_flight: told.clone() }).await
                }
                Ok(Some(other)) => Err(std::io::Error::other(format!("unexpected {other:?}"))),
                Ok(None) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            },
            _ = tick.tick() => {
                let now = shared.router.in_flight();
                if now == told {
                    continue;
                }
                told = now;
                link.send(&Message::InFlight { in_flight: told.clone() }).await
            }
        };
        if let Err(error) = sent {
            // Without the successor's word our routes may be out of date: take no further request.
            tracing::warn!(%error, "the successor is gone; finishing what is in flight");
            shared.router.holds.stop();
            shared.enter_phase(Phase::Finishing);
            return;
        }
    }
}
