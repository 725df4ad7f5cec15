//! `status`: what is live, looked up on the hosts.

use std::io::IsTerminal;
use std::time::Duration;

use lockgate_model::{ServiceStatus, StatusLine};
use lockgate_orchestrator::Orchestrator;
use lockgate_render::{rfc3339, status_text};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;

const WATCH_SECONDS: u64 = 1;

pub async fn run(context: &Context<'_>, service: Option<&str>, watch: bool) -> Result<Exit, CliError> {
    let (service, environment) = context.asked().status(service)?;
    let orchestrator = context.looking();
    loop {
        let statuses = orchestrator.status(service.as_ref(), Some(&environment)).await?;
        if watch && context.output.format == Format::Text && std::io::stdout().is_terminal() {
            context.output.clear();
        }
        show(context, &statuses);
        if !watch {
            return Ok(ServiceStatus::exit(&statuses));
        }
        tokio::time::sleep(Duration::from_secs(WATCH_SECONDS)).await;
    }
}

fn show(context: &Context<'_>, statuses: &[ServiceStatus]) {
    match context.output.format {
        Format::Text => context.output.text(&status_text(statuses, &rfc3339, context.output.paint)),
        Format::Json => {
            statuses.iter().for_each(|status| context.output.json(&StatusLine::of(status, rfc3339)));
        }
    }
}
