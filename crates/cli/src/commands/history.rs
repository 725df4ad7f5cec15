//! `history`: past runs from this project's journal.

use lockgate_engine::{Journal, RunFilter};
use lockgate_model::Outcome;
use lockgate_render::{Table, escaped, rfc3339};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

pub async fn run(context: &Context<'_>, service: Option<&str>, limit: u32) -> Result<Exit, CliError> {
    let service = service.map(|name| context.service(name)).transpose()?.map(|service| service.name.clone());
    let filter = RunFilter { service, limit, ..RunFilter::default() };
    let runs = tools::journal(&context.project).runs(&filter).await?;
    if context.output.format == Format::Json {
        for run in &runs {
            let mut line = serde_json::json!(run);
            line["rejected"] = run.outcome.as_ref().is_some_and(Outcome::rejects).into();
            context.output.json(&line);
        }
        return Ok(Exit::Succeeded);
    }
    if runs.is_empty() {
        context.output.text("no run is in this folder's journal; `lockgate status` looks at the hosts");
        return Ok(Exit::Succeeded);
    }
    let mut table =
        Table::new(["started", "ended", "service", "environment", "what", "release", "outcome", "by", "run"]);
    for run in runs {
        table.push(vec![
            rfc3339(run.started_at),
            run.ended_at.map(rfc3339).unwrap_or_default(),
            run.service.to_string(),
            run.environment.to_string(),
            escaped(&run.intent),
            run.release.to_string(),
            run.outcome.as_ref().map_or("unfinished".to_owned(), shown),
            escaped(&run.owner),
            run.run.to_string(),
        ]);
    }
    context.output.text(&table.text());
    Ok(Exit::Succeeded)
}

/// How a run ended, and whether its release was rejected by it.
fn shown(outcome: &Outcome) -> String {
    match outcome.rejects() {
        true => format!("{}, rejected", outcome.as_str()),
        false => outcome.as_str().to_owned(),
    }
}
