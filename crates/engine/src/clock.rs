//! The wall clock, so that runs can be replayed with a pinned one.

use lockgate_model::Timestamp;

/// Only stamps events with it: nothing is decided by it, so a jump of it changes no outcome.
pub trait Clock: Send + Sync {
    /// The time of this machine. It may jump, so spans that matter are not measured with it.
    fn now(&self) -> Timestamp;
}
