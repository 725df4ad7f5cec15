//! Where a target's requests go: the addresses of its slot as they are now, which of them a request gets, and the question
//! to the engine where they are.
//!
//! A container's address is somebody else's as soon as it has ended: an engine that restarts deals them anew. So one whose
//! process has ended is not dialled again before the engine has said where it is now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::engine::{Container, Engine, Event, Silence};
use crate::replica::{Holder, Idle, Replica};
use crate::wire::{self, ContainerOwner, Owner, ProcessOwner};

/// Requests ask an engine again where a container is at most this often; its events are followed at once.
const LOOK_PAUSE_MILLIS: u64 = 100;

#[derive(Debug)]
pub(crate) struct Replicas {
    /// As the route has them; empty where it was told none.
    told: Vec<wire::Replica>,
    now: ArcSwap<Vec<Arc<Replica>>>,
    /// Set while an engine tells what happens, for each that has one of the containers.
    watched: HashMap<PathBuf, Arc<AtomicBool>>,
    idle: Idle,
    next: AtomicUsize,
    /// When the last look ended. One looks, whoever else wants to know waits for it.
    looked: AsyncMutex<Option<Instant>>,
    /// Why the last look found less than there should be.
    trouble: Mutex<Option<String>>,
    retired: AtomicBool,
    /// The containers' processes can be looked at from here: one was. Where the proxy is in a container of its own they can't.
    sees_processes: AtomicBool,
}

/// A container that runs.
struct Found {
    id: String,
    dial: String,
    process: Option<ProcessOwner>,
    engine: PathBuf,
}

impl Replicas {
    /// What the owners' processes vouch for can be used at once; of the others the engine is asked first.
    pub(crate) fn new(dial: &str, told: &[wire::Replica], idle: Idle) -> Arc<Self> {
        let mut watched = HashMap::new();
        for container in told.iter().filter_map(container) {
            watched.entry(container.engine.clone()).or_insert_with(Arc::default);
        }
        let mut replicas = Self {
            told: told.to_vec(),
            now: ArcSwap::default(),
            watched,
            idle,
            next: AtomicUsize::new(0),
            looked: AsyncMutex::default(),
            trouble: Mutex::default(),
            retired: AtomicBool::new(false),
            sees_processes: AtomicBool::new(
                told.iter().filter_map(container).any(|one| one.process.is_some()),
            ),
        };
        let first = match told {
            [] => vec![Arc::new(Replica::new(dial, Holder::Unknown, idle))],
            told => {
                told.iter().map(|one| Arc::new(Replica::new(&one.dial, replicas.holder(one), idle))).collect()
            }
        };
        replicas.now = ArcSwap::from_pointee(first);
        Arc::new(replicas)
    }

    fn holder(&self, told: &wire::Replica) -> Holder {
        match &told.owner {
            None => Holder::Unknown,
            Some(Owner::Process(process)) => Holder::Process(process.clone()),
            Some(Owner::Container(container)) => Holder::Container {
                id: container.id.clone(),
                process: container.process.clone(),
                watched: self.watch_of(&container.engine),
            },
        }
    }

    fn watch_of(&self, engine: &Path) -> Arc<AtomicBool> {
        self.watched.get(engine).cloned().unwrap_or_default()
    }

    /// The engines that have the containers.
    pub(crate) fn engines(&self) -> impl Iterator<Item = &Path> {
        self.watched.keys().map(PathBuf::as_path)
    }

    /// Whether that engine tells what happens from now on.
    pub(crate) fn set_watched(&self, engine: &Path, is_watched: bool) {
        if let Some(watched) = self.watched.get(engine) {
            watched.store(is_watched, Relaxed);
        }
    }

    pub(crate) fn is_watched(&self, engine: &Path) -> bool {
        self.watched.get(engine).is_some_and(|watched| watched.load(Relaxed))
    }

    /// The engine can't be listened to.
    pub(crate) fn tell_silence(&self, silence: &Silence) {
        self.tell_trouble(Some(silence.to_string()));
    }

    /// Something happened to one of the containers, or to one that may take its place.
    pub(crate) fn is_concerned(&self, event: &Event) -> bool {
        let now = self.now.load();
        self.told.iter().filter_map(container).any(|owner| {
            event.concerns(owner, None) || now.iter().any(|one| event.concerns(owner, one.container()))
        })
    }

    /// The one with the fewest requests on their way, and of several alike each in its turn; one that refused lately is the
    /// last. `None` when all have been `passed` over.
    pub(crate) fn choose(&self, passed: &[Arc<Replica>]) -> Option<Arc<Replica>> {
        let now = self.now.load();
        if let [only] = now.as_slice()
            && passed.is_empty()
        {
            return Some(only.clone());
        }
        let turn = self.next.fetch_add(1, Relaxed);
        let count = now.len().max(1);
        let in_turn = (0..now.len()).map(|n| &now[(turn + n) % count]);
        let left = in_turn.filter(|one| !passed.iter().any(|other| Arc::ptr_eq(one, other)));
        left.min_by_key(|one| (one.is_avoided(), one.busy())).cloned()
    }

    /// The one that is dialled so; `None` when there is none.
    pub(crate) fn named(&self, dial: &[u8]) -> Option<Arc<Replica>> {
        self.now.load().iter().find(|one| one.dial.as_bytes() == dial).cloned()
    }

    /// More than one to choose from.
    pub(crate) fn are_several(&self) -> bool {
        self.now.load().len() > 1
    }

    /// Somebody can be asked where they are.
    pub(crate) fn have_engine(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Asks the engine where the containers are, unless that was asked after `since` or a moment ago.
    pub(crate) async fn look_again(&self, since: Instant) {
        let pause = Duration::from_millis(LOOK_PAUSE_MILLIS);
        self.look_unless(|looked| looked >= since || looked.elapsed() < pause).await;
    }

    /// Asks the engine where the containers are, for something happened to them.
    pub(crate) async fn look(&self) {
        self.look_unless(|_| false).await;
    }

    async fn look_unless(&self, is_known: impl Fn(Instant) -> bool) {
        if !self.have_engine() {
            return;
        }
        let mut looked = self.looked.lock().await;
        if !looked.is_some_and(is_known) {
            match self.find().await {
                Ok(found) => self.follow(found),
                Err(silence) => {
                    self.tell_silence(&silence);
                    tracing::debug!(%silence, "where a slot's containers are can't be asked");
                }
            }
            *looked = Some(Instant::now());
        }
    }

    /// The containers that run now: those that the route was told, and for each that is gone for good the oldest that is
    /// labelled as it was.
    async fn find(&self) -> Result<Vec<Found>, Silence> {
        let mut found = Vec::new();
        let mut gone: Vec<&ContainerOwner> = Vec::new();
        for owner in self.told.iter().filter_map(container) {
            match Engine::at(&owner.engine).container(&owner.id).await? {
                Some(container) => found.extend(self.vouched(running(&container, owner))),
                None => gone.push(owner),
            }
        }
        for owner in gone.into_iter().filter(|owner| !owner.labels.is_empty()) {
            let engine = Engine::at(&owner.engine);
            for id in engine.labelled(&owner.labels).await? {
                let is_taken = self
                    .told
                    .iter()
                    .filter_map(container)
                    .any(|other| crate::engine::same_id(&other.id, &id))
                    || found.iter().any(|other: &Found| other.id == id);
                if is_taken {
                    continue;
                }
                let one = engine.container(&id).await?.as_ref().and_then(|one| running(one, owner));
                if let Some(one) = self.vouched(one) {
                    found.push(one);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// An engine calls a container running until it has seen its process end. Where processes can be looked at, one whose process is
    /// gone has ended all the same, and the engine's word alone would have its address trusted while it may be dealt to another.
    fn vouched(&self, found: Option<Found>) -> Option<Found> {
        let found = found?;
        if found.process.is_some() {
            self.sees_processes.store(true, Relaxed);
            return Some(found);
        }
        (!self.sees_processes.load(Relaxed)).then_some(found)
    }

    /// Those that stayed as they were keep their connections; the others' are closed.
    fn follow(&self, found: Vec<Found>) {
        let wanted = self.told.iter().filter_map(container).count();
        let missing = wanted.saturating_sub(found.len());
        self.tell_trouble((missing > 0).then(|| format!("{missing} of {wanted} containers do not run")));
        let before = self.now.load_full();
        let others = before.iter().filter(|one| one.container().is_none()).cloned();
        let followed = found.iter().map(|one| {
            let same = before.iter().find(|old| old.is(&one.dial, &one.id, one.process.as_ref()));
            same.cloned().unwrap_or_else(|| {
                let holder = Holder::Container {
                    id: one.id.clone(),
                    process: one.process.clone(),
                    watched: self.watch_of(&one.engine),
                };
                tracing::info!(dial = one.dial, container = one.id, "a slot's container answers there now");
                Arc::new(Replica::new(&one.dial, holder, self.idle))
            })
        });
        let after: Vec<Arc<Replica>> = followed.chain(others).collect();
        let same = after.len() == before.len()
            && before.iter().all(|old| after.iter().any(|new| Arc::ptr_eq(old, new)));
        if same {
            return;
        }
        self.now.store(Arc::new(after.clone()));
        for old in before.iter().filter(|old| !after.iter().any(|new| Arc::ptr_eq(old, new))) {
            old.pool.retire();
        }
        if self.retired.load(Relaxed) {
            self.retire();
        }
    }

    fn tell_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why requests are refused, or some owner can't be asked.
    pub(crate) fn trouble(&self) -> Option<String> {
        let now = self.now.load();
        let doubtful: Vec<&str> =
            now.iter().filter(|one| !one.is_trusted()).map(|one| one.dial.as_str()).collect();
        let told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match doubtful.as_slice() {
            [] => told,
            doubtful => {
                let why = told.map(|told| format!(" ({told})")).unwrap_or_default();
                Some(format!("whose address {} is now is not known{why}", doubtful.join(", ")))
            }
        }
    }

    /// As they are now; empty for a route that was told none.
    pub(crate) fn views(&self) -> Vec<wire::ReplicaView> {
        match self.told.is_empty() {
            true => Vec::new(),
            false => self.now.load().iter().map(|one| one.view()).collect(),
        }
    }

    /// Where the first of them answers now.
    pub(crate) fn first_dial(&self) -> Option<String> {
        self.now.load().first().map(|one| one.dial.clone())
    }

    fn each_pool(&self, act: impl Fn(&crate::pool::Pool)) {
        self.now.load().iter().for_each(|one| act(&one.pool));
    }

    /// Closes connections that were idle for too long, and those to addresses that may be somebody else's.
    pub(crate) fn reap(&self) {
        for one in self.now.load().iter() {
            if one.is_trusted() { one.pool.reap() } else { one.pool.close_idle() }
        }
    }

    pub(crate) fn close_idle(&self) {
        self.each_pool(crate::pool::Pool::close_idle);
    }

    /// No longer used: closes the idle connections now, and the busy ones when they come back.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.each_pool(crate::pool::Pool::retire);
    }
}

/// The same, each container with its process where its engine says which that is, so that a proxy that starts while the
/// engine is down knows it again. One that is elsewhere already is followed later.
pub(crate) async fn complete(told: Vec<wire::Replica>) -> Vec<wire::Replica> {
    let looks = told.into_iter().map(|mut replica| async move {
        if let Some(Owner::Container(owner)) = &mut replica.owner
            && owner.process.is_none()
        {
            let found = Engine::at(&owner.engine).container(&owner.id).await;
            let found = found.ok().flatten().and_then(|container| running(&container, owner));
            owner.process = found.filter(|found| found.dial == replica.dial).and_then(|found| found.process);
        }
        replica
    });
    futures_util::future::join_all(looks).await
}

fn container(told: &wire::Replica) -> Option<&ContainerOwner> {
    match &told.owner {
        Some(Owner::Container(container)) => Some(container),
        Some(Owner::Process(_)) | None => None,
    }
}

fn running(container: &Container, owner: &ContainerOwner) -> Option<Found> {
    let dial = container.dial(owner).filter(|_| container.runs())?;
    let process = ProcessOwner::of_container(container.state.pid, &container.id);
    Some(Found { id: container.id.clone(), dial, process, engine: owner.engine.clone() })
}
