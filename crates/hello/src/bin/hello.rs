//! The binary: reads its options, serves until told to stop, turns the outcome into an exit code.
//! Exit codes: 0 stopped as asked (or the probe found it well), 1 crashed or died (or unwell), 2 wrong options.

use lockgate_hello::{HelloOptions, options, probe, serve};
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        print!("{}", options::usage());
        return ExitCode::SUCCESS;
    }
    let options = match HelloOptions::from_env_and_args() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("hello: error: {error}");
            return ExitCode::from(2);
        }
    };
    let done = if options.probe { probe(&options) } else { serve_on_one_thread(options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread is enough for a test app, and keeps many of them cheap beside each other.
fn serve_on_one_thread(options: HelloOptions) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(options))
}
