//! `doctor`: all that a deployment will need, looked at on every host, each with how to mend it.

use lockgate_orchestrator::{Examined, Orchestrator};
use lockgate_ports::{Check, CheckState};
use lockgate_render::{Paint, clean, escaped};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;

pub async fn run(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let environment = context.environment()?.name.clone();
    let service = service.map(|name| context.service(name)).transpose()?.map(|service| &service.name);
    let all = context.looking().doctor(service, Some(&environment)).await?;
    tell(context, &all);
    Ok(Examined::exit(&all))
}

pub(super) fn tell(context: &Context<'_>, all: &[Examined]) {
    let output = context.output;
    for one in all {
        match output.format {
            Format::Json => one.lines().iter().for_each(|line| output.json(line)),
            Format::Text => show(context, one),
        }
    }
}

fn show(context: &Context<'_>, one: &Examined) {
    let output = context.output;
    let parts = [one.host.as_str(), &one.title];
    let heading: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    output.text(&output.paint.bold(&heading.join(" · ")));
    one.checks.iter().for_each(|check| show_check(output, check));
}

pub(super) fn show_check(output: &Output, check: &Check) {
    output.text(&headline(check, output.paint));
    // What an app wrote has no hints of ours in it.
    for line in &check.lines {
        output.verbatim(&format!("      {} {}", output.paint.faint("│"), below(line)));
    }
    if let Some(mend) = &check.mend {
        output.text(&format!("      {}", below(mend)));
    }
}

fn headline(check: &Check, paint: Paint) -> String {
    let mark = match check.state {
        CheckState::Ok => paint.green("✓"),
        CheckState::Warn => paint.yellow("!"),
        CheckState::Bad => paint.red("✗"),
    };
    format!("  {mark} {}: {}", escaped(&check.what), below(&check.seen))
}

/// Text from elsewhere whose further lines stand under its first.
fn below(text: &str) -> String {
    clean(text).trim_end().replace('\n', "\n      ")
}
