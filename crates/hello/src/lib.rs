//! `hello`: the tiny real HTTP app that Lockgate's demo, examples and tests deploy.
//!
//! It answers with the release it was started as, and it can be told to misbehave in every way that a
//! deployment has to survive: boot slowly, never get healthy, die later, ignore SIGTERM, crash at once.
//! [`options`] lists the knobs (each an environment variable and a flag), [`app`] the paths.
//!
//! Invariants:
//! - Every response carries `x-release` (and `x-slot` when a slot was given), so a test can ask *who* answered.
//! - After SIGTERM no new connection is accepted, requests in flight finish (at most `SHUTDOWN_MS`),
//!   WebSockets are closed with 1001, and the process ends with exit code 0.
//! - The library never ends the process: [`serve`] returns, and only the binary exits.
//!
//! Absent on purpose: TLS, HTTP/2, configuration files, and every workspace crate. This is a guest of
//! Lockgate, not one of its rooms.

pub mod app;
mod body;
pub mod options;
mod probe;
mod server;
mod websocket;

pub use options::{HelloOptions, OptionsError};
pub use probe::probe;
pub use server::{serve, serve_on};
