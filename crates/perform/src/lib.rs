#![doc = include_str!("../README.md")]

mod asking;
mod attribution;
mod closely;
mod conductor;
mod drain;
mod environments;
mod files;
mod gates;
mod grace;
mod health;
mod hook;
mod lease;
mod live;
mod masked;
mod misses;
mod observe;
mod prune;
mod replicas;
#[cfg(test)]
mod scene;
mod traffic;
mod trial;
mod verify;
mod watch;

pub use closely::{look_closely, unhealthy};
pub use conductor::{Conductor, Subject};
pub use environments::own_environment;
pub use files::{read_releases, releases_path};
pub use lease::HostLease;
pub use masked::masked;
pub use observe::{Depth, glimpse, observe, unless_silent};
