//! Counters of one slot of one route, and the register of all of them.
//!
//! Only atomics are touched by a request; the register's lock is taken when a route changes or someone looks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::log_limit::LogLimit;
use crate::wire::{InFlight, InFlightByRoute, InFlightBySlot};

/// How many slots of a route stay visible after nothing is in flight there.
const RECENT_SLOTS_MAX: usize = 8;

/// Upper bounds of the latency histogram's buckets, in microseconds; one more bucket takes the rest.
pub(crate) const LATENCY_BOUNDS_MICROS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 60_000_000,
];

/// Who ended an exchange before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CutOff {
    /// The client left, or its request broke off or was malformed. (Also where the proxy itself was stopped for good.)
    Client,
    /// The slot broke its response off.
    Slot,
}

impl CutOff {
    pub(crate) const ALL: [(Self, &str); 2] = [(Self::Client, "client"), (Self::Slot, "slot")];
}

/// What is counted about one slot of one route.
#[derive(Debug)]
pub(crate) struct SlotStats {
    pub(crate) slot: String,
    requests: AtomicU64,
    upgraded: AtomicU64,
    /// Finished requests by status class; index 0 is 1xx (upgrades).
    pub(crate) by_class: [AtomicU64; 5],
    /// Those of them that were cut off, by who did it.
    pub(crate) cut_off: [AtomicU64; 2],
    pub(crate) latency: [AtomicU64; LATENCY_BOUNDS_MICROS.len() + 1],
    pub(crate) latency_sum_micros: AtomicU64,
    /// When to tell the log that a request failed here.
    pub(crate) failures: LogLimit,
}

impl SlotStats {
    fn new(slot: &str) -> Self {
        Self {
            slot: slot.to_owned(),
            requests: AtomicU64::new(0),
            upgraded: AtomicU64::new(0),
            by_class: Default::default(),
            cut_off: Default::default(),
            latency: Default::default(),
            latency_sum_micros: AtomicU64::new(0),
            failures: LogLimit::new(),
        }
    }

    /// The other half of the fence pair is in `Router::claim`: whoever reads here after a switch sees every claim
    /// whose owner still saw the table from before the switch.
    pub(crate) fn in_flight(&self) -> InFlight {
        fence(SeqCst);
        InFlight { requests: self.requests.load(SeqCst), upgraded: self.upgraded.load(SeqCst) }
    }

    pub(crate) fn enter(&self) {
        self.requests.fetch_add(1, SeqCst);
    }

    pub(crate) fn leave(&self) {
        self.requests.fetch_sub(1, SeqCst);
    }

    /// Counts the connection as upgraded before it stops counting as a request, so that it is never in neither.
    pub(crate) fn upgrade(&self) {
        self.upgraded.fetch_add(1, SeqCst);
        self.requests.fetch_sub(1, SeqCst);
    }

    pub(crate) fn leave_upgraded(&self) {
        self.upgraded.fetch_sub(1, SeqCst);
    }

    pub(crate) fn finished(&self, status: u16, took: Duration, cut_off: Option<CutOff>) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Relaxed);
        if let Some(by) = cut_off {
            self.cut_off[by as usize].fetch_add(1, Relaxed);
        }
        if class == 0 || cut_off.is_some() {
            return; // The length of an upgrade, or of what didn't end by itself, says nothing about latency.
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
        self.latency[bucket.unwrap_or(LATENCY_BOUNDS_MICROS.len())].fetch_add(1, Relaxed);
        self.latency_sum_micros.fetch_add(micros, Relaxed);
    }
}

/// Every slot's counters by route, most recently used slot last. A deleted route stays while something is in flight.
#[derive(Debug, Default)]
pub(crate) struct SlotRegister {
    by_route: Mutex<BTreeMap<String, Vec<Arc<SlotStats>>>>,
}

impl SlotRegister {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<SlotStats>>>> {
        // A panic while holding this lock can't leave the map half-changed in a way that matters to a reader.
        self.by_route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of a slot, which becomes the route's most recent one.
    pub(crate) fn enlist(&self, route: &str, slot: &str) -> Arc<SlotStats> {
        let mut by_route = self.lock();
        let slots = by_route.entry(route.to_owned()).or_default();
        let stats = match slots.iter().position(|stats| stats.slot == slot) {
            Some(at) => slots.remove(at),
            None => Arc::new(SlotStats::new(slot)),
        };
        slots.push(stats.clone());
        stats
    }

    /// Forgets idle slots that are no longer recent, and idle slots of routes that `is_live` doesn't know.
    pub(crate) fn prune(&self, is_live: impl Fn(&str) -> bool) {
        self.lock().retain(|route, slots| {
            let recent = if is_live(route) { RECENT_SLOTS_MAX } else { 0 };
            let mut older = slots.len().saturating_sub(recent);
            slots.retain(|stats| {
                let is_older = older > 0;
                older = older.saturating_sub(1);
                !is_older || !stats.in_flight().is_zero()
            });
            !slots.is_empty()
        });
    }

    pub(crate) fn of_route(&self, route: &str) -> InFlightBySlot {
        let by_route = self.lock();
        let slots = by_route.get(route).map(Vec::as_slice).unwrap_or_default();
        slots.iter().map(|stats| (stats.slot.clone(), stats.in_flight())).collect()
    }

    /// Everything in flight; slots and routes with nothing are left out.
    pub(crate) fn busy(&self) -> InFlightByRoute {
        let mut all = InFlightByRoute::new();
        for (route, slots) in self.lock().iter() {
            for stats in slots {
                let in_flight = stats.in_flight();
                if !in_flight.is_zero() {
                    all.entry(route.clone()).or_default().insert(stats.slot.clone(), in_flight);
                }
            }
        }
        all
    }

    pub(crate) fn each(&self, mut visit: impl FnMut(&str, &SlotStats)) {
        for (route, slots) in self.lock().iter() {
            slots.iter().for_each(|stats| visit(route, stats));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_slot_stays_visible_however_many_came_after_it() {
        let register = SlotRegister::default();
        let busy = register.enlist("app", "first");
        busy.enter();
        for n in 0..2 * RECENT_SLOTS_MAX {
            register.enlist("app", &format!("slot-{n}"));
            register.prune(|_| true);
        }
        assert_eq!(register.of_route("app")["first"].requests, 1);
        busy.leave();
        register.prune(|_| true);
        assert!(!register.of_route("app").contains_key("first"));
        assert_eq!(register.of_route("app").len(), RECENT_SLOTS_MAX);
    }

    #[test]
    fn a_deleted_route_is_forgotten_when_idle() {
        let register = SlotRegister::default();
        let stats = register.enlist("app", "blue");
        stats.enter();
        stats.upgrade();
        register.prune(|_| false);
        assert_eq!(register.busy()["app"]["blue"], InFlight { requests: 0, upgraded: 1 });
        stats.leave_upgraded();
        register.prune(|_| false);
        assert!(register.of_route("app").is_empty());
    }
}
