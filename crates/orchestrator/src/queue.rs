//! Calls for deployments, each kept before it is answered, and done one at a time for each service in each environment.

mod counts;
mod parts;
mod refused_call;
mod ticket;

use lockgate_model::{DeployAnswer, DeployCall, RunId};
use lockgate_ports::PortError;

pub use counts::QueueCounts;
pub use parts::QueueParts;
pub use refused_call::RefusedCall;
pub use ticket::Ticket;

/// The queue of one project's daemon. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    parts: QueueParts,
}

impl Queue {
    /// Takes up what a daemon before this one has left: a run that the journal knows is brought to its end or has come to it,
    /// one that never began is queued again, in order of arrival.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(parts: QueueParts) -> Result<Self, PortError> {
        Ok(Self { parts })
    }

    /// Accepts a call. It is durable before this returns, and goes on whoever waits for it.
    ///
    /// # Errors
    /// What to answer a call that is not accepted.
    pub async fn submit(&self, call: DeployCall) -> Result<Ticket, DeployAnswer> {
        drop((call, &self.parts));
        unimplemented!()
    }

    /// Of a call that was accepted, also before a restart. `None` where there is none of that run.
    ///
    /// # Errors
    /// The store's.
    pub async fn ticket(&self, run: RunId) -> Result<Option<Ticket>, PortError> {
        let _ = run;
        unimplemented!()
    }

    /// Nothing new begins, whoever waits is told that the daemon stops, and runs are left as they are for whoever comes next.
    /// Returns when they are, within some seconds.
    pub async fn leave(&self) {
        unimplemented!()
    }

    /// How much there is of what, for metrics.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        unimplemented!()
    }

    /// Keeps in the audit that a call was refused before it came to [`Queue::submit`], which keeps its own. Alike ones from one
    /// address within a second are one entry with a count, written at the second's end. Does not wait for the disk.
    pub fn note(&self, call: RefusedCall) {
        let _ = call;
    }
}
