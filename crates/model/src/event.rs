//! Events: all that the engine ever says, to the journal, the terminal, the API and the notifiers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Evidence, Failure, FailureKind, HostId, Place, Plan, Progress, Requester, RunId, Slot, StepId, Timestamp,
    condemns,
};

/// Something that has happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The run that it is about.
    pub run: RunId,
    /// Rises by one within a run, from 0.
    pub seq: u64,
    /// When, by the clock of the machine that ran it.
    pub at: Timestamp,
    /// What has happened. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum EventKind {
    /// The run has begun; nothing was done before.
    RunStarted {
        /// What the run does, whole: everything that is said later names steps of it.
        plan: Box<Plan>,
        /// `user@machine` of the process that runs it.
        owner: String,
        /// Who asked for it, where that is not plainly the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requester: Option<Requester>,
    },
    /// Another process took the run over: what was under way is unknown and will be looked at.
    Adopted {
        /// `user@machine` of the process that took it over.
        owner: String,
        /// Which way the run went, as the hosts say.
        progress: Progress,
        /// Hosts that do not know of the run any more, for a later one has changed them: they are left as they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<HostId>,
        /// Hosts of the run that did not answer, or that somebody left out by name (`--skip`): nothing is done there, and
        /// what they hold of the run is ended by whoever reaches them next.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<HostId>,
    },
    /// Effects that come next, written down ahead of their time: from here on each may have happened.
    Intended {
        /// By their places in the plan.
        steps: Vec<StepId>,
    },
    /// The step is under way.
    StepStarted {
        /// Which step, by its place in the run's plan.
        step: StepId,
    },
    /// The step is done.
    StepSucceeded {
        /// Which step, by its place in the run's plan.
        step: StepId,
        /// What was seen, for a step that looks; else empty.
        evidence: Vec<Evidence>,
        /// The last lines that a program of the user's wrote, oldest first; empty for a step that runs none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        said: Vec<String>,
    },
    /// The step was not done, or not to its end: it may have had an effect all the same.
    StepFailed {
        /// Which step, by its place in the run's plan.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// Everything done so far will be undone, last first.
    UnwindStarted {
        /// What went wrong first.
        cause: Failure,
    },
    /// What takes the step back is under way.
    UndoStarted {
        /// Which step, by its place in the run's plan.
        step: StepId,
    },
    /// The step is taken back.
    UndoSucceeded {
        /// Which step, by its place in the run's plan.
        step: StepId,
    },
    /// What takes the step back failed: its host waits for a person, the run ends stuck.
    UndoFailed {
        /// Which step, by its place in the run's plan.
        step: StepId,
        /// Why it could not be taken back.
        failure: Failure,
    },
    /// The release serves and has passed its gates; nothing is undone from here on.
    Committed,
    /// The run is over; no event follows.
    RunEnded {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How far a step is that takes its time, as whoever performs it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headway {
    /// Of `of`; rises within a step.
    pub done: u32,
    /// How much there is to do, at least 1.
    pub of: u32,
    /// On one line, what there is to say so far: `no failures`.
    pub seen: String,
    /// What a program of the user's has written since this was told last, line by line; empty where none runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

/// A step's [`Headway`], for whoever watches the run. It is no [`Event`]: no journal has it, and it may be let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProgress {
    /// The run that the step is of.
    pub run: RunId,
    /// When it was seen, by the clock of the machine that runs it.
    pub at: Timestamp,
    /// Which step, by its place in the run's plan.
    pub step: StepId,
    /// How far it is.
    #[serde(flatten)]
    pub headway: Headway,
}

/// Failures of each kind that a record tells.
pub const BRIEF_FAILURES_MAX: usize = 20;
/// Longest message of the failure that an outcome in a host's record is about, in bytes.
const NOTED_BYTES_MAX: usize = 90;
/// Longest message of each of two failures in a host's record, and of a warning, in bytes.
const NOTED_ASIDE_BYTES_MAX: usize = 40;

/// How a run ends (P8). There is no other way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// `warnings` are tidying-up steps that failed after the release was committed.
    Succeeded {
        /// Tidying-up steps that failed after the release was committed.
        warnings: Vec<Failure>,
    },
    /// No traffic was moved and what was started has been stopped again.
    Failed {
        /// Why it was not done.
        failure: Failure,
    },
    /// Traffic was moved, and moved back: the previous release is live.
    RolledBack {
        /// Why it was undone.
        failure: Failure,
    },
    /// An undo failed.
    Stuck(Stuck),
}

/// A run whose undo failed: what is live, and what to type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stuck {
    /// Why the run was undone.
    pub failure: Failure,
    /// What could not be undone.
    pub undo_failures: Vec<Failure>,
    /// What was seen when the run ended.
    #[serde(flatten)]
    pub seen: WhoIsLive,
    /// What to type, in order.
    pub commands: Vec<String>,
}

/// Which slot has the traffic on which host, by looking at the hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WhoIsLive {
    /// Where the traffic goes, as the routers say; where a router cannot be asked, the slot that is recorded as active
    /// and runs. Hosts of which neither is known are missing.
    pub live: BTreeMap<HostId, Slot>,
    /// Hosts whose router could not be asked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub silent: BTreeSet<HostId>,
}

impl WhoIsLive {
    /// What `host` may say: of itself alone.
    fn only(&self, host: &HostId) -> Self {
        let live = self.live.get(host).map(|slot| (host.clone(), *slot)).into_iter().collect();
        Self { live, silent: self.silent.get(host).cloned().into_iter().collect() }
    }
}

impl Outcome {
    /// As it stands in JSON and in the journal: `succeeded`, `failed`, `rolled_back`, `stuck`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Succeeded { .. } => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::RolledBack { .. } => "rolled_back",
            Outcome::Stuck(_) => "stuck",
        }
    }

    /// For the record of `place`, which must not grow: its [failures](Failure::noted), and of warnings and failed undos the
    /// first that is about that host (of the store's any). What is live there is looked at, and what to type is said by who ran it.
    #[must_use]
    pub fn noted(&self, place: &Place) -> Self {
        let one = |failures: &[Failure]| -> Vec<Failure> {
            let is_about = |at: &HostId| place.host().is_none_or(|host| at == host);
            let here = failures.iter().find(|failure| failure.host.as_ref().is_none_or(is_about));
            here.map(|failure| failure.noted(NOTED_ASIDE_BYTES_MAX)).into_iter().collect()
        };
        match self {
            Outcome::Succeeded { warnings } => Outcome::Succeeded { warnings: one(warnings) },
            Outcome::Failed { failure } => Outcome::Failed { failure: failure.noted(NOTED_BYTES_MAX) },
            Outcome::RolledBack { failure } => {
                Outcome::RolledBack { failure: failure.noted(NOTED_BYTES_MAX) }
            }
            Outcome::Stuck(stuck) => Outcome::Stuck(Stuck {
                failure: stuck.failure.noted(NOTED_ASIDE_BYTES_MAX),
                undo_failures: one(&stuck.undo_failures),
                seen: WhoIsLive::default(),
                commands: Vec::new(),
            }),
        }
    }

    /// As `host` has it in its record: its failures are [in its words](Failure::told_by), the first
    /// [`BRIEF_FAILURES_MAX`] of warnings and failed undos, and there are no commands to type.
    #[must_use]
    pub fn told_by(&self, host: &HostId) -> Self {
        let few = |failures: &[Failure]| -> Vec<Failure> {
            failures.iter().take(BRIEF_FAILURES_MAX).map(|failure| failure.told_by(host)).collect()
        };
        match self {
            Outcome::Succeeded { warnings } => Outcome::Succeeded { warnings: few(warnings) },
            Outcome::Failed { failure } => Outcome::Failed { failure: failure.told_by(host) },
            Outcome::RolledBack { failure } => Outcome::RolledBack { failure: failure.told_by(host) },
            Outcome::Stuck(stuck) => Outcome::Stuck(Stuck {
                failure: stuck.failure.told_by(host),
                undo_failures: few(&stuck.undo_failures),
                seen: stuck.seen.only(host),
                commands: Vec::new(),
            }),
        }
    }

    /// Whether this end says that the release is bad: it was tried, and taken back for a reason that [condemns](crate::condemns)
    /// it. A gate that failed where no traffic was moved may have been asked before anything was tried, and does not count.
    #[must_use]
    pub fn rejects(&self) -> bool {
        match self {
            Outcome::Succeeded { .. } => false,
            Outcome::Failed { failure } => failure.kind == FailureKind::Unhealthy,
            Outcome::RolledBack { failure } => condemns(failure),
            Outcome::Stuck(stuck) => condemns(&stuck.failure),
        }
    }

    /// Why the run did not succeed; of a stuck one why it was undone. `None` for one that succeeded.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Outcome::Succeeded { .. } => None,
            Outcome::Failed { failure } | Outcome::RolledBack { failure } => Some(failure),
            Outcome::Stuck(stuck) => Some(&stuck.failure),
        }
    }
}
