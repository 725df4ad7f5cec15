//! `history`: past runs from this project's journal.

use lockgate_model::{HistoryFilter, HostId, LeftOut, Outcome, PastRun, Requester, StateLocation};
use lockgate_orchestrator::{Orchestrator, Past};
use lockgate_render::{Table, escaped, rfc3339};

use super::Context;
use crate::args::{Format, History};
use crate::error::CliError;
use crate::exit::Exit;

pub async fn run(context: &Context<'_>, asked: &History) -> Result<Exit, CliError> {
    let past = Past {
        service: asked.service.as_deref(),
        digest: asked.digest.as_deref(),
        before: asked.before.as_deref(),
        limit: asked.limit,
    };
    let filter = context.asked().history(&past)?;
    let runs = context.looking().history(&filter).await?;
    match context.output.format {
        Format::Json => runs.iter().for_each(|run| context.output.json(run)),
        Format::Text => show(context, &filter, runs),
    }
    Ok(Exit::Succeeded)
}

fn show(context: &Context<'_>, filter: &HistoryFilter, runs: Vec<PastRun>) {
    if runs.is_empty() {
        let is_narrow = filter.digest.is_some() || filter.before.is_some() || filter.environment.is_some();
        let which = match &context.project.state {
            _ if is_narrow => "no such run is in the journal",
            StateLocation::File(_) => "no run is in this folder's journal",
            StateLocation::Postgres(_) => "no run of this project is in its journal",
        };
        return context.output.text(&format!("{which}; `lockgate status` looks at the hosts"));
    }
    let last = runs.last().map(|run| run.run).filter(|_| runs.len() == filter.limit as usize);
    let mut table = Table::new([
        "started",
        "ended",
        "service",
        "environment",
        "what",
        "release",
        "outcome",
        "by",
        "without",
        "run",
    ]);
    for run in runs {
        table.push(vec![
            rfc3339(run.started_at),
            run.ended_at.map(rfc3339).unwrap_or_default(),
            run.service.to_string(),
            run.environment.to_string(),
            escaped(&run.intent),
            run.release.to_string(),
            run.outcome.as_ref().map_or("unfinished".to_owned(), shown),
            escaped(&run.requester.as_ref().map_or_else(|| run.owner.clone(), Requester::to_string)),
            left_out_text(&run.owner, &run.left_out),
            run.run.to_string(),
        ]);
    }
    context.output.text(&table.text());
    if let Some(last) = last {
        context.output.say(&format!("older ones: add `--before {last}`"));
    }
}

/// How a run ended, and whether its release was rejected by it.
fn shown(outcome: &Outcome) -> String {
    match outcome.rejects() {
        true => format!("{}, rejected", outcome.as_str()),
        false => outcome.as_str().to_owned(),
    }
}

/// With who and when, where that is not who began the run.
fn left_out_text(owner: &str, left_out: &[LeftOut]) -> String {
    let texts = left_out.iter().map(|LeftOut { hosts, by, at, .. }| {
        let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
        let names = escaped(&names.join(", "));
        match by == owner {
            true => names,
            false => format!("{names} (by {} at {})", escaped(by), rfc3339(*at)),
        }
    });
    texts.collect::<Vec<_>>().join("; ")
}
