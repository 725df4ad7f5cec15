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

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use lockgate_sockets::{Lock, Program, Successor};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::listen::Listeners;
use crate::shared::{Phase, Shared};
use crate::store::RoutesFile;
use crate::wire::{InFlightByRoute, UpgradeRequest};

/// No message is longer: 1,024 routes of at most 16 KiB each.
const MESSAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Holds the numbers of the descriptors that are passed on, in the environment of a process started by an upgrade.
pub(crate) const HANDOVER: &str = "LOCKGATE_PROXY_HANDOVER";
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
pub(crate) type Link = lockgate_sockets::Link<Message>;

pub(crate) fn link(stream: std::os::unix::net::UnixStream) -> std::io::Result<Link> {
    Link::new(stream, MESSAGE_BYTES_MAX)
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
    let mut successor = start(listeners, lock, request, program).map_err(early)?;
    let mut asked_to_go = false;
    match introduce(shared, &mut successor, deadline, &mut asked_to_go).await {
        Ok(pid) => {
            frozen.hand_over();
            shared.handed_over.store(true, SeqCst);
            Ok((successor.link, pid))
        }
        Err(reason) => {
            if let Err(error) = successor.kill().await {
                tracing::warn!(%error, "the failed successor can't be killed");
            }
            Err(Refused { reason, admin_lost: asked_to_go })
        }
    }
}

async fn introduce(
    shared: &Shared,
    successor: &mut Successor<Message>,
    deadline: Instant,
    asked_to_go: &mut bool,
) -> Result<u32, String> {
    let pid = match successor.link.expect(deadline).await {
        Ok(Message::Ready { pid }) => pid,
        Ok(other) => return Err(format!("it said {other:?} instead of being ready")),
        Err(reason) => return Err(format!("it didn't become ready: {reason}{}", successor.ending().await)),
    };
    let ask_token = shared.ask_token.clone();
    let go = Message::Go {
        pid: std::process::id(),
        ask_token,
        in_flight: shared.router.in_flight(),
        heeds_holds: shared.router.predecessor().is_none_or(|predecessor| predecessor.heeds_holds),
    };
    *asked_to_go = true;
    successor.link.send(&go).await.map_err(|error| format!("it went away: {error}"))?;
    match successor.link.expect(deadline).await {
        Ok(Message::Serving) => Ok(pid),
        Ok(_) => Err("it said something else instead of serving".to_owned()),
        Err(reason) => Err(format!("it was ready but didn't serve: {reason}{}", successor.ending().await)),
    }
}

fn start(
    listeners: &Listeners,
    lock: &Lock,
    request: UpgradeRequest,
    program: &Program,
) -> Result<Successor<Message>, String> {
    let exe = request.exe.unwrap_or_else(|| program.exe.clone());
    let args = match request.args {
        Some(args) => args.into_iter().map(Into::into).collect(),
        None => program.args.clone(),
    };
    let program = Program { exe, args };
    let lock = Some(lock.as_fd());
    Successor::start(&program, HANDOVER, listeners.descriptors(), lock, &[], MESSAGE_BYTES_MAX)
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
