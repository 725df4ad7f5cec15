#![doc = include_str!("../README.md")]

mod admin;
mod ask;
mod caddy;
mod check;
mod ghost;
mod options;
mod router;
mod service;
mod snippet;
mod tls;
mod tree;
mod version;

pub use caddy::Caddy;
pub use options::CaddyOptions;
