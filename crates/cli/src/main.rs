#![doc = include_str!("../README.md")]

mod alone;
mod args;
mod commands;
mod demo;
mod error;
mod exit;
mod found_config;
mod given;
mod output;
mod proxy;
mod requester;
mod schedule_files;
mod secrets;
mod setup;
mod ship;
mod sink;
mod tools;
mod typed;
mod values;
mod watcher;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

/// musl's own has one lock for all threads, and the static program is what people install.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of `lockgate serve`: strangers' calls are checked beside the runs that others have asked for.
const SERVE_WORKERS: usize = 2;

/// One thread is enough for what waits for others most of the time. The proxy is the exception: every request of every
/// service goes through it, so it gets a worker for each processor.
fn runtime(command: &args::Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        args::Command::Proxy(proxy) if !proxy.upgrade => tokio::runtime::Builder::new_multi_thread(),
        args::Command::Serve(serve) if serve.serves() => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(SERVE_WORKERS);
            builder
        }
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.thread_name("lockgate-worker").enable_all().build()
}

/// Prints what is wrong with the command line, or the help that was asked for. `exec` has its own exit code for what is not
/// its program's.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let is_exec = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "exec");
    if !is_exec || !error.use_stderr() {
        error.exit();
    }
    match error.print() {
        Ok(()) | Err(_) => ExitCode::from(commands::exec::OWN_ERROR),
    }
}

fn main() -> ExitCode {
    let mut args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return misunderstood(&error),
    };
    let output = output::Output::new(&args.global);
    // reqwest is built without a crypto provider so that there is one only; ring is installed here, once.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider was installed already");
    }
    output.trace(matches!(&args.command, args::Command::Serve(serve) if serve.serves()));
    if let args::Command::Serve(serve) = &mut args.command
        && serve.serves()
    {
        match given::Given::take() {
            Ok(given) => serve.given = Some(given),
            Err(error) => {
                let error = error::CliError::from(lockgate_server::ServeError::from(error));
                output.error(&error);
                return exit::code(error.exit());
            }
        }
    }
    // Before there is a runtime: a supervisor lives for years and does nothing.
    if let args::Command::Proxy(proxy) = &args.command
        && proxy.supervise
    {
        match proxy::supervised(proxy) {
            Ok(Some(exit)) => return exit::code(exit),
            Ok(None) => {}
            Err(error) => {
                output.error(&error);
                return exit::code(error.exit());
            }
        }
    }
    let runtime = match runtime(&args.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            output.error(&error::CliError::failed(format!("cannot start: {error}")));
            return exit::code(exit::Exit::Failed);
        }
    };
    if let args::Command::Exec(exec) = &args.command {
        let code = runtime.block_on(commands::exec::run(exec, &args.global, &output));
        runtime.shutdown_background();
        return ExitCode::from(code);
    }
    let exit = runtime.block_on(async {
        let exit = commands::dispatch(args, &output).await.unwrap_or_else(|error| {
            output.error(&error);
            error.exit()
        });
        output.tell_the_rest().await;
        exit
    });
    // Blocking work that hangs on a dead file system must not keep the process.
    runtime.shutdown_background();
    exit::code(exit)
}
