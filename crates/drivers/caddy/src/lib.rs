#![doc = include_str!("../README.md")]

mod admin;
mod ask;
mod caddy;
mod check;
mod dials;
mod either;
mod file_switch;
mod ghost;
mod members;
mod options;
mod rewrite;
mod router;
mod service;
mod snippet;
mod streams;
mod tree;
mod trial;
mod version;

pub use caddy::Caddy;
pub use either::EitherSwitch;
pub use file_switch::FileOptions;
pub use options::CaddyOptions;
