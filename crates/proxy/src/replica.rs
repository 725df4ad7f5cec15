//! One address of a slot, with its connections: whether it is still its owner's, and what is on its way there.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;

use crate::pool::{Dial, Pool};
use crate::wire::{ProcessOwner, ReplicaView};

/// How long one that refused a connection is asked last.
const AVOID_MILLIS: u64 = 1_000;

/// How idle connections are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) seconds: Duration,
    pub(crate) connections_max: usize,
}

/// Whose the address is.
#[derive(Clone, Debug)]
pub(crate) enum Holder {
    /// Nobody said.
    Unknown,
    Process(ProcessOwner),
    Container {
        id: String,
        /// `None` where it can't be looked at: then its engine's word counts.
        process: Option<ProcessOwner>,
        /// The engine tells what happens to it.
        watched: Arc<AtomicBool>,
    },
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) dial: String,
    pub(crate) pool: Pool,
    /// Names it in answers to who asks.
    pub(crate) header: HeaderValue,
    holder: Holder,
    busy: AtomicU64,
    since: Instant,
    /// Until when it is asked last, in milliseconds after `since`.
    avoided_until_ms: AtomicU64,
}

impl Replica {
    pub(crate) fn new(dial: &str, holder: Holder, idle: Idle) -> Self {
        // Everything that comes here was validated or is an engine's address; the fallbacks keep this total.
        let parsed = Dial::parse(dial).unwrap_or_else(|_| Dial::Tcp("invalid".to_owned(), 1));
        Self {
            dial: dial.to_owned(),
            pool: Pool::new(parsed, idle.seconds, idle.connections_max),
            header: HeaderValue::from_str(dial).unwrap_or(HeaderValue::from_static("invalid")),
            holder,
            busy: AtomicU64::new(0),
            since: Instant::now(),
            avoided_until_ms: AtomicU64::new(0),
        }
    }

    /// Nobody else can have the address at this moment, as far as can be told.
    pub(crate) fn is_trusted(&self) -> bool {
        match &self.holder {
            Holder::Unknown => true,
            Holder::Process(process) | Holder::Container { process: Some(process), .. } => process.is_alive(),
            Holder::Container { process: None, watched, .. } => watched.load(Relaxed),
        }
    }

    /// The container that has the address.
    pub(crate) fn container(&self) -> Option<&str> {
        match &self.holder {
            Holder::Container { id, .. } => Some(id),
            Holder::Unknown | Holder::Process(_) => None,
        }
    }

    /// The same run of the same container at the same address.
    pub(crate) fn is(&self, dial: &str, id: &str, run: Option<&ProcessOwner>) -> bool {
        match &self.holder {
            Holder::Container { id: own, process, .. } => {
                self.dial == dial && own == id && process.as_ref() == run
            }
            Holder::Unknown | Holder::Process(_) => false,
        }
    }

    pub(crate) fn busy(&self) -> u64 {
        self.busy.load(Relaxed)
    }

    pub(crate) fn avoid(&self) {
        self.avoided_until_ms.store(self.elapsed_ms() + AVOID_MILLIS, Relaxed);
    }

    pub(crate) fn is_avoided(&self) -> bool {
        self.elapsed_ms() < self.avoided_until_ms.load(Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn view(&self) -> ReplicaView {
        ReplicaView {
            dial: self.dial.clone(),
            container: self.container().map(str::to_owned),
            trusted: self.is_trusted(),
            requests: self.busy(),
        }
    }
}

/// A request on its way to a replica, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Replica>);

impl Visit {
    pub(crate) fn to(replica: Arc<Replica>) -> Self {
        replica.busy.fetch_add(1, Relaxed);
        Self(replica)
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Relaxed);
    }
}
