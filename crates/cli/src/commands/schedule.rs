//! `schedule`: when releases go live by themselves.

use std::sync::Arc;

use lockgate_local::Local;
use lockgate_model::{Environment, Schedule, Service};
use lockgate_orchestrator::{InProcess, Scheduler, Turn};
use lockgate_render::{here, schedule_text};

use super::{Context, crontab, promote};
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::{secrets, tools, wiring};

/// One service's schedule in an environment.
pub type Scheduled<'a> = (&'a Environment, &'a Service, &'a Schedule);

/// The schedules of the environment and the service that were asked for, else all.
///
/// # Errors
/// A usage error where there is none.
pub fn scheduled<'a>(
    context: &'a Context<'_>,
    service: Option<&str>,
) -> Result<Vec<Scheduled<'a>>, CliError> {
    let environment = context.environment_asked()?.map(|environment| &environment.name);
    let service = service.map(|name| context.service(name)).transpose()?;
    let is_asked = move |one: &Environment| environment.is_none_or(|name| *name == one.name);
    let all = lockgate_plan::schedule::scheduled(&context.project, is_asked);
    let found: Vec<Scheduled<'_>> =
        all.filter(|(_, one, _)| service.is_none_or(|service| service.name == one.name)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let of = service.map(|service| format!(" for {}", service.name)).unwrap_or_default();
    let place = environment.map(|name| format!(" in {name}")).unwrap_or_default();
    Err(CliError::usage(
        format!("there is no schedule{of}{place} in lockgate.yaml"),
        "add one to an environment: `schedule: { cron: \"0 5 * * *\", deploy: latest-semver }`",
    ))
}

pub fn turn<'a>((environment, service, schedule): Scheduled<'a>) -> Turn<'a> {
    Turn { environment: &environment.name, service, schedule }
}

pub fn scheduler(context: &Context<'_>, orchestrator: InProcess) -> Scheduler {
    Scheduler {
        orchestrator: orchestrator.clone(),
        clock: tools::clock(),
        owner: lockgate_local::holder_identity().owner,
        mask: secrets::mask(&context.project),
        registry: wiring::registry(&context.project),
        host: Arc::new(Local::new()),
        dir: context.project.root.join(".lockgate/schedule").to_string_lossy().into_owned(),
        here: here(),
        promoter: promote::promoter(context, orchestrator, Some(tools::store(&context.project))),
    }
}

pub async fn list(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let scheduler = scheduler(context, context.looking());
    let now = scheduler.clock.now();
    let mut lines = Vec::new();
    for scheduled in scheduled(context, service)? {
        lines.push(scheduler.line(&turn(scheduled), now).await);
    }
    let output = context.output;
    match output.format {
        Format::Text => output.text(&schedule_text(&lines, output.paint)),
        Format::Json => lines.iter().for_each(|line| output.json(&line.told())),
    }
    // What keeps the schedule from being followed is a failure also for who only looks.
    Ok(if lines.iter().all(|line| line.remembered.is_ok()) { Exit::Succeeded } else { Exit::Failed })
}

pub fn print_crontab(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let scheduled = scheduled(context, service)?;
    let schedules: Vec<&Schedule> = scheduled.iter().map(|(_, _, schedule)| *schedule).collect();
    let environment = context.environment_asked()?.map(|environment| environment.name.as_str());
    let line = crontab::line(&wiring::this_program()?, &context.path, environment, &schedules);
    match context.output.format {
        Format::Text => context.output.verbatim(&line),
        Format::Json => context.output.json(&serde_json::json!({ "crontab": line })),
    }
    context.output.say("`crontab -e` takes it; cron knows none of your shell's variables: those that lockgate.yaml reads go above it, as NAME=value");
    Ok(Exit::Succeeded)
}
