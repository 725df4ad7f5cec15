//! A service's schedule: what is due, and one tick of it from the look at the registry to the run's end.
//!
//! Each tick is written down before anything is done for it, so that it makes at most one run, whatever becomes of this
//! process. What was done is remembered on this machine, one file a service and environment; that a release was rejected is
//! on its hosts. A failure of the release keeps it from being tried again until its tag means other bytes, or until there is a
//! newer one; after a failure of the world the next tick tries again.
//!
//! Absent: waiting. Whoever calls (cron, a daemon) does so when it is time, one call at a time on one machine.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::Clock;
use lockgate_model::{
    Aim, By, EnvironmentName, Exit, Failure, FailureKind, Gates, Handled, HostId, Leftover, Mask, Outcome,
    Pick, Place, Promotable, Refusal, Release, Remembered, Report, Repository, Requester, Resume, Resumed,
    Schedule, ScheduleLine, ScheduledEnd, ScheduledWord, Service, ServiceName, StatusWord, TOLD_CHARS_MAX,
    Tag, Timestamp, Want, Zone,
};
use lockgate_plan::schedule::{self, Due, Judged, Versioned};
use lockgate_ports::{Host, Registry};

use crate::handle::Handle;
use crate::promotion::{Promoter, promotions};
use crate::{InProcess, Orchestrator};

/// Only Lockgate's user reads what failed and why.
const MODE: u32 = 0o600;

/// What all schedules of a project share.
pub struct Scheduler {
    /// Deploys what is due.
    pub orchestrator: InProcess,
    /// Where images' tags are looked up.
    pub registry: Arc<dyn Registry>,
    /// This machine, which remembers.
    pub host: Arc<dyn Host>,
    /// Where it does, absolute; made when there is something to remember.
    pub dir: String,
    /// This machine's time zone.
    pub here: Zone,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// `user@machine`.
    pub owner: String,
    /// What registries say may hold a secret.
    pub mask: Mask,
    /// Says what may be promoted.
    pub promoter: Promoter,
}

/// Which schedule.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Where releases go live.
    pub environment: &'a EnvironmentName,
    /// What goes live.
    pub service: &'a Service,
    /// When, and which of its releases.
    pub schedule: &'a Schedule,
}

/// A tick and all that is known of its run.
#[derive(Debug, Clone)]
pub struct Turned {
    /// What is remembered of it.
    pub handled: Handled,
    /// `None` where nothing was run.
    pub report: Option<Report>,
    /// It could not be written down what this came to, so the next tick may do it again.
    pub forgotten: Option<Failure>,
}

/// Whoever shows sessions as they go on, and stops them.
#[async_trait(?Send)]
pub trait Face {
    /// What it comes to.
    async fn report(&mut self, session: Handle<Report>) -> Result<Report, Refusal>;

    /// What it comes to.
    async fn resumed(&mut self, session: Handle<Resumed>) -> Result<Resumed, Refusal>;

    /// Returns when somebody asks for the end while no session is under way.
    async fn end_asked(&mut self);
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
    pub async fn handle(&self, face: &mut dyn Face, turn: &Turn<'_>, tick: Timestamp) -> Turned {
        let before = match self.begin(turn, tick).await {
            Ok(before) => before,
            Err(failure) => {
                let end = self.unbegun(turn, None, failure).await;
                let handled = Handled { tick, at: self.clock.now(), end };
                return Turned { handled, report: None, forgotten: None };
            }
        };
        let (end, report) = self.do_it(face, turn, &before).await;
        let handled = Handled { tick, at: self.clock.now(), end };
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
        face: &mut dyn Face,
        turn: &Turn<'_>,
        before: &Remembered,
    ) -> (ScheduledEnd, Option<Report>) {
        if let Some(end) = self.bring_to_end(face, turn).await {
            return (end, None);
        }
        if turn.schedule.deploy == Pick::Promoted {
            return self.promote(face, turn, before).await;
        }
        let newest = match unless_asked(face, self.newest(turn)).await {
            Ok(Ok(newest)) => newest,
            Ok(Err(tags)) => return (ScheduledEnd::NoVersion { tags }, None),
            Err(failure) => return (self.unbegun(turn, None, failure).await, None),
        };
        let tag = newest.tag.clone();
        let want = wanted(turn, tag.clone());
        let looked = async { self.orchestrator.plan(&want).await.map_err(|refusal| failure_of(&refusal)) };
        let planned = match unless_asked(face, looked).await {
            Ok(planned) => planned,
            Err(failure) => return (self.unbegun(turn, Some(tag), failure).await, None),
        };
        let release = planned.plan.release.clone();
        let end = match schedule::judge(&newest, &release, &planned.observed, before) {
            Judged::Live => ScheduledEnd::Live { release },
            Judged::Older { live } => ScheduledEnd::Older { live, newest: tag },
            Judged::Rejected(rejected) => ScheduledEnd::Rejected { rejected },
            Judged::FailedBefore(failed) => ScheduledEnd::FailedBefore { failed },
            Judged::Deploy => return self.run(face, &want, tag).await,
        };
        (end, None)
    }

    /// What is live in the source, once its gates are open.
    async fn promote(
        &self,
        face: &mut dyn Face,
        turn: &Turn<'_>,
        before: &Remembered,
    ) -> (ScheduledEnd, Option<Report>) {
        let looked = async {
            let refused = |refusal: Refusal| failure_of(&refusal);
            let project = self.orchestrator.project();
            let steps = promotions(project, turn.service, None, Some(turn.environment)).map_err(refused)?;
            let looked = self.promoter.look(&steps[0], false).await.map_err(refused)?;
            self.promoter.keep(&looked.verdicts).await.map_err(refused)?;
            Ok(looked)
        };
        let looked = match unless_asked(face, looked).await {
            Ok(looked) => looked,
            // Somebody is at work in the source, or it is not well: the next tick asks again, and nobody is called.
            Err(failure) if failure.kind == FailureKind::GateNotYet => {
                return (ScheduledEnd::Failed { tag: None, how: ScheduledWord::NotYet, failure }, None);
            }
            Err(failure) => return (self.unbegun(turn, None, failure).await, None),
        };
        let end = match (Promoter::want(&looked), looked.prospect.promotable.clone()) {
            (Some(want), Promotable::Ready { release, .. }) => {
                match before.failed.as_ref().filter(|failed| failed.release.same_bytes(&release)) {
                    Some(failed) => ScheduledEnd::FailedBefore { failed: failed.clone() },
                    None => return self.run(face, &want, release.tag).await,
                }
            }
            (_, Promotable::Same { release }) => ScheduledEnd::Live { release },
            _ => ScheduledEnd::NotPromoted { prospect: Box::new(looked.prospect) },
        };
        (end, None)
    }

    /// What was cut off is brought to its end before anything is decided: what is seen in the midst of it is not settled.
    /// `Some` where the tick ends with that: what waits for a person is not touched by itself, and what had to be taken
    /// back is a reason to wait for the next tick.
    async fn bring_to_end(&self, face: &mut dyn Face, turn: &Turn<'_>) -> Option<ScheduledEnd> {
        let statuses = self.orchestrator.status(Some(&turn.service.name), Some(turn.environment)).await;
        let status = match statuses {
            Ok(statuses) => statuses.into_iter().next()?,
            Err(refusal) => return Some(refused(&refusal, None)),
        };
        if status.word() == StatusWord::Stuck {
            return Some(ScheduledEnd::Waits);
        }
        let held = status.leases.iter().find(|(_, lease)| lease.unfinished.is_some());
        let wanted = held.map(|(host, _)| status.wanted.get(host).cloned())?;
        let what = Resume {
            environment: Some(turn.environment.clone()),
            only: Some(Leftover::CutOff),
            ..Resume::of(turn.service.name.clone())
        };
        let session = self.orchestrator.resume(&what, &self.requester()).await;
        let resumed = match session {
            Ok(session) => face.resumed(session).await,
            Err(refusal) => Err(refusal),
        };
        match resumed {
            Ok(resumed) => ended(resumed, wanted.as_ref()),
            Err(refusal) => Some(refused(&refusal, wanted.map(|release| release.tag))),
        }
    }

    /// The one place that runs.
    async fn run(&self, face: &mut dyn Face, want: &Want, tag: Tag) -> (ScheduledEnd, Option<Report>) {
        let reported = match self.orchestrator.start(want, &self.requester()).await {
            Ok(session) => face.report(session).await,
            Err(refusal) => Err(refusal),
        };
        match reported {
            Ok(report) => {
                let release = report.plan.release.clone();
                let end = match report.run {
                    Some(run) => ScheduledEnd::Ran { run, release, outcome: report.outcome.clone() },
                    // Somebody was faster.
                    None => ScheduledEnd::Live { release },
                };
                (end, Some(report))
            }
            // People were told of it.
            Err(refusal) => (refused(&refusal, Some(tag)), None),
        }
    }

    fn requester(&self) -> Requester {
        Requester::new(By::Schedule, &self.owner)
    }

    /// Of what failed before a session could begin; whoever waits for the release is told, but for who broke it off.
    async fn unbegun(&self, turn: &Turn<'_>, tag: Option<Tag>, failure: Failure) -> ScheduledEnd {
        let failure = self.mask.failure(failure);
        // Where it is not known which, what the schedule asks for stands for it.
        let asked = tag.clone().or_else(|| Tag::new(turn.schedule.deploy.as_str()).ok());
        if let Some(asked) = asked.filter(|_| failure.kind != FailureKind::Cancelled)
            && let Err(refusal) = self
                .orchestrator
                .tell_unbegun(&wanted(turn, asked), &self.requester(), failure.clone().into())
                .await
        {
            tracing::warn!(failure = %failure_of(&refusal), "nobody could be told");
        }
        ScheduledEnd::Failed { tag, how: word_of(Refusal::from(failure.clone()).exit()), failure }
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

/// What the schedule wants to have live.
fn wanted(turn: &Turn<'_>, tag: Tag) -> Want {
    let aim = Aim::Deploy { tag, gates: Gates::All, again: false, artifact: None };
    Want {
        service: turn.service.name.clone(),
        environment: Some(turn.environment.clone()),
        skip: Vec::new(),
        exactly: None,
        run: None,
        aim,
    }
}

/// Nothing has begun yet, so nobody needs to wait for it.
async fn unless_asked<T>(
    face: &mut dyn Face,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => done,
        () = face.end_asked() => Err(Failure::new(FailureKind::Cancelled, "interrupted by the user")),
    }
}

/// Of what was brought to its end first: `None` where that says nothing against going on.
fn ended(resumed: Resumed, wanted: Option<&Release>) -> Option<ScheduledEnd> {
    if let Some(refusal) = resumed.refusal {
        return Some(refused(&refusal, wanted.map(|release| release.tag.clone())));
    }
    let is_bad = |outcome: &Outcome| !matches!(outcome, Outcome::Succeeded { .. });
    let bad = resumed.ended.into_iter().find(|end| is_bad(&end.outcome))?;
    Some(ScheduledEnd::Ran { run: bad.run, release: wanted?.clone(), outcome: bad.outcome })
}

/// Of a session that came to no end of its own.
fn refused(refusal: &Refusal, tag: Option<Tag>) -> ScheduledEnd {
    match refusal {
        Refusal::Stuck { .. } => ScheduledEnd::Waits,
        _ => ScheduledEnd::Failed { tag, how: word_of(refusal.exit()), failure: failure_of(refusal) },
    }
}

fn failure_of(refusal: &Refusal) -> Failure {
    let stuck = || {
        Failure::new(FailureKind::Other, "an earlier run is stuck")
            .hint("`lockgate status` says what is live")
    };
    refusal.failure().cloned().unwrap_or_else(stuck)
}

fn word_of(exit: Exit) -> ScheduledWord {
    match exit {
        Exit::Succeeded => ScheduledWord::Succeeded,
        Exit::Failed | Exit::Usage => ScheduledWord::Failed,
        Exit::RolledBack => ScheduledWord::RolledBack,
        Exit::Stuck => ScheduledWord::Stuck,
        Exit::NotYet => ScheduledWord::NotYet,
        Exit::Held => ScheduledWord::Held,
        Exit::Unknown => ScheduledWord::Unknown,
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
        | ScheduledEnd::NotPromoted { .. }
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
