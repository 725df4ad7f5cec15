//! What every task of one proxy knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access_log::AccessLog;
use crate::config::ProxyConfig;
use crate::places::Places;
use crate::router::Router;
use crate::supervise;
use crate::wire::{ErrorView, ProxyState, StatusView, UpgradeRequest, UpgradeView};

/// How far a stop has come. Connections look at it whenever they are woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Serving = 0,
    /// Every HTTP/1 response says `Connection: close`, HTTP/2 connections get a GOAWAY; idle connections may still
    /// send a request.
    LameDuck = 1,
    /// Idle connections are closed.
    Finishing = 2,
    /// Everything is closed.
    Aborting = 3,
}

/// What the main task is asked to do.
pub(crate) enum Command {
    Shutdown,
    Upgrade(UpgradeRequest, oneshot::Sender<Result<UpgradeView, ErrorView>>),
}

/// The client connections, so that a change of phase can wake them. One waker each instead of one shared
/// notification: a request then touches nothing that other connections touch.
#[derive(Debug, Default)]
struct Connections {
    next: AtomicU64,
    wakers: Mutex<HashMap<u64, Arc<AtomicWaker>>>,
}

pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) router: Router,
    pub(crate) access_log: AccessLog,
    pub(crate) ask_token: String,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) started_at_ms: u64,
    /// Requests that no route matched.
    pub(crate) unrouted: AtomicU64,
    /// Requests refused for their form, before a route was looked for.
    pub(crate) refused: AtomicU64,
    /// Requests sent again because a pooled connection had broken.
    pub(crate) retried: AtomicU64,
    pub(crate) places: Places,
    /// Cancelled when no further connection is accepted.
    pub(crate) stop_accepting: CancellationToken,
    /// Cancelled when everything must end now.
    pub(crate) abort: CancellationToken,
    /// Connections, tunnels and admin connections. The process ends when it is empty.
    pub(crate) tasks: TaskTracker,
    pub(crate) commands: mpsc::Sender<Command>,
    phase: AtomicU8,
    connections: Connections,
    pub(crate) handed_over: AtomicBool,
}

/// What a [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) config: ProxyConfig,
    pub(crate) router: Router,
    pub(crate) access_log: AccessLog,
    pub(crate) ask_token: String,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, router, access_log, ask_token, addresses, commands } = parts;
        Self {
            places: Places::new(config.connections_max),
            config,
            router,
            access_log,
            ask_token,
            addresses,
            commands,
            started_at_ms: unix_ms(),
            unrouted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            stop_accepting: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            phase: AtomicU8::new(Phase::Serving as u8),
            connections: Connections::default(),
            handed_over: AtomicBool::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(SeqCst) {
            0 => Phase::Serving,
            1 => Phase::LameDuck,
            2 => Phase::Finishing,
            _ => Phase::Aborting,
        }
    }

    /// Never goes back.
    pub(crate) fn enter_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, SeqCst);
        if phase == Phase::Aborting {
            self.abort.cancel();
        }
        let wakers = self.connections.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.values().for_each(|waker| waker.wake());
    }

    pub(crate) fn register_connection(self: &Arc<Self>) -> Registered {
        let id = self.connections.next.fetch_add(1, Relaxed);
        let waker = Arc::new(AtomicWaker::new());
        let mut wakers = self.connections.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.insert(id, waker.clone());
        Registered { shared: self.clone(), id, waker }
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.connections.wakers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn status(&self) -> StatusView {
        let serving = self.phase() == Phase::Serving;
        StatusView {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: if serving { ProxyState::Serving } else { ProxyState::Draining },
            listeners: self.addresses.clone(),
            routes: self.router.route_count(),
            started_at_ms: self.started_at_ms,
            supervised: supervise::is_supervised(&self.config.dir),
            ask_token: self.ask_token.clone(),
            access_log_dropped: self.access_log.dropped(),
            predecessor: self.router.predecessor().map(|predecessor| predecessor.pid),
            in_flight: self.router.in_flight(),
            holds: self.router.holds.views(),
        }
    }
}

/// One client connection's place in the register, until it is dropped.
pub(crate) struct Registered {
    shared: Arc<Shared>,
    id: u64,
    pub(crate) waker: Arc<AtomicWaker>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut wakers = self.shared.connections.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.remove(&self.id);
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
