//! Where the words of a plan meet the ports: observing a service on its hosts, performing one action, keeping leases.
//!
//! Invariants: every action looks first and does only what is missing; a slot that has the traffic is never stopped
//! or replaced (P1); a gate that could not look never passes (P6).

mod attribution;
mod conductor;
mod drain;
mod files;
mod gates;
mod health;
mod lease;
mod live;
mod masked;
mod observe;
mod traffic;

pub use conductor::{Conductor, Subject};
pub use files::{read_releases, releases_path};
pub use lease::HostLease;
pub use masked::masked;
pub use observe::{Depth, glimpse, observe, unless_silent};
