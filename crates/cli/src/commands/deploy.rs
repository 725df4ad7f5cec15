//! `deploy`, `rollback`, `resume`: the commands that change something.

use lockgate_model::{Aim, Gates, Intent, Leftover, Report, Resume, Resumed, Service, ServiceStatus, Want};
use lockgate_orchestrator::{Deployment, InProcess, Orchestrator};
use lockgate_render::{dark_text, outcome_text, rfc3339, status_text};

use super::follow::Signals;
use super::{Context, missing};
use crate::args::{self, Format, Skip};
use crate::error::CliError;
use crate::exit::Exit;
use crate::sink::Screen;

pub async fn deploy(context: &Context<'_>, args: &args::Deploy) -> Result<Exit, CliError> {
    run(context, want(context, args)?).await
}

/// What a deployment asks for.
pub fn want(context: &Context<'_>, args: &args::Deploy) -> Result<Want, CliError> {
    let asked = Deployment {
        service: &args.service,
        tag: &args.tag,
        gates: if args.only_swap { Gates::None } else { Gates::All },
        again: args.again,
        skip: &args.skip.hosts,
    };
    Ok(context.asked().deploy(&asked)?)
}

pub async fn rollback(
    context: &Context<'_>,
    service: &str,
    release: Option<String>,
    skip: &Skip,
) -> Result<Exit, CliError> {
    run(context, context.asked().rollback(service, release.as_deref(), &skip.hosts)?).await
}

async fn run(context: &Context<'_>, want: Want) -> Result<Exit, CliError> {
    let report = followed(context, &want).await?;
    told(context, &want.aim, &report);
    Ok(report.exit())
}

/// What is wanted, begun and shown to its end.
pub async fn followed(context: &Context<'_>, want: &Want) -> Result<Report, CliError> {
    followed_by(context, &context.working(), want).await
}

/// As [`followed`], by an orchestrator that is there already.
pub async fn followed_by(
    context: &Context<'_>,
    orchestrator: &InProcess,
    want: &Want,
) -> Result<Report, CliError> {
    let screen = Screen::new(context.output);
    let mut signals = Signals::listen();
    let session = orchestrator.start(want, &context.requester()).await?;
    let ended = signals.follow(context, &screen, session).await;
    screen.finish();
    let report = ended?;
    if let Some((run, outcome)) = &report.recovered {
        screen.note(&format!(
            "first, run {run}, which had been cut off, was brought to its end: {}",
            outcome.as_str()
        ));
    }
    Ok(report)
}

/// The result, as the last thing that is said.
pub fn told(context: &Context<'_>, aim: &Aim, report: &Report) {
    match context.output.format {
        Format::Json => context.output.json(&report.line()),
        Format::Text => tell(context, aim, report),
    }
}

/// The result, as the last thing said.
fn tell(context: &Context<'_>, aim: &Aim, report: &Report) {
    let (output, Report { run, plan, outcome, dark, .. }) = (context.output, report);
    match run {
        None => {
            output.text(&format!("nothing to do: {} is live already", plan.release));
            if matches!(plan.intent, Intent::Deploy { .. }) {
                let (service, tag) = (&plan.service, &plan.release.tag);
                output.say(&format!(
                    "what it is started with has changed? `lockgate deploy {service} {tag} --again` starts it anew"
                ));
            }
        }
        Some(_) => {
            output.text(&outcome_text(outcome, plan, output.paint));
            if !dark.is_empty() {
                output.text(&dark_text(dark));
            }
        }
    }
    missing::without(aim, report).iter().for_each(|line| output.text(line));
}

/// Every service is seen to, whatever becomes of the others; the exit code is that of the worst.
pub async fn resume(context: &Context<'_>, service: Option<&str>, skip: &Skip) -> Result<Exit, CliError> {
    context.skipped(skip)?;
    let screen = Screen::new(context.output);
    let mut signals = Signals::listen();
    let orchestrator = context.working();
    let mut worst = Exit::Succeeded;
    for service in context.services(service)? {
        let resumed = resume_one(context, &orchestrator, service, skip, &screen, &mut signals).await;
        let exit = resumed.unwrap_or_else(|error| {
            context.output.say(&format!("{} cannot be resumed:", service.name));
            context.output.error(&error);
            error.exit()
        });
        worst = worst.or_worse(exit);
        if signals.asked_to_end {
            break;
        }
    }
    screen.finish();
    Ok(worst)
}

async fn resume_one(
    context: &Context<'_>,
    orchestrator: &InProcess,
    service: &Service,
    skip: &Skip,
    screen: &Screen,
    signals: &mut Signals,
) -> Result<Exit, CliError> {
    let what = Resume {
        environment: Some(context.environment()?.name.clone()),
        skip: context.skipped(skip)?,
        ..Resume::of(service.name.clone())
    };
    let session = orchestrator.resume(&what, &context.requester()).await?;
    let resumed = signals.follow(context, screen, session).await?;
    tell_resumed(context, &resumed);
    let exit = resumed.exit();
    match resumed.refusal {
        Some(refusal) => Err((*refusal).into()),
        None => Ok(exit),
    }
}

/// Each end, and with the last of them what was seen after it. Whoever asks after a power failure wants to know that
/// nothing is live, too.
fn tell_resumed(context: &Context<'_>, resumed: &Resumed) {
    let (output, status, is_well) = (context.output, &resumed.status, resumed.word().is_well());
    let service = &status.service;
    if output.format == Format::Json {
        resumed.lines().iter().for_each(|line| output.json(line));
        return;
    }
    for end in &resumed.ended {
        let what = match end.what {
            Leftover::CutOff => "what had been cut off was brought to its end",
            Leftover::Died => "what had died was started again",
            Leftover::Torn => "what the router sent to another slot goes to the live one again",
            Leftover::Beside => "what ran beside the live release was stopped",
        };
        output.text(&format!("{service}: {what}: {} (run {})", end.outcome.as_str(), end.run));
    }
    match (resumed.ended.is_empty(), is_well) {
        (true, true) => output.text(&format!("{service}: nothing was left unfinished")),
        (true, false) => output.text(&format!(
            "{service}: nothing was left unfinished, but not all is well:\n{}",
            seen(context, status)
        )),
        (false, true) => {}
        (false, false) => output.text(&format!("but not all is well:\n{}", seen(context, status))),
    }
}

fn seen(context: &Context<'_>, status: &ServiceStatus) -> String {
    status_text(std::slice::from_ref(status), &rfc3339, context.output.paint)
}
