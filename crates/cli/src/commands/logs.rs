//! `logs`: a slot's last lines.

use lockgate_model::HostLog;
use lockgate_orchestrator::Orchestrator;
use lockgate_render::{clean, escaped};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;

pub async fn run(
    context: &Context<'_>,
    service: &str,
    slot: Option<&str>,
    lines: u32,
) -> Result<Exit, CliError> {
    let want = context.asked().logs(service, slot, lines)?;
    let logs = context.looking().logs(&want).await?;
    let are_several = logs.len() > 1;
    for log in logs {
        show(context, &log, are_several);
        if let Some(failure) = log.failure {
            return Err(failure.into());
        }
    }
    Ok(Exit::Succeeded)
}

fn show(context: &Context<'_>, log: &HostLog, are_several: bool) {
    let (output, host) = (context.output, &log.host);
    if let Some(because) = &log.because {
        output.say(&format!("{host}: {}", escaped(because)));
    }
    match (log.slot, &log.failure) {
        (_, Some(_)) => {}
        (None, None) => output.say(&format!("{host}: no slot is live; name one with --slot")),
        (Some(slot), None) if log.lines.is_empty() => {
            output.say(&format!("{host}: {slot} is not there, or has said nothing"));
        }
        (Some(_), None) => {}
    }
    for line in log.lines() {
        match output.format {
            Format::Json => output.json(&line),
            Format::Text if are_several => {
                output.verbatim(&format!("{host} {} | {}", line.slot, clean(&line.line)));
            }
            Format::Text => output.verbatim(&clean(&line.line)),
        }
    }
}
