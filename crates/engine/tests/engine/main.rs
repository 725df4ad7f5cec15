//! The engine's rooms from the outside: leases, transitions, turning back.

mod common;
mod going_on;
mod leases;
mod transitions;
mod turning_back;
