//! `exec`: a person's program where a service's app runs.

use std::io::IsTerminal;

use lockgate_model::{Failure, FailureKind, HostId};
use lockgate_orchestrator::{Entering, Wiring, enter};
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::args::{Exec, Global};
use crate::error::CliError;
use crate::output::Output;

/// What `exec` ends with when it is not the program that failed.
pub const OWN_ERROR: u8 = 125;
/// 128 + SIGTERM.
const TERMINATED: u8 = 143;

/// The program's own exit code, or [`OWN_ERROR`].
pub async fn run(args: &Exec, global: &Global, output: &Output) -> u8 {
    match entered(args, global, output).await {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            OWN_ERROR
        }
    }
}

async fn entered(args: &Exec, global: &Global, output: &Output) -> Result<u8, CliError> {
    // What runs beside the slots is given today's environment, the slot's own program has its own.
    let context = match args.new {
        true => Context::load_whole(global, output).await?,
        false => Context::load(global, output)?,
    };
    let (service, environment) = (context.service(&args.service)?, context.environment()?);
    let site = context.wires.site(service, environment)?;
    let host = args.host.as_ref().map(|name| HostId::new(name.clone())).transpose();
    let host = host.map_err(|error| Failure::new(FailureKind::NotFound, error.to_string()))?;
    let is_tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let entering = Entering { host, argv: args.argv.clone(), is_new: args.new, is_tty };
    // Ctrl-C is for the program, which has it from the terminal too.
    let _interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let code = tokio::select! {
        code = enter(&site, &entering) => code?,
        // Whoever is dropped kills what it began.
        _ = terminations.recv() => return Ok(TERMINATED),
    };
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
