#![doc = include_str!("../README.md")]

mod api;
mod auth;
mod check;
mod cli;
mod cli_cache;
mod compose;
mod conflict_cache;
mod conflicts;
mod containers;
mod diagnose;
mod engine;
mod found_cli;
mod health;
mod held;
mod image;
mod images;
mod labels;
mod layout;
mod logs;
mod nameless;
mod overlay;
mod per_slot;
mod place;
mod plain;
mod pull;
mod replicas;
mod runtime;
mod scale;
mod start;

pub use compose::{Compose, ComposeOptions};
pub use found_cli::ComposeCli;
