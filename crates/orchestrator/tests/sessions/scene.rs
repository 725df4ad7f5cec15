//! One host in memory with one service, an orchestrator over it, and a door at which starting an app can be held up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{Clock, Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{
    BuiltinRouter, ComposeLayout, ComposeRuntime, Delivery, Digest, Environment, EnvironmentName, Event,
    EventKind, Evidence, Health, HostId, HttpHealth, Identity, Millis, Project, ProjectName, Refusal,
    Release, Requester, Router, RunId, Runtime, Service, ServiceName, SlotDelivery, Ssh, StatusRange,
    Strategy, Tag, Template, Timestamp, Told, Want, Wave,
};
use lockgate_orchestrator::{Handle, InProcess, Parts, Site, Teller, Wiring};
use lockgate_ports::fake::{
    Artifact, Behaviour, Call, Catalogue, FakeGate, FakePorts, Fate, Faults, Life, Machine, SharedMachine,
    What, shared,
};
use lockgate_ports::{GateAnswer, GateSubject, Gates, PortError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Virtual time within which everything that is waited for here has happened.
const WAIT_SECONDS_MAX: u64 = 600;

pub fn web() -> ServiceName {
    ServiceName::new("web").unwrap()
}

pub fn deploy(tag: &str) -> Want {
    Want::deploy(web(), Tag::new(tag).unwrap())
}

pub fn kim() -> Requester {
    Requester::person("kim@desk")
}

/// Where starting an app is held up while the door is shut.
#[derive(Default)]
pub struct Door {
    is_shut: AtomicBool,
    /// The engine does not answer.
    is_silent: AtomicBool,
    /// Nothing can be switched or stopped.
    is_broken: AtomicBool,
    /// Who stands before it.
    waiting: AtomicUsize,
    moved: Notify,
}

/// Somebody before the door: gone when dropped.
struct Before<'a>(&'a Door);

impl Drop for Before<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }
}

impl Door {
    pub fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    pub fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    pub fn silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    pub fn broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    /// Until so many stand before it.
    pub async fn is_met_by(&self, count: usize) {
        self.until(|| self.waiting.load(Ordering::SeqCst) == count).await;
    }

    async fn until(&self, is: impl Fn() -> bool) {
        let wait = async {
            loop {
                let moved = self.moved.notified();
                if is() {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), wait).await.expect("it happens");
    }
}

#[async_trait]
impl Faults for Door {
    async fn before(&self, call: &Call) -> Fate {
        if matches!(call.what, What::Start(_)) && self.is_shut.load(Ordering::SeqCst) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let before = Before(self);
            self.moved.notify_waiters();
            self.until(|| !self.is_shut.load(Ordering::SeqCst)).await;
            drop(before);
        }
        if matches!(call.what, What::Slots) && self.is_silent.load(Ordering::SeqCst) {
            return Fate::Fails(PortError::unreachable("the engine does not answer"));
        }
        if matches!(call.what, What::Switch(_) | What::Stop(_)) && self.is_broken.load(Ordering::SeqCst) {
            return Fate::Fails(PortError::other("the engine is broken"));
        }
        Fate::Happens
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}

#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<RunId, Vec<Event>>>);

impl Memory {
    /// As if nothing of this run had been written here.
    pub fn forget(&self, run: RunId) {
        self.0.lock().unwrap().remove(&run);
    }

    /// How the latest run ended.
    pub fn last_end(&self) -> Option<String> {
        let events = self.0.lock().unwrap();
        let (_, events) = events.last_key_value()?;
        events.iter().find_map(|event| match &event.kind {
            EventKind::RunEnded { outcome } => Some(outcome.as_str().to_owned()),
            _ => None,
        })
    }
}

#[async_trait]
impl Journal for Memory {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.0.lock().unwrap().entry(event.run).or_default().push(event.clone());
        Ok(())
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        Ok(self.0.lock().unwrap().get(&run).cloned().unwrap_or_default())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let events = self.0.lock().unwrap();
        let runs = events.values().rev().filter_map(|events| RunSummary::of(events));
        let wanted = runs.filter(|run| !filter.unfinished || run.outcome.is_none());
        Ok(wanted.take(filter.limit as usize).collect())
    }
}

struct Since(Instant);

impl Clock for Since {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

struct Place {
    project: Arc<Project>,
    machine: SharedMachine,
    door: Arc<Door>,
}

impl Wiring for Place {
    fn site(&self, service: &Service, environment: &Environment) -> Result<Site, Refusal> {
        let faults: Arc<dyn Faults> = self.door.clone();
        let open = |_: &GateSubject| {
            let (check, wanted, seen) = ("a look".into(), "200".into(), "200".into());
            Ok(GateAnswer::judge(vec![Evidence { check, wanted, seen, ok: true }]))
        };
        let asked: Arc<dyn Faults> = self.door.clone();
        let gates = Gates::new(move |_| Arc::new(FakeGate::new(asked.clone(), Millis::from_secs(1), open)));
        Ok(Site {
            project: self.project.clone(),
            service: service.clone(),
            environment: environment.clone(),
            hosts: vec![FakePorts::new(self.machine.clone(), faults).host_ports("/srv/web")],
            gates,
            secrets: Vec::new(),
        })
    }
}

pub struct Scene {
    pub orchestrator: InProcess,
    pub journal: Arc<Memory>,
    pub door: Arc<Door>,
    machine: SharedMachine,
}

impl Scene {
    /// Nothing is deployed; there are v1, v2 and v3.
    pub fn new() -> Self {
        Self::on(HostId::new("web1").unwrap(), Teller::default())
    }

    /// The one host is the machine itself.
    pub fn here() -> Self {
        Self::on(HostId::local(), Teller::default())
    }

    /// People are told by this one.
    pub fn telling(teller: Teller) -> Self {
        Self::on(HostId::new("web1").unwrap(), teller)
    }

    fn on(host: HostId, teller: Teller) -> Self {
        let machine = shared(Machine::new(host.clone(), Arc::new(catalogue())));
        let (door, journal) = (Arc::new(Door::default()), Arc::new(Memory::default()));
        let project = Arc::new(project(host));
        let ids = AtomicUsize::new(1);
        let orchestrator = InProcess::new(Parts {
            project: project.clone(),
            wiring: Arc::new(Place { project, machine: machine.clone(), door: door.clone() }),
            journal: journal.clone(),
            clock: Arc::new(Since(Instant::now())),
            identity: Identity {
                owner: "kim@desk".into(),
                boot_id: "boot".into(),
                pid: 7,
                started: 1,
                session: String::new(),
            },
            // The process of all of them lives.
            surely_dead: Arc::new(|_| false),
            new_run: Arc::new(move || {
                RunId(uuid::Uuid::from_u128(ids.fetch_add(1, Ordering::SeqCst) as u128))
            }),
            lease_ttl: Millis::from_secs(15),
            teller,
            state_files: None,
            beside: None,
            watcher: None,
            spawn: Arc::new(|session| drop(tokio::spawn(session))),
        });
        Self { orchestrator, journal, door, machine }
    }

    /// All apps end, and none comes back by itself.
    pub fn lose_power(&self) {
        for app in self.machine.lock().unwrap().slots.values_mut() {
            app.requests.clear();
            app.running_since = None;
        }
    }

    /// All that a command could change on the host: files, and which release each slot has, with a mark where it runs.
    pub fn world(&self) -> String {
        let machine = self.machine.lock().unwrap();
        let slots = machine.slots.iter().map(|(slot, app)| {
            let runs = if app.running_since.is_some() { " runs" } else { "" };
            format!("{slot}: {}{runs}", app.release.tag)
        });
        let slots: Vec<String> = slots.collect();
        format!("{} {:?} {:#?}", slots.join(", "), machine.dial, machine.files)
    }

    /// Tags that run, by slot.
    pub fn running(&self) -> Vec<String> {
        let machine = self.machine.lock().unwrap();
        let running = machine.slots.iter().filter(|(_, app)| app.running_since.is_some());
        running.map(|(slot, app)| format!("{} in {slot}", app.release.tag)).collect()
    }

    /// The tag that is live and healthy.
    pub fn live(&self) -> Option<String> {
        let machine = self.machine.lock().unwrap();
        machine.live().filter(|(_, life)| *life == Life::Healthy).map(|(app, _)| app.release.tag.to_string())
    }

    /// Waits until the latest run has ended, whoever hears of it.
    pub async fn is_over(&self) -> String {
        let look = async {
            loop {
                if let Some(end) = self.journal.last_end() {
                    return end;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), look).await.expect("it ends")
    }
}

/// All that is left to hear.
pub async fn heard<T>(session: &mut Handle<T>) -> Vec<Told> {
    let mut heard = Vec::new();
    while let Some(told) = session.events.next().await {
        heard.push(told);
    }
    heard
}

fn catalogue() -> Catalogue {
    let artifact = |number: u8| {
        let tag = Tag::new(format!("v{number}")).unwrap();
        let release = Release {
            service: web(),
            tag: tag.clone(),
            digest: Digest::new(format!("sha256:{:064x}", number)).unwrap(),
            image: Some("example.com/web".to_owned()),
            commit: None,
            provenance: None,
        };
        (tag, Artifact { release, behaviour: Behaviour::default() })
    };
    (1..=3).map(artifact).collect()
}

fn project(host: HostId) -> Project {
    let service = Service {
        name: web(),
        image: Some("example.com/web".to_owned()),
        command: Vec::new(),
        cwd: None,
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        port: Some(5000),
        health: Health::Http(HttpHealth {
            path: "/health".to_owned(),
            timeout: Millis::from_secs(5),
            passes: 1,
            status: StatusRange::OK,
            body: None,
            headers: BTreeMap::new(),
        }),
        critical_paths: Vec::new(),
        verify: None,
        urls: BTreeMap::new(),
        ship: lockgate_model::Ship::default(),
        hooks: lockgate_model::Hooks::default(),
    };
    let dir = Template::new("/srv/{service}/{slot}").unwrap();
    let slots = SlotDelivery {
        hosts: vec![host],
        strategy: Strategy::BlueGreen,
        runtime: Runtime::Compose(ComposeRuntime {
            layout: ComposeLayout::Folders(dir),
            service: None,
            project: None,
            docker_host: None,
        }),
        router: Router::Builtin(BuiltinRouter::on("127.0.0.1:8080")),
        waves: vec![Wave::Rest],
        drain: Millis(500),
        keep_warm: Millis(0),
        stop_grace: Some(Millis(500)),
        keep_releases: 2,
        disk_free_mib: 100,
        setup: None,
    };
    let environment = |name: &str, delivery| Environment {
        name: EnvironmentName::new(name).unwrap(),
        url: Some("https://shop.example".into()),
        from: None,
        before: Vec::new(),
        after: Vec::new(),
        schedules: BTreeMap::new(),
        soaks: Vec::new(),
        delivery,
    };
    Project {
        name: ProjectName::new("shop").unwrap(),
        root: PathBuf::from("/"),
        services: BTreeMap::from([(service.name.clone(), service)]),
        environments: vec![
            environment("test", Delivery::CheckOnly),
            environment("prod", Delivery::Slots(Box::new(slots))),
        ],
        notify: Vec::new(),
        registries: BTreeMap::new(),
        ssh: Ssh::default(),
        state: lockgate_model::StateLocation::of_folder("/".as_ref()),
        state_dir: None,
        serve: None,
    }
}
