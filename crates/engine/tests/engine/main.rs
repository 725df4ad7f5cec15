//! The engine's rooms from the outside: leases, what they cost, transitions, turning back.

mod common;
mod going_on;
mod leases;
mod overhead;
mod places;
mod replaced;
mod transitions;
mod turning_back;
