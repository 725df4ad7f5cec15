#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod acquire;
mod clock;
pub mod conformance;
mod dispatcher;
mod fence;
mod fenced;
mod journal;
mod lease;
mod performer;
mod run;
mod run_file;
mod said;
mod scribe;
mod state;

pub use acquire::{Acquired, Leases, Stored, Unread};
pub use clock::Clock;
pub use fence::Fence;
pub use journal::{Journal, JournalError, RunFilter, RunSummary};
pub use lease::{LeaseError, LeaseStore, TTL_SECONDS};
pub use performer::{EventSink, Performer};
pub use run::{Engine, Interrupt, RunError};
pub use run_file::RunFile;
pub use state::{Direction, IllegalTransition, RunState, StepStatus, Work};
