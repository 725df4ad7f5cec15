//! `plan` and `check`: looking without changing anything.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockgate_model::{Failure, FailureKind, Gate, Headway, Moment};
use lockgate_orchestrator::Session;
use lockgate_render::{escaped, failure_text, plan_text};

use super::{Context, deploy};
use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::wiring::Hosts;

/// Between two words of how far a gate is.
const SO_FAR_SECONDS: u64 = 10;

pub async fn run(context: &Context<'_>, args: &args::Deploy) -> Result<Exit, CliError> {
    context.require_deployable()?;
    let service = context.service(&args.service)?;
    let skipped = context.skipped(&args.skip)?;
    let site = context.site(service, &mut Hosts::default())?.without(&skipped);
    let tools = context.looking();
    let planned = Session::new(&site, &tools).plan(&deploy::want(args)?).await?;
    match context.output.format {
        Format::Json => context.output.json(&serde_json::json!({
            "changes": !planned.plan.is_empty(), "plan": planned.plan.without_queries(), "observed": planned.observed,
        })),
        Format::Text => {
            context.output.text(&plan_text(&planned.plan, &planned.observed, context.output.paint))
        }
    }
    Ok(Exit::Succeeded)
}

pub async fn check(context: &Context<'_>, service: &str, moment: Moment) -> Result<Exit, CliError> {
    let site = context.site(context.service(service)?, &mut Hosts::default())?;
    let tools = context.looking();
    let so_far = SoFar::new(context.output);
    let answers =
        Session::new(&site, &tools).check(moment, &|gate, headway| so_far.tell(gate, &headway)).await?;
    if answers.is_empty() {
        let key = if moment == Moment::Before { "before" } else { "after" };
        return Err(CliError::usage(
            format!("environment {} has no gates there, so nothing was checked", site.environment.name),
            format!("set environments.{}.{key} in lockgate.yaml", site.environment.name),
        ));
    }
    let mut exit = Exit::Succeeded;
    for (gate, answer) in answers {
        match context.output.format {
            Format::Json => context.output.json(&match &answer {
                Ok(evidence) => serde_json::json!({ "gate": gate.name, "judgement": "pass", "evidence": evidence }),
                Err(failure) => {
                    serde_json::json!({ "gate": gate.name, "judgement": judgement(failure), "failure": failure })
                }
            }),
            Format::Text => context.output.text(&match &answer {
                Ok(evidence) => passed(context, &gate.name, evidence),
                Err(failure) => failure_text(failure, context.output.paint),
            }),
        }
        exit = match (exit, answer.err().map(|failure| failure.kind)) {
            (exit, None) | (exit @ Exit::Failed, Some(_)) => exit,
            (_, Some(FailureKind::GateNotYet)) => Exit::NotYet,
            (_, Some(_)) => Exit::Failed,
        };
    }
    Ok(exit)
}

/// How far a gate is that takes its time, on stderr now and then.
struct SoFar<'a> {
    output: &'a Output,
    said: Mutex<Instant>,
}

impl<'a> SoFar<'a> {
    fn new(output: &'a Output) -> Self {
        Self { output, said: Mutex::new(Instant::now()) }
    }

    fn tell(&self, gate: &Gate, headway: &Headway) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= Duration::from_secs(SO_FAR_SECONDS) {
            *said = Instant::now();
            let Headway { done, of, seen } = headway;
            self.output.say(&escaped(&format!("gate {:?}: {done} of {of}, {seen}", gate.name)));
        }
    }
}

fn judgement(failure: &Failure) -> &'static str {
    match failure.kind {
        FailureKind::GateNotYet => "not_yet",
        _ => "fail",
    }
}

fn passed(context: &Context<'_>, gate: &str, evidence: &[lockgate_model::Evidence]) -> String {
    let mut text = format!("{} gate {gate:?} passes", context.output.paint.green("✓"));
    for one in evidence {
        let [check, seen, wanted] = [&one.check, &one.seen, &one.wanted].map(|text| escaped(text));
        text.push_str(&format!("\n    {check}: {seen} (wanted {wanted})"));
    }
    text
}
