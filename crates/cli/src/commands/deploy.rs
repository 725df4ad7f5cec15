//! `deploy`, `rollback`, `resume`: the commands that change something.

use std::collections::BTreeMap;

use lockgate_engine::Interrupt;
use lockgate_model::{Gates, HostId, Intent, Millis, Outcome, Plan, RunId, ServiceStatus, Tag};
use lockgate_orchestrator::{Report, Session, Want};
use lockgate_render::{dark_text, outcome_text, rfc3339, status_text};

use super::left::Signals;
use super::waiting;
use super::{Context, missing};
use crate::args::{self, Skip};
use crate::error::CliError;
use crate::exit::Exit;
use crate::sink::Screen;
use crate::wiring::Hosts;

pub async fn deploy(context: &Context<'_>, args: &args::Deploy) -> Result<Exit, CliError> {
    run(context, &args.service, &want(args)?, &args.skip).await
}

pub fn want(args: &args::Deploy) -> Result<Want, CliError> {
    let tag = Tag::new(args.tag.as_str())
        .map_err(|error| CliError::usage(error.to_string(), "name the image's tag, such as v1.2.3"))?;
    let gates = if args.only_swap { Gates::None } else { Gates::All };
    Ok(Want::Deploy { tag, gates, again: args.again })
}

pub async fn rollback(
    context: &Context<'_>,
    service: &str,
    release: Option<String>,
    skip: &Skip,
) -> Result<Exit, CliError> {
    if let Some(named) = &release {
        let named = named.strip_prefix("sha256:").unwrap_or(named);
        Tag::new(named).map_err(|error| {
            CliError::usage(
                error.to_string(),
                "name a tag, or a digest's first digits; `lockgate history` lists releases",
            )
        })?;
    }
    run(context, service, &Want::Rollback { release }, skip).await
}

async fn run(context: &Context<'_>, service: &str, want: &Want, skip: &Skip) -> Result<Exit, CliError> {
    context.require_deployable()?;
    let service = context.service(service)?;
    let skipped = context.skipped(skip)?;
    let site = context.site(service, &mut Hosts::default())?.without(&skipped);
    let screen = Screen::new(context.output);
    let interrupt = Interrupt::default();
    let tools = context.tools(&screen, interrupt.clone());
    let signals = Signals::listen(interrupt, screen.clone());
    let session = Session::new(&site, &tools);
    let run = waiting::told(&session, &screen, session.run(want));
    let result = signals.unless_left(context, &session, run).await;
    drop(signals);
    screen.finish();
    let Report { run, plan, outcome, dark, recovered } = result?;
    if let Some((run, outcome)) = recovered {
        screen.note(&format!(
            "first, run {run}, which had been cut off, was brought to its end: {}",
            outcome.as_str()
        ));
    }
    tell(context, run, &plan, &outcome, &dark);
    if context.output.format == args::Format::Text {
        let lines = missing::without(want, &plan, &outcome, &site);
        lines.iter().for_each(|line| context.output.text(line));
    }
    Ok(Exit::from(&outcome))
}

/// The result, as the last thing said.
fn tell(
    context: &Context<'_>,
    run: Option<RunId>,
    plan: &Plan,
    outcome: &Outcome,
    dark: &BTreeMap<HostId, Millis>,
) {
    let output = context.output;
    if output.format == args::Format::Json {
        let mut result = serde_json::json!({
            "event": "result",
            "run": run,
            "service": plan.service,
            "environment": plan.environment,
            "release": plan.release,
            "without": plan.without,
            "result": outcome,
            "exit": Exit::from(outcome).code(),
        });
        if !dark.is_empty() {
            result["dark_ms"] = serde_json::json!(dark);
        }
        output.json(&result);
        return;
    }
    match run {
        None => {
            output.text(&format!("nothing to do: {} is live already", plan.release));
            if matches!(plan.intent, Intent::Deploy { .. }) {
                output
                    .say("what it is started with has changed? `--again` starts it anew beside the live one");
            }
        }
        Some(_) => {
            output.text(&outcome_text(outcome, plan, output.paint));
            if !dark.is_empty() {
                output.text(&dark_text(dark));
            }
        }
    }
}

/// Every service is seen to, whatever becomes of the others; the exit code is that of the worst.
pub async fn resume(context: &Context<'_>, service: Option<&str>, skip: &Skip) -> Result<Exit, CliError> {
    let skipped = context.skipped(skip)?;
    let mut hosts = Hosts::default();
    let screen = Screen::new(context.output);
    let interrupt = Interrupt::default();
    let tools = context.tools(&screen, interrupt.clone());
    let signals = Signals::listen(interrupt.clone(), screen.clone());
    let mut worst = Exit::Succeeded;
    for service in context.services(service)? {
        let resumed = match context.site(service, &mut hosts) {
            Ok(site) => {
                let session = Session::new(&site, &tools);
                let resume = waiting::told(&session, &screen, resume_one(context, &session, &skipped));
                signals.unless_left(context, &session, resume).await
            }
            Err(error) => Err(error),
        };
        let exit = resumed.unwrap_or_else(|error| {
            context.output.say(&format!("{} cannot be resumed:", service.name));
            context.output.error(&error);
            error.exit
        });
        worst = worst.or_worse(exit);
        if interrupt.requested() {
            break;
        }
    }
    drop(signals);
    screen.finish();
    Ok(worst)
}

/// A run that `resume` brought to its end, and what that was for.
struct Ended {
    run: RunId,
    outcome: Outcome,
    what: &'static str,
}

async fn resume_one(
    context: &Context<'_>,
    session: &Session<'_>,
    skipped: &[HostId],
) -> Result<Exit, CliError> {
    let mut ended = Vec::new();
    let site = session.site.without(skipped);
    let all = bring_to_ends(&Session::new(&site, session.tools), &mut ended).await;
    if ended.is_empty() {
        all?;
        return Ok(nothing_left(context, &session.status().await));
    }
    // How a run ended says nothing of hosts that it did not concern.
    let exit = tell_resumed(context, &ended, &session.status().await);
    all?;
    Ok(exit)
}

/// What was cut off, what has died since, and what still runs beside the live release, in this order.
async fn bring_to_ends(session: &Session<'_>, ended: &mut Vec<Ended>) -> Result<(), CliError> {
    let mut add = |end: Option<(RunId, Outcome)>, what| {
        ended.extend(end.map(|(run, outcome)| Ended { run, outcome, what }));
    };
    let resumed = session.resume().await?;
    add(resumed.ended, "what had been cut off was brought to its end");
    // One that does not answer is not waited for again.
    let site = session.site.without(resumed.gone.keys());
    let session = Session::new(&site, session.tools);
    add(session.bring_back().await?, "what had died was started again");
    add(session.tidy_up().await?, "what ran beside the live release was stopped");
    Ok(())
}

/// Whoever asks for it after a power failure wants to know that nothing is live, too.
fn nothing_left(context: &Context<'_>, status: &ServiceStatus) -> Exit {
    let word = status.word();
    let exit = Exit::of_look(word);
    let (output, service) = (context.output, &status.service);
    match output.format {
        args::Format::Json => output.json(&serde_json::json!({
            "event": "result", "service": service, "run": null, "status": word,
            "hosts": status.observed.hosts, "unseen": status.unseen, "behind": status.behind(), "exit": exit.code(),
        })),
        args::Format::Text if word.is_well() => {
            output.text(&format!("{service}: nothing was left unfinished"));
        }
        args::Format::Text => output.text(&format!(
            "{service}: nothing was left unfinished, but not all is well:\n{}",
            status_text(std::slice::from_ref(status), &rfc3339, output.paint)
        )),
    }
    exit
}

/// Each end, and with the last of them what was seen after it.
fn tell_resumed(context: &Context<'_>, ended: &[Ended], status: &ServiceStatus) -> Exit {
    let outcomes: Vec<&Outcome> = ended.iter().map(|end| &end.outcome).collect();
    let word = status.word().after(&outcomes);
    let exit = Exit::of_ends(&outcomes, word);
    let (output, service) = (context.output, &status.service);
    for (index, Ended { run, outcome, what }) in ended.iter().enumerate() {
        let is_last = index + 1 == ended.len();
        if output.format == args::Format::Text {
            output.text(&format!("{service}: {what}: {} (run {run})", outcome.as_str()));
            continue;
        }
        let mut result =
            serde_json::json!({ "event": "result", "service": service, "run": run, "result": outcome });
        if is_last {
            result["status"] = serde_json::json!(word);
            result["hosts"] = serde_json::json!(status.observed.hosts);
            result["unseen"] = serde_json::json!(status.unseen);
            result["behind"] = serde_json::json!(status.behind());
        }
        result["exit"] = if is_last { exit } else { Exit::from(outcome) }.code().into();
        output.json(&result);
    }
    if output.format == args::Format::Text && !word.is_well() {
        output.text(&format!(
            "but not all is well:\n{}",
            status_text(std::slice::from_ref(status), &rfc3339, output.paint)
        ));
    }
    exit
}
