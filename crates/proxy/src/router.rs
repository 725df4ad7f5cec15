//! Choosing a target, and changing it: the crate's core promise.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::config::{ProxyConfig, ProxyError};
use crate::engines::Engines;
use crate::hold::{self, Gate, Hold, Holds};
use crate::predecessor::Predecessor;
use crate::replica::{Idle, Visit};
use crate::replicas::Replicas;
use crate::slots::SlotRegister;
use crate::store::{self, RoutesFile, StoredRoute};
use crate::table::{Entry, LiveTarget, Table, Way, collide, validate, validate_replicas};
use crate::wire::{ErrorKind, ErrorView, HoldRequest, InFlightByRoute, RouteSpec, RouteView};

/// More routes than this are refused.
const ROUTES_MAX: usize = 1024;

/// A request in flight on a target, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) live: Arc<LiveTarget>,
    /// Which of its replicas it is with; `None` before one is chosen.
    pub(crate) visit: Option<Visit>,
    upgraded: bool,
}

impl Claim {
    /// From now on counted as `upgraded`, without a moment in which it counts as nothing.
    pub(crate) fn upgrade(mut self) -> Self {
        self.live.stats.upgrade();
        self.upgraded = true;
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.upgraded { self.live.stats.leave_upgraded() } else { self.live.stats.leave() }
    }
}

/// What there is for a request.
#[derive(Debug)]
pub(crate) enum Found {
    Target(Claim),
    /// The route is held: wait before its gate, then look again.
    Held(String, Arc<Gate>),
}

/// What a change is conditional on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Precondition {
    /// `If-Match`: the route has this version.
    pub(crate) version: Option<u64>,
    /// `If-None-Match: *`: there is no such route yet.
    pub(crate) absent: bool,
}

#[derive(Debug)]
pub(crate) struct Router {
    config: ProxyConfig,
    table: ArcSwap<Table>,
    pub(crate) slots: SlotRegister,
    pub(crate) holds: Holds,
    engines: Engines,
    /// One change at a time. What is guarded is the order: stored, told to the predecessor, swapped.
    next_version: Arc<AsyncMutex<u64>>,
    /// Set, under the lock above, when a successor owns the routes.
    handed_over: AtomicBool,
    predecessor: Mutex<Option<Arc<Predecessor>>>,
}

impl Router {
    pub(crate) fn open(config: &ProxyConfig) -> Result<Self, ProxyError> {
        let file = store::load(&config.routes_file())?;
        let router = Self {
            config: config.clone(),
            table: ArcSwap::default(),
            slots: SlotRegister::default(),
            holds: Holds::new(config.connections_max),
            engines: Engines::default(),
            next_version: Arc::new(AsyncMutex::new(file.next_version)),
            handed_over: AtomicBool::new(false),
            predecessor: Mutex::new(None),
        };
        router.swap(&file.routes);
        Ok(router)
    }

    /// Chooses the target and registers the request in flight there, as one atomic step: after the increment the
    /// table is looked at again, so a request whose target was chosen just before a switch is either already visible
    /// to whoever counts after the switch, or chooses anew.
    pub(crate) fn claim(&self, host: &str, path: &str) -> Option<Found> {
        loop {
            let table = self.table.load();
            let way = table.find(host, path)?;
            if let Some(gate) = way.gate.as_ref().filter(|gate| !gate.is_over()) {
                return Some(Found::Held(way.live.route.clone(), gate.clone()));
            }
            let live = way.live.clone();
            live.stats.enter();
            let claim = Claim { live, visit: None, upgraded: false };
            fence(SeqCst);
            // The guard keeps the old table's address from being used again, so equal pointers mean no change.
            if Arc::ptr_eq(&table, &self.table.load()) {
                return Some(Found::Target(claim));
            }
        }
    }

    pub(crate) fn route_count(&self) -> usize {
        self.table.load().by_id.len()
    }

    pub(crate) fn view(&self, id: &str) -> Option<RouteView> {
        let table = self.table.load_full();
        table.by_id.get(id).map(|entry| self.view_of(entry))
    }

    pub(crate) fn views(&self) -> Vec<RouteView> {
        let table = self.table.load_full();
        table.by_id.values().map(|entry| self.view_of(entry)).collect()
    }

    fn view_of(&self, entry: &Entry) -> RouteView {
        let StoredRoute { id, version, spec, hold: _, replicas: told } = entry.stored.clone();
        let hold = self.holds.view(&id);
        let mut in_flight = self.slots.of_route(&id);
        if let Some(predecessor) = self.predecessor() {
            for (slot, more) in predecessor.in_flight().remove(&id).unwrap_or_default() {
                let sum = in_flight.entry(slot).or_default();
                sum.requests += more.requests;
                sum.upgraded += more.upgraded;
            }
        }
        let RouteSpec {
            hosts,
            path_prefix,
            mut target,
            response_timeout_ms,
            stall_timeout_ms,
            trusted_proxies,
            replicas: _,
        } = spec;
        let replicas = &entry.way.live.replicas;
        target.dial = replicas.first_dial().unwrap_or(target.dial);
        RouteView {
            id,
            version,
            hosts,
            path_prefix,
            target,
            response_timeout_ms,
            stall_timeout_ms,
            trusted_proxies,
            replicas: replicas.views(),
            told,
            trouble: replicas.trouble(),
            in_flight,
            hold,
        }
    }

    /// Everything in flight, here and in the predecessor.
    pub(crate) fn in_flight(&self) -> InFlightByRoute {
        let mut all = self.slots.busy();
        let theirs = self.predecessor().map(|predecessor| predecessor.in_flight()).unwrap_or_default();
        for (route, slots) in theirs {
            let ours = all.entry(route).or_default();
            for (slot, more) in slots {
                let sum = ours.entry(slot).or_default();
                sum.requests += more.requests;
                sum.upgraded += more.upgraded;
            }
        }
        all
    }

    /// Points a route at a target; creates it if need be. The bool says whether anything changed.
    pub(crate) async fn put(
        &self,
        id: &str,
        mut spec: RouteSpec,
        precondition: Precondition,
    ) -> Result<(RouteView, bool), ErrorView> {
        validate(id, &spec)?;
        let invalid = |reason| ErrorView::new(ErrorKind::Invalid, reason);
        validate_replicas(&spec.replicas, &spec.target).map_err(invalid)?;
        let replicas = crate::replicas::complete(std::mem::take(&mut spec.replicas)).await;
        let mut next_version = self.next_version.lock().await;
        self.may_change()?;
        let table = self.table.load_full();
        self.check(id, precondition)?;
        let is_so = |entry: &&Entry| entry.stored.spec == spec && entry.stored.replicas == replicas;
        if let Some(entry) = table.by_id.get(id).filter(is_so) {
            return Ok((self.view_of(entry), false));
        }
        let others = || table.by_id.values().map(|entry| &entry.stored).filter(|stored| stored.id != id);
        if let Some(other) = others().find(|other| collide(&other.spec, &spec)) {
            let message =
                format!("route {:?} already claims the same host and path prefix as {id:?}", other.id);
            return Err(ErrorView::new(ErrorKind::Conflict, message).hint("change or delete one of the two"));
        }
        let mut routes: Vec<StoredRoute> = others().cloned().collect();
        if routes.len() >= ROUTES_MAX {
            return Err(ErrorView::new(ErrorKind::Invalid, format!("there are already {ROUTES_MAX} routes")));
        }
        let held = table.by_id.get(id).and_then(|entry| entry.stored.hold);
        let hold = held.or_else(|| self.holds.left_behind(id));
        routes.push(StoredRoute { id: id.to_owned(), version: *next_version, spec, hold, replicas });
        self.change(&mut next_version, &table, routes).await?;
        let view = self.view(id).ok_or_else(|| ErrorView::new(ErrorKind::NotFound, "the route vanished"))?;
        Ok((view, true))
    }

    /// Removes a route and answers with its last state.
    pub(crate) async fn delete(&self, id: &str, precondition: Precondition) -> Result<RouteView, ErrorView> {
        let mut next_version = self.next_version.lock().await;
        self.may_change()?;
        self.check(id, precondition)?;
        let Some(view) = self.view(id) else { return Err(missing(id)) };
        let table = self.table.load_full();
        let stored = table.by_id.values().map(|entry| &entry.stored);
        let routes = stored.filter(|stored| stored.id != id).cloned().collect();
        self.change(&mut next_version, &table, routes).await?;
        Ok(view)
    }

    /// Keeps requests waiting before a route, or goes on to, for so long from now. Its version stays.
    pub(crate) async fn hold(&self, id: &str, wanted: HoldRequest) -> Result<RouteView, ErrorView> {
        hold::validate(&wanted)?;
        if let Some(predecessor) = self.predecessor() {
            predecessor.can_be_held(self.config.lame_duck).await;
        }
        let mut next_version = self.next_version.lock().await;
        self.may_change()?;
        let table = self.table.load_full();
        if !table.by_id.contains_key(id) {
            return Err(missing(id));
        }
        let routes = with_hold(&table, id, Some(Hold::begin(wanted)));
        self.change(&mut next_version, &table, routes).await?;
        self.view(id).ok_or_else(|| missing(id))
    }

    /// Sends on what waits before a route, in order of arrival. That it can't be stored is no reason to keep users
    /// waiting: a hold that a restart brings back ends by itself.
    pub(crate) async fn let_go(&self, id: &str) -> Result<RouteView, ErrorView> {
        let mut next_version = self.next_version.lock().await;
        self.may_change()?;
        let table = self.table.load_full();
        let Some(entry) = table.by_id.get(id) else {
            self.holds.open(id);
            return Err(missing(id));
        };
        if entry.way.gate.is_some() {
            let routes = with_hold(&table, id, None);
            if let Err(error) = self.change(&mut next_version, &table, routes.clone()).await {
                tracing::warn!(route = id, error = error.message, "the route is let go without being stored");
                self.follow(Arc::new(RoutesFile::new(*next_version, routes))).await;
            }
        }
        self.view(id).ok_or_else(|| missing(id))
    }

    fn check(&self, id: &str, precondition: Precondition) -> Result<(), ErrorView> {
        let current = self.view(id);
        let version = current.as_ref().map(|view| view.version);
        let mismatch =
            |message| Err(ErrorView::new(ErrorKind::VersionMismatch, message).current(current.clone()));
        if precondition.absent && version.is_some() {
            return mismatch(format!("route {id:?} exists already"));
        }
        match (precondition.version, version) {
            (Some(wanted), Some(found)) if wanted != found => {
                mismatch(format!("route {id:?} has version {found}, not {wanted}"))
            }
            (Some(wanted), None) => {
                mismatch(format!("route {id:?} doesn't exist, so it hasn't version {wanted}"))
            }
            _ => Ok(()),
        }
    }

    fn may_change(&self) -> Result<(), ErrorView> {
        if self.handed_over.load(SeqCst) {
            let message = "this process has handed over to its successor";
            return Err(
                ErrorView::new(ErrorKind::Unavailable, message).hint("connect to the admin socket again")
            );
        }
        Ok(())
    }

    /// Stored first; then the predecessor, if one still drains, stops using the old target; then we do.
    async fn change(
        &self,
        next_version: &mut u64,
        before: &Table,
        routes: Vec<StoredRoute>,
    ) -> Result<(), ErrorView> {
        let stored = before.by_id.values().map(|entry| entry.stored.clone()).collect();
        let old = RoutesFile::new(*next_version, stored);
        let new = Arc::new(RoutesFile::new(*next_version + 1, routes));
        let path = self.config.routes_file();
        let file = new.clone();
        let saved = tokio::task::spawn_blocking(move || store::save(&path, &file, &old)).await;
        let failed = |reason: String| {
            let message = format!("the change couldn't be stored, so nothing changed: {reason}");
            ErrorView::new(ErrorKind::StorageFailed, message)
                .hint("look at the state folder's free space and mode")
        };
        saved.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        self.follow(new).await;
        *next_version += 1;
        Ok(())
    }

    /// Puts a table in force without storing it: it is stored, or a successor's. A predecessor of our own, if one still
    /// drains, follows first.
    pub(crate) async fn follow(&self, file: Arc<RoutesFile>) {
        if let Some(predecessor) = self.predecessor() {
            predecessor.apply(file.clone()).await;
        }
        self.swap(&file.routes);
    }

    /// The switch. Targets that stay the same keep their connections, unless the route is held from now on: what is sent
    /// later goes to an app that may have been started anew.
    fn swap(&self, routes: &[StoredRoute]) {
        let old = self.table.load_full();
        let entries = routes.iter().map(|stored| {
            let gate = self.holds.gate(&stored.id, stored.hold);
            let kept = old.by_id.get(&stored.id).filter(|entry| {
                entry.stored.spec.target == stored.spec.target
                    && entry.stored.replicas == stored.replicas
                    && entry.stored.spec.response_timeout_ms == stored.spec.response_timeout_ms
                    && entry.stored.spec.stall_timeout_ms == stored.spec.stall_timeout_ms
                    && entry.stored.spec.trusted_proxies == stored.spec.trusted_proxies
                    && (gate.is_none() || same(gate.as_ref(), entry.way.gate.as_ref()))
            });
            let live = kept.map_or_else(|| self.bring_to_life(stored), |entry| entry.way.live.clone());
            let hold = stored.hold.filter(|_| gate.is_some());
            Entry { stored: StoredRoute { hold, ..stored.clone() }, way: Way { live, gate } }
        });
        let new = Arc::new(Table::build(entries.collect()));
        self.table.store(new.clone());
        // Pairs with the fence in `claim`.
        fence(SeqCst);
        for (id, entry) in &old.by_id {
            let kept = new.by_id.get(id).is_some_and(|now| Arc::ptr_eq(&now.way.live, &entry.way.live));
            if !kept {
                entry.way.live.replicas.retire();
            }
        }
        self.holds.open_others(|id| new.by_id.get(id).map(|entry| entry.way.gate.is_some()));
        self.slots.prune(|id| new.by_id.contains_key(id));
    }

    fn bring_to_life(&self, stored: &StoredRoute) -> Arc<LiveTarget> {
        let StoredRoute { id, spec, .. } = stored;
        // Everything stored was validated, so the fallbacks here are never taken; they keep this total.
        let header = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid"));
        let config = &self.config;
        let idle =
            Idle { seconds: config.upstream_idle, connections_max: config.upstream_idle_connections_max };
        let replicas = Replicas::new(&spec.target.dial, &stored.replicas, idle);
        self.engines.follow(&replicas);
        Arc::new(LiveTarget {
            route: id.clone(),
            target: spec.target.clone(),
            response_timeout: spec.response_timeout_ms.map_or(config.response_timeout, Duration::from_millis),
            stall_timeout: spec.stall_timeout_ms.map_or(config.stall_timeout, Duration::from_millis),
            trusted_proxies: spec.trusted_proxies.clone(),
            stats: self.slots.enlist(id, &spec.target.slot),
            replicas,
            slot_header: header(&spec.target.slot),
            release_header: header(&spec.target.release),
        })
    }

    /// Closes connections to the slots that were idle for too long. Called about once a second.
    pub(crate) fn reap(&self) {
        self.table.load_full().by_id.values().for_each(|entry| entry.way.live.replicas.reap());
    }

    /// Closes all idle connections to the slots, to make room for busy ones.
    pub(crate) fn close_idle(&self) {
        self.table.load_full().by_id.values().for_each(|entry| entry.way.live.replicas.close_idle());
    }

    /// Closes all idle connections: this process takes no more requests.
    pub(crate) fn retire_all(&self) {
        self.table.load_full().by_id.values().for_each(|entry| entry.way.live.replicas.retire());
    }

    /// Keeps the routes from changing while they are handed over.
    pub(crate) async fn freeze(&self) -> Frozen<'_> {
        Frozen { router: self, _guard: self.next_version.clone().lock_owned().await }
    }

    pub(crate) fn predecessor(&self) -> Option<Arc<Predecessor>> {
        self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_predecessor(&self, predecessor: Option<Arc<Predecessor>>) {
        *self.predecessor.lock().unwrap_or_else(PoisonError::into_inner) = predecessor;
    }
}

fn missing(id: &str) -> ErrorView {
    ErrorView::new(ErrorKind::NotFound, format!("there is no route {id:?}"))
}

/// The routes of a table, this one with another hold or none.
fn with_hold(table: &Table, id: &str, hold: Option<Hold>) -> Vec<StoredRoute> {
    let mut routes: Vec<_> = table.by_id.values().map(|entry| entry.stored.clone()).collect();
    for route in routes.iter_mut().filter(|route| route.id == id) {
        route.hold = hold;
    }
    routes
}

fn same(one: Option<&Arc<Gate>>, other: Option<&Arc<Gate>>) -> bool {
    one.zip(other).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
}

/// No route changes while this lives.
pub(crate) struct Frozen<'a> {
    router: &'a Router,
    _guard: OwnedMutexGuard<u64>,
}

impl Frozen<'_> {
    /// The successor owns the routes: every later change is refused.
    pub(crate) fn hand_over(self) {
        self.router.handed_over.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::wire::Target;

    fn stored(slot: &str) -> [StoredRoute; 1] {
        let target =
            Target { slot: slot.to_owned(), release: "r".to_owned(), dial: "127.0.0.1:1".to_owned() };
        let spec = RouteSpec::to(target);
        [StoredRoute { id: "app".to_owned(), version: 1, spec, hold: None, replicas: Vec::new() }]
    }

    /// Threads claim as fast as they can; another switches back and forth and marks a slot as stopped as soon as it
    /// has drained. No claim may ever be for a stopped slot. There are more threads than cores, so that some are
    /// interrupted between choosing and counting; without the second look at the table some runs fail.
    #[test]
    fn no_claim_is_for_a_slot_that_has_drained() {
        const SWITCHING_MS: u64 = 1000;
        /// On a busy machine it goes on until this many, for so long at most.
        const SWITCHES_MIN: usize = 100;
        const SWITCHING_SECONDS_MAX: u64 = 60;
        const CLAIMERS: usize = 8;
        let dir = tempfile::tempdir().unwrap();
        let router = Router::open(&ProxyConfig::new(dir.path())).unwrap();
        let slots = ["blue", "green"];
        let stopped = [AtomicBool::new(false), AtomicBool::new(true)];
        let done = AtomicBool::new(false);
        router.swap(&stored("blue"));
        std::thread::scope(|scope| {
            let claimers: Vec<_> = (0..CLAIMERS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut claimed = 0_u64;
                        while !done.load(SeqCst) {
                            let Some(Found::Target(claim)) = router.claim("any", "/") else { panic!() };
                            let slot = usize::from(claim.live.target.slot == "green");
                            assert!(
                                !stopped[slot].load(SeqCst),
                                "claimed a stopped slot after {claimed} claims"
                            );
                            claimed += 1;
                        }
                        claimed
                    })
                })
                .collect();
            let begun = Instant::now();
            let mut switches = 0;
            let more = |switches: usize| {
                let least = begun.elapsed() < Duration::from_millis(SWITCHING_MS) || switches <= SWITCHES_MIN;
                least && begun.elapsed() < Duration::from_secs(SWITCHING_SECONDS_MAX)
            };
            while more(switches) && !claimers.iter().any(|one| one.is_finished()) {
                let (old, new) = (switches % 2, (switches + 1) % 2);
                stopped[new].store(false, SeqCst);
                router.swap(&stored(slots[new]));
                while !router.slots.of_route("app")[slots[old]].is_zero() {
                    std::thread::yield_now();
                }
                stopped[old].store(true, SeqCst);
                switches += 1;
            }
            done.store(true, SeqCst);
            let claimed: u64 = claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum();
            assert!(switches > SWITCHES_MIN && claimed > 1000, "{switches} switches, {claimed} claims");
        });
        assert!(router.slots.busy().is_empty());
    }
}
