//! `status`: what is live, looked up on the hosts.

use std::io::IsTerminal;
use std::time::Duration;

use lockgate_model::ServiceStatus;
use lockgate_orchestrator::{Session, state_line};
use lockgate_render::{rfc3339, status_text};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring::Hosts;

const WATCH_SECONDS: u64 = 1;

pub async fn run(context: &Context<'_>, service: Option<&str>, watch: bool) -> Result<Exit, CliError> {
    let mut hosts = Hosts::default();
    loop {
        let statuses = look(context, service, &mut hosts).await?;
        if watch && context.output.format == Format::Text && std::io::stdout().is_terminal() {
            context.output.clear();
        }
        show(context, &statuses);
        if !watch {
            let exits = statuses.iter().map(|status| Exit::of_look(status.word()));
            return Ok(exits.fold(Exit::Succeeded, Exit::or_worse));
        }
        tokio::time::sleep(Duration::from_secs(WATCH_SECONDS)).await;
    }
}

async fn look(
    context: &Context<'_>,
    service: Option<&str>,
    hosts: &mut Hosts,
) -> Result<Vec<ServiceStatus>, CliError> {
    let tools = context.looking();
    let mut statuses = Vec::new();
    for service in context.services(service)? {
        let site = context.site(service, hosts)?;
        statuses.push(Session::new(&site, &tools).status().await);
    }
    Ok(statuses)
}

fn show(context: &Context<'_>, statuses: &[ServiceStatus]) {
    match context.output.format {
        Format::Text => context.output.text(&status_text(statuses, &rfc3339, context.output.paint)),
        // System A's object, with what was seen on the hosts beside it.
        Format::Json => statuses.iter().for_each(|status| {
            let line = state_line(status);
            context.output.json(&serde_json::json!({
                "service": line.service,
                "image_tag": line.image_tag,
                "status": line.status,
                "timestamp": line.ended_at.map(rfc3339),
                "notes": line.notes,
                "environment": status.environment,
                "hosts": status.observed.hosts,
                "unseen": status.unseen,
                "behind": status.behind(),
            }));
        }),
    }
}
