//! `status`: what is live, looked up on the hosts.

use std::io::IsTerminal;
use std::time::Duration;

use lockgate_model::{ServiceClosely, ServiceStatus, StatusLine};
use lockgate_orchestrator::Orchestrator;
use lockgate_render::{closely_text, rfc3339, status_text};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;

const WATCH_SECONDS: u64 = 1;

pub async fn run(context: &Context<'_>, service: Option<&str>, watch: bool) -> Result<Exit, CliError> {
    let (service, environment) = context.asked().status(service)?;
    let (service, orchestrator, output) = (service.as_ref(), context.looking(), context.output);
    loop {
        let looked = match output.verbose {
            0 => Looked::Plainly(orchestrator.status(service, Some(&environment)).await?),
            _ => Looked::Closely(orchestrator.status_closely(service, Some(&environment)).await?),
        };
        if watch && output.format == Format::Text && std::io::stdout().is_terminal() {
            output.clear();
        }
        looked.show(output);
        if !watch {
            return Ok(looked.exit());
        }
        tokio::time::sleep(Duration::from_secs(WATCH_SECONDS)).await;
    }
}

/// With `-v` both slots are looked at as well, which takes some requests more for each.
enum Looked {
    Plainly(Vec<ServiceStatus>),
    Closely(Vec<ServiceClosely>),
}

impl Looked {
    fn show(&self, output: &Output) {
        match (self, output.format) {
            (Looked::Plainly(all), Format::Text) => output.text(&status_text(all, &rfc3339, output.paint)),
            (Looked::Closely(all), Format::Text) => output.text(&closely_text(all, &rfc3339, output.paint)),
            (Looked::Plainly(all), Format::Json) => {
                all.iter().for_each(|status| output.json(&StatusLine::of(status, rfc3339)));
            }
            (Looked::Closely(all), Format::Json) => {
                all.iter().for_each(|looked| output.json(&StatusLine::closely(looked, rfc3339)));
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Looked::Plainly(all) => ServiceStatus::exit(all),
            Looked::Closely(all) => ServiceStatus::exit(all.iter().map(|looked| &looked.status)),
        }
    }
}
