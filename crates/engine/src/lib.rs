//! Runs a plan: journals the intent, performs, journals the outcome, and on failure undoes backward.
//!
//! Invariants: the engine cannot name a container, a proxy or a host's command; it knows steps, outcomes and leases.
//! One total transition function ([`RunState::apply`]) serves live running and recovery. No effect happens without a
//! journaled intent, nor under a lease that somebody else holds.

mod acquire;
mod clock;
mod dispatcher;
mod fence;
mod fenced;
mod journal;
mod lease;
mod performer;
mod run;
mod run_file;
mod scribe;
mod state;

pub use acquire::{Acquired, Leases, Unread};
pub use clock::Clock;
pub use fence::Fence;
pub use journal::{Journal, JournalError, RunFilter, RunSummary};
pub use lease::{LeaseError, LeaseStore, TTL_SECONDS};
pub use performer::{EventSink, Performer};
pub use run::{Engine, Interrupt, RunError};
pub use run_file::RunFile;
pub use state::{Direction, IllegalTransition, RunState, StepStatus, Work};
