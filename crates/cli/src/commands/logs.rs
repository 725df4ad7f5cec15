//! `logs`: a slot's last lines from every host.

use lockgate_model::{Failure, Slot, SlotState};
use lockgate_perform::glimpse;
use lockgate_ports::HostPorts;
use lockgate_render::{clean, escaped};

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
            CliError::usage(
                error.to_string(),
                "--slot blue or --slot green; --slot main where the strategy is recreate",
            )
        })?;
    let site = context.site(context.service(service)?, &mut Hosts::default())?;
    for ports in &site.hosts {
        let slot = match asked {
            Some(slot) => Some(slot),
            None => live_slot(context, ports).await?,
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
                    context.output.verbatim(&format!("{} {slot} | {}", ports.id, clean(&line)));
                }
                Format::Text => context.output.verbatim(&clean(&line)),
            }
        }
    }
    Ok(Exit::Succeeded)
}

/// The slot that has the traffic. Logs are wanted most when something is down, so where the router does not say it is
/// the slot that is recorded as active, else the one that runs.
async fn live_slot(context: &Context<'_>, ports: &HostPorts) -> Result<Option<Slot>, Failure> {
    let unsaid = match ports.router.route().await {
        Ok(route) if route.most().is_some() => return Ok(route.most()),
        Ok(_) => "the router sends the traffic to no slot".to_owned(),
        Err(error) => format!("the router cannot be asked: {}", error.message),
    };
    let (seen, _) = glimpse(ports).await?;
    // Where there is no router, that is how it is found out.
    if let Some(live) = seen.router.target.filter(|_| seen.router.absent) {
        return Ok(Some(live));
    }
    let running = seen.slots.iter().find(|(_, held)| held.state == SlotState::Running);
    let found = match (seen.recorded.active, running) {
        (Some(active), _) => Some((active, "recorded as active")),
        (None, running) => running.map(|(slot, _)| (*slot, "the one that runs")),
    };
    Ok(found.map(|(slot, why)| {
        context.output.say(&format!(
            "{}: {}; these are the lines of {slot}, {why}",
            ports.id,
            escaped(&unsaid)
        ));
        slot
    }))
}
