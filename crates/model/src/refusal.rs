//! Why something that was asked for came to nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Abandoned, Exit, Failure, FailureKind, Holder, Mask, Millis, Outcome, Place, Plan, RunId, Stuck,
};

/// Why a command did not come to an end of its own. Nothing was changed, but for `LeaseLost`, where somebody else goes
/// on, and for `Midway`, `Left` and `CutOff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// What was asked for does not make sense here: no such service, environment or host, or one that is not deployed to.
    Usage {
        /// What does not make sense, and what would.
        failure: Failure,
    },
    /// It was tried, and something failed before a run began.
    Failed {
        /// What failed.
        failure: Failure,
    },
    /// What is to be deployed could not be made out: its image, tag or executable is not there, or nobody lets us see it.
    NoImage {
        /// Why it could not be made out.
        failure: Failure,
    },
    /// The run that was to begin under the name that somebody gave it ([`crate::Want::run`]) has begun before: the journal has
    /// what became of it.
    BegunBefore {
        /// That it has begun before, for people.
        failure: Failure,
        /// The run.
        run: RunId,
    },
    /// Somebody else holds the lease, and is alive.
    Held {
        /// That somebody else is at work, for people.
        failure: Failure,
        /// Where the lease is held.
        place: Place,
        /// Who holds it.
        holder: Box<Holder>,
        /// How long ago the holder's last heartbeat was, by that place's clock.
        age: Millis,
    },
    /// Another command is at work on this machine that only one may be at a time. No lease is asked for that.
    Busy {
        /// What is at work, for people.
        failure: Failure,
    },
    /// Somebody else took the lease meanwhile: the run is theirs now.
    LeaseLost {
        /// Where the lease was lost.
        failure: Failure,
    },
    /// The journal cannot be used.
    Journal {
        /// Why it cannot be used.
        failure: Failure,
    },
    /// The journal does not make sense.
    Illegal {
        /// What in it does not make sense.
        failure: Failure,
    },
    /// The run was left in the middle: what it came to is not known, and what it had begun may still go on.
    Midway {
        /// Why nobody could see its end.
        failure: Failure,
    },
    /// An unfinished run was found first and could not be brought to a good end.
    Stuck {
        /// The run that is stuck.
        run: RunId,
        /// How it ended.
        outcome: Box<Outcome>,
        /// What it was to do.
        plan: Box<Plan>,
    },
    /// Somebody had it left as it is, for whoever comes next.
    Abandoned {
        /// What was left, and where.
        abandoned: Box<Abandoned>,
    },
    /// The session ended without a word, as when its process stops: what it came to is not known.
    CutOff {
        /// Where to look for what it came to.
        failure: Failure,
    },
}

/// As `--format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RefusalLine {
    /// Always `error`.
    pub event: String,
    /// What went wrong. `None` for an earlier run that is stuck: its `outcome` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Of an earlier run that is stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The exit code.
    pub exit: u8,
}

impl Refusal {
    /// What was asked for does not make sense; `hint` says what would.
    #[must_use]
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal::Usage { failure: Failure::new(FailureKind::Refused, message).hint(hint) }
    }

    /// With which code a program ends that was refused this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Refusal::Usage { .. } => Exit::Usage,
            Refusal::Held { .. } | Refusal::Busy { .. } => Exit::Held,
            Refusal::Midway { .. } | Refusal::CutOff { .. } => Exit::Unknown,
            Refusal::Stuck { .. } | Refusal::Abandoned { .. } => Exit::Stuck,
            Refusal::Failed { failure }
            | Refusal::NoImage { failure }
            | Refusal::BegunBefore { failure, .. }
            | Refusal::LeaseLost { failure }
            | Refusal::Journal { failure }
            | Refusal::Illegal { failure } => match failure.kind {
                FailureKind::GateNotYet => Exit::NotYet,
                FailureKind::LeaseLost => Exit::Held,
                _ => Exit::Failed,
            },
        }
    }

    /// As people are told of it, with a hint. `None` for an earlier run that is stuck and for one that was left: what
    /// became of them says more.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Refusal::Usage { failure }
            | Refusal::Failed { failure }
            | Refusal::NoImage { failure }
            | Refusal::BegunBefore { failure, .. }
            | Refusal::Held { failure, .. }
            | Refusal::Busy { failure }
            | Refusal::LeaseLost { failure }
            | Refusal::Journal { failure }
            | Refusal::Illegal { failure }
            | Refusal::Midway { failure }
            | Refusal::CutOff { failure } => Some(failure),
            Refusal::Stuck { .. } | Refusal::Abandoned { .. } => None,
        }
    }

    /// What to print, but for [`Refusal::Abandoned`], which [`Abandoned::line`] tells.
    #[must_use]
    pub fn line(&self) -> RefusalLine {
        let outcome = match self {
            Refusal::Stuck { outcome, .. } => Some((**outcome).clone()),
            _ => None,
        };
        let error = self.failure().cloned();
        RefusalLine { event: "error".to_owned(), error, outcome, exit: self.exit().code() }
    }

    /// Without secrets in what hosts, registries and programs said.
    #[must_use]
    pub fn masked(self, mask: &Mask) -> Self {
        let hide = |failure: Failure| mask.failure(failure);
        match self {
            Refusal::Usage { failure } => Refusal::Usage { failure: hide(failure) },
            Refusal::Failed { failure } => Refusal::Failed { failure: hide(failure) },
            Refusal::NoImage { failure } => Refusal::NoImage { failure: hide(failure) },
            Refusal::BegunBefore { failure, run } => Refusal::BegunBefore { failure: hide(failure), run },
            Refusal::Held { failure, place, holder, age } => {
                Refusal::Held { failure: hide(failure), place, holder, age }
            }
            Refusal::Busy { failure } => Refusal::Busy { failure: hide(failure) },
            Refusal::LeaseLost { failure } => Refusal::LeaseLost { failure: hide(failure) },
            Refusal::Journal { failure } => Refusal::Journal { failure: hide(failure) },
            Refusal::Illegal { failure } => Refusal::Illegal { failure: hide(failure) },
            Refusal::Midway { failure } => Refusal::Midway { failure: hide(failure) },
            Refusal::CutOff { failure } => Refusal::CutOff { failure: hide(failure) },
            Refusal::Stuck { run, outcome, plan } => {
                Refusal::Stuck { run, outcome: Box::new(masked(*outcome, mask)), plan }
            }
            Refusal::Abandoned { mut abandoned } => {
                abandoned.status.mask(mask);
                Refusal::Abandoned { abandoned }
            }
        }
    }
}

fn masked(outcome: Outcome, mask: &Mask) -> Outcome {
    match outcome {
        Outcome::Stuck(stuck) => Outcome::Stuck(Stuck {
            failure: mask.failure(stuck.failure),
            undo_failures: stuck.undo_failures.into_iter().map(|one| mask.failure(one)).collect(),
            ..stuck
        }),
        other => other,
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failed { failure }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.failure()) {
            (_, Some(failure)) => failure.fmt(f),
            (Refusal::Abandoned { .. }, None) => f.write_str("it was left as it is"),
            (_, None) => f.write_str("an earlier run is stuck"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_has_the_exit_code_that_its_reason_has() {
        let failure = |kind| Failure::new(kind, "x");
        let failed = |kind| Refusal::from(failure(kind)).exit().code();
        assert_eq!(failed(FailureKind::GateNotYet), 5);
        assert_eq!(failed(FailureKind::LeaseLost), 6);
        assert_eq!(failed(FailureKind::Unreachable), 1);
        assert_eq!(Refusal::usage("no such service", "there are: web").exit().code(), 2);
        assert_eq!(Refusal::NoImage { failure: failure(FailureKind::NotFound) }.exit().code(), 1);
        assert_eq!(Refusal::Busy { failure: failure(FailureKind::Conflict) }.exit().code(), 6);
        assert_eq!(Refusal::Midway { failure: failure(FailureKind::Other) }.exit().code(), 7);
        assert_eq!(Refusal::CutOff { failure: failure(FailureKind::Other) }.exit().code(), 7);
    }

    #[test]
    fn a_refusal_reads_back_as_it_was_written_and_tells_no_secret() {
        let secret = crate::Secret::new("hunter2-hunter2");
        let refusal = Refusal::usage("it said hunter2-hunter2", "there are: web");
        let masked = refusal.masked(&Mask::of([&secret]));
        let text = serde_json::to_string(&masked).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(serde_json::from_str::<Refusal>(&text).unwrap(), masked);
        let line = serde_json::to_value(masked.line()).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "event": "error",
                "error": { "kind": "refused", "message": "it said ***", "hint": "there are: web" },
                "exit": 2,
            })
        );
    }
}
