//! Releases that go live by themselves: when, which, and what is remembered of it.

use serde::{Deserialize, Serialize};

use crate::{
    Cron, EnvironmentName, Failure, Millis, Outcome, Prospect, Rejected, Release, RunId, ServiceName, Tag,
    Timestamp, Zone,
};

/// When a service is looked at, and which of its releases goes live in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When it is looked at.
    pub cron: Cron,
    /// What `cron` is meant in; `None`: the time zone of the machine that acts.
    pub zone: Option<Zone>,
    /// Which of the releases goes live.
    pub deploy: Pick,
    /// Whether a version such as `2.0.0-rc.1` counts.
    pub pre_releases: bool,
    /// How long after its time a tick is still made up for that nobody handled then.
    pub catch_up: Millis,
}

impl Schedule {
    /// `here` is the zone of the machine that acts.
    #[must_use]
    pub fn zone<'z>(&'z self, here: &'z Zone) -> &'z Zone {
        self.zone.as_ref().unwrap_or(here)
    }

    /// The first tick after `at`. `None` when there is none any more.
    #[must_use]
    pub fn next_after(&self, here: &Zone, at: Timestamp) -> Option<Timestamp> {
        self.cron.next_after(self.zone(here), at)
    }
}

/// Which of a service's releases goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// The tag with the highest version, by Semantic Versioning.
    LatestSemver,
    /// What is live in the environment that promotions come from, once its gates are open.
    Promoted,
}

impl Pick {
    /// As in `lockgate.yaml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Pick::LatestSemver => "latest-semver",
            Pick::Promoted => "promoted",
        }
    }
}

/// What this machine remembers of a service's schedule in an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The tick that was handled last. It is written down before anything is done, so that no tick makes two runs. `None`
    /// where none was yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
    /// What that came to. `None` while it goes on, and when whoever was at it did not get to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Handled>,
    /// A release that failed by its own fault, and is not tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedBefore>,
}

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// The time for which it was due, by the schedule.
    pub tick: Timestamp,
    /// When it was over.
    pub at: Timestamp,
    /// What was done. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub end: ScheduledEnd,
}

/// A release that failed by its own fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBefore {
    /// Which one. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub release: Release,
    /// When, by this machine's clock.
    pub failed_at: Timestamp,
    /// In brief, without log lines.
    pub why: String,
}

/// What was done for a service at a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum ScheduledEnd {
    /// The newest release is live already.
    Live {
        /// What is live.
        release: Release,
    },
    /// None of the repository's tags is a version that counts.
    NoVersion {
        /// How many tags there are.
        tags: usize,
    },
    /// What is live is newer than the newest tag: somebody deployed it, or a tag was removed.
    Older {
        /// What is live.
        live: Release,
        /// The newest tag in the repository.
        newest: Tag,
    },
    /// The hosts say that the newest release was rejected.
    Rejected {
        /// Who says so, and why.
        rejected: Rejected,
    },
    /// This machine tried the newest release before, and it failed by its own fault.
    FailedBefore {
        /// When that was, and why.
        failed: FailedBefore,
    },
    /// Nothing could be promoted: a gate is shut, or nothing is live in the source.
    NotPromoted {
        /// What was seen.
        prospect: Box<Prospect>,
    },
    /// An earlier run is stuck and waits for a person.
    Waits,
    /// Nobody was there at that time, and it is too late now.
    Missed,
    /// A run was made.
    Ran {
        /// Which one.
        run: RunId,
        /// What it was to make live.
        release: Release,
        /// How it ended.
        outcome: Outcome,
    },
    /// It failed before a run began, or a run came to none of its ends.
    Failed {
        /// What was to be deployed, where that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// What it came to, in one word.
        how: ScheduledWord,
        /// Why.
        failure: Failure,
    },
}

/// What was done for a service at a tick, in one word; the exit codes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduledWord {
    /// Nothing was to be done.
    Nothing,
    /// A run made the newest release live.
    Succeeded,
    /// A gate says that it is too early.
    NotYet,
    /// Nothing was changed, and something went wrong.
    Failed,
    /// Somebody else is at work on the service.
    Held,
    /// The release was taken back, and what was live before is again.
    RolledBack,
    /// A run was left in the middle.
    Unknown,
    /// A run waits for a person.
    Stuck,
}

impl ScheduledWord {
    /// As it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ScheduledWord::Nothing => "nothing",
            ScheduledWord::Succeeded => "succeeded",
            ScheduledWord::NotYet => "not_yet",
            ScheduledWord::Failed => "failed",
            ScheduledWord::Held => "held",
            ScheduledWord::RolledBack => "rolled_back",
            ScheduledWord::Unknown => "unknown",
            ScheduledWord::Stuck => "stuck",
        }
    }

    /// Of two ends the one that needs somebody sooner; the first of two that are alike.
    #[must_use]
    pub fn or_worse(self, other: ScheduledWord) -> ScheduledWord {
        let urgency = |word: ScheduledWord| match word {
            ScheduledWord::Nothing => 0,
            ScheduledWord::Succeeded => 1,
            ScheduledWord::NotYet => 2,
            ScheduledWord::RolledBack | ScheduledWord::Failed | ScheduledWord::Held => 3,
            ScheduledWord::Unknown => 4,
            ScheduledWord::Stuck => 5,
        };
        if urgency(other) > urgency(self) { other } else { self }
    }
}

impl ScheduledEnd {
    /// In one word.
    #[must_use]
    pub fn word(&self) -> ScheduledWord {
        match self {
            ScheduledEnd::Live { .. }
            | ScheduledEnd::NoVersion { .. }
            | ScheduledEnd::Older { .. }
            | ScheduledEnd::Rejected { .. }
            | ScheduledEnd::FailedBefore { .. }
            | ScheduledEnd::Missed => ScheduledWord::Nothing,
            ScheduledEnd::NotPromoted { prospect } => match prospect.exit() {
                crate::Exit::NotYet => ScheduledWord::NotYet,
                // Held for good by a rejection, as one of the newest release is.
                _ => ScheduledWord::Nothing,
            },
            ScheduledEnd::Waits => ScheduledWord::Stuck,
            ScheduledEnd::Ran { outcome, .. } => match outcome {
                Outcome::Succeeded { .. } => ScheduledWord::Succeeded,
                Outcome::Failed { failure } if failure.kind == crate::FailureKind::GateNotYet => {
                    ScheduledWord::NotYet
                }
                Outcome::Failed { .. } => ScheduledWord::Failed,
                Outcome::RolledBack { .. } => ScheduledWord::RolledBack,
                Outcome::Stuck(_) => ScheduledWord::Stuck,
            },
            ScheduledEnd::Failed { how, .. } => *how,
        }
    }
}

/// A service's schedule in an environment, and how far it has got.
#[derive(Debug, Clone)]
pub struct ScheduleLine {
    /// Where releases go live.
    pub environment: EnvironmentName,
    /// Which service's.
    pub service: ServiceName,
    /// As it is configured.
    pub schedule: Schedule,
    /// The zone that its times are meant in.
    pub zone: Zone,
    /// What is remembered here, or why that cannot be read.
    pub remembered: Result<Remembered, Failure>,
    /// A tick that is over and that nobody has handled; `None` where all were, and where none ever was.
    pub missed: Option<Timestamp>,
    /// `None` when there is none any more.
    pub next: Option<Timestamp>,
}

impl ScheduleLine {
    /// For programs; times are RFC 3339 in the schedule's zone.
    #[must_use]
    pub fn told(&self) -> ScheduleTold<'_> {
        let time = |at: Timestamp| self.zone.rfc3339(at);
        let remembered = self.remembered.as_ref().ok();
        let last = remembered.and_then(|remembered| remembered.last.as_ref());
        let begun = remembered.and_then(|remembered| remembered.tick);
        ScheduleTold {
            environment: &self.environment,
            service: &self.service,
            cron: &self.schedule.cron,
            time_zone: self.zone.name(),
            deploy: self.schedule.deploy,
            pre_releases: self.schedule.pre_releases,
            catch_up_ms: self.schedule.catch_up,
            last: last.map(|last| HandledTold {
                tick: time(last.tick),
                at: time(last.at),
                word: last.end.word(),
                end: &last.end,
            }),
            unended: begun.filter(|tick| last.is_none_or(|last| last.tick != *tick)).map(time),
            failed: remembered.and_then(|remembered| remembered.failed.as_ref()),
            missed: self.missed.map(time),
            next: self.next.map(time),
            unread: self.remembered.as_ref().err(),
        }
    }
}

/// [`ScheduleLine`] as JSON has it.
#[derive(Debug, Serialize)]
pub struct ScheduleTold<'a> {
    environment: &'a EnvironmentName,
    service: &'a ServiceName,
    cron: &'a Cron,
    time_zone: &'a str,
    deploy: Pick,
    pre_releases: bool,
    catch_up_ms: Millis,
    /// What the last tick came to that was handled to its end.
    last: Option<HandledTold<'a>>,
    /// A tick that was begun and whose end nobody wrote down.
    unended: Option<String>,
    /// What is not tried again by itself.
    failed: Option<&'a FailedBefore>,
    missed: Option<String>,
    next: Option<String>,
    /// Why it is not known what was done here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<&'a Failure>,
}

#[derive(Debug, Serialize)]
struct HandledTold<'a> {
    tick: String,
    at: String,
    word: ScheduledWord,
    #[serde(flatten)]
    end: &'a ScheduledEnd,
}

/// What a tick came to, as JSON has it: one object for each service.
#[derive(Debug, Serialize)]
pub struct TurnTold<'a> {
    /// `scheduled`.
    event: &'static str,
    environment: &'a EnvironmentName,
    service: &'a ServiceName,
    #[serde(flatten)]
    handled: HandledTold<'a>,
    /// Why it is not remembered, so that the next tick may do the same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<&'a Failure>,
}

impl<'a> TurnTold<'a> {
    /// Times are RFC 3339 in `zone`.
    #[must_use]
    pub fn new(
        environment: &'a EnvironmentName,
        service: &'a ServiceName,
        zone: &Zone,
        handled: &'a Handled,
        forgotten: Option<&'a Failure>,
    ) -> Self {
        let Handled { tick, at, end } = handled;
        let handled = HandledTold { tick: zone.rfc3339(*tick), at: zone.rfc3339(*at), word: end.word(), end };
        Self { event: "scheduled", environment, service, handled, forgotten }
    }
}
