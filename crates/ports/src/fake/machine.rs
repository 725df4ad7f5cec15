//! One host in memory: files, images, slots, a router.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lockgate_model::{
    Digest, FailureKind, HoldBounds, HostId, Millis, Release, Slot, SlotState, Split, Tag, Timestamp,
};
use tokio::time::Instant;

use crate::{
    Answer, Endpoint, HostFile, InFlight, Output, PortError, Replica, Request, Route, RouteVersion,
    RouterAnswer, RuntimeSlot, Swapped, Upstream,
};

/// The host's clock when the fake is made: 2025-01-01T00:00:00Z.
const EPOCH_MILLIS: i64 = 1_735_689_600_000;

/// How a release's app behaves once started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// From its start until it answers 200; before, it does not listen. `None`: it listens and always answers 503.
    pub healthy_after: Option<Millis>,
    /// From its start until it exits by itself.
    pub dies_after: Option<Millis>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { healthy_after: Some(Millis(0)), dies_after: None }
    }
}

/// One release as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What the tag means.
    pub release: Release,
    /// How its app behaves wherever it is started.
    pub behaviour: Behaviour,
}

/// The registry: what tags mean.
pub type Catalogue = BTreeMap<Tag, Artifact>;

/// What an app does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It was not started, or was stopped.
    Stopped,
    /// It exited by itself.
    Died,
    /// It runs and does not listen yet.
    Starting,
    /// It listens and answers 503.
    Sick,
    /// It listens and answers 200.
    Healthy,
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// What runs.
    pub release: Release,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// While it is meant to run.
    pub running_since: Option<Instant>,
    /// When it was started, by the host's clock.
    pub started_at: Timestamp,
    /// Requests being answered and when each ends; `None`: when it is told to.
    pub requests: BTreeMap<u64, Option<Instant>>,
    /// Since when the router has sent it nothing new; `None` while it is the target.
    pub without_traffic_since: Option<Instant>,
    /// Oldest first.
    pub logs: Vec<String>,
}

impl App {
    /// What it does at this moment.
    #[must_use]
    pub fn life(&self, now: Instant) -> Life {
        let Some(since) = self.running_since else { return Life::Stopped };
        let age = Millis::from(now.saturating_duration_since(since));
        if self.behaviour.dies_after.is_some_and(|dies| age >= dies) {
            return Life::Died;
        }
        match self.behaviour.healthy_after {
            None => Life::Sick,
            Some(after) if age < after => Life::Starting,
            Some(_) => Life::Healthy,
        }
    }

    /// How many requests it has not finished answering at this moment.
    #[must_use]
    pub fn in_flight(&self, now: Instant) -> u64 {
        self.requests.values().filter(|until| until.is_none_or(|until| until > now)).count() as u64
    }

    fn runs(&self, now: Instant) -> bool {
        !matches!(self.life(now), Life::Stopped | Life::Died)
    }
}

/// Requests that were cut off because their slot was stopped or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The slot that was stopped or replaced.
    pub slot: Slot,
    /// How many were cut off.
    pub requests: u64,
    /// How long the slot had had no new traffic; zero when it was the router's target.
    pub without_traffic: Millis,
}

/// A host's whole state. Every method is one moment.
#[derive(Debug)]
pub struct Machine {
    /// Its name in the configuration.
    pub id: HostId,
    /// The registry that it pulls from.
    pub catalogue: Arc<Catalogue>,
    /// Contents by absolute path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Its clock's error.
    pub clock_offset_millis: i64,
    /// Free space, in MiB.
    pub disk_free_mib: u64,
    /// Bytes that are on the host.
    pub images: BTreeSet<Digest>,
    /// What each slot holds; a slot that is missing holds nothing.
    pub slots: BTreeMap<Slot, App>,
    /// What the runtime says of slots that cannot run beside each other; empty: they can.
    pub conflicts: Vec<String>,
    /// What programs leave, by name; others do not exist.
    pub programs: BTreeMap<String, Output>,
    /// Programs that run once on it, apart from slots.
    pub one_offs: crate::fake::Programs,
    /// What the router dials.
    pub dial: Option<String>,
    /// What it was last told to serve, where it was told.
    pub routed: Option<Digest>,
    /// Rises with each change of the route.
    pub route_version: u64,
    /// Whether the router names the slot and the release in its answers.
    pub router_identifies: bool,
    /// Until when requests wait at the router; past or `None`: they are sent on.
    pub held_until: Option<Instant>,
    /// Blue and green have each other's address.
    pub dealt_anew: bool,
    /// The router forgets to count.
    pub counts_nothing: bool,
    /// Requests cut off so far; taken by who watches.
    pub dropped: Vec<Dropped>,
    next_request: u64,
    booted: Instant,
}

/// As the fakes of one host share it.
pub type SharedMachine = Arc<Mutex<Machine>>;

/// Makes it sharable.
#[must_use]
pub fn shared(machine: Machine) -> SharedMachine {
    Arc::new(Mutex::new(machine))
}

impl Machine {
    /// An empty host. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(id: HostId, catalogue: Arc<Catalogue>) -> Self {
        Self {
            id,
            catalogue,
            files: BTreeMap::new(),
            clock_offset_millis: 0,
            disk_free_mib: 10_000,
            images: BTreeSet::new(),
            slots: BTreeMap::new(),
            conflicts: Vec::new(),
            programs: BTreeMap::new(),
            one_offs: crate::fake::Programs::default(),
            dial: None,
            routed: None,
            route_version: 0,
            router_identifies: true,
            held_until: None,
            dealt_anew: false,
            counts_nothing: false,
            dropped: Vec::new(),
            next_request: 0,
            booted: Instant::now(),
        }
    }

    /// Where a slot answers, until addresses are dealt anew.
    #[must_use]
    pub fn address(slot: Slot) -> String {
        match slot {
            Slot::Blue => "10.0.0.1:5000".to_owned(),
            Slot::Green => "10.0.0.2:5000".to_owned(),
            Slot::Main => "10.0.0.3:5000".to_owned(),
        }
    }

    /// Where a slot answers now.
    #[must_use]
    pub fn address_of(&self, slot: Slot) -> String {
        Self::address(match slot {
            Slot::Blue if self.dealt_anew => Slot::Green,
            Slot::Green if self.dealt_anew => Slot::Blue,
            slot => slot,
        })
    }

    fn slot_at(&self, address: &str) -> Option<Slot> {
        [Slot::Blue, Slot::Green, Slot::Main].into_iter().find(|slot| self.address_of(*slot) == address)
    }

    /// What runs gets other addresses, as after a restart of its engine: blue green's, and green blue's. The router knows whose
    /// address it dials, and follows.
    pub fn deal_addresses_anew(&mut self) {
        let target = self.target();
        self.dealt_anew = !self.dealt_anew;
        if let Some(slot) = target {
            self.dial = Some(self.address_of(slot));
        }
    }

    /// The host's clock, which may be wrong.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.booted.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(EPOCH_MILLIS + passed + self.clock_offset_millis)
    }

    /// The slot that gets new requests.
    #[must_use]
    pub fn target(&self) -> Option<Slot> {
        self.slot_at(self.dial.as_deref()?)
    }

    /// The app that gets new requests, and what it does with them.
    #[must_use]
    pub fn live(&self) -> Option<(&App, Life)> {
        let app = self.slots.get(&self.target()?)?;
        Some((app, app.life(Instant::now())))
    }

    /// Puts an app into a slot, running since now, as something other than the runtime would.
    pub fn place(&mut self, slot: Slot, tag: &Tag, running: bool) {
        let Some(artifact) = self.catalogue.get(tag).cloned() else { return };
        self.images.insert(artifact.release.digest.clone());
        let (now, started_at) = (Instant::now(), self.now());
        let app = App {
            release: artifact.release,
            behaviour: artifact.behaviour,
            running_since: running.then_some(now),
            started_at,
            requests: BTreeMap::new(),
            without_traffic_since: Some(now),
            logs: vec![format!("started {tag} in {slot}")],
        };
        self.slots.insert(slot, app);
    }

    /// Requests wait at the router now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn hold(&mut self, bounds: &HoldBounds) {
        // Without a route there is nothing to hold.
        if self.dial.is_none() {
            return;
        }
        let (now, again) = (Instant::now(), self.is_held());
        self.held_until = Some(now + bounds.time.duration());
        let target = self.target();
        if let Some(app) = target.filter(|_| !again).and_then(|slot| self.slots.get_mut(&slot)) {
            app.without_traffic_since = Some(now);
        }
    }

    pub(super) fn let_go(&mut self) {
        self.held_until = None;
        if let Some(app) = self.target().and_then(|slot| self.slots.get_mut(&slot)) {
            app.without_traffic_since = None;
        }
    }

    /// A user's request through the router; its id, if an app took it. One that waits at the router is not followed.
    pub fn request(&mut self, until: Option<Instant>) -> Option<u64> {
        if self.is_held() {
            return None;
        }
        let slot = self.target()?;
        let now = Instant::now();
        let id = self.next_request;
        let app = self.slots.get_mut(&slot).filter(|app| app.life(now) == Life::Healthy)?;
        app.requests.retain(|_, until| until.is_none_or(|until| until > now));
        app.requests.insert(id, until);
        // A hold that has ended by itself.
        app.without_traffic_since = None;
        self.next_request += 1;
        Some(id)
    }

    /// Ends a request; the slot that answered it, if it was still there to.
    pub fn answer_request(&mut self, id: u64) -> Option<Slot> {
        self.slots.iter_mut().find_map(|(slot, app)| app.requests.remove(&id).map(|_| *slot))
    }

    pub(super) fn read(&self, path: &str) -> HostFile {
        HostFile { content: self.files.get(path).cloned(), now: self.now() }
    }

    pub(super) fn names(&self, within: &str, begin: &str) -> Vec<String> {
        let found = self.files.keys().filter(|path| path.starts_with(begin));
        let names = found.filter_map(|path| path.strip_prefix(within)).filter(|name| !name.contains('/'));
        names.take(crate::NAMES_MAX).map(str::to_owned).collect()
    }

    pub(super) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), PortError> {
        crate::readable(path, content)?;
        self.put(path, content.to_vec())
    }

    /// However large it is.
    pub(super) fn put(&mut self, path: &str, content: Vec<u8>) -> Result<(), PortError> {
        if self.disk_free_mib == 0 {
            let full = PortError::new(FailureKind::DiskFull, format!("{path}: no space left"));
            return Err(full.without_effect());
        }
        self.files.insert(path.to_owned(), content);
        Ok(())
    }

    pub(super) fn swap(
        &mut self,
        path: &str,
        expected: Option<&[u8]>,
        content: &[u8],
    ) -> Result<Swapped, PortError> {
        if self.files.get(path).map(Vec::as_slice) != expected {
            return Ok(Swapped::No);
        }
        self.write(path, content)?;
        Ok(Swapped::Yes)
    }

    pub(super) fn exec(&self, argv: &[String]) -> Result<Output, PortError> {
        let program = argv.first().map_or("", String::as_str);
        self.programs
            .get(program)
            .cloned()
            .ok_or_else(|| PortError::not_found(format!("there is no program {program:?}")))
    }

    /// An answer of whatever listens at `address`, or why there is none.
    pub(super) fn http(&self, address: &str, path: &str) -> Result<Answer, PortError> {
        let refused = || PortError::unreachable(format!("{address}: connection refused"));
        let slot = self.slot_at(address).ok_or_else(refused)?;
        let app = self.slots.get(&slot).ok_or_else(refused)?;
        match app.life(Instant::now()) {
            Life::Stopped | Life::Died | Life::Starting => Err(refused()),
            Life::Sick => Ok(Answer { status: 503, body: b"not ready".to_vec(), ..Answer::default() }),
            Life::Healthy if path == "/slot" => {
                Ok(Answer { status: 200, body: slot.as_str().into(), ..Answer::default() })
            }
            Life::Healthy => {
                Ok(Answer { status: 200, body: app.release.tag.as_str().into(), ..Answer::default() })
            }
        }
    }

    pub(super) fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        // A digest's 64 hex digits in the place of a tag name the bytes.
        let digest = format!("sha256:{tag}");
        let is_it = |artifact: &&Artifact| artifact.release.digest.as_str() == digest;
        let artifact = self.catalogue.get(tag).or_else(|| self.catalogue.values().find(is_it));
        artifact
            .map(|artifact| artifact.release.clone())
            .ok_or_else(|| PortError::not_found(format!("no tag {tag}")))
    }

    pub(super) fn runtime_slots(&self) -> Vec<RuntimeSlot> {
        let now = Instant::now();
        let seen = |(slot, app): (&Slot, &App)| {
            let state = if app.runs(now) { SlotState::Running } else { SlotState::Stopped };
            let endpoint = app.runs(now).then(|| Endpoint::Tcp(self.address_of(*slot)));
            RuntimeSlot {
                slot: *slot,
                release: Some(app.release.clone()),
                state,
                started_at: Some(app.started_at),
                restarts: 0,
                replicas: vec![Replica { name: None, state, endpoint: endpoint.clone(), owner: None }],
                endpoint,
                stop_grace: None,
            }
        };
        self.slots.iter().map(seen).collect()
    }

    pub(super) fn fetch(&mut self, release: &Release) -> Result<(), PortError> {
        if !self.catalogue.values().any(|artifact| artifact.release.same_bytes(release)) {
            return Err(PortError::not_found(format!("the registry has no {release}")));
        }
        if self.disk_free_mib == 0 {
            return Err(PortError::new(FailureKind::DiskFull, "no space left for the image"));
        }
        self.images.insert(release.digest.clone());
        Ok(())
    }

    pub(super) fn start(&mut self, slot: Slot, release: &Release) -> Result<(), PortError> {
        let now = Instant::now();
        let runs = self.slots.get(&slot).is_some_and(|app| app.runs(now) && app.release.same_bytes(release));
        if runs {
            return Ok(());
        }
        let known = self.catalogue.values().find(|artifact| artifact.release.same_bytes(release));
        let (Some(artifact), true) = (known.cloned(), self.images.contains(&release.digest)) else {
            return Err(PortError::not_found(format!("the bytes of {release} are not on the host")));
        };
        self.cut_off(slot);
        let mut logs = self.slots.remove(&slot).map(|app| app.logs).unwrap_or_default();
        logs.push(format!("started {} in {slot}", release.tag));
        let app = App {
            release: release.clone(),
            behaviour: artifact.behaviour,
            running_since: Some(now),
            started_at: self.now(),
            requests: BTreeMap::new(),
            without_traffic_since: (self.is_held() || self.target() != Some(slot)).then_some(now),
            logs,
        };
        self.slots.insert(slot, app);
        Ok(())
    }

    pub(super) fn stop(&mut self, slot: Slot) {
        self.cut_off(slot);
        if let Some(app) = self.slots.get_mut(&slot) {
            app.running_since = None;
        }
    }

    /// Notes the requests that end with the slot's app.
    fn cut_off(&mut self, slot: Slot) {
        let now = Instant::now();
        let Some(app) = self.slots.get_mut(&slot) else { return };
        let requests = app.in_flight(now);
        if app.runs(now) && requests > 0 {
            let without_traffic =
                app.without_traffic_since.map_or(Millis(0), |since| Millis::from(now - since));
            self.dropped.push(Dropped { slot, requests, without_traffic });
        }
        app.requests.clear();
    }

    pub(super) fn prune(&mut self, keep: &[Release]) -> Vec<String> {
        let held: BTreeSet<Digest> = self.slots.values().map(|app| app.release.digest.clone()).collect();
        let goes =
            |digest: &Digest| !held.contains(digest) && !keep.iter().any(|release| release.digest == *digest);
        let (gone, stays) = std::mem::take(&mut self.images).into_iter().partition(goes);
        self.images = stays;
        let gone: BTreeSet<Digest> = gone;
        gone.into_iter().map(String::from).collect()
    }

    pub(super) fn route(&self) -> Route {
        Route {
            split: self.target().map(Split::all_to),
            dial: self.dial.clone(),
            version: RouteVersion(self.route_version.to_string()),
            held: self.is_held(),
            ..Route::default()
        }
    }

    pub(super) fn switch(&mut self, to: &Upstream, expected: &RouteVersion) -> Result<(), PortError> {
        // It is told whose the address is, so one that was dealt anew meanwhile leads nowhere else.
        let dial = self.address_of(to.slot);
        if self.dial.as_ref() == Some(&dial) && self.routed.as_ref() == Some(&to.release.digest) {
            return Ok(());
        }
        self.at(expected)?;
        self.point_at(Some(dial), Some(to.release.digest.clone()));
        Ok(())
    }

    pub(super) fn withdraw(&mut self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        self.at(expected)?;
        self.point_at(dial.map(str::to_owned), None);
        Ok(())
    }

    fn at(&self, expected: &RouteVersion) -> Result<(), PortError> {
        if expected.0 == self.route_version.to_string() {
            return Ok(());
        }
        Err(PortError::new(FailureKind::Conflict, "the route was changed meanwhile"))
    }

    /// Changes the route, whatever it was.
    pub fn point_at(&mut self, dial: Option<String>, routed: Option<Digest>) {
        let before = self.target();
        self.dial = dial;
        self.routed = routed;
        self.route_version += 1;
        let after = self.target();
        let now = Instant::now();
        for (slot, app) in &mut self.slots {
            match (before == Some(*slot), after == Some(*slot)) {
                // Where it was held, it has had none for longer.
                (true, false) => {
                    app.without_traffic_since.get_or_insert(now);
                }
                (_, true) => app.without_traffic_since = None,
                (false, false) => {}
            }
        }
    }

    pub(super) fn in_flight(&self, slot: Slot) -> InFlight {
        let app = self.slots.get(&slot).filter(|_| !self.counts_nothing);
        InFlight { requests: app.map_or(0, |app| app.in_flight(Instant::now())), upgraded: 0 }
    }

    pub(super) fn ask(&self, request: &Request) -> RouterAnswer {
        let unrouted = |status, body: &str| RouterAnswer {
            answer: Answer { status, body: body.into(), ..Answer::default() },
            slot: None,
            release: None,
        };
        let Some(dial) = &self.dial else { return unrouted(404, "no route") };
        let Ok(answer) = self.http(dial, &request.target) else { return unrouted(502, "no upstream") };
        let named = self.target().filter(|_| self.router_identifies);
        let release = named.and_then(|slot| self.slots.get(&slot)).map(|app| app.release.digest.to_string());
        RouterAnswer { answer, slot: named, release }
    }
}
