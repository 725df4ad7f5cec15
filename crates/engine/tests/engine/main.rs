//! The engine's rooms from the outside: leases, transitions, turning back.

mod common;
mod leases;
mod transitions;
mod turning_back;
