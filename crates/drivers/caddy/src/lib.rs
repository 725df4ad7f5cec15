#![doc = include_str!("../README.md")]

mod admin;
mod ask;
mod caddy;
mod check;
mod either;
mod file_switch;
mod ghost;
mod options;
mod router;
mod service;
mod snippet;
mod tls;
mod tree;
mod version;

pub use caddy::Caddy;
pub use either::EitherSwitch;
pub use file_switch::FileOptions;
pub use options::CaddyOptions;
