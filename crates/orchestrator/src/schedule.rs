//! A service's schedule: what is due, and one tick of it from the look at the registry to the run's end.
//!
//! Each tick is written down before anything is done for it, so that it makes at most one run, whatever becomes of this
//! process. What was done is remembered on this machine, one file a service and environment; that a release was rejected is
//! on its hosts. A failure of the release keeps it from being tried again until its tag means other bytes, or until there is a
//! newer one; after a failure of the world the next tick tries again.
//!
//! Absent: waiting. Whoever calls (cron, a daemon) does so when it is time, one call at a time on one machine.

use std::sync::Arc;

use lockgate_model::{
    EnvironmentName, Failure, FailureKind, Gates, Handled, HostId, Mask, Outcome, Place, Remembered,
    Repository, Schedule, ScheduleLine, ScheduledEnd, ScheduledWord, Service, ServiceName, StatusWord,
    TOLD_CHARS_MAX, Tag, Timestamp, Zone,
};
use lockgate_plan::schedule::{self, Due, Judged, Versioned};
use lockgate_ports::{Host, Registry};

use crate::interrupted::before_anything;
use crate::{Report, Session, Trouble, Want};

/// Only Lockgate's user reads what failed and why.
const MODE: u32 = 0o600;

/// What all schedules of a project share.
pub struct Scheduler {
    pub registry: Arc<dyn Registry>,
    /// This machine, which remembers.
    pub host: Arc<dyn Host>,
    /// Where it does, absolute; made when there is something to remember.
    pub dir: String,
    /// This machine's time zone.
    pub here: Zone,
}

/// Which schedule.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    pub environment: &'a EnvironmentName,
    pub service: &'a Service,
    pub schedule: &'a Schedule,
}

/// A tick and all that is known of its run.
#[derive(Debug, Clone)]
pub struct Turned {
    pub handled: Handled,
    /// `None` where nothing was run.
    pub report: Option<Report>,
    /// It could not be written down what this came to, so the next tick may do it again.
    pub forgotten: Option<Failure>,
}

impl Scheduler {
    /// How far it has got, for people. `now` is this machine's clock.
    pub async fn line(&self, turn: &Turn<'_>, now: Timestamp) -> ScheduleLine {
        let remembered = self.remembered(turn).await;
        let missed = remembered.as_ref().ok().and_then(|remembered| {
            match schedule::due(turn.schedule, &self.here, remembered, now) {
                Due::Missed { tick } => Some(tick),
                Due::Now { .. } | Due::Later { .. } => None,
            }
        });
        ScheduleLine {
            environment: turn.environment.clone(),
            service: turn.service.name.clone(),
            schedule: turn.schedule.clone(),
            zone: turn.schedule.zone(&self.here).clone(),
            next: turn.schedule.next_after(&self.here, now),
            remembered,
            missed,
        }
    }

    /// Whether it is time.
    ///
    /// # Errors
    /// What is remembered cannot be read: then it is not known which ticks were handled, and none is.
    pub async fn due(&self, turn: &Turn<'_>, now: Timestamp) -> Result<Due, Failure> {
        Ok(schedule::due(turn.schedule, &self.here, &self.remembered(turn).await?, now))
    }

    /// Notes that nobody was there at this tick, so that it is told once.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn miss(&self, turn: &Turn<'_>, tick: Timestamp, now: Timestamp) -> Result<Handled, Failure> {
        let handled = Handled { tick, at: now, end: ScheduledEnd::Missed };
        let before = self.remembered(turn).await?;
        self.remember(turn, &Remembered { tick: Some(tick), last: Some(handled.clone()), ..before }).await?;
        Ok(handled)
    }

    /// Does what the schedule says, for this tick. People are told of all that fails.
    pub async fn handle(&self, session: &Session<'_>, turn: &Turn<'_>, tick: Timestamp) -> Turned {
        let clock = &session.tools.clock;
        let before = match self.begin(turn, tick).await {
            Ok(before) => before,
            Err(failure) => {
                let end = unbegun(session, turn, None, failure).await;
                let handled = Handled { tick, at: clock.now(), end };
                return Turned { handled, report: None, forgotten: None };
            }
        };
        let (end, report) = self.do_it(session, turn, &before).await;
        let handled = Handled { tick, at: clock.now(), end };
        let forgotten = self.remember(turn, &after(before, &handled)).await.err();
        Turned { handled, report, forgotten }
    }

    /// Writes down that this tick is being handled.
    async fn begin(&self, turn: &Turn<'_>, tick: Timestamp) -> Result<Remembered, Failure> {
        let before = self.remembered(turn).await?;
        let begun = Remembered { tick: Some(tick), ..before };
        self.remember(turn, &begun).await?;
        Ok(begun)
    }

    async fn do_it(
        &self,
        session: &Session<'_>,
        turn: &Turn<'_>,
        before: &Remembered,
    ) -> (ScheduledEnd, Option<Report>) {
        if let Some(end) = bring_to_end(session).await {
            return (end, None);
        }
        let interrupt = &session.tools.interrupt;
        let newest = match before_anything(interrupt, self.newest(turn)).await {
            Ok(Ok(newest)) => newest,
            Ok(Err(tags)) => return (ScheduledEnd::NoVersion { tags }, None),
            Err(failure) => return (unbegun(session, turn, None, failure).await, None),
        };
        let tag = newest.tag.clone();
        let want = Want::Deploy { tag: tag.clone(), gates: Gates::All, again: false };
        let planned = match before_anything(interrupt, session.plan(&want)).await {
            Ok(planned) => planned,
            Err(failure) => return (unbegun(session, turn, Some(tag), failure).await, None),
        };
        let release = planned.plan.release.clone();
        let end = match schedule::judge(&newest, &release, &planned.observed, before) {
            Judged::Live => ScheduledEnd::Live { release },
            Judged::Older { live } => ScheduledEnd::Older { live, newest: tag },
            Judged::Rejected(rejected) => ScheduledEnd::Rejected { rejected },
            Judged::FailedBefore(failed) => ScheduledEnd::FailedBefore { failed },
            Judged::Deploy => return ran(session, &want, tag).await,
        };
        (end, None)
    }

    /// The tag with the highest version, or how many tags there are of which none counts.
    async fn newest(&self, turn: &Turn<'_>) -> Result<Result<Versioned, usize>, Failure> {
        let Some(image) = &turn.service.image else {
            let message =
                format!("{} has no `image`, so there are no tags to choose from", turn.service.name);
            return Err(Failure::new(FailureKind::Refused, message).hint("give it one in lockgate.yaml"));
        };
        let repository = Repository::new(image.as_str())
            .map_err(|invalid| Failure::new(FailureKind::Refused, invalid.to_string()))?;
        let tags = self.registry.tags(&repository).await.map_err(Failure::from)?;
        Ok(schedule::newest(turn.schedule, &tags).ok_or(tags.len()))
    }

    async fn remembered(&self, turn: &Turn<'_>) -> Result<Remembered, Failure> {
        let path = self.file(turn.environment, &turn.service.name);
        let Some(content) = self.host.read_own(&path).await.map_err(Failure::from)?.content else {
            return Ok(Remembered::default());
        };
        serde_json::from_slice(&content).map_err(|error| {
            let message = format!("{path} does not say what the schedule has done: {error}");
            Failure::new(FailureKind::Other, message).hint(
                "move it away: only what was done by the schedule is forgotten, and the hosts are the truth",
            )
        })
    }

    async fn remember(&self, turn: &Turn<'_>, remembered: &Remembered) -> Result<(), Failure> {
        let path = self.file(turn.environment, &turn.service.name);
        let mut content = serde_json::to_vec_pretty(remembered)
            .map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
        content.push(b'\n');
        self.host.write_own(&path, &content, MODE).await.map_err(Failure::from)
    }

    /// Names of environments and services have no dot, so no two have one file.
    fn file(&self, environment: &EnvironmentName, service: &ServiceName) -> String {
        format!("{}/{environment}.{service}.json", self.dir)
    }
}

/// What was cut off is brought to its end before anything is decided: what is seen in the midst of it is not settled. `Some`
/// where the tick ends with that: what waits for a person is not touched by itself, and what had to be taken back is a
/// reason to wait for the next tick.
async fn bring_to_end(session: &Session<'_>) -> Option<ScheduledEnd> {
    let status = session.status().await;
    if status.word() == StatusWord::Stuck {
        return Some(ScheduledEnd::Waits);
    }
    let held = status.leases.iter().find(|(_, lease)| lease.unfinished.is_some());
    let wanted = held.map(|(host, _)| status.wanted.get(host))?;
    match session.resume().await {
        Ok(resumed) => {
            let (run, outcome) = resumed.ended?;
            let is_good = matches!(outcome, Outcome::Succeeded { .. });
            let release = wanted.filter(|_| !is_good)?.clone();
            Some(ScheduledEnd::Ran { run, release, outcome })
        }
        Err(trouble) => {
            let failure = trouble.failure().map(|failure| masked(session, failure));
            Some(troubled(&trouble, failure, wanted.map(|release| release.tag.clone())))
        }
    }
}

/// The one place that runs.
async fn run(session: &Session<'_>, want: &Want) -> Result<Report, Trouble> {
    session.run(want).await
}

async fn ran(session: &Session<'_>, want: &Want, tag: Tag) -> (ScheduledEnd, Option<Report>) {
    match run(session, want).await {
        Ok(report) => {
            let release = report.plan.release.clone();
            let end = match report.run {
                Some(run) => ScheduledEnd::Ran { run, release, outcome: report.outcome.clone() },
                // Somebody was faster.
                None => ScheduledEnd::Live { release },
            };
            (end, Some(report))
        }
        Err(trouble) => {
            let failure = trouble.failure().map(|failure| masked(session, failure));
            (troubled(&trouble, failure, Some(tag)), None)
        }
    }
}

/// Of a run that came to none of its ends. People were told of it.
fn troubled(trouble: &Trouble, failure: Option<Failure>, tag: Option<Tag>) -> ScheduledEnd {
    let Some(failure) = failure else { return ScheduledEnd::Waits };
    let word = match trouble {
        Trouble::Held(_) | Trouble::LeaseLost(_) => ScheduledWord::Held,
        Trouble::Midway(_) => ScheduledWord::Unknown,
        Trouble::Stuck { .. } => ScheduledWord::Stuck,
        Trouble::Failure(_) | Trouble::Journal(_) | Trouble::Illegal(_) => word_of(&failure),
    };
    ScheduledEnd::Failed { tag, how: word, failure }
}

/// Of what failed before a run could begin; whoever waits for the release is told.
async fn unbegun(session: &Session<'_>, turn: &Turn<'_>, tag: Option<Tag>, failure: Failure) -> ScheduledEnd {
    let failure = masked(session, failure);
    let asked = tag.as_ref().map_or(turn.schedule.deploy.as_str(), Tag::as_str);
    session.tools.teller.unbegun(session, Some(asked.to_owned()), failure.clone()).await;
    ScheduledEnd::Failed { tag, how: word_of(&failure), failure }
}

/// What hosts and registries said, without secrets: it is kept, too.
fn masked(session: &Session<'_>, failure: Failure) -> Failure {
    Mask::of(&session.site.secrets).failure(failure)
}

fn word_of(failure: &Failure) -> ScheduledWord {
    match failure.kind {
        FailureKind::GateNotYet => ScheduledWord::NotYet,
        FailureKind::LeaseLost => ScheduledWord::Held,
        FailureKind::NotFound
        | FailureKind::Unauthorized
        | FailureKind::Unreachable
        | FailureKind::TimedOut
        | FailureKind::Unhealthy
        | FailureKind::GateFailed
        | FailureKind::Conflict
        | FailureKind::Cancelled
        | FailureKind::DiskFull
        | FailureKind::TooLarge
        | FailureKind::Refused
        | FailureKind::Other => ScheduledWord::Failed,
    }
}

/// What is remembered when a tick is over: how it ended in brief, and the release that is not tried again. Once the newest is
/// live, none is.
fn after(before: Remembered, handled: &Handled) -> Remembered {
    let failed = match &handled.end {
        ScheduledEnd::Ran { outcome: Outcome::Succeeded { .. }, .. } | ScheduledEnd::Live { .. } => None,
        ScheduledEnd::Ran { release, outcome, .. } => {
            schedule::own_fault(release, outcome, handled.at).or(before.failed)
        }
        ScheduledEnd::NoVersion { .. }
        | ScheduledEnd::Older { .. }
        | ScheduledEnd::Rejected { .. }
        | ScheduledEnd::FailedBefore { .. }
        | ScheduledEnd::Waits
        | ScheduledEnd::Missed
        | ScheduledEnd::Failed { .. } => before.failed,
    };
    let end = match &handled.end {
        ScheduledEnd::Ran { run, release, outcome } => ScheduledEnd::Ran {
            run: *run,
            release: release.clone(),
            outcome: outcome.noted(&Place::Host(HostId::local())),
        },
        ScheduledEnd::Failed { tag, how, failure } => {
            ScheduledEnd::Failed { tag: tag.clone(), how: *how, failure: failure.noted(TOLD_CHARS_MAX) }
        }
        other => other.clone(),
    };
    Remembered { tick: Some(handled.tick), last: Some(Handled { end, ..handled.clone() }), failed }
}
