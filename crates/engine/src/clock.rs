//! The wall clock, so that runs can be replayed with a pinned one.

use lockgate_model::Timestamp;

/// Only stamps events with it: nothing is decided by it, so a jump of it changes no outcome.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}
