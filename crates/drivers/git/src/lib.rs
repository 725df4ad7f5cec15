#![doc = include_str!("../README.md")]

mod git;
mod status;

pub use git::{GitCli, GitOptions};
