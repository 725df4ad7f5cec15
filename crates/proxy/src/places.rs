//! Who may have descriptors: connections of clients, and connections to slots.
//!
//! Every client connection is counted together with one connection to a slot, so it can always have one request on its
//! way, whatever the others do. What an HTTP/2 connection asks for beside that comes out of a smaller, shared part.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::flow::Flow;
use crate::forward::Client;
use crate::lanes::{LANES_MAX, Lane};
use crate::log_limit::LogLimit;

/// The part of all places that requests beyond the first of their connection may take together: one in this many.
pub(crate) const EXTRA_ONE_IN: usize = 4;
/// How long a request waits for a place before it is told to come again.
const WAIT_SECONDS_MAX: u64 = 5;
/// How many requests wait for a place at once.
const WAITING_REQUESTS_MAX: usize = 1_024;
/// How many names of slots are looked up at once; each takes some descriptors and a thread.
const LOOKUPS_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Places {
    /// One for every client connection and for every request that has an extra place.
    clients: Arc<Semaphore>,
    extra: Arc<Semaphore>,
    /// One for every open connection to a slot.
    upstream: Arc<Semaphore>,
    waiting: Semaphore,
    lanes: Arc<Semaphore>,
    pub(crate) lookups: Semaphore,
    /// When to tell the log that there was no place.
    refused: LogLimit,
}

/// One request's place. Its connection's own, unless it has permits for an extra one.
#[derive(Debug)]
pub(crate) struct Place {
    client: Arc<Client>,
    lanes: Arc<Semaphore>,
    permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Place {
    /// It comes out of the part that all connections share.
    pub(crate) fn is_extra(&self) -> bool {
        self.permits.1.is_some()
    }

    /// For a body between its client and the slot on this connection; `None` when there is none left.
    pub(crate) fn lane(&self, slot: &Flow) -> Option<Lane> {
        Lane::take(&self.lanes, &self.client.flow, slot)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.client.ended();
    }
}

impl Places {
    /// For so many client connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            clients: Arc::new(Semaphore::new(connections)),
            extra: Arc::new(Semaphore::new((connections / EXTRA_ONE_IN).max(1))),
            upstream: Arc::new(Semaphore::new(connections)),
            waiting: Semaphore::new(WAITING_REQUESTS_MAX),
            lanes: Arc::new(Semaphore::new(LANES_MAX)),
            lookups: Semaphore::new(LOOKUPS_MAX),
            refused: LogLimit::new(),
        }
    }

    /// For one more client connection, to be kept as long as its socket; waits for it.
    pub(crate) async fn client(&self) -> std::io::Result<OwnedSemaphorePermit> {
        // The semaphores here are never closed, so the errors can't happen.
        self.clients.clone().acquire_owned().await.map_err(std::io::Error::other)
    }

    fn place(
        &self,
        client: &Arc<Client>,
        own: OwnedSemaphorePermit,
        second: Option<OwnedSemaphorePermit>,
    ) -> Arc<Place> {
        client.began();
        Arc::new(Place { client: client.clone(), lanes: self.lanes.clone(), permits: (own, second) })
    }

    /// A place for one more request of this client; `None` when there is none in time.
    pub(crate) async fn request(&self, client: &Arc<Client>) -> Option<Arc<Place>> {
        if let Ok(own) = client.own_place.clone().try_acquire_owned() {
            return Some(self.place(client, own, None));
        }
        if let Ok(extra) = self.extra.clone().try_acquire_owned()
            && let Ok(second) = self.clients.clone().try_acquire_owned()
        {
            return Some(self.place(client, extra, Some(second)));
        }
        let waited = async {
            let _waits = self.waiting.try_acquire().ok()?;
            let either = async {
                let extra = async {
                    let extra = self.extra.clone().acquire_owned().await.ok()?;
                    Some((extra, self.clients.clone().acquire_owned().await.ok()?))
                };
                tokio::select! {
                    own = client.own_place.clone().acquire_owned() => Some(self.place(client, own.ok()?, None)),
                    extra = extra => extra.map(|(extra, second)| self.place(client, extra, Some(second))),
                }
            };
            tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), either).await.ok().flatten()
        };
        let place = waited.await;
        if place.is_none()
            && let Some(left_out) = self.refused.due()
        {
            tracing::warn!(
                client = %client.address,
                left_out,
                "a request was refused: its connection has others on their way, and the extra places are taken"
            );
        }
        place
    }

    /// For one more connection to a slot, to be kept as long as its socket. When there is none, idle connections are
    /// closed for it.
    pub(crate) async fn upstream(
        &self,
        limit: Duration,
        close_idle: impl FnOnce(),
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.upstream.clone().try_acquire_owned() {
            return Some(permit);
        }
        close_idle();
        tokio::time::timeout(limit, self.upstream.clone().acquire_owned()).await.ok()?.ok()
    }
}
