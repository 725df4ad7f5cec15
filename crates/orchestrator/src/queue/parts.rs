//! What a queue is made of.

use std::sync::Arc;

use lockgate_engine::Clock;
use lockgate_model::{Mask, ProjectName, RunId};
use lockgate_ports::Store;

use crate::{Orchestrator, Spawn};

/// What the composition root hands in.
#[derive(Clone)]
pub struct QueueParts {
    /// Whose calls they are: one store may hold several projects'.
    pub project: ProjectName,
    /// Does what is asked for. Its journal must be the one that runs of an earlier daemon are in.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// Where calls and their answers are kept, and the audit.
    pub store: Arc<dyn Store>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Gives each run its id; each one is used once.
    pub new_run: Arc<dyn Fn() -> RunId + Send + Sync>,
    /// What callers must not be told.
    pub mask: Mask,
    /// Begins a task, which nobody waits for.
    pub spawn: Spawn,
}
