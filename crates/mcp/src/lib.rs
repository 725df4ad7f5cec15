//! An agent's tools: Lockgate as an MCP server over a pair of pipes.
//!
//! A face on [`lockgate_orchestrator::Orchestrator`], as the command line is one: what a tool answers is the JSON that
//! `--format json` prints, and what a tool does the same session does. What changes what is live is shown to a person first,
//! as the plan that it is ([`confirm`]), and only that plan is run.
//!
//! Absent: drivers and configuration, which the composition root hands in ([`Desk`]); and `rmcp` in every file but
//! `server.rs`, for it moves fast.

mod answer;
mod args;
mod change;
mod client;
pub mod confirm;
mod desk;
mod look;
mod progress;
mod schema;
mod serve;
mod server;
mod stdio;
mod tools;
mod work;

pub use answer::Answer;
pub use desk::{Desk, Opened};
pub use serve::{Options, serve};
pub use work::{Over, Stopping};
