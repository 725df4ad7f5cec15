//! Programs that run once, apart from what slots hold: hooks.

use async_trait::async_trait;
use lockgate_model::{HookMoment, Millis, Release, RunId, Slot};

use crate::{LineSink, PortError};

/// Which one it is. A runtime keeps it with the program, so that whoever comes later finds it by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneOffId {
    /// The run that began it.
    pub run: RunId,
    /// Which of the service's hooks it is.
    pub moment: HookMoment,
}

/// How one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneOffState {
    /// It was made and its program has certainly not begun. Whoever made it may still be about to have it begin.
    Made,
    /// It runs.
    Runs,
    /// It has ended, with this exit code; 128 + signal when it was ended by one.
    Ended(i32),
}

/// What is to be begun.
#[derive(Debug, Clone)]
pub struct OneOff<'a> {
    /// By which it is found again.
    pub id: OneOffId,
    /// Whose place and environment it has.
    pub slot: Slot,
    /// In whose bytes.
    pub release: &'a Release,
    /// Program and arguments, filled in. Not empty. No shell reads them.
    pub argv: &'a [String],
}

/// Programs that run once on a host, each with the environment and in the place that a slot's app would have. They go on when
/// whoever began them has died, and what they came to can be seen until they are [ended](OneOffs::end).
#[async_trait]
pub trait OneOffs: Send + Sync {
    /// All of the service's in the environment that there are on the host, whoever began them.
    ///
    /// # Errors
    /// `Unreachable`, `Unauthorized`.
    async fn seen(&self) -> Result<Vec<(OneOffId, OneOffState)>, PortError>;

    /// Begins one that is not there yet, and returns once it has begun. It has no published ports, and nothing else is begun
    /// with it.
    ///
    /// # Errors
    /// `NotFound` when the release's bytes are not on the host, `Conflict` when it is there already, `Other`. Only an
    /// [effect](PortError::effect) of none says that it has not begun.
    async fn begin(&self, wanted: &OneOff<'_>) -> Result<(), PortError>;

    /// Tells what it writes, from the beginning, and returns when it has ended. Where that cannot be told it may return
    /// before.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`. When the future is dropped the program goes on.
    async fn follow(&self, id: OneOffId, sink: &mut dyn LineSink) -> Result<(), PortError>;

    /// Ends it (SIGTERM, after `grace` SIGKILL) where it runs, and removes what is left of it. One that is not there is fine.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`.
    async fn end(&self, id: OneOffId, grace: Millis) -> Result<(), PortError>;
}
