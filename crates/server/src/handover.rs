//! Another process takes over without a refused connection.
//!
//! old → starts the new process with copies of the listening sockets and of the lock, and one end of a socket pair
//! new → `Ready`: configuration, certificate and store are good; nothing is accepted yet
//! old → `Go`
//! new → accepts and signs the lock file → `Serving`
//! old → stops accepting, answers what it has, ends; only then does the new one begin runs (`turn`)
//!
//! Both accept from the same kernel queue, so no connection is refused or lost in between. Until `Serving` arrives, everything
//! can still be undone by killing the new process.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use lockgate_sockets::{Link, Lock, Program, Successor};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::ServeError;
use crate::listen::Listeners;
use crate::service_manager::ServiceManager;

/// Holds the numbers of the descriptors that are passed on, in the environment of the new process.
pub const HANDOVER: &str = "LOCKGATE_SERVE_HANDOVER";
/// How long the new process may take until it serves: its store may be another machine's.
const READY_SECONDS_MAX: u64 = 30;
const MESSAGE_BYTES_MAX: u64 = 4096;

/// What the two processes say to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Ready { pid: u32 },
    Go { pid: u32 },
    Serving,
}

/// Starts the successor and waits until it serves. Returns its process id.
///
/// # Errors
/// Why there was no handover, in words: this process serves on.
pub(crate) async fn hand_over(
    listeners: &Listeners,
    lock: &Lock,
    program: &Program,
    manager: &ServiceManager,
) -> Result<u32, String> {
    let lock = Some(lock.as_fd());
    let more: Vec<_> = manager.passed_on().into_iter().collect();
    let mut successor =
        Successor::start(program, HANDOVER, listeners.descriptors(), lock, &more, MESSAGE_BYTES_MAX)?;
    let introduced = introduce(&mut successor).await;
    if introduced.is_err()
        && let Err(error) = successor.kill().await
    {
        tracing::warn!(%error, "the failed successor cannot be killed");
    }
    introduced
}

async fn introduce(successor: &mut Successor<Message>) -> Result<u32, String> {
    let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    let pid = match successor.link.expect(deadline).await {
        Ok(Message::Ready { pid }) => pid,
        Ok(other) => return Err(format!("it said {other:?} instead of being ready")),
        Err(reason) => return Err(format!("it did not become ready: {reason}{}", successor.ending().await)),
    };
    let go = Message::Go { pid: std::process::id() };
    successor.link.send(&go).await.map_err(|error| format!("it went away: {error}"))?;
    match successor.link.expect(deadline).await {
        Ok(Message::Serving) => Ok(pid),
        Ok(_) => Err("it said something else instead of serving".to_owned()),
        Err(reason) => Err(format!("it was ready but did not serve: {reason}{}", successor.ending().await)),
    }
}

/// The predecessor, which waits for this process to serve.
pub(crate) struct Predecessor {
    link: Link<Message>,
    pid: u32,
}

impl Predecessor {
    /// Says that everything is ready, and waits for the word to go.
    ///
    /// # Errors
    /// [`ServeError::Handover`].
    pub(crate) async fn meet(stream: UnixStream) -> Result<Self, ServeError> {
        let failed = |reason: String| ServeError::Handover { reason };
        let mut link = Link::new(stream, MESSAGE_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
        let ready = Message::Ready { pid: std::process::id() };
        link.send(&ready).await.map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        match link.expect(deadline).await.map_err(failed)? {
            Message::Go { pid } => Ok(Self { link, pid }),
            _ => Err(failed("it said something else instead of go".to_owned())),
        }
    }

    /// Says that this process serves.
    ///
    /// # Errors
    /// [`ServeError::Handover`].
    pub(crate) async fn serving(mut self) -> Result<u32, ServeError> {
        let sent = self.link.send(&Message::Serving).await;
        sent.map_err(|error| ServeError::Handover { reason: error.to_string() })?;
        Ok(self.pid)
    }
}
