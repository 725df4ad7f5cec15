#![doc = include_str!("../README.md")]

mod attach;
mod doctor;
mod folder;
mod host;
mod identity;
mod lines;
mod link;
mod master;
mod options;
mod own_session;
mod pool;
mod read_each;
mod script;
mod session;
mod trouble;
mod upload;
mod worker;

pub use host::Ssh;
pub use master::end_masters;
