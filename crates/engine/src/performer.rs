//! The engine's two doors: what performs actions, and who hears of events.

use async_trait::async_trait;
use lockgate_model::{Action, Event, Failure, HostId, Seen, Slot};

/// Performs one action on one host. Actions look first and do only what is missing, so performing one again after a
/// crash is safe.
#[async_trait]
pub trait Performer: Send + Sync {
    /// # Errors
    /// A [`Failure`] that names what to do about it. The effect may have happened in part.
    async fn perform(&self, host: Option<&HostId>, action: &Action) -> Result<Seen, Failure>;

    /// The slot that has the traffic on the host now; `None` where none has.
    ///
    /// # Errors
    /// The host or its router cannot be asked.
    async fn target(&self, host: &HostId) -> Result<Option<Slot>, Failure>;
}

/// Hears every event, in order; of a run's beginning and its commit only when they are in the journal. Must not block; a
/// failure event is never dropped.
pub trait EventSink: Send + Sync {
    fn event(&self, event: &Event);
}
