//! The engine's two doors: what performs actions, and who hears of events.

use async_trait::async_trait;
use lockgate_model::{Action, Event, Failure, Headway, HostId, Rejected, Seen, StepProgress, WhoIsLive};

/// Performs one action on one host. Actions look first and do only what is missing, so performing one again after a
/// crash is safe.
#[async_trait]
pub trait Performer: Send + Sync {
    /// `told` hears how far an action is that takes its time; it is cheap and never blocks.
    ///
    /// # Errors
    /// A [`Failure`] that names what to do about it. The effect may have happened in part.
    async fn perform(
        &self,
        host: Option<&HostId>,
        action: &Action,
        told: &(dyn Fn(Headway) + Send + Sync),
    ) -> Result<Seen, Failure>;

    /// Looks who is live on these hosts now, for people who have to mend a run by hand. Best effort, within a bound of its
    /// own: what cannot be asked is part of the answer.
    async fn who_is_live(&self, hosts: &[HostId]) -> WhoIsLive;
}

/// Hears every event, in order; of a run's beginning and its commit only when they are in the journal. Must not block; a
/// failure event is never dropped.
pub trait EventSink: Send + Sync {
    /// Something has happened in the run.
    fn event(&self, event: &Event);

    /// How far a step is that takes its time, told between its beginning and its end. For people only, so it may be let pass.
    fn progress(&self, _: &StepProgress) {}

    /// A person asked for a release that was rejected. Told before its run begins; for people only, so it may be let pass.
    fn rejected(&self, _: &Rejected) {}
}
