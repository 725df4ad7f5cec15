//! What was brought to an end that had been left, and what was left as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Behind, EnvironmentName, Exit, Failure, HostId, HostObserved, Outcome, Refusal, Release, RunId,
    ServiceName, ServiceStatus, Slot, StatusWord,
};

/// What `resume` brings to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftover {
    /// A run whose orchestrator is gone.
    CutOff,
    /// A release that should be live and has died with nobody at work.
    Died,
    /// A router whose parts send the service's requests to different slots.
    Torn,
    /// What still runs beside the live release: kept warm for long enough, or left when tidying up was cut short.
    Beside,
}

impl Leftover {
    /// In the order in which they are brought to an end.
    pub const ALL: [Leftover; 4] = [Leftover::CutOff, Leftover::Died, Leftover::Torn, Leftover::Beside];
}

/// A run that `resume` brought to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The run that ended.
    pub run: RunId,
    /// What had been left of it.
    pub what: Leftover,
    /// How it ended now.
    pub outcome: Outcome,
}

/// What a `resume` of one service came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// In the order in which they ended. Empty where nothing was left.
    pub ended: Vec<Ended>,
    /// As it was seen after the last of them, on all hosts: how a run ended says nothing of hosts that it did not concern.
    pub status: ServiceStatus,
    /// Why what comes after them could not be done.
    pub refusal: Option<Box<Refusal>>,
}

/// As `--format json` prints it: one for each run that was brought to its end, or one where nothing was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumedLine {
    /// Always `result`.
    pub event: String,
    /// What was resumed.
    pub service: ServiceName,
    /// The run that was brought to its end. `None` where nothing was left.
    pub run: Option<RunId>,
    /// `None` where nothing was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// What was seen after the last: only its line has it.
    #[serde(flatten)]
    pub seen: Option<SeenAfter>,
    /// The exit code: on the last line of the whole, else of this run's end.
    pub exit: u8,
}

/// What was seen after the last run had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAfter {
    /// One word for the service as a whole.
    pub status: StatusWord,
    /// What was seen on each host.
    pub hosts: BTreeMap<HostId, HostObserved>,
    /// Hosts that could not be looked at, and why.
    pub unseen: BTreeMap<HostId, Failure>,
    /// Hosts that a run went on without, and that have not caught up.
    pub behind: BTreeMap<HostId, Behind>,
}

impl SeenAfter {
    fn of(status: &ServiceStatus, word: StatusWord) -> Self {
        Self {
            status: word,
            hosts: status.observed.hosts.clone(),
            unseen: status.unseen.clone(),
            behind: status.behind(),
        }
    }
}

impl Resumed {
    fn outcomes(&self) -> Vec<&Outcome> {
        self.ended.iter().map(|end| &end.outcome).collect()
    }

    /// The whole in one word: never better than what was seen, nor than any of the ends.
    #[must_use]
    pub fn word(&self) -> StatusWord {
        self.status.word().after(&self.outcomes())
    }

    /// Of what was brought to its end and seen after it; a refusal that followed has its own.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.ended.is_empty() {
            true => Exit::of_look(self.word()),
            false => Exit::of_ends(&self.outcomes(), self.word()),
        }
    }

    /// Never empty.
    #[must_use]
    pub fn lines(&self) -> Vec<ResumedLine> {
        let (event, service) = ("result".to_owned(), self.status.service.clone());
        let seen = Some(SeenAfter::of(&self.status, self.word()));
        let line = |run, result, seen, exit: Exit| ResumedLine {
            event: event.clone(),
            service: service.clone(),
            run,
            result,
            seen,
            exit: exit.code(),
        };
        let Some((last, earlier)) = self.ended.split_last() else {
            return vec![line(None, None, seen, self.exit())];
        };
        let mut lines: Vec<ResumedLine> = earlier
            .iter()
            .map(|end| line(Some(end.run), Some(end.outcome.clone()), None, Exit::from(&end.outcome)))
            .collect();
        lines.push(line(Some(last.run), Some(last.outcome.clone()), seen, self.exit()));
        lines
    }
}

/// A run that somebody had left as it is, and where that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// `None` where nothing was begun, and where it could not be seen on any host.
    pub run: Option<RunId>,
    /// What the run is about.
    pub release: Option<Release>,
    /// What was seen within a moment; hosts that were too slow are among the unseen.
    pub status: ServiceStatus,
    /// The hosts that are used, in the configuration's order.
    pub hosts: Vec<HostId>,
}

/// As `--format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AbandonedLine {
    /// Always `result`.
    pub event: String,
    /// `None` as for [`Abandoned::run`].
    pub run: Option<RunId>,
    /// What was left.
    pub service: ServiceName,
    /// Where it was left.
    pub environment: EnvironmentName,
    /// What the run is about, where that is known.
    pub release: Option<Release>,
    /// How things stand.
    pub result: AbandonedResult,
    /// The exit code.
    pub exit: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AbandonedResult {
    /// Always `abandoned`.
    pub outcome: String,
    /// Which slot is live where, of hosts that could be seen.
    pub live: BTreeMap<HostId, Slot>,
    pub hosts: BTreeMap<HostId, HostObserved>,
    pub unseen: BTreeMap<HostId, Failure>,
    pub commands: Vec<String>,
}

impl Abandoned {
    /// What to type, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let ServiceStatus { service, environment, .. } = &self.status;
        ["status", "resume"].map(|what| format!("lockgate --env {environment} {what} {service}")).into()
    }

    /// As `--format json` prints it.
    #[must_use]
    pub fn line(&self) -> AbandonedLine {
        let hosts = &self.status.observed.hosts;
        let live = hosts.iter().filter_map(|(host, seen)| Some((host.clone(), seen.live()?.0)));
        AbandonedLine {
            event: "result".to_owned(),
            run: self.run,
            service: self.status.service.clone(),
            environment: self.status.environment.clone(),
            release: self.release.clone(),
            result: AbandonedResult {
                outcome: "abandoned".to_owned(),
                live: live.collect(),
                hosts: hosts.clone(),
                unseen: self.status.unseen.clone(),
                commands: self.commands(),
            },
            exit: Exit::Stuck.code(),
        }
    }
}
