//! How a call ends, also without an answer.

use lockgate_model::{DeployAnswer, Exit, Failure, RunId};

/// The daemon's own word on what the call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The status code that came with it, or stood in the stream's last event.
    pub http: u16,
    /// What it came to.
    pub answer: DeployAnswer,
}

impl End {
    /// With which code a program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.answer.status.exit()
    }
}

/// Nobody said what the call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// What is at the address answers, and is no daemon's endpoint; or what was to be sent makes no sense.
    Wrong(Failure),
    /// The call has certainly not arrived: nothing was changed.
    Unsent(Failure),
    /// The call may have arrived, or has: what it asks for may go on.
    Unknown {
        /// Why nobody could see its end.
        failure: Failure,
        /// `None` where it is not known whether one began.
        run: Option<RunId>,
    },
}

impl NoAnswer {
    /// With which code a program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            NoAnswer::Wrong(_) => Exit::Usage,
            NoAnswer::Unsent(_) => Exit::Failed,
            NoAnswer::Unknown { .. } => Exit::Unknown,
        }
    }

    /// Why.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        match self {
            NoAnswer::Wrong(failure) | NoAnswer::Unsent(failure) | NoAnswer::Unknown { failure, .. } => {
                failure
            }
        }
    }
}
