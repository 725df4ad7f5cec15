//! The journal in one SQLite file, and in another one the leases of what has no host to keep them.
//!
//! Invariants: an event that was appended survives power loss (write-ahead log, `synchronous=FULL`, one transaction
//! per event under `BEGIN IMMEDIATE`), and several processes may append to one file. Events are chained by SHA-256,
//! and a run's summary, written in the same transaction, knows how many there are and how the chain ends: a record
//! that is changed, swapped or missing anywhere is found and named, never skipped. A write-ahead log that was cut off
//! gives a clean earlier state. A lease is changed by one statement that names what it was. File and folder are for their owner only, since failures in it quote log lines.
//!
//! Absent: migrations to and fro. The schema's version is SQLite's `user_version`; an empty file gets the schema, a
//! newer one is refused. `sqlx::migrate!` would cost a table, two queries and a lock at every start for that.

mod error;
mod file;
mod journal;
mod lease;
mod record;

pub use journal::SqliteJournal;
pub use lease::SqliteLease;
