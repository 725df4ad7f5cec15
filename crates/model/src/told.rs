//! What a session says while it is under way.

use serde::{Deserialize, Serialize};

use crate::{Event, EventKind, Millis, Rejected, StepProgress};

/// One thing that is told, in the order in which it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "told", content = "what")]
pub enum Told {
    /// Of a run: see [`EventKind`]. The plan in it is whole; [`Event::without_queries`] is for output.
    Event(Box<Event>),
    /// How far a step is that takes its time.
    Progress(StepProgress),
    /// The release that was asked for was rejected before. It goes on all the same.
    Rejected(Rejected),
    /// Nothing is seen yet, because somebody else holds the lease: it is looked whether they are still at work.
    Waiting {
        /// `user@machine` of the holder.
        owner: String,
        /// No longer than this.
        up_to: Millis,
    },
    /// It is left as it is from here on, for whoever comes next.
    Leaving,
    /// Whoever listens was slow: so many events were left out here, none of which was a failure or a run's beginning or
    /// end. The journal has all of them.
    Missed(u64),
}

impl Told {
    /// It may be left out where somebody is too slow to hear all.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        match self {
            Told::Event(event) => match &event.kind {
                EventKind::Intended { .. }
                | EventKind::StepStarted { .. }
                | EventKind::StepSucceeded { .. }
                | EventKind::UndoStarted { .. }
                | EventKind::UndoSucceeded { .. } => true,
                EventKind::RunStarted { .. }
                | EventKind::Adopted { .. }
                | EventKind::StepFailed { .. }
                | EventKind::UnwindStarted { .. }
                | EventKind::UndoFailed { .. }
                | EventKind::Committed
                | EventKind::RunEnded { .. } => false,
            },
            Told::Progress(_) | Told::Waiting { .. } => true,
            Told::Rejected(_) | Told::Leaving | Told::Missed(_) => false,
        }
    }
}
