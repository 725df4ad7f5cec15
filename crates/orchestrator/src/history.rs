//! Past runs, as the journal has them.

use lockgate_engine::{Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{
    Event, EventKind, HistoryFilter, LeftOut, Outcome, PastRun, Project, Requester, StateLocation,
};

/// # Errors
/// The journal's. Of a run whose events are damaged it is only not known whom it went without, and who asked for it.
pub(crate) async fn past_runs(
    journal: &dyn Journal,
    project: &Project,
    filter: &HistoryFilter,
) -> Result<Vec<PastRun>, JournalError> {
    let HistoryFilter { service, environment, digest, before, limit } = filter.clone();
    // All in the folder's own file are this project's, whatever it was called then.
    let is_shared = project.state != StateLocation::of_folder(&project.root);
    let project = is_shared.then(|| project.name.clone());
    let filter = RunFilter { project, service, environment, digest, before, limit, unfinished: false };
    let runs = journal.runs(&filter).await?;
    let mut past = Vec::with_capacity(runs.len());
    for run in runs {
        let events = journal.load(run.run).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be said whom run {} went without", run.run);
            Vec::new()
        });
        past.push(past_run(run, &events));
    }
    Ok(past)
}

fn past_run(run: RunSummary, events: &[Event]) -> PastRun {
    let left_out = events.iter().filter_map(left_out).collect();
    PastRun {
        run: run.run,
        project: run.project,
        service: run.service,
        environment: run.environment,
        release: run.release,
        intent: run.intent,
        owner: run.owner,
        requester: events.first().and_then(requester),
        started_at: run.started_at,
        ended_at: run.ended_at,
        rejected: run.outcome.as_ref().is_some_and(Outcome::rejects),
        outcome: run.outcome,
        left_out,
    }
}

fn requester(event: &Event) -> Option<Requester> {
    match &event.kind {
        EventKind::RunStarted { requester, .. } => requester.clone(),
        _ => None,
    }
}

/// Whom a run went without: who began it says so, and who took it over.
fn left_out(event: &Event) -> Option<LeftOut> {
    let (hosts, by) = match &event.kind {
        EventKind::RunStarted { plan, owner, .. } => (&plan.without, owner),
        EventKind::Adopted { without, owner, .. } => (without, owner),
        _ => return None,
    };
    let left_out = || LeftOut { run: event.run, hosts: hosts.clone(), by: by.clone(), at: event.at };
    (!hosts.is_empty()).then(left_out)
}
