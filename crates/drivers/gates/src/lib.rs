#![doc = include_str!("../README.md")]

mod http;
mod look;
mod program;
mod watch;

pub use http::Http;
pub use program::Program;
