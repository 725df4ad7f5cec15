//! Requests that wait at the proxy while their route is held.
//!
//! A gate stands before a held route. It opens when the route is let go, or by itself when the hold's time is over and
//! nobody has asked for it again. What waits holds its head and its client's connection, and nothing of the slot's; its
//! body stays in the kernel but for the few KiB that hyper reads along with a head.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::places::{EXTRA_ONE_IN, Place};
use crate::shared::unix_ms;
use crate::wire::{ErrorKind, ErrorView, HoldRequest, HoldView};

/// The longest hold that can be asked for.
const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The most requests that a hold can be asked to let wait.
const REQUESTS_MAX: u32 = 100_000;
/// The part of all places, and of the extra ones, that waiting requests may have together, whatever their routes: one in
/// this many. The others stay for routes that are not held.
const PLACES_ONE_IN: usize = 2;
/// How many requests are let go at once. A slot that has just started has a short queue for connections.
const LET_GO_AT_ONCE: usize = 32;
/// The pause after each of these.
const LET_GO_PAUSE_MS: u64 = 5;

/// A hold as it is stored beside its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// When it ends by itself, in milliseconds since 1970.
    pub(crate) until_ms: u64,
    /// How long it lasts from when it was last asked for, and how long one request waits at most, in milliseconds.
    pub(crate) time_ms: u64,
    pub(crate) requests_max: u32,
}

impl Hold {
    /// One that begins now.
    pub(crate) fn begin(wanted: HoldRequest) -> Self {
        let HoldRequest { time_ms, requests_max } = wanted;
        Self { until_ms: unix_ms().saturating_add(time_ms), time_ms, requests_max }
    }

    /// How long it still lasts. Never longer than it was asked for, however the clock was set meanwhile.
    fn left(&self) -> Duration {
        Duration::from_millis(self.until_ms.saturating_sub(unix_ms()).min(self.time_ms))
    }
}

/// Whether such a hold can be had.
pub(crate) fn validate(wanted: &HoldRequest) -> Result<(), ErrorView> {
    let invalid = |message: String| Err(ErrorView::new(ErrorKind::Invalid, message));
    if wanted.time_ms == 0 || wanted.time_ms > TIME_MS_MAX {
        return invalid(format!("time_ms is 1 to {TIME_MS_MAX}, not {}", wanted.time_ms));
    }
    if wanted.requests_max > REQUESTS_MAX {
        return invalid(format!("requests_max is 0 to {REQUESTS_MAX}, not {}", wanted.requests_max));
    }
    Ok(())
}

/// Why a request doesn't wait, or no longer does. It was sent nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Full,
    TooLong,
    Stopping,
}

impl TurnedAway {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "the service is being replaced, and too many requests wait for it",
            Self::TooLong => "the service is being replaced, and this takes too long",
            Self::Stopping => "the service is being replaced, and so is the proxy",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    hold: Hold,
    until: Instant,
}

impl Bounds {
    fn of(hold: Hold) -> Self {
        Self { hold, until: Instant::now() + hold.left() }
    }
}

/// Who waits, in order of arrival.
#[derive(Debug, Default)]
struct Queue {
    opened: bool,
    next: u64,
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
}

/// What stands before one held route.
#[derive(Debug)]
pub(crate) struct Gate {
    bounds: watch::Sender<Bounds>,
    queue: Mutex<Queue>,
}

impl Gate {
    fn close(route: &str, hold: Hold) -> Arc<Self> {
        let (bounds, changes) = watch::channel(Bounds::of(hold));
        let gate = Arc::new(Self { bounds, queue: Mutex::default() });
        tokio::spawn(open_in_time(route.to_owned(), Arc::downgrade(&gate), changes));
        gate
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one call of the map's, so a panic can't leave it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self) -> Hold {
        self.bounds.borrow().hold
    }

    fn renew(&self, hold: Hold) {
        if self.hold() != hold {
            self.bounds.send_replace(Bounds::of(hold));
        }
    }

    /// Its time has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.bounds.borrow().until <= Instant::now()
    }

    /// Lets everything go that waits, in order of arrival, and holds nothing any more.
    fn open(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.opened = true;
            std::mem::take(&mut queue.waiting)
        };
        if !waiting.is_empty() {
            tokio::spawn(let_go(waiting.into_values()));
        }
    }

    /// Waits until the gate opens; `arrived` is when the request came.
    async fn wait(&self, arrived: Instant, stop: &CancellationToken) -> Result<(), TurnedAway> {
        let mut bounds = self.bounds.subscribe();
        let Some(mut waiter) = self.enter(arrived)? else { return Ok(()) };
        loop {
            let time = Duration::from_millis(bounds.borrow_and_update().hold.time_ms);
            tokio::select! {
                biased;
                _ = &mut waiter.turn => return Ok(()),
                () = stop.cancelled() => return Err(TurnedAway::Stopping),
                // The sender is the gate's own, so it is still there.
                _ = bounds.changed() => {}
                // One that has waited as long as the hold lasted is let go with the others.
                () = sleep_until(arrived + time) => {
                    return if self.is_over() { Ok(()) } else { Err(TurnedAway::TooLong) };
                }
            }
        }
    }

    /// `None` when the gate is open.
    fn enter(&self, arrived: Instant) -> Result<Option<Waiter<'_>>, TurnedAway> {
        let requests_max = self.hold().requests_max;
        let mut queue = self.queue();
        if queue.opened {
            return Ok(None);
        }
        if queue.waiting.len() >= usize::try_from(requests_max).unwrap_or(usize::MAX) {
            return Err(TurnedAway::Full);
        }
        let key = (arrived, queue.next);
        queue.next += 1;
        let (go, turn) = oneshot::channel();
        queue.waiting.insert(key, go);
        Ok(Some(Waiter { gate: self, key, turn }))
    }

    /// How many wait, and since when the first of them.
    fn waiting(&self) -> (usize, Option<Instant>) {
        let queue = self.queue();
        (queue.waiting.len(), queue.waiting.keys().next().map(|(arrived, _)| *arrived))
    }
}

/// A place in the queue, given back when it is dropped, as when the client goes away.
struct Waiter<'a> {
    gate: &'a Gate,
    key: (Instant, u64),
    turn: oneshot::Receiver<()>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.gate.queue().waiting.remove(&self.key);
    }
}

async fn let_go(waiting: impl Iterator<Item = oneshot::Sender<()>>) {
    let mut gone = 0;
    for go in waiting {
        // A client that has gone away meanwhile needs no turn.
        if go.send(()).is_ok() {
            gone += 1;
            if gone % LET_GO_AT_ONCE == 0 {
                sleep(Duration::from_millis(LET_GO_PAUSE_MS)).await;
            }
        }
    }
}

/// Opens the gate when its time is over. Ends when the gate is gone.
async fn open_in_time(route: String, gate: std::sync::Weak<Gate>, mut bounds: watch::Receiver<Bounds>) {
    loop {
        let until = bounds.borrow_and_update().until;
        tokio::select! {
            changed = bounds.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = sleep_until(until) => {}
        }
        let Some(gate) = gate.upgrade() else { return };
        if gate.is_over() {
            if !gate.queue().opened {
                tracing::warn!(route, "nobody has let the route go in time, so its hold has ended by itself");
            }
            gate.open();
            return;
        }
    }
}

/// The gates of all routes, and what was refused at them.
#[derive(Debug)]
pub(crate) struct Holds {
    routes: Mutex<BTreeMap<String, Held>>,
    /// One for every request that may wait.
    places: Semaphore,
    /// One for every request that may wait in an extra place.
    extra: Semaphore,
    /// Cancelled when this process lets nothing go any more.
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Held {
    gate: Option<Arc<Gate>>,
    refused: Arc<AtomicU64>,
}

impl Holds {
    /// In a proxy that serves so many client connections.
    pub(crate) fn new(connections: usize) -> Self {
        let part = |of: usize| Semaphore::new((of / PLACES_ONE_IN).max(1));
        let (places, extra) = (part(connections), part(connections / EXTRA_ONE_IN));
        Self { routes: Mutex::default(), places, extra, stop: CancellationToken::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        // As with a gate's queue.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate before a route that is stored with this hold; `None` when it isn't held, or no longer.
    pub(crate) fn gate(&self, route: &str, hold: Option<Hold>) -> Option<Arc<Gate>> {
        let hold = hold.filter(|hold| !hold.left().is_zero())?;
        let mut routes = self.lock();
        let held = routes.entry(route.to_owned()).or_default();
        match held.gate.as_ref().filter(|gate| !gate.is_over() && !gate.queue().opened) {
            Some(gate) => gate.renew(hold),
            None => {
                if let Some(over) = held.gate.replace(Gate::close(route, hold)) {
                    over.open();
                }
            }
        }
        held.gate.clone()
    }

    /// Opens the gates of routes that are there and not held, to be called when these are in force. What waited for a
    /// route that is gone stays until it is let go, or its hold is over.
    pub(crate) fn open_others(&self, is_held: impl Fn(&str) -> Option<bool>) {
        self.lock().retain(|route, held| {
            let now = is_held(route);
            if now == Some(false)
                && let Some(gate) = held.gate.take()
            {
                gate.open();
            }
            held.gate.take_if(|gate| gate.is_over() && gate.waiting().0 == 0);
            held.gate.is_some() || now.is_some()
        });
    }

    /// The hold of a route that was removed while it was held, and may come back.
    pub(crate) fn left_behind(&self, route: &str) -> Option<Hold> {
        self.lock().get(route)?.gate.as_ref().filter(|gate| !gate.is_over()).map(|gate| gate.hold())
    }

    /// Lets go what waits for a route that isn't there.
    pub(crate) fn open(&self, route: &str) {
        if let Some(held) = self.lock().remove(route)
            && let Some(gate) = held.gate
        {
            gate.open();
        }
    }

    /// From now on whoever waits, or would, is turned away.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits in this place until this route's gate opens; `arrived` is when the request came.
    pub(crate) async fn wait(
        &self,
        route: &str,
        gate: &Gate,
        place: &Place,
        arrived: Instant,
    ) -> Result<(), TurnedAway> {
        let extra = place.is_extra().then(|| self.extra.try_acquire()).transpose();
        let waited = match (self.places.try_acquire(), extra) {
            (Ok(_place), Ok(_extra)) => gate.wait(arrived, &self.stop).await,
            _ => Err(TurnedAway::Full),
        };
        if waited.is_err()
            && let Some(held) = self.lock().get(route)
        {
            held.refused.fetch_add(1, Relaxed);
        }
        waited
    }

    /// The route's hold as it is; `None` when it isn't held.
    pub(crate) fn view(&self, route: &str) -> Option<HoldView> {
        self.lock().get(route).and_then(Held::view)
    }

    /// Every route that is held.
    pub(crate) fn views(&self) -> BTreeMap<String, HoldView> {
        let routes = self.lock();
        routes.iter().filter_map(|(route, held)| Some((route.clone(), held.view()?))).collect()
    }

    /// Visits each route that is or was held: how many wait, for how long the first of them, and how many were refused.
    pub(crate) fn each(&self, mut visit: impl FnMut(&str, usize, Duration, u64)) {
        for (route, held) in self.lock().iter() {
            let (waiting, first) = held.gate.as_ref().map_or((0, None), |gate| gate.waiting());
            let longest = first.map(|arrived| arrived.elapsed()).unwrap_or_default();
            visit(route, waiting, longest, held.refused.load(Relaxed));
        }
    }
}

impl Held {
    fn view(&self) -> Option<HoldView> {
        let gate = self.gate.as_ref().filter(|gate| !gate.is_over())?;
        let Hold { until_ms, time_ms, requests_max } = gate.hold();
        let (waiting, first) = gate.waiting();
        let longest = first.map(|arrived| arrived.elapsed()).unwrap_or_default();
        Some(HoldView {
            until_ms,
            time_ms,
            requests_max,
            waiting: waiting as u64,
            longest_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX),
            refused: self.refused.load(Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(time_ms: u64, requests_max: u32) -> Hold {
        Hold::begin(HoldRequest { time_ms, requests_max })
    }

    /// Sends its number once it was let go.
    fn waits(gate: &Arc<Gate>, n: usize, arrived: Instant, told: &std::sync::mpsc::Sender<usize>) {
        let (gate, told) = (gate.clone(), told.clone());
        tokio::spawn(async move {
            gate.wait(arrived, &CancellationToken::new()).await.unwrap();
            told.send(n).unwrap();
        });
    }

    #[tokio::test]
    async fn what_waits_is_let_go_in_order_of_arrival() {
        const REQUESTS: usize = 3 * LET_GO_AT_ONCE + 1;
        let gate = Gate::close("app", asked(60_000, 1_000));
        let (told, order) = std::sync::mpsc::channel();
        let begun = Instant::now();
        // The later half comes to the gate first, as when it was held again while it was let go.
        for n in (REQUESTS / 2..REQUESTS).chain(0..REQUESTS / 2) {
            waits(&gate, n, begun + Duration::from_millis(n as u64), &told);
        }
        drop(told);
        while gate.waiting().0 < REQUESTS {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.waiting().1, Some(begun));
        gate.open();
        let order = tokio::task::spawn_blocking(move || order.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(order, (0..REQUESTS).collect::<Vec<_>>());
        assert!(gate.enter(Instant::now()).unwrap().is_none(), "nobody waits at an open gate");
    }

    #[tokio::test]
    async fn a_gate_opens_its_newest_time_after_it_was_renewed() {
        let gate = Gate::close("app", asked(100, 1));
        gate.renew(asked(60_000, 2));
        sleep(Duration::from_millis(200)).await;
        assert!(!gate.is_over() && !gate.queue().opened);
        gate.renew(asked(2_000, 2));
        let (told, order) = std::sync::mpsc::channel();
        waits(&gate, 1, Instant::now(), &told);
        waits(&gate, 2, Instant::now(), &told);
        drop(told);
        while gate.waiting().0 < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter(Instant::now()).err(), Some(TurnedAway::Full));
        let order = tokio::task::spawn_blocking(move || order.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(order, [1, 2]);
        assert!(gate.is_over());
    }

    #[test]
    fn a_hold_lasts_no_longer_than_it_was_asked_for_wherever_the_clock_stands() {
        let hold = Hold { until_ms: u64::MAX, time_ms: 1_000, requests_max: 1 };
        assert_eq!(hold.left(), Duration::from_secs(1));
        assert_eq!(Hold { until_ms: 1, ..hold }.left(), Duration::ZERO);
    }
}
