//! An orchestrator that is stopped (SIGSTOP) in the middle of a swap, under the record's lock. As in
//! `crates/drivers/local/src/swap.rs` it is not the orchestrator that holds the lock but a child of its own, which compares,
//! renames and is gone, whatever becomes of its parent meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lockgate_model::{FailureKind, HostId, Millis};
use lockgate_ports::PortError;
use tokio::time::Instant;

use crate::Random;
use crate::bad_day::BadDay;
use crate::story::{MACHINES, Story, Turn, turn};

/// Longest wait for somebody else's lock.
const LOCK_SECONDS_MAX: u64 = 10;
/// Swaps of a story's first command of which it is stopped in one.
const SWAPS_MAX: u64 = 24;

/// Until when a Lockgate that holds locks itself, and is stopped, holds the one on each host.
#[derive(Default)]
pub(crate) struct Locks(Mutex<BTreeMap<HostId, Instant>>);

impl Locks {
    pub(crate) fn keep(&self, host: &HostId, span: Millis) {
        let until = Instant::now() + span.duration();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), until);
    }

    /// # Errors
    /// Somebody holds the lock for longer than anybody waits.
    pub(crate) async fn wait(&self, host: &HostId) -> Result<(), PortError> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let Some(until) = until.filter(|until| Instant::now() < *until) else { return Ok(()) };
        let patience = Instant::now() + Millis::from_secs(LOCK_SECONDS_MAX).duration();
        tokio::time::sleep_until(until.min(patience)).await;
        match until <= patience {
            true => Ok(()),
            false => Err(PortError::new(FailureKind::Conflict, "somebody else has the lock")),
        }
    }
}

impl Story {
    /// A story of [`Story::random`] whose first command is stopped in one of its swaps for up to a minute, while somebody
    /// else comes.
    #[must_use]
    pub fn stopped_in_a_swap(seed: u64) -> Self {
        let mut story = Self::random(seed);
        let mut random = Random::new(seed ^ 0x10c4);
        let swap = random.below(SWAPS_MAX);
        let span = Millis::from_secs(1 + random.below(60));
        let day = &mut story.turns[0].day;
        // What else happens to it must not come first every time.
        if random.chance(700) {
            *day = BadDay { latency_millis_max: day.latency_millis_max, ..BadDay::default() };
        }
        day.stop_at_swap = Some((swap, span));
        let mut other: Turn = turn(&mut random, &story.scene, true);
        other.machine = (story.turns[0].machine + 1) % MACHINES;
        story.turns[0].rival = Some((Millis(random.below(20_000)), Box::new(other)));
        story
    }
}
