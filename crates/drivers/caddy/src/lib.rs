#![doc = include_str!("../README.md")]

mod admin;
mod ask;
mod caddy;
mod check;
mod dials;
mod ghost;
mod members;
mod options;
mod rewrite;
mod router;
mod service;
mod snippet;
mod streams;
mod tls;
mod tree;
mod trial;
mod version;

pub use caddy::Caddy;
pub use options::CaddyOptions;
