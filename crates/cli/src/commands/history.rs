//! `history`: past runs from this project's journal.

use lockgate_engine::{Journal, RunFilter};
use lockgate_model::{EventKind, HostId, LeftOut, RunId};
use lockgate_render::{Table, escaped, rfc3339};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

pub async fn run(context: &Context<'_>, service: Option<&str>, limit: u32) -> Result<Exit, CliError> {
    let service = service.map(|name| context.service(name)).transpose()?.map(|service| service.name.clone());
    let filter = RunFilter { service, limit, ..RunFilter::default() };
    let journal = tools::journal(&context.project);
    let runs = journal.runs(&filter).await?;
    let mut left_out = Vec::with_capacity(runs.len());
    for run in &runs {
        left_out.push(left_out_of(journal.as_ref(), run.run).await);
    }
    if context.output.format == Format::Json {
        for (run, left_out) in runs.iter().zip(&left_out) {
            let mut shown = serde_json::json!(run);
            if !left_out.is_empty() {
                shown["left_out"] = serde_json::json!(left_out);
            }
            context.output.json(&shown);
        }
        return Ok(Exit::Succeeded);
    }
    if runs.is_empty() {
        context.output.text("no run is in this folder's journal; `lockgate status` looks at the hosts");
        return Ok(Exit::Succeeded);
    }
    let mut table = Table::new([
        "started",
        "service",
        "environment",
        "what",
        "release",
        "outcome",
        "by",
        "without",
        "run",
    ]);
    for (run, left_out) in runs.into_iter().zip(left_out) {
        table.push(vec![
            rfc3339(run.started_at),
            run.service.to_string(),
            run.environment.to_string(),
            escaped(&run.intent),
            run.release.to_string(),
            run.outcome.as_ref().map_or("unfinished", |outcome| outcome.as_str()).to_owned(),
            escaped(&run.owner),
            left_out_text(&run.owner, &left_out),
            run.run.to_string(),
        ]);
    }
    context.output.text(&table.text());
    Ok(Exit::Succeeded)
}

/// Whom a run went without, who left them out, and when: those who began it, and those who took it over. Of a run whose
/// events are damaged it is not known.
async fn left_out_of(journal: &dyn Journal, run: RunId) -> Vec<LeftOut> {
    let events = journal.load(run).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "it cannot be said whom run {run} went without");
        Vec::new()
    });
    let left_out = events.into_iter().filter_map(|event| {
        let (hosts, by) = match event.kind {
            EventKind::RunStarted { plan, owner } => (plan.without, owner),
            EventKind::Adopted { without, owner, .. } => (without, owner),
            _ => return None,
        };
        (!hosts.is_empty()).then_some(LeftOut { run, hosts, by, at: event.at })
    });
    left_out.collect()
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
