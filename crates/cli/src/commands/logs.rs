//! `logs`: a slot's last lines from every host.

use lockgate_model::{Failure, Slot};
use lockgate_render::clean;

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring::Hosts;

pub async fn run(
    context: &Context<'_>,
    service: &str,
    slot: Option<&str>,
    lines: u32,
) -> Result<Exit, CliError> {
    let asked: Option<Slot> =
        slot.map(str::parse).transpose().map_err(|error: lockgate_model::InvalidName| {
            CliError::usage(error.to_string(), "--slot blue or --slot green")
        })?;
    let site = context.site(context.service(service)?, &mut Hosts::default())?;
    for ports in &site.hosts {
        let slot = match asked {
            Some(slot) => Some(slot),
            None => ports.router.route().await.map_err(|error| Failure::from(error).at(&ports.id))?.target,
        };
        let Some(slot) = slot else {
            context.output.say(&format!("{}: no slot is live; name one with --slot", ports.id));
            continue;
        };
        let logs =
            ports.runtime.logs(slot, lines).await.map_err(|error| Failure::from(error).at(&ports.id))?;
        if logs.is_empty() {
            context.output.say(&format!("{}: {slot} is not there, or has said nothing", ports.id));
        }
        for line in logs {
            match context.output.format {
                Format::Json => {
                    context.output.json(&serde_json::json!({ "host": ports.id, "slot": slot, "line": line }));
                }
                Format::Text if site.hosts.len() > 1 => {
                    context.output.text(&format!("{} {slot} | {}", ports.id, clean(&line)));
                }
                Format::Text => context.output.text(&clean(&line)),
            }
        }
    }
    Ok(Exit::Succeeded)
}
