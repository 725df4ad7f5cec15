//! Failures in a row of something that should answer: how many, and for how long, until they count.

use std::time::Duration;

use tokio::time::Instant;

/// As many in a row are no hiccup any more.
pub(crate) const MISSES_MAX: u32 = 3;
/// Nor is what has gone on for so long.
pub(crate) const MISSES_MILLIS_MAX: u64 = 1_000;
/// Until it is looked at again after one.
pub(crate) const MISSES_PAUSE_MILLIS: u64 = 100;

/// Failures since the last success.
#[derive(Debug, Default)]
pub(crate) struct Misses {
    in_a_row: u32,
    since: Option<Instant>,
}

impl Misses {
    /// One more.
    pub(crate) fn note(&mut self) {
        self.in_a_row += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    /// None since the last success.
    pub(crate) fn are_none(&self) -> bool {
        self.in_a_row == 0
    }

    /// As many as count, or for so long.
    pub(crate) fn count(&self) -> bool {
        self.in_a_row >= MISSES_MAX || self.last_long()
    }

    /// For so long that they count, however many there were.
    pub(crate) fn last_long(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= Duration::from_millis(MISSES_MILLIS_MAX))
    }

    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}
