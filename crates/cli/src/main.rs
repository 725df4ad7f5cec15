//! The binary `lockgate`: parses, wires, dispatches. The only place that names concrete drivers.

mod args;
mod commands;
mod demo;
mod error;
mod exit;
mod output;
mod proxy;
mod sink;
mod tools;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(&args.global);
    // reqwest is built without a crypto provider so that there is one only; ring is installed here, once.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider was installed already");
    }
    output.trace();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.error(&error::CliError::failed(format!("cannot start: {error}")));
            return exit::Exit::Failed.into();
        }
    };
    let exit = match runtime.block_on(commands::dispatch(args, &output)) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error);
            error.exit
        }
    };
    // Blocking work that hangs on a dead file system must not keep the process.
    runtime.shutdown_background();
    exit.into()
}
