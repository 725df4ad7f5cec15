#![doc = include_str!("../README.md")]

mod bytes;
mod check;
mod children;
mod command;
mod diagnose;
mod end;
mod files;
mod host_port;
mod launch;
mod look;
mod one_off;
mod options;
mod port;
mod pre_exec;
mod proc_files;
mod process;
mod record;
mod script;

pub use options::ProcessOptions;
pub use process::Process;
