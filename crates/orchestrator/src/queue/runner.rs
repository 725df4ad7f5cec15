//! One call, from when it is its turn until it has an answer that is kept.
//!
//! The journal says whether its run has begun. So it is asked first, and again after everything that did not come to an end:
//! what has begun is resumed or has ended, and only what has not is begun, under the name that the call gave it.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{
    Action, DeployAnswer, DeployCall, DeployStatus, Digest, Event, EventKind, Interruption, Leftover,
    Outcome, Plan, Presence, Refusal, Report, Resume, RunId, Want, dark_times,
};
use lockgate_ports::{Answering, RecordFilter};

use super::core::{Core, Working};
use super::entry::Entry;
use super::words;
use crate::Handle;

/// Between two tries, at first; twice as long each time.
const PAUSE_MILLIS_MIN: u64 = 100;
/// Between two tries.
const PAUSE_MILLIS_MAX: u64 = 5_000;
/// Sessions of a call whose run has not begun that come to nothing for reasons that may pass.
const TRIES_MAX: u32 = 5;
/// Sessions of a call whose run has begun that do not bring it to its end, before it is said that nothing is known.
const RESUME_TRIES_MAX: u32 = 60;
/// Longest time for which a call that an earlier daemon has accepted waits for that one to be gone.
const PREDECESSOR_SECONDS_MAX: u64 = 60;

/// What a call came to.
pub(super) struct End {
    pub(super) answer: DeployAnswer,
    /// The journal knows of its run.
    pub(super) begun: bool,
    /// The bytes that are live by it.
    pub(super) live: Option<Digest>,
}

impl End {
    fn unbegun(answer: DeployAnswer) -> Self {
        Self { answer, begun: false, live: None }
    }
}

/// Longer each time.
pub(super) struct Pause(u64);

impl Pause {
    pub(super) fn new() -> Self {
        Self(PAUSE_MILLIS_MIN)
    }

    /// `false`: the daemon stops.
    pub(super) async fn over(&mut self, core: &Core) -> bool {
        let pause = Duration::from_millis(self.0);
        self.0 = (self.0 * 2).min(PAUSE_MILLIS_MAX);
        tokio::select! {
            biased;
            () = core.left() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

pub(super) async fn run(working: Working) {
    let Working { core, entry } = &working;
    if let Some(end) = bring_to_end(core, entry).await {
        settle(core, entry, end).await;
    }
}

/// Keeps the answer, however long that takes; the writer tells it then. Not any more when the daemon stops: whoever comes next
/// comes to the same.
pub(super) async fn settle(core: &Core, entry: &Entry, end: End) {
    let End { answer, begun, live } = end;
    let answer = answer.of_run(entry.run()).masked(&core.parts.mask);
    let at = core.parts.clock.now();
    let project = &core.parts.project;
    let answering = Answering {
        project: project.clone(),
        endpoint: entry.delivery.endpoint.clone(),
        id: entry.delivery.id.clone(),
        answer: words::kept(&answer, begun, live, at),
        entry: Some(words::answered(project, &entry.call, entry.run(), &answer, at)),
    };
    let mut pause = Pause::new();
    while core.writer.answer(answering.clone()).await.is_err() {
        if !pause.over(core).await {
            return;
        }
    }
}

/// `None`: the daemon stops.
async fn bring_to_end(core: &Arc<Core>, entry: &Entry) -> Option<End> {
    let (mut pause, mut tries, mut looks) = (Pause::new(), 0, 0);
    let since = tokio::time::Instant::now();
    loop {
        if core.is_leaving() {
            return None;
        }
        let Ok(events) = core.parts.orchestrator.events_of(entry.run()).await else {
            pause.over(core).await.then_some(())?;
            continue;
        };
        entry.feed.add_all(&events, &core.parts.mask);
        if let Some(end) = ended(entry.run(), &events) {
            return Some(end);
        }
        let begun = !events.is_empty();
        let tried = match begun {
            true => resume(core, entry).await,
            false => begin(core, entry).await,
        };
        let refusal = match tried {
            Tried::End(end) => return Some(*end),
            // What the session has said is in the journal now, or it is another session's to say.
            Tried::Look if looks < TRIES_MAX => {
                looks += 1;
                continue;
            }
            Tried::Look => Refusal::Midway { failure: unfinished(entry.run()) },
            Tried::Refused(refusal) => *refusal,
        };
        let may_wait = begun || entry.is_taken_up && since.elapsed().as_secs() < PREDECESSOR_SECONDS_MAX;
        if core.is_leaving() && matches!(refusal, Refusal::Abandoned { .. }) {
            return None;
        }
        if is_final(&refusal, begun, may_wait, tries) {
            return Some(End { answer: refused(entry.run(), &refusal, begun), begun, live: None });
        }
        tries += u32::from(!matches!(refusal, Refusal::Held { .. } | Refusal::Busy { .. }));
        pause.over(core).await.then_some(())?;
    }
}

/// Whether trying again would come to the same. Of a run that has begun only its end is final, or that nothing is known of it
/// for a long time.
fn is_final(refusal: &Refusal, begun: bool, may_wait: bool, tries: u32) -> bool {
    match refusal {
        // Whoever holds the lease brings the run to its end, or leaves it.
        Refusal::Held { .. } | Refusal::Busy { .. } => !may_wait,
        Refusal::Stuck { .. } => true,
        Refusal::Usage { .. }
        | Refusal::Failed { .. }
        | Refusal::NoImage { .. }
        | Refusal::Illegal { .. } => !begun || tries >= RESUME_TRIES_MAX,
        Refusal::LeaseLost { .. }
        | Refusal::Midway { .. }
        | Refusal::CutOff { .. }
        | Refusal::Abandoned { .. }
        | Refusal::Journal { .. }
        | Refusal::BegunBefore { .. } => tries >= if begun { RESUME_TRIES_MAX } else { TRIES_MAX },
    }
}

fn refused(run: RunId, refusal: &Refusal, begun: bool) -> DeployAnswer {
    match refusal.failure() {
        // It may be that nothing was changed, or all.
        Some(failure) if begun => DeployAnswer::of_failure(DeployStatus::Unknown, failure),
        _ => DeployAnswer::of_refusal(run, refusal),
    }
}

/// What one session of a call came to.
enum Tried {
    End(Box<End>),
    /// The journal has what became of it.
    Look,
    Refused(Box<Refusal>),
}

/// The run has not begun.
async fn begin(core: &Arc<Core>, entry: &Entry) -> Tried {
    match core.parts.store.settled_after(&core.parts.project, entry.run()).await {
        Ok(None) => {}
        Ok(Some(later)) => return Tried::End(Box::new(End::unbegun(words::too_late(later)))),
        Err(error) => return Tried::Refused(Box::new(Refusal::Journal { failure: error.into() })),
    }
    match older(core, &entry.call).await {
        Ok(None) => {}
        Ok(Some(answer)) => return Tried::End(Box::new(End::unbegun(answer))),
        // The store is asked again when the session does, which fails then.
        Err(error) => tracing::warn!(%error, "it is not known whether the live release's commit is newer"),
    }
    let want = wanted(&entry.call).named(entry.run());
    let session = core.parts.orchestrator.start(&want, &entry.call.requester).await;
    match follow(core, entry, session).await {
        Ok(report) if report.run.is_none() => Tried::End(Box::new(live_already(entry.run(), &report))),
        Ok(_) => Tried::Look,
        Err(refusal) => Tried::Refused(Box::new(refusal)),
    }
}

/// The run has begun and has no end.
async fn resume(core: &Arc<Core>, entry: &Entry) -> Tried {
    let what = Resume {
        environment: Some(entry.call.environment.clone()),
        only: Some(Leftover::CutOff),
        ..Resume::of(entry.call.service.clone())
    };
    let session = core.parts.orchestrator.resume(&what, &entry.call.requester).await;
    match follow(core, entry, session).await {
        Ok(resumed) => match (resumed.refusal, resumed.ended.is_empty()) {
            (Some(refusal), _) => Tried::Refused(refusal),
            (None, false) => Tried::Look,
            // Nobody knows of it but this journal: a session that is under way elsewhere, or hosts that are not there.
            (None, true) => Tried::Refused(Box::new(Refusal::Midway { failure: unfinished(entry.run()) })),
        },
        Err(refusal) => Tried::Refused(Box::new(refusal)),
    }
}

fn unfinished(run: RunId) -> lockgate_model::Failure {
    let message = format!("run {run} has begun and has no end, and no host knows of it");
    lockgate_model::Failure::new(lockgate_model::FailureKind::Other, message)
        .hint("`lockgate status` says what is live")
}

fn wanted(call: &DeployCall) -> Want {
    Want::deploy(call.service.clone(), call.tag.clone()).in_environment(call.environment.clone())
}

/// Hears a session to its end.
async fn follow<T>(
    core: &Arc<Core>,
    entry: &Entry,
    session: Result<Handle<T>, Refusal>,
) -> Result<T, Refusal> {
    let mut session = session?;
    entry.set_stop(Some(session.stop.clone()));
    if core.is_leaving() {
        session.stop.leave();
    }
    while let Some(told) = session.events.next().await {
        entry.feed.add(told, &core.parts.mask);
    }
    let end = session.end().await;
    entry.set_stop(None);
    end
}

/// The refusal of a call whose commit is older than the one that is live by a call. What is live by other ways than a call
/// says nothing of its commit's time.
async fn older(core: &Core, call: &DeployCall) -> Result<Option<DeployAnswer>, lockgate_ports::PortError> {
    let Some(committed_at) = call.committed_at.filter(|_| !call.force) else { return Ok(None) };
    let (project, store) = (&core.parts.project, &core.parts.store);
    let Some(live) = live_now(core, call).await? else { return Ok(None) };
    let digest = &live.release.digest;
    let by = store.made_live(project, &call.service, &call.environment, digest).await?;
    let live = by.and_then(|delivery| delivery.call).filter(|live| live.committed_at > Some(committed_at));
    Ok(live.map(|live| words::older(call, &format!("that of {}, which is live", live.tag))))
}

/// What is live where the call goes, as far as the store knows.
pub(super) async fn live_now(
    core: &Core,
    call: &DeployCall,
) -> Result<Option<Presence>, lockgate_ports::PortError> {
    let of_place = RecordFilter {
        service: Some(call.service.clone()),
        environment: Some(call.environment.clone()),
        limit: 1,
        ..RecordFilter::all(core.parts.project.clone())
    };
    let presence = core.parts.store.presence(&of_place).await?;
    Ok(presence.into_iter().next().filter(Presence::is_open))
}

fn live_already(run: RunId, report: &Report) -> End {
    let live = Some(report.plan.release.digest.clone());
    End { answer: DeployAnswer::of_report(run, report, false), begun: false, live }
}

/// How the run ended, as the journal has it.
fn ended(run: RunId, events: &[Event]) -> Option<End> {
    let outcome = events.iter().find_map(|event| match &event.kind {
        EventKind::RunEnded { outcome } => Some(outcome),
        _ => None,
    })?;
    let Some(plan) = events.iter().find_map(plan_of) else {
        let failure = unfinished(run);
        let answer = DeployAnswer::of_refusal(run, &Refusal::Illegal { failure });
        return Some(End { answer, begun: true, live: None });
    };
    let dark = match plan.interruption() {
        Some(Interruption::Dark) => dark_times(plan, events),
        Some(Interruption::Waits(_)) | None => std::collections::BTreeMap::new(),
    };
    let (outcome, rejected) = (outcome.clone(), None);
    let live = matches!(outcome, Outcome::Succeeded { .. }).then(|| plan.release.digest.clone());
    let report = Report { run: Some(run), plan: plan.clone(), outcome, dark, recovered: None, rejected };
    let answer = DeployAnswer::of_report(run, &report, is_without_image(plan, events));
    Some(End { answer, begun: true, live })
}

fn plan_of(event: &Event) -> Option<&Plan> {
    match &event.kind {
        EventKind::RunStarted { plan, .. } => Some(plan),
        _ => None,
    }
}

/// Whether what failed first was fetching the release's bytes.
fn is_without_image(plan: &Plan, events: &[Event]) -> bool {
    let failed = events.iter().find_map(|event| match &event.kind {
        EventKind::StepFailed { step, .. } => Some(*step),
        _ => None,
    });
    plan.steps().any(|(_, _, step)| Some(step.id) == failed && matches!(step.action, Action::Fetch { .. }))
}
