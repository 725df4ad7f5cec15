#![doc = include_str!("../README.md")]

mod admin;
mod builtin;
mod check;
mod launch;
mod listeners;
mod occupant;
mod options;
mod program;
mod replicas;
mod trial;

pub use builtin::Builtin;
pub use occupant::Proxies;
pub use options::BuiltinOptions;
