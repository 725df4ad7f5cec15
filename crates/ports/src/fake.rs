//! Fakes: hosts in memory, with files, two slots and a router, that can be told how every call to them goes.
//!
//! A [`Machine`] is the world of one host; [`FakePorts`] are one caller's ports to it. Between the two stands
//! [`Faults`], which is asked before each call and decides whether it happens, fails, happens with its answer lost, or
//! happens later: `sim` makes bad days of it, and [`NoFaults`] makes a plain fake.
//!
//! Time is tokio's, so a paused clock makes hours pass at once.

mod faults;
mod machine;
mod one_off;
mod outside;
mod ports;
mod programs;
mod registry;
mod shipping;
mod store;
mod stream;

pub use faults::{Call, Fate, Faults, NoFaults, What};
pub use machine::{App, Artifact, Behaviour, Catalogue, Dropped, Life, Machine, SharedMachine, shared};
pub use outside::{FakeGate, FakeNotifier, FakeProber, FakeRunner};
pub use ports::{FakeHost, FakePorts, FakeRouter, FakeRuntime};
pub use programs::{Program, Programs};
pub use registry::FakeRegistry;
pub use shipping::{FakeBuilder, FakeGit};
pub use store::{Dies, FakeStore, Lie, StoreDay};

#[cfg(test)]
mod tests;
