//! `exec`.

use clap::Args;

/// Run a program where a service's app runs; its exit code is this command's, whose own errors are 125
#[derive(Debug, Args)]
pub struct Exec {
    /// One of `services` in lockgate.yaml
    pub service: String,
    /// By itself, in the release that went live last, instead of in the live slot
    #[arg(long)]
    pub new: bool,
    /// Which host; default: the environment's first
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The program and its arguments; no shell reads them on the way
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}
