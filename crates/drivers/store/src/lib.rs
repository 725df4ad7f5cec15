#![doc = include_str!("../README.md")]

mod audit;
mod backfill;
mod connection;
mod database;
mod deliveries;
mod dialect;
mod error;
mod file;
mod filter;
mod journal;
mod keep;
mod lease;
mod observations;
mod port;
mod presence;
mod record;
mod schema;
mod store;
mod verdicts;

pub use lease::StoreLease;
pub use store::SqlStore;

#[cfg(test)]
mod tests;
