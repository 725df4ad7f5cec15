//! `history`: past runs from this project's journal.

use lockgate_model::{HistoryFilter, PastRun, StateLocation};
use lockgate_orchestrator::{Orchestrator, Past};
use lockgate_render::{history_text, rfc3339};

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
        Format::Text => show(context, &filter, &runs),
    }
    Ok(Exit::Succeeded)
}

fn show(context: &Context<'_>, filter: &HistoryFilter, runs: &[PastRun]) {
    if runs.is_empty() {
        let is_narrow = filter.digest.is_some() || filter.before.is_some() || filter.environment.is_some();
        let which = match &context.project.state {
            _ if is_narrow => "no such run is in the journal",
            StateLocation::File(_) => "no run is in this folder's journal",
            StateLocation::Postgres(_) => "no run of this project is in its journal",
        };
        context.output.text(&format!("{which}; `lockgate status` looks at the hosts"));
        // Whoever has just been refused looks for it here.
        return context.output.say(
            "what was refused before it began is no run; of signed calls `lockgate audit` has it, and everybody in `notify` was told",
        );
    }
    let last = runs.last().map(|run| run.run).filter(|_| runs.len() == filter.limit as usize);
    context.output.text(&history_text(runs, &rfc3339));
    if let Some(last) = last {
        context.output.say(&format!("older ones: add `--before {last}`"));
    }
}
