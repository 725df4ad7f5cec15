#![doc = include_str!("../README.md")]

pub mod app;
mod body;
pub mod options;
mod probe;
mod server;
mod websocket;

pub use options::{HelloOptions, OptionsError};
pub use probe::probe;
pub use server::{serve, serve_on};
