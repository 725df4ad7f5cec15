#![doc = include_str!("../README.md")]

mod answer;
mod args;
mod change;
mod client;
mod confirm;
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
pub use desk::{Desk, Opened, Options, Values};
pub use serve::serve;
pub use work::{Over, Stopping};
