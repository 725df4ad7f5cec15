#![doc = include_str!("../README.md")]

mod attach;
mod command;
mod doctor;
mod ending;
mod files;
mod host;
mod identity;
mod swap;
mod temporary;
mod upload;

pub use command::LocalRunner;
pub use host::Local;
pub use identity::{holder_identity, now, surely_dead};
