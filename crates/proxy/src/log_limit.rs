//! Telling the log of what may happen a thousand times a second: once a second.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The least time between two lines of one kind.
const PAUSE_MS: u64 = 1_000;

/// Allows one line a second, and counts what is left out between two.
#[derive(Debug)]
pub(crate) struct LogLimit {
    begun: Instant,
    /// When the next line is due, in milliseconds after `begun`.
    due_ms: AtomicU64,
    left_out: AtomicU64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), due_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether to write a line now; if so, how many were left out since the one before.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_after(self.begun.elapsed())
    }

    fn due_after(&self, elapsed: Duration) -> Option<u64> {
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let due = self.due_ms.load(Relaxed);
        // Of several that come at once, one is told.
        let told = now >= due
            && self.due_ms.compare_exchange(due, now.saturating_add(PAUSE_MS), Relaxed, Relaxed).is_ok();
        if told {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let limit = LogLimit::new();
        let told: Vec<_> = (0..2_500).filter_map(|ms| limit.due_after(Duration::from_millis(ms))).collect();
        assert_eq!(told, [0, 999, 999]);
        assert_eq!(limit.due_after(Duration::from_secs(60)), Some(499));
        assert_eq!(limit.due_after(Duration::from_secs(120)), Some(0));
    }
}
