#![doc = include_str!("../README.md")]

mod admin;
mod builtin;
mod check;
mod launch;
mod listeners;
mod options;
mod program;
mod replicas;
mod trial;

pub use builtin::Builtin;
pub use options::BuiltinOptions;
