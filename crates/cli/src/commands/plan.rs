//! `plan` and `check`: looking without changing anything.

use lockgate_model::{Evidence, GateAnswer, Moment};
use lockgate_orchestrator::Orchestrator;
use lockgate_render::{escaped, failure_text, plan_text};

use super::{Context, deploy};
use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Exit;

pub async fn run(context: &Context<'_>, args: &args::Deploy) -> Result<Exit, CliError> {
    let planned = context.looking().plan(&deploy::want(context, args)?).await?;
    match context.output.format {
        Format::Json => context.output.json(&planned),
        Format::Text => {
            context.output.text(&plan_text(&planned.plan, &planned.observed, context.output.paint))
        }
    }
    Ok(Exit::Succeeded)
}

pub async fn check(context: &Context<'_>, service: &str, moment: Moment) -> Result<Exit, CliError> {
    let want = context.asked().check(service, moment)?;
    let answers = context.looking().check(&want).await?;
    for answer in &answers {
        match context.output.format {
            Format::Json => context.output.json(answer),
            Format::Text => context.output.text(&shown(context, answer)),
        }
    }
    Ok(GateAnswer::exit(&answers))
}

fn shown(context: &Context<'_>, answer: &GateAnswer) -> String {
    match &answer.failure {
        Some(failure) => failure_text(failure, context.output.paint),
        None => passed(context, &answer.gate, answer.evidence.as_deref().unwrap_or_default()),
    }
}

fn passed(context: &Context<'_>, gate: &str, evidence: &[Evidence]) -> String {
    let mut text = format!("{} gate {gate:?} passes", context.output.paint.green("✓"));
    for one in evidence {
        let [check, seen, wanted] = [&one.check, &one.seen, &one.wanted].map(|text| escaped(text));
        text.push_str(&format!("\n    {check}: {seen} (wanted {wanted})"));
    }
    text
}
