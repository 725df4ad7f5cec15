//! Promotion: what is live in one environment goes live in the next, once its gates are open.
//!
//! Everything that can be found out again is: what is live in the source and since when is asked of its hosts, what a monitor saw
//! of the monitor. What cannot (that somebody waived a gate, that a gate failed before) is in the store. So it works as well
//! from a CI job that has no store as from a daemon that has one.
//!
//! Gates that look back over hours are asked here, before a run and its lease; the target's own gates and checks belong to the
//! run, as those of every deployment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lockgate_engine::Clock;
use lockgate_model::{
    Environment, EnvironmentName, Failure, FailureKind, HostId, Millis, Presence, Project, Promotable,
    Prospect, Reference, Refusal, Rejection, Release, Repository, Service, ServiceStatus, Soak, StatusWord,
    TagLine, Timestamp, Verdict, VerdictStamp, VerdictSubject, Want,
};
use lockgate_plan::{Policy, SoakTime, WantedGate, Window, promotable, soaked};
use lockgate_ports::{Monitors, RECORDS_MAX, RecordFilter, Registry, Store, WatchedPlace};

use crate::{InProcess, Orchestrator};

/// Longest wait for one monitor's answer.
const MONITOR_SECONDS_MAX: u64 = 30;
/// Longest wait for the registry, which only says whether a tag was moved.
const TAG_SECONDS_MAX: u64 = 10;
/// Tags that are made to be moved: what they lead to when it is tested and when it is promoted need not be the same. So are the
/// names of environments.
const MOVING_TAGS: [&str; 9] =
    ["latest", "current", "stable", "edge", "nightly", "main", "master", "dev", "develop"];

/// What promotion needs.
pub struct Promoter {
    /// Says what is live.
    pub orchestrator: InProcess,
    /// What is remembered. `None`: nothing is, as on a CI runner before its first run.
    pub store: Option<Arc<dyn Store>>,
    /// The drivers of those who watch.
    pub monitors: Monitors,
    /// Where images' tags are looked up.
    pub registry: Arc<dyn Registry>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// `user@machine`.
    pub owner: String,
}

/// One step of a service's promotion.
#[derive(Debug, Clone, Copy)]
pub struct Promotion<'p> {
    /// What is promoted.
    pub service: &'p Service,
    /// Where it is live.
    pub from: &'p Environment,
    /// Where it is to be live.
    pub to: &'p Environment,
}

impl<'p> Promotion<'p> {
    /// The step to this environment. `None` where promotions come from nowhere, or one side has no slots.
    fn to(project: &'p Project, service: &'p Service, environment: &'p Environment) -> Option<Self> {
        let source = project.environment(environment.from.as_ref()?)?;
        let both = environment.slots().is_some() && source.slots().is_some();
        both.then_some(Self { service, from: source, to: environment })
    }
}

/// What was seen on both sides of a step, and what its gates have just answered.
struct Seen<'s> {
    source: &'s ServiceStatus,
    target: &'s ServiceStatus,
    asked: &'s [Verdict],
    now: Timestamp,
}

/// A step as it was looked at, with what was asked for it.
#[derive(Debug, Clone)]
pub struct Looked {
    /// What may move, and what holds it.
    pub prospect: Prospect,
    /// What gates answered just now, for [`Promoter::keep`].
    pub verdicts: Vec<Verdict>,
}

/// The steps that the configuration has for a service, in the order of its environments. `from` and `to` leave only those from
/// or to that environment.
///
/// # Errors
/// `Usage` where there is none.
pub fn promotions<'p>(
    project: &'p Project,
    service: &'p Service,
    from: Option<&EnvironmentName>,
    to: Option<&EnvironmentName>,
) -> Result<Vec<Promotion<'p>>, Refusal> {
    let step = |environment| Promotion::to(project, service, environment);
    let all: Vec<Promotion<'p>> = project.environments.iter().filter_map(step).collect();
    let wanted = |one: &Promotion<'_>| {
        from.is_none_or(|name| one.from.name == *name) && to.is_none_or(|name| one.to.name == *name)
    };
    let found: Vec<_> = all.iter().copied().filter(wanted).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let listed: Vec<String> = all.iter().map(|one| format!("{} to {}", one.from.name, one.to.name)).collect();
    Err(match listed.as_slice() {
        [] => Refusal::usage(
            "no environment has releases promoted to it",
            "give it `from:`, the environment that promotions come from; both need hosts",
        ),
        _ => Refusal::usage(
            "nothing is promoted that way",
            format!("promotions go from {}", listed.join(", from ")),
        ),
    })
}

impl Promoter {
    /// Looks whether the step may be taken now: what is live on both sides, and what the gates say, each of which is asked. Changes
    /// nothing. `again`: although it was rejected there.
    ///
    /// # Errors
    /// `Failed` where it cannot be seen what is live, where hosts of the source differ or are not well, and for a release that is
    /// known by a moving tag alone.
    pub async fn look(&self, step: &Promotion<'_>, again: bool) -> Result<Looked, Refusal> {
        let (source, target) = futures_util::future::try_join(
            self.status(step.service, step.from),
            self.status(step.service, step.to),
        )
        .await?;
        settled(&source)?;
        let now = self.clock.now();
        let (mut notes, mut asked) = (Vec::new(), Vec::new());
        if let Some(live) = self.live(&source, now)? {
            demand_own_tag(self.orchestrator.project(), &live.release)?;
            notes.extend(self.moved(step.service, &live.release).await);
            asked = self.ask(step, &live.release, live.since, now).await;
        }
        let seen = Seen { source: &source, target: &target, asked: &asked, now };
        let prospect = self.prospect(step, &seen, again).await?;
        Ok(Looked { prospect: Prospect { notes, ..prospect }, verdicts: asked })
    }

    /// What is live of the services in each environment that has slots, and how far each is from the next. No monitor is asked.
    /// What cannot be seen is part of the answer.
    ///
    /// # Errors
    /// `Usage`, and `Journal`.
    pub async fn tags(&self, services: &[&Service]) -> Result<Vec<TagLine>, Refusal> {
        let project = self.orchestrator.project();
        let environments: Vec<&Environment> =
            project.environments.iter().filter(|one| one.slots().is_some()).collect();
        let places = services.iter().flat_map(|service| environments.iter().map(move |one| (*service, *one)));
        let looks = places.map(async |(service, environment)| self.status(service, environment).await);
        let statuses = join_all(looks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let now = self.clock.now();
        let mut lines = Vec::new();
        for service in services {
            let of = |environment: &EnvironmentName| {
                statuses.iter().find(|one| one.service == service.name && one.environment == *environment)
            };
            for environment in &environments {
                let Some(status) = of(&environment.name) else { continue };
                let mut line = self.tag_line(status, now);
                if let Some(step) = Promotion::to(project, service, environment)
                    && let Some(source) = of(&step.from.name)
                    && settled(source).is_ok()
                {
                    let seen = Seen { source, target: status, asked: &[], now };
                    line.next = Some(self.prospect(&step, &seen, false).await?);
                }
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn tag_line(&self, status: &ServiceStatus, now: Timestamp) -> TagLine {
        let live = self.live(status, now);
        TagLine {
            service: status.service.clone(),
            environment: status.environment.clone(),
            status: status.word(),
            live_for: live_for(status),
            failure: live.as_ref().err().and_then(|refusal| refusal.failure().cloned()),
            release: live.ok().flatten().map(|live| live.release),
            next: None,
        }
    }

    /// By all that was seen and all that is remembered.
    async fn prospect(
        &self,
        step: &Promotion<'_>,
        seen: &Seen<'_>,
        again: bool,
    ) -> Result<Prospect, Refusal> {
        let project = self.orchestrator.project();
        let source = self.live(seen.source, seen.now)?;
        let replaces = self.live(seen.target, seen.now).ok().flatten();
        let mut verdicts = seen.asked.to_vec();
        verdicts.extend(self.remembered(step.service, source.as_ref().map(|one| &one.release)).await?);
        let presence: Vec<Presence> = source.into_iter().chain(replaces.clone()).collect();
        let rejected = if again { Vec::new() } else { rejections(seen.target) };
        let policy = policy(project, step, rejected);
        Ok(Prospect {
            service: step.service.name.clone(),
            from: step.from.name.clone(),
            to: step.to.name.clone(),
            replaces: replaces.map(|one| one.release),
            promotable: promotable(&verdicts, &presence, &policy, seen.now),
            notes: Vec::new(),
        })
    }

    /// Keeps what the gates have answered.
    ///
    /// # Errors
    /// `Journal`.
    pub async fn keep(&self, verdicts: &[Verdict]) -> Result<(), Refusal> {
        let Some(store) = &self.store else { return Ok(()) };
        for verdict in verdicts {
            let kept = store.add_verdict(verdict).await;
            kept.map_err(|error| Refusal::Journal { failure: error.into() })?;
        }
        Ok(())
    }

    /// Has what is live in the source pass a gate whatever the gate says, and keeps who said so and why.
    ///
    /// # Errors
    /// `Usage` for a gate that the step does not have, and where nothing is kept; as [`Promoter::look`]; `Journal`.
    pub async fn waive(&self, step: &Promotion<'_>, gate: &str, why: &str) -> Result<(), Refusal> {
        let known: Vec<&str> = step.to.soaks.iter().map(|soak| soak.name.as_str()).collect();
        if !known.contains(&gate) {
            let there = match known.as_slice() {
                [] => format!("promotions to {} pass no gate that could be waived", step.to.name),
                _ => format!("there are: {}", known.join(", ")),
            };
            return Err(Refusal::usage(
                format!("no promotion to {} has a gate {gate:?}", step.to.name),
                there,
            ));
        }
        let Some(store) = &self.store else {
            return Err(Refusal::usage("nothing is kept here", "give the project a `state`"));
        };
        let source = self.status(step.service, step.from).await?;
        let now = self.clock.now();
        let Some(live) = self.live(&source, now)? else {
            let message = format!("nothing is live in {}", step.from.name);
            return Err(Refusal::Failed { failure: Failure::new(FailureKind::NotFound, message) });
        };
        let stamp = VerdictStamp { at: now, by: self.owner.clone(), run: None, holds_until: None };
        let verdict = Verdict::waiver(self.subject(step, &live.release), gate, why, stamp);
        store.add_verdict(&verdict).await.map_err(|error| Refusal::Journal { failure: error.into() })
    }

    fn subject(&self, step: &Promotion<'_>, release: &Release) -> VerdictSubject {
        VerdictSubject {
            project: self.orchestrator.project().name.clone(),
            service: step.service.name.clone(),
            environment: step.from.name.clone(),
            digest: release.digest.clone(),
        }
    }

    /// What is to be started for a step that is ready. `None` for any other.
    #[must_use]
    pub fn want(looked: &Looked) -> Option<Want> {
        let Prospect { from, to, promotable, .. } = &looked.prospect;
        let Promotable::Ready { release, .. } = promotable else { return None };
        Some(Want::promote(from.clone(), to.clone(), release.clone()))
    }

    async fn status(&self, service: &Service, environment: &Environment) -> Result<ServiceStatus, Refusal> {
        let looked = self.orchestrator.status(Some(&service.name), Some(&environment.name)).await?;
        looked.into_iter().next().ok_or_else(|| Refusal::Failed {
            failure: Failure::new(FailureKind::NotFound, format!("{} cannot be looked at", service.name)),
        })
    }

    /// What is live there, by this machine's clock. `None` where nothing is on any host.
    ///
    /// # Errors
    /// `Failed` where a host cannot be seen, or hosts differ.
    fn live(&self, status: &ServiceStatus, now: Timestamp) -> Result<Option<Presence>, Refusal> {
        if let Some((host, failure)) = status.unseen.iter().next() {
            return Err(Refusal::Failed { failure: failure.clone().at(host) });
        }
        let of = |seen: &lockgate_model::HostObserved| seen.live().and_then(|(_, slot)| slot.release.clone());
        let live: Vec<Option<Release>> = status.observed.hosts.values().map(of).collect();
        let Some(release) = live.iter().flatten().next().cloned() else { return Ok(None) };
        if live.iter().any(|one| one.as_ref().is_none_or(|one| !one.same_bytes(&release))) {
            let message = format!("the hosts of {} do not have the same release live", status.environment);
            let hint =
                format!("`lockgate --env {} status {}` says which", status.environment, status.service);
            return Err(not_yet(message, hint));
        }
        Ok(Some(Presence {
            project: self.orchestrator.project().name.clone(),
            environment: status.environment.clone(),
            release: with_known(status, release),
            // Where it is not known since when, it is live since now as far as anybody can say.
            since: live_for(status).map_or(now, |time| now.minus(time)),
            seen_at: now,
            until: None,
            run: None,
        }))
    }

    /// Each soak's monitor, beside each other.
    async fn ask(
        &self,
        step: &Promotion<'_>,
        release: &Release,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<Verdict> {
        let subject = self.subject(step, release);
        let asked = step.to.soaks.iter().map(async |soak: &Soak| {
            let window = Window::of(soak, since, now);
            let place =
                WatchedPlace { service: step.service.name.clone(), environment: step.from.name.clone() };
            let monitor = self.monitors.of(soak);
            let watched = monitor.watched(&place, window.from, window.to);
            let bound = Duration::from_secs(MONITOR_SECONDS_MAX);
            let seen = match tokio::time::timeout(bound, watched).await {
                Ok(seen) => seen.map_err(Failure::from),
                Err(_) => Err(Failure::new(
                    FailureKind::TimedOut,
                    format!("no answer within {}", Millis::from_secs(MONITOR_SECONDS_MAX)),
                )),
            };
            let answer = soaked(soak, window, &seen);
            let stamp =
                VerdictStamp { at: answer.at, by: self.owner.clone(), run: None, holds_until: answer.until };
            Verdict::of(subject.clone(), answer.answer, stamp)
        });
        join_all(asked).await
    }

    async fn remembered(
        &self,
        service: &Service,
        release: Option<&Release>,
    ) -> Result<Vec<Verdict>, Refusal> {
        let (Some(store), Some(release)) = (&self.store, release) else { return Ok(Vec::new()) };
        let filter = RecordFilter {
            service: Some(service.name.clone()),
            digest: Some(release.digest.clone()),
            limit: RECORDS_MAX,
            ..RecordFilter::all(self.orchestrator.project().name.clone())
        };
        store.verdicts(&filter).await.map_err(|error| Refusal::Journal { failure: error.into() })
    }

    /// That the release's tag leads to other bytes by now. Nothing where that cannot be asked: the digest is what travels.
    async fn moved(&self, service: &Service, release: &Release) -> Option<String> {
        let repository = Repository::new(service.image.as_deref()?).ok()?;
        let reference = Reference::Tag(release.tag.clone());
        let asked = self.registry.resolve(&repository, &reference);
        let bound = Duration::from_secs(TAG_SECONDS_MAX);
        let found = tokio::time::timeout(bound, asked).await.ok()?.ok()?;
        (found.digest != release.digest).then(|| {
            format!(
                "the tag {} leads to other bytes by now ({}): what was tested is promoted, {}",
                release.tag,
                found.digest.short(),
                release.digest.short()
            )
        })
    }
}

/// What may move is asked of a source in which nobody is at work and nothing is out of order: a release that has the traffic while
/// its gates are still being asked has not passed them.
fn settled(source: &ServiceStatus) -> Result<(), Refusal> {
    let (service, environment) = (&source.service, &source.environment);
    let look = format!("`lockgate --env {environment} status {service}` says more");
    if source.leases.values().any(|lease| lease.unfinished.is_some()) {
        return Err(not_yet(
            format!("a run of {service} is under way in {environment}, or was cut off"),
            look,
        ));
    }
    match source.word() {
        StatusWord::Unfinished | StatusWord::Stuck | StatusWord::Unwell | StatusWord::InProgress => {
            Err(not_yet(format!("{service} is not well in {environment}"), look))
        }
        StatusWord::Success | StatusWord::Failed | StatusWord::RolledBack | StatusWord::Unknown => Ok(()),
    }
}

fn not_yet(message: String, hint: String) -> Refusal {
    Refusal::Failed { failure: Failure::new(FailureKind::GateNotYet, message).hint(hint) }
}

/// How long all hosts have had what they have live, each by its own clock. `None` where one of them does not know.
fn live_for(status: &ServiceStatus) -> Option<Millis> {
    let of = |(host, seen): (&HostId, &lockgate_model::HostObserved)| {
        let (since, clock) = (seen.live_since()?, status.clocks.get(host)?);
        (since <= *clock).then(|| clock.since(since))
    };
    let all: Option<Vec<Millis>> = status.observed.hosts.iter().map(of).collect();
    all?.into_iter().min()
}

/// With what the hosts' lists know of it and a container does not.
fn with_known(status: &ServiceStatus, release: Release) -> Release {
    let lists = status.observed.hosts.values().flat_map(|seen| &seen.releases);
    let known = lists.map(|one| &one.release).find(|one| one.same_bytes(&release) && one.tag == release.tag);
    Release {
        commit: release.commit.or_else(|| known?.commit.clone()),
        provenance: release.provenance.or_else(|| known?.provenance.clone()),
        ..release
    }
}

fn rejections(target: &ServiceStatus) -> Vec<Rejection> {
    target.rejected().into_iter().map(|one| one.rejection.told()).collect()
}

/// # Errors
/// `Failed`: nobody could say afterwards what the tag stood for.
fn demand_own_tag(project: &Project, release: &Release) -> Result<(), Refusal> {
    let tag = release.tag.as_str();
    let is_environment = project.environments.iter().any(|environment| environment.name.as_str() == tag);
    if !MOVING_TAGS.contains(&tag) && !is_environment {
        return Ok(());
    }
    let message = format!("{release} is known by a tag alone that moves from release to release");
    Err(Refusal::Failed {
        failure: Failure::new(FailureKind::Refused, message)
            .hint("deploy it under a tag of its own, such as its commit, and promote that"),
    })
}

fn policy(project: &Project, step: &Promotion<'_>, rejected: Vec<Rejection>) -> Policy {
    let gate = |soak: &Soak| WantedGate {
        gate: soak.name.clone(),
        environment: step.from.name.clone(),
        holds_for: None,
    };
    let time = |soak: &Soak| SoakTime { gate: soak.name.clone(), span: soak.span };
    Policy {
        project: project.name.clone(),
        service: step.service.name.clone(),
        from: step.from.name.clone(),
        to: step.to.name.clone(),
        gates: step.to.soaks.iter().map(gate).collect(),
        soaks: step.to.soaks.iter().map(time).collect(),
        freeze: None,
        rejected,
    }
}
