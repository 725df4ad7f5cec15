//! A configuration, what is seen on its hosts, and what is found in their records.

use std::collections::BTreeMap;

use lockgate_model::{
    Action, BuiltinRouter, CommandGate, CommandHealth, ComposeLayout, ComposeRuntime, Delivery, Digest,
    DockerHealth, Environment, EnvironmentName, Failure, Gate, GateKind, GateTarget, Gates, Health, Hook,
    Hooks, HostId, HostObserved, HttpGate, HttpHealth, Intent, Millis, Observed, Plan, Project, ProjectName,
    Recorded, Rejection, Release, Router, RouterObserved, Runtime, Sampling, Service, ServiceName, Slot,
    SlotDelivery, SlotObserved, SlotState, Ssh, StatusRange, Strategy, Tag, Template, Timestamp, Verify,
    Wave, live_without_router,
};
use lockgate_plan::{Found, Here, Matched, match_run};

pub fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

pub fn release(number: u8) -> Release {
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(format!("v{number}")).unwrap(),
        digest: Digest::new(format!("sha256:{number:064x}")).unwrap(),
        image: Some("example.com/web".to_owned()),
        commit: None,
        provenance: None,
    }
}

pub fn deploy(number: u8) -> Intent {
    Intent::Deploy { release: release(number), gates: Gates::All, again: false }
}

pub struct Config {
    pub project: Project,
    pub service: Service,
    pub environment: Environment,
}

impl Config {
    /// A regression gate that runs a program, a smoke gate that asks by HTTP, one host a wave.
    pub fn new(hosts: &[&str]) -> Config {
        let health = Health::Http(HttpHealth {
            path: "/health".into(),
            timeout: Millis(1_000),
            passes: 2,
            status: StatusRange::OK,
            body: Some("ok".into()),
            headers: BTreeMap::new(),
        });
        let service = Service {
            name: ServiceName::new("web").unwrap(),
            image: Some("example.com/web".into()),
            command: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            port: Some(5000),
            health,
            critical_paths: vec!["/".into()],
            verify: Some(Verify {
                path: "/version".into(),
                body: Some(Template::new("{tag}").unwrap()),
                header: Some(("x-version".into(), Template::new("{tag}").unwrap())),
            }),
            urls: BTreeMap::new(),
            ship: lockgate_model::Ship::default(),
            hooks: lockgate_model::Hooks::default(),
        };
        let program = CommandGate {
            argv: ["pytest", "-q", "{tag}"].map(|arg| Template::new(arg).unwrap()).into(),
            timeout: Millis(60_000),
            pass: vec![0],
            not_yet: vec![75],
        };
        let http = HttpGate {
            target: GateTarget::Here,
            paths: Vec::new(),
            status: StatusRange::OK,
            body: Some("ok".into()),
            latency_p95: Some(Millis(200)),
            sampling: Sampling::Count { samples: 3, interval: Millis(5) },
            timeout: Millis(1_000),
        };
        let environment = Environment {
            name: EnvironmentName::new("prod").unwrap(),
            url: Some("https://prod.example.com".into()),
            from: None,
            before: vec![Gate { name: "regression".into(), kind: GateKind::Command(program) }],
            after: vec![Gate { name: "smoke".into(), kind: GateKind::Http(http) }],
            schedules: BTreeMap::new(),
            soaks: Vec::new(),
            delivery: Delivery::Slots(Box::new(delivery(hosts))),
        };
        let project = Project {
            name: ProjectName::new("shop").unwrap(),
            root: "/".into(),
            services: BTreeMap::new(),
            environments: vec![environment.clone()],
            notify: Vec::new(),
            registries: BTreeMap::new(),
            ssh: Ssh::default(),
            state: lockgate_model::StateLocation::of_folder("/".as_ref()),
            state_dir: None,
            serve: None,
        };
        Config { project, service, environment }
    }

    /// With a program to run before the switch, and one behind it.
    pub fn with_hooks(mut self) -> Config {
        let argv = ["./migrate", "{tag}"].map(|part| Template::new(part).unwrap()).to_vec();
        let before = Hook { argv, timeout: Millis(60_000), repeat: false, only_warns: false };
        let after = Hook { only_warns: true, ..before.clone() };
        self.service.hooks = Hooks { before_switch: Some(before), after_switch: Some(after) };
        self
    }

    /// In one place, behind the built-in router.
    pub fn recreate(hosts: &[&str]) -> Config {
        let mut config = Config::new(hosts);
        config.slots().strategy = Strategy::Recreate;
        config
    }

    /// Without a router there is nobody to ask through, and health is the HEALTHCHECK's.
    pub fn unrouted(mut self) -> Config {
        self.slots().router = Router::None;
        self.service.health = docker();
        self.environment.after = self.environment.before.clone();
        self.environment.after[0].name = "smoke".into();
        self
    }

    pub fn slots(&mut self) -> &mut SlotDelivery {
        let Delivery::Slots(slots) = &mut self.environment.delivery else { panic!("it is deployed to") };
        slots
    }

    pub fn plan(&self, intent: &Intent, seen: &Observed) -> Result<Plan, Failure> {
        lockgate_plan::plan(&self.project, &self.service, &self.environment, intent, seen)
    }

    /// Every named host holds its plan, and this machine's journal knows nothing of the run.
    pub fn matched(
        &self,
        held: &[(&str, &Plan)],
        seen: &Observed,
        settled: bool,
    ) -> Result<Matched, Failure> {
        let held = held.iter().map(|(name, plan)| (host(name), *plan)).collect();
        self.found(Found { held: &held, journaled: None, seen, settled })
    }

    pub fn found(&self, found: Found<'_>) -> Result<Matched, Failure> {
        let Config { project, service, environment } = self;
        match_run(Here { project, service, environment }, found)
    }
}

pub fn docker() -> Health {
    Health::Docker(DockerHealth { timeout: None, passes: 1 })
}

pub fn command() -> Health {
    let argv = ["./ready", "{tag}"].map(|arg| Template::new(arg).unwrap()).into();
    Health::Command(CommandHealth { argv, timeout: Millis(2_000), passes: 2 })
}

fn delivery(hosts: &[&str]) -> SlotDelivery {
    SlotDelivery {
        hosts: hosts.iter().map(|name| host(name)).collect(),
        strategy: Strategy::BlueGreen,
        runtime: Runtime::Compose(ComposeRuntime {
            layout: ComposeLayout::Folders(Template::new("/srv/{service}/{slot}").unwrap()),
            service: None,
            project: None,
            docker_host: None,
        }),
        router: Router::Builtin(BuiltinRouter::on("127.0.0.1:8080")),
        waves: vec![Wave::Hosts(1)],
        drain: Millis(2_000),
        keep_warm: Millis(0),
        stop_grace: Some(Millis(3_000)),
        keep_releases: 2,
        disk_free_mib: 0,
        setup: None,
    }
}

pub fn rejection(number: u8) -> Rejection {
    Rejection {
        release: release(number),
        rejected_at: Timestamp(9),
        by: "kim@desk".into(),
        why: "gate failed: smoke".into(),
    }
}

pub fn holding(release: Option<Release>, state: SlotState) -> SlotObserved {
    SlotObserved { release, state, started_at: None, restarts: 0, endpoint: None, replicas: Vec::new() }
}

/// `number` is live in blue, and v0 was before, in green.
pub fn live(number: u8) -> HostObserved {
    HostObserved {
        own_environment: None,
        unhealthy: None,
        slots: BTreeMap::from([
            (Slot::Blue, holding(Some(release(number)), SlotState::Running)),
            (Slot::Green, holding(Some(release(0)), SlotState::Stopped)),
        ]),
        router: RouterObserved {
            target: Some(Slot::Blue),
            dial: Some("10.0.0.2:80".into()),
            ..RouterObserved::default()
        },
        recorded: Recorded { active: Some(Slot::Blue), previous: Some(Slot::Green) },
        releases: vec![release(number).into(), release(0).into()],
        rejected: Vec::new(),
        conflicts: Vec::new(),
    }
}

/// The same in the one slot that there is.
pub fn live_in_main(number: u8) -> HostObserved {
    let mut seen = live(number);
    seen.slots = BTreeMap::from([(Slot::Main, holding(Some(release(number)), SlotState::Running))]);
    seen.router.target = Some(Slot::Main);
    seen.recorded = Recorded { active: Some(Slot::Main), previous: None };
    seen
}

/// As a host is seen where there is no router.
pub fn unrouted(mut seen: HostObserved) -> HostObserved {
    let runs = seen.slots.iter().filter(|(_, slot)| slot.state == SlotState::Running);
    let running = runs.map(|(slot, seen)| (*slot, seen.started_at));
    let target = live_without_router(seen.recorded.active, running);
    seen.router = RouterObserved { target, absent: true, ..RouterObserved::default() };
    seen
}

/// Nothing was deployed; the router dials something that is no slot.
pub fn foreign() -> HostObserved {
    HostObserved {
        router: RouterObserved { dial: Some("10.0.0.9:80".into()), ..RouterObserved::default() },
        ..HostObserved::default()
    }
}

pub fn on(hosts: &[(&str, HostObserved)]) -> Observed {
    Observed { hosts: hosts.iter().map(|(name, seen)| (host(name), seen.clone())).collect() }
}

/// The undos of a host, in the order in which they are performed.
pub fn undos(plan: &Plan, of: &HostId) -> Vec<Action> {
    let mut steps: Vec<_> =
        plan.steps().filter(|(_, on, _)| *on == Some(of)).map(|(_, _, step)| step).collect();
    steps.reverse();
    steps.into_iter().flat_map(|step| step.undo.clone()).collect()
}

/// What is settled only: everything from the commit on, on this host.
pub fn tidying(plan: &Plan, of: &HostId) -> Vec<Action> {
    let committed = |phase: usize| plan.phases[phase].committed;
    let steps = plan.steps().filter(|(phase, on, _)| *on == Some(of) && committed(*phase));
    steps.map(|(_, _, step)| step.action.clone()).collect()
}

/// The plan that a run goes back by.
#[track_caller]
pub fn differs(matched: Result<Matched, Failure>) -> (Plan, Vec<String>) {
    match matched.unwrap() {
        Matched::Differs { plan, differences } => {
            assert!(!differences.is_empty());
            (*plan, differences.iter().map(ToString::to_string).collect())
        }
        Matched::Same(_) => panic!("it was taken for this configuration's plan"),
    }
}
