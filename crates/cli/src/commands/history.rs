//! `history`: past runs from this project's journal.

use lockgate_engine::{Journal, RunFilter};
use lockgate_model::{Digest, EventKind, HostId, LeftOut, Outcome, RunId, StateLocation};
use lockgate_render::{Table, escaped, rfc3339};

use super::Context;
use crate::args::{Format, History};
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

pub async fn run(context: &Context<'_>, asked: &History) -> Result<Exit, CliError> {
    let filter = filter(context, asked)?;
    let journal = tools::store(&context.project);
    let runs = journal.runs(&filter).await?;
    let mut left_out = Vec::with_capacity(runs.len());
    for run in &runs {
        left_out.push(left_out_of(journal.as_ref(), run.run).await);
    }
    if context.output.format == Format::Json {
        for (run, left_out) in runs.iter().zip(&left_out) {
            let mut shown = serde_json::json!(run);
            shown["rejected"] = run.outcome.as_ref().is_some_and(Outcome::rejects).into();
            if !left_out.is_empty() {
                shown["left_out"] = serde_json::json!(left_out);
            }
            context.output.json(&shown);
        }
        return Ok(Exit::Succeeded);
    }
    if runs.is_empty() {
        let is_narrow = asked.digest.is_some() || asked.before.is_some() || filter.environment.is_some();
        let which = match &context.project.state {
            _ if is_narrow => "no such run is in the journal",
            StateLocation::File(_) => "no run is in this folder's journal",
            StateLocation::Postgres(_) => "no run of this project is in its journal",
        };
        context.output.text(&format!("{which}; `lockgate status` looks at the hosts"));
        return Ok(Exit::Succeeded);
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
    for (run, left_out) in runs.into_iter().zip(left_out) {
        table.push(vec![
            rfc3339(run.started_at),
            run.ended_at.map(rfc3339).unwrap_or_default(),
            run.service.to_string(),
            run.environment.to_string(),
            escaped(&run.intent),
            run.release.to_string(),
            run.outcome.as_ref().map_or("unfinished".to_owned(), shown),
            escaped(&run.owner),
            left_out_text(&run.owner, &left_out),
            run.run.to_string(),
        ]);
    }
    context.output.text(&table.text());
    if let Some(last) = last {
        context.output.say(&format!("older ones: add `--before {last}`"));
    }
    Ok(Exit::Succeeded)
}

fn filter(context: &Context<'_>, asked: &History) -> Result<RunFilter, CliError> {
    let service = asked.service.as_deref().map(|name| context.service(name)).transpose()?;
    let environment = context.asked_environment()?;
    let digest = asked.digest.as_deref().map(|text| {
        Digest::new(text).map_err(|invalid| {
            CliError::usage(invalid.to_string(), "`lockgate history --format json` shows digests whole")
        })
    });
    let before = asked.before.as_deref().map(|text| {
        text.parse().map_err(|_| {
            CliError::usage(
                format!("{text:?} is no run's id"),
                "`lockgate history` shows them in its last column",
            )
        })
    });
    // All in this folder's own file are this project's, whatever it was called then.
    let project = &context.project;
    let is_ours = project.state == StateLocation::of_folder(&project.root);
    Ok(RunFilter {
        project: (!is_ours).then(|| project.name.clone()),
        service: service.map(|service| service.name.clone()),
        environment: environment.map(|environment| environment.name.clone()),
        digest: digest.transpose()?,
        before: before.transpose()?,
        limit: asked.limit,
        unfinished: false,
    })
}

/// How a run ended, and whether its release was rejected by it.
fn shown(outcome: &Outcome) -> String {
    match outcome.rejects() {
        true => format!("{}, rejected", outcome.as_str()),
        false => outcome.as_str().to_owned(),
    }
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
