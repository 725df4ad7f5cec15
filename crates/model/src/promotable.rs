//! Whether a release may move from one environment to the next, and what holds it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Millis, Release, Timestamp};

/// A time in which an environment is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// `None`: until somebody ends it.
    pub until: Option<Timestamp>,
    /// For people, in the words of who froze it.
    pub why: String,
}

/// What may move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "promotable")]
pub enum Promotable {
    /// Nobody has seen anything live in the source.
    Nothing,
    /// The target has the source's bytes.
    Same {
        /// What is live in both.
        release: Release,
    },
    /// Every gate is open, and nothing else is in the way.
    Ready {
        /// What is live in the source.
        release: Release,
        /// How each gate was passed, in the order of the configuration.
        passed: Vec<Passed>,
        /// When the first of these answers is over. `None`: none ends by itself.
        until: Option<Timestamp>,
    },
    /// Something is in the way.
    Held {
        /// What is live in the source.
        release: Release,
        /// At least one; gates in the order of the configuration.
        by: Vec<Obstacle>,
        /// When it may be worth to ask again, whatever people do: the latest of the obstacles' times. `None` where one of
        /// them does not end by itself.
        until: Option<Timestamp>,
    },
}

/// A gate that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The gate's name, as `lockgate.yaml` has it or derives it.
    pub gate: String,
    /// When it answered, or was waived.
    pub at: Timestamp,
    /// Who asked, or waived it: `user@machine`.
    pub by: String,
    /// `None`: it does not end by itself.
    pub until: Option<Timestamp>,
    /// Why a person waived it. `None` for a gate's own pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// One thing that holds a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// What it is. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub what: Holds,
    /// When it is over by itself. `None`: somebody has to do something.
    pub until: Option<Timestamp>,
}

/// What holds a release. Times are by the clocks of those who wrote them down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "holds")]
pub enum Holds {
    /// Nobody has asked the gate about these bytes there.
    Unasked {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
    },
    /// The gate's newest answer about these bytes is *fail*.
    Failed {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
        /// When it answered.
        at: Timestamp,
        /// Who asked: `user@machine`.
        by: String,
        /// The first piece of its evidence that is not ok, in words.
        because: String,
    },
    /// The gate's newest answer about these bytes is *not yet*.
    NotYet {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
        /// When it answered.
        at: Timestamp,
        /// Who asked: `user@machine`.
        by: String,
        /// What it saw, in words.
        because: String,
    },
    /// It answered, and that does not hold any more.
    Expired {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
        /// When it answered.
        at: Timestamp,
        /// Since when that does not hold.
        over_since: Timestamp,
    },
    /// It is said to have passed, and what it saw is not there or not ok (P6).
    Unfounded {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
        /// When it is said to have answered.
        at: Timestamp,
        /// Who wrote that down: `user@machine`.
        by: String,
    },
    /// Its answer is dated later than now: one of two clocks is wrong.
    Ahead {
        /// The gate's name, as `lockgate.yaml` has it or derives it.
        gate: String,
        /// When it is said to have answered: later than now.
        at: Timestamp,
        /// Who wrote that down: `user@machine`.
        by: String,
    },
    /// It has not been live in the source for long enough since it went live, or since a gate failed there.
    Soaking {
        /// From when on it is counted.
        since: Timestamp,
        /// How long it is to be live.
        wanted: Millis,
        /// The gate whose failure it is counted from; `None`: it is counted from when the release went live.
        after_failure_of: Option<String>,
    },
    /// It should have been live for long enough by now, and nobody has looked whether it was.
    Unseen {
        /// From when on it is counted.
        since: Timestamp,
        /// How long it was to be live.
        wanted: Millis,
        /// When it was last seen live.
        seen_at: Timestamp,
    },
    /// The target is not changed now.
    Frozen {
        /// For people, in the words of who froze it.
        why: String,
    },
    /// It was taken back in the target because it is bad.
    Rejected {
        /// When it was taken back.
        at: Timestamp,
        /// Who took it back: `user@machine`.
        by: String,
        /// What was wrong with it, in brief.
        why: String,
    },
}

/// One sentence without times, which whoever shows it writes in their own zone.
impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::Unasked { gate } => write!(f, "gate {gate:?} was not asked about this release"),
            Holds::Failed { gate, because, .. } => write!(f, "gate {gate:?} failed: {because}"),
            Holds::NotYet { gate, because, .. } => write!(f, "gate {gate:?} says not yet: {because}"),
            Holds::Expired { gate, .. } => write!(f, "what gate {gate:?} answered does not hold any more"),
            Holds::Unfounded { gate, by, .. } => {
                write!(f, "gate {gate:?} is said to have passed by {by}, without evidence")
            }
            Holds::Ahead { gate, by, .. } => {
                write!(
                    f,
                    "the answer of gate {gate:?} is from the future: the clock here or that of {by} is wrong"
                )
            }
            Holds::Soaking { wanted, after_failure_of: None, .. } => {
                write!(f, "it is not live for {wanted} yet")
            }
            Holds::Soaking { wanted, after_failure_of: Some(gate), .. } => {
                write!(f, "it is not live for {wanted} yet since gate {gate:?} failed")
            }
            Holds::Unseen { wanted, .. } => {
                write!(f, "nobody has looked whether it was live for {wanted}")
            }
            Holds::Frozen { why } => write!(f, "the environment is frozen: {why}"),
            Holds::Rejected { by, why, .. } => write!(f, "it was rejected by {by}: {why}"),
        }
    }
}
