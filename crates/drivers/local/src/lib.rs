//! This machine: the [`Host`](lockgate_ports::Host) port without any network, programs for gates, the wall clock and
//! this process's identity.
//!
//! Invariants: a command runs in a process group of its own and nothing of that group outlives a dropped future or a
//! passed bound; a file is old or new, never in between; a swap is atomic among all callers on this machine, those who
//! came over SSH included, because both ways take the same `flock(2)`; nobody's being stopped holds that lock (`swap`).
//!
//! Absent: a shell. Arguments go to the program as they are. Also absent: killing commands when Lockgate itself is
//! killed with SIGKILL; they run to their own end, and the next run looks at the world.

mod command;
mod doctor;
mod files;
mod host;
mod identity;
mod swap;
mod temporary;
mod upload;

pub use command::LocalRunner;
pub use host::Local;
pub use identity::{holder_identity, now, surely_dead};
