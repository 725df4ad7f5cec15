//! A week of a schedule with a pinned clock: the whole of what programs are told, and whom else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_engine::{Clock, Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{
    BuiltinRouter, ComposeLayout, ComposeRuntime, Cron, Delivery, Digest, Environment, EnvironmentName,
    Event, Health, HostId, HttpHealth, Identity, Mask, Millis, Pick, Project, ProjectName, Reference,
    Refusal, Release, Report, Repository, Resumed, Router, RunId, Runtime, Schedule, ScheduledWord, Service,
    ServiceName, SlotDelivery, Ssh, StateFile, StatusRange, Strategy, Tag, Template, Timestamp, TurnTold,
    Wave, Zone,
};
use lockgate_orchestrator::{
    Face, Handle, InProcess, Parts, Promoter, Scheduler, Site, StateFiles, Teller, Turn, Turned, Wiring,
};
use lockgate_plan::schedule::Due;
use lockgate_ports::fake::{
    Artifact, Behaviour, Call, FakeGate, FakeHost, FakeNotifier, FakePorts, FakeRegistry, Fate, Faults,
    Machine, NoFaults, SharedMachine, What, shared,
};
use lockgate_ports::registry::MEDIA_TYPES;
use lockgate_ports::{GateSubject, Gates, Host, Manifest, Monitors, PortError, Registry};

/// 2026-03-26T00:00:00Z, three days before the clocks change in Berlin.
const DAY_ONE: i64 = 1_774_483_200_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

struct Pinned(AtomicI64);

impl Clock for Pinned {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Keeps runs in memory.
#[derive(Default)]
struct Runs(Mutex<BTreeMap<RunId, Vec<Event>>>);

#[async_trait]
impl Journal for Runs {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.0.lock().unwrap().entry(event.run).or_default().push(event.clone());
        Ok(())
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        Ok(self.0.lock().unwrap().get(&run).cloned().unwrap_or_default())
    }

    async fn runs(&self, _filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        Ok(Vec::new())
    }
}

/// One place.
struct Here(Site);

impl Wiring for Here {
    fn site(&self, _: &Service, _: &Environment) -> Result<Site, Refusal> {
        Ok(self.0.clone())
    }
}

/// Waits for the end of every session, and wants none of them to stop.
struct Patient;

async fn end_of<T>(mut session: Handle<T>) -> Result<T, Refusal> {
    while session.events.next().await.is_some() {}
    session.end().await
}

#[async_trait(?Send)]
impl Face for Patient {
    async fn report(&mut self, session: Handle<Report>) -> Result<Report, Refusal> {
        end_of(session).await
    }

    async fn resumed(&mut self, session: Handle<Resumed>) -> Result<Resumed, Refusal> {
        end_of(session).await
    }

    async fn end_asked(&mut self) {
        std::future::pending().await
    }
}

/// The registry can be down, and this machine's disk full.
#[derive(Default)]
struct Days {
    registry_is_down: AtomicBool,
    disk_is_full: AtomicBool,
}

#[async_trait]
impl Faults for Days {
    async fn before(&self, call: &Call) -> Fate {
        let is_full = self.disk_is_full.load(Ordering::SeqCst) && call.what == What::Write;
        if is_full && call.detail.contains("/schedule/") {
            return Fate::Fails(PortError::new(lockgate_model::FailureKind::DiskFull, "no space left"));
        }
        if self.registry_is_down.load(Ordering::SeqCst) && call.what == What::Tags {
            return Fate::Fails(PortError::unreachable("ghcr.io: connection refused").hint("wait"));
        }
        Fate::Happens
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}

struct Scene {
    clock: Arc<Pinned>,
    days: Arc<Days>,
    registry: FakeRegistry,
    machine: SharedMachine,
    /// The one that runs Lockgate.
    desk: Arc<FakeHost>,
    notifier: Arc<FakeNotifier>,
    teller: Teller,
    runs: Arc<Runs>,
    site: Site,
    schedule: Schedule,
    scheduler: Scheduler,
}

fn berlin() -> Zone {
    let rules = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Zone::new("Europe/Berlin", rules)
}

fn repository() -> Repository {
    Repository::new("ghcr.io/acme/web").unwrap()
}

fn service() -> Service {
    Service {
        name: ServiceName::new("web").unwrap(),
        image: Some(repository().to_string()),
        command: Vec::new(),
        cwd: None,
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        port: None,
        health: Health::Http(HttpHealth {
            path: "/health".into(),
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
    }
}

fn environment(host: &HostId) -> Environment {
    Environment {
        name: EnvironmentName::new("prod").unwrap(),
        url: None,
        from: None,
        before: Vec::new(),
        after: Vec::new(),
        schedules: BTreeMap::new(),
        soaks: Vec::new(),
        delivery: Delivery::Slots(Box::new(SlotDelivery {
            hosts: vec![host.clone()],
            strategy: Strategy::BlueGreen,
            runtime: Runtime::Compose(ComposeRuntime {
                layout: ComposeLayout::Folders(Template::new("/srv/{service}/{slot}").unwrap()),
                service: None,
                project: None,
                docker_host: None,
            }),
            router: Router::Builtin(BuiltinRouter::on("127.0.0.1:8080")),
            waves: vec![Wave::Rest],
            drain: Millis(0),
            keep_warm: Millis(0),
            stop_grace: Some(Millis(0)),
            keep_releases: 5,
            disk_free_mib: 0,
            setup: None,
        })),
    }
}

impl Scene {
    fn new() -> Scene {
        let host = HostId::new("web1").unwrap();
        let (clock, days) = (Arc::new(Pinned(AtomicI64::new(DAY_ONE))), Arc::new(Days::default()));
        let faults: Arc<dyn Faults> = days.clone();
        let machine = shared(Machine::new(host.clone(), Arc::default()));
        let ports = FakePorts::new(machine.clone(), Arc::new(NoFaults));
        let notifier = Arc::new(FakeNotifier::new(Arc::new(NoFaults)));
        let (service, environment) = (service(), environment(&host));
        let project = Project {
            name: ProjectName::new("shop").unwrap(),
            root: "/".into(),
            services: BTreeMap::from([(service.name.clone(), service.clone())]),
            environments: vec![environment.clone()],
            notify: Vec::new(),
            registries: BTreeMap::new(),
            ssh: Ssh::default(),
            state: lockgate_model::StateLocation::of_folder("/".as_ref()),
            state_dir: Some(Template::new("./desk/state").unwrap()),
            serve: None,
        };
        let site = Site {
            project: Arc::new(project),
            service,
            environment,
            hosts: vec![ports.host_ports("/srv/web")],
            gates: Gates::new(|_| {
                let unasked = |_: &GateSubject| Err(PortError::other("nobody asks"));
                Arc::new(FakeGate::new(Arc::new(NoFaults), Millis::from_secs(1), unasked))
            }),
            secrets: Vec::new(),
        };
        let (runs, count) = (Arc::new(Runs::default()), AtomicU64::new(1));
        let teller = Teller::new(vec![notifier.clone()], Mask::of(&[]));
        // This machine is another one than the host.
        let desk = shared(Machine::new(HostId::local(), Arc::default()));
        let here = Arc::new(FakeHost(FakePorts::new(desk, faults.clone())));
        let orchestrator = InProcess::new(Parts {
            project: site.project.clone(),
            wiring: Arc::new(Here(site.clone())),
            journal: runs.clone(),
            clock: clock.clone(),
            identity: Identity {
                owner: "cron@desk".into(),
                boot_id: "boot".into(),
                pid: 1,
                started: 1,
                session: String::new(),
            },
            surely_dead: Arc::new(|_| false),
            new_run: Arc::new(move || {
                RunId(uuid::Uuid::from_u128(u128::from(count.fetch_add(1, Ordering::SeqCst))))
            }),
            lease_ttl: Millis::from_secs(15),
            teller: teller.clone(),
            state_files: StateFiles::of(&site.project, here.clone(), |at| berlin().rfc3339(at)),
            beside: None,
            watcher: None,
            spawn: Arc::new(|session| drop(tokio::spawn(session))),
        });
        let registry = FakeRegistry::new(faults.clone());
        let scheduler = Scheduler {
            promoter: Promoter {
                orchestrator: orchestrator.clone(),
                store: None,
                monitors: Monitors::new(|soak| panic!("nobody watches {}", soak.name)),
                registry: Arc::new(registry.clone()),
                clock: clock.clone(),
                owner: "cron@desk".into(),
            },
            orchestrator,
            clock: clock.clone(),
            owner: "cron@desk".into(),
            mask: Mask::of(&[]),
            registry: Arc::new(registry.clone()),
            host: here.clone(),
            dir: "/desk/.lockgate/schedule".into(),
            here: berlin(),
        };
        let schedule = Schedule {
            cron: Cron::new("0 5 * * *").unwrap(),
            zone: None,
            deploy: Pick::LatestSemver,
            pre_releases: false,
            catch_up: Millis::from_secs(3600),
        };
        Scene {
            clock,
            days,
            registry,
            machine,
            desk: here,
            notifier,
            teller,
            runs,
            site,
            schedule,
            scheduler,
        }
    }

    /// A release in the registry and in the host's view of it; `digit` tells its bytes from those of others.
    async fn push(&self, tag: &str, digit: char, is_good: bool) {
        let tag = Tag::new(tag).unwrap();
        let config = self.registry.push_blob(&repository(), tag.as_str().as_bytes()).unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MEDIA_TYPES[2], "layers": [],
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config },
        });
        let manifest = Manifest::new(MEDIA_TYPES[2], manifest.to_string().into_bytes()).unwrap();
        self.registry.put_manifest(&repository(), &Reference::Tag(tag.clone()), &manifest).await.unwrap();
        let digest = Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        let release = Release {
            service: self.site.service.name.clone(),
            tag: tag.clone(),
            digest,
            image: self.site.service.image.clone(),
            commit: None,
            provenance: None,
        };
        let healthy_after = is_good.then_some(Millis(0));
        let artifact = Artifact { release, behaviour: Behaviour { healthy_after, dies_after: None } };
        let mut machine = self.machine.lock().unwrap();
        let mut catalogue = machine.catalogue.as_ref().clone();
        catalogue.insert(tag, artifact);
        machine.catalogue = Arc::new(catalogue);
    }

    fn turn(&self) -> Turn<'_> {
        let Site { environment, service, .. } = &self.site;
        Turn { environment: &environment.name, service, schedule: &self.schedule }
    }

    /// Sets the clock: so many minutes after midnight (UTC) of a day, the first of which is one.
    fn at(&self, day: i64, minutes: i64) -> Timestamp {
        let at = DAY_ONE + (day - 1) * DAY + minutes * MINUTE;
        self.clock.0.store(at, Ordering::SeqCst);
        Timestamp(at)
    }

    async fn due(&self) -> Due {
        self.scheduler.due(&self.turn(), self.clock.now()).await.unwrap()
    }

    /// What is due is done.
    async fn called(&self) -> Option<Turned> {
        let Due::Now { tick } = self.due().await else { return None };
        Some(self.scheduler.handle(&mut Patient, &self.turn(), tick).await)
    }

    fn told(&self, turned: &Turned) -> String {
        let (environment, service) = (&self.site.environment.name, &self.site.service.name);
        let told = TurnTold::new(environment, service, &berlin(), &turned.handled, turned.forgotten.as_ref());
        serde_json::to_string(&told).unwrap()
    }

    /// System A's state file.
    async fn state_file(&self) -> String {
        let file = self.desk.read("/desk/state/web.json").await.unwrap();
        let file: StateFile = serde_json::from_slice(&file.content.expect("it is there")).unwrap();
        serde_json::to_string(&file).unwrap()
    }

    async fn line(&self) -> String {
        let line = self.scheduler.line(&self.turn(), self.clock.now()).await;
        serde_json::to_string(&line.told()).unwrap()
    }
}

/// Five in Berlin is four in UTC, and three from the 29th on.
#[tokio::test(start_paused = true)]
async fn a_week_of_a_schedule_that_is_called_by_cron() {
    let scene = Scene::new();
    let mut said = vec![format!("before: {}", scene.line().await)];
    let mut states = Vec::new();
    for (day, what) in (1..).zip([
        "the first version",
        "nothing new",
        "a version that does not become healthy",
        "the day after (the clocks have changed)",
        "the registry is down",
        "it is back, with a version that is good",
        "and a pre-release",
    ]) {
        scene.days.registry_is_down.store(what.contains("is down"), Ordering::SeqCst);
        match day {
            1 => scene.push("v1.0.0", '1', true).await,
            3 => scene.push("v1.1.0", '2', false).await,
            6 => scene.push("v1.2.0", '3', true).await,
            7 => scene.push("v2.0.0-rc.1", '4', true).await,
            _ => {}
        }
        let hour = if day < 4 { 4 } else { 3 };
        scene.at(day, hour * 60 - 1);
        assert!(scene.called().await.is_none(), "{what}: it is too early");
        scene.at(day, hour * 60);
        let turned = scene.called().await.unwrap_or_else(|| panic!("{what}: it is due"));
        said.push(format!("{what}: {}", scene.told(&turned)));
        states.push(format!("{what}: {}", scene.state_file().await));
        assert!(scene.called().await.is_none(), "{what}: one tick makes one run");
    }
    said.push(format!("after: {}", scene.line().await));
    scene.teller.finish().await;
    let told = scene.notifier.told();
    said.extend(told.iter().map(|message| {
        let release = message.release.as_ref().map(ToString::to_string);
        format!("told: {:?} {:?} {}", message.kind, release.or(message.asked.clone()), message.owner)
    }));
    insta::assert_snapshot!(said.join("\n"));
    insta::assert_snapshot!("state_files", states.join("\n"));
    assert_eq!(scene.runs.0.lock().unwrap().len(), 3, "as many runs as versions that were tried");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_off_makes_up_for_the_last_tick_within_the_bound() {
    let scene = Scene::new();
    scene.push("v1.0.0", '1', true).await;
    scene.at(1, 4 * 60);
    assert_eq!(scene.called().await.unwrap().handled.end.word(), ScheduledWord::Succeeded);
    // Two days and forty minutes later.
    scene.push("v1.1.0", '2', true).await;
    scene.at(3, 4 * 60 + 40);
    assert_eq!(scene.called().await.unwrap().handled.end.word(), ScheduledWord::Succeeded);
    assert_eq!(scene.runs.0.lock().unwrap().len(), 2);
    // Too late: told once, and the next comes as ever.
    scene.push("v1.2.0", '3', true).await;
    let now = scene.at(4, 3 * 60 + 61);
    let Due::Missed { tick } = scene.due().await else { panic!("{:?}", scene.due().await) };
    assert_eq!(berlin().rfc3339(tick), "2026-03-29T05:00:00+02:00");
    scene.scheduler.miss(&scene.turn(), tick, now).await.unwrap();
    assert_eq!(scene.due().await, Due::Later { next: Some(Timestamp(DAY_ONE + 4 * DAY + 3 * 60 * MINUTE)) });
    assert_eq!(scene.runs.0.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_that_cannot_be_remembered() {
    let scene = Scene::new();
    scene.push("v1.0.0", '1', true).await;
    scene.days.disk_is_full.store(true, Ordering::SeqCst);
    scene.at(1, 4 * 60);
    let turned = scene.called().await.unwrap();
    assert_eq!(turned.handled.end.word(), ScheduledWord::Failed, "{}", scene.told(&turned));
    assert!(scene.runs.0.lock().unwrap().is_empty());
    scene.teller.finish().await;
    assert_eq!(scene.notifier.told().len(), 1, "people are told");
    // The same tick, once there is space.
    scene.days.disk_is_full.store(false, Ordering::SeqCst);
    assert_eq!(scene.called().await.unwrap().handled.end.word(), ScheduledWord::Succeeded);
    let path = "/desk/.lockgate/schedule/prod.web.json";
    let kept = scene.scheduler.host.read_own(path).await.unwrap().content;
    assert!(kept.is_some_and(|content| content.len() < 2_000));
}
