#![doc = include_str!("../README.md")]

mod arguments;
mod cli;
mod login;
mod refusal;

pub use cli::{BuildCli, BuildOptions};
