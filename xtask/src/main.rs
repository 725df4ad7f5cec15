#![doc = include_str!("../README.md")]

mod bench;
mod circles;
mod files;
mod hostile;
mod hot;
mod layers;
mod picture;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    match args.next().as_deref() {
        Some("layers") => layers::check().and_then(|()| hot::check()),
        Some("picture") => picture::make(),
        Some("bench") => bench::run(args),
        Some("hostile") => hostile::run(args),
        other => bail!("unknown task {other:?}; there are: layers, bench, hostile, picture"),
    }
}
