//! Exit codes, documented in the README.

use std::process::ExitCode;

use lockgate_model::{FailureKind, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Succeeded, or nothing to do.
    Succeeded,
    /// Failed; nothing was changed.
    Failed,
    /// Usage or configuration error.
    Usage,
    /// Rolled back: the previous release is live.
    RolledBack,
    /// An undo failed: look now.
    Stuck,
    /// A gate said not yet.
    NotYet,
    /// Somebody else holds the lease.
    Held,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::RolledBack => 3,
            Exit::Stuck => 4,
            Exit::NotYet => 5,
            Exit::Held => 6,
        }
    }

    /// Of two ends the one that needs somebody sooner; the first of two that are alike.
    pub fn or_worse(self, other: Exit) -> Exit {
        let urgency = |exit: Exit| match exit {
            Exit::Succeeded => 0,
            Exit::NotYet => 1,
            Exit::RolledBack | Exit::Failed | Exit::Held | Exit::Usage => 2,
            Exit::Stuck => 3,
        };
        if urgency(other) > urgency(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Exit {
        match outcome {
            Outcome::Succeeded { .. } => Exit::Succeeded,
            Outcome::Failed { failure } if failure.kind == FailureKind::GateNotYet => Exit::NotYet,
            Outcome::Failed { .. } => Exit::Failed,
            Outcome::RolledBack { .. } => Exit::RolledBack,
            Outcome::Stuck(_) => Exit::Stuck,
        }
    }
}
