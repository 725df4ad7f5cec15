//! The built-in proxy as a router, for one service on one host: `lockgate-proxy` does the work, this asks it to.
//!
//! It speaks to the proxy's admin socket, `<dir>/admin.sock` on the host, so the same way for this machine and over
//! SSH. The proxy's route names the slot and the release's digest, so every answer can be told apart.
//!
//! Invariants:
//! - Looking starts nothing and changes nothing. A switch starts the proxy when it does not run, and `revive` does when
//!   it should.
//! - No run begins while the proxy listens elsewhere than `lockgate.yaml` says, for nothing would answer there; a switch
//!   itself is not refused, so that a run in which it moved can go back.
//! - Every change is conditional on the version that was read; the proxy stores it before it is in force.
//! - A count of requests in flight includes those of a proxy that still drains after an upgrade.
//!
//! Absent: stopping the proxy, for other services may use it, and keeping it running over a reboot (a systemd unit
//! does that; until then the route is unreachable and the error says so).

mod admin;
mod builtin;
mod check;
mod launch;
mod listeners;
mod options;

pub use builtin::Builtin;
pub use options::BuiltinOptions;
