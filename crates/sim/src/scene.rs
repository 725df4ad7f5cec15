//! What is there before the story begins: hosts, releases, configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use lockgate_model::{
    BuiltinRouter, CommandGate, ComposeLayout, ComposeRuntime, Delivery, Digest, Environment,
    EnvironmentName, Gate, GateKind, GateTarget, Health, Hook, Hooks, HostId, HttpGate, HttpHealth, Millis,
    Project, ProjectName, Release, Router, Runtime, Sampling, Service, ServiceName, Slot, SlotDelivery, Ssh,
    StatusRange, Strategy, Tag, Template, Wave,
};
use lockgate_ports::fake::{Artifact, Behaviour, Catalogue, Machine, Program, SharedMachine, shared};

/// The service's home on every host.
pub const HOME: &str = "/srv/web";
/// How long a lease lives in the model.
pub const LEASE_SECONDS: u64 = 15;

/// What the other slot holds beside the live v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// v0, stopped.
    Stopped,
    /// v0, still running and with requests that have not ended.
    Warm,
}

/// How a host begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// Never deployed to.
    Fresh,
    /// The router dials something that is no slot.
    Foreign,
    /// v1 in blue.
    Live(Beside),
    /// v2 in blue already.
    Ahead,
    /// v1 in blue, and v2 in green, which has the traffic; the slot that is recorded as active.
    Switched(Slot),
}

#[derive(Debug, Clone)]
pub struct Scene {
    pub strategy: Strategy,
    /// One per host.
    pub hosts: Vec<Initial>,
    /// Of v2; all others are good.
    pub v2: Behaviour,
    /// Whether the smoke gate fails v2, and the regression gate.
    pub smoke_fails: bool,
    pub regression_fails: bool,
    pub waves: Vec<Wave>,
    pub keep_warm: Millis,
    pub drain: Millis,
    pub health_timeout: Millis,
    pub router_identifies: bool,
    /// Lease records that are there already, one per host; empty for none.
    pub records: Vec<Vec<u8>>,
    /// Programs of the service that run once in a deployment.
    pub hooks: Hooks,
    /// How they all behave.
    pub program: Program,
    /// No lease expires under a holder that lives: nothing keeps it from its hosts.
    pub leases_watched: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            strategy: Strategy::BlueGreen,
            hosts: vec![Initial::Live(Beside::Stopped)],
            v2: Behaviour { healthy_after: Some(Millis(40)), dies_after: None },
            smoke_fails: false,
            regression_fails: false,
            waves: vec![Wave::Hosts(1), Wave::Percent(25), Wave::Rest],
            keep_warm: Millis(0),
            drain: Millis(2_000),
            health_timeout: Millis(1_500),
            router_identifies: true,
            records: Vec::new(),
            hooks: Hooks::default(),
            program: Program::default(),
            leases_watched: false,
        }
    }
}

#[must_use]
pub fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap_or_else(|error| panic!("{error}"))
}

#[must_use]
pub fn release(number: u8) -> Release {
    Release {
        service: service_name(),
        tag: tag(&format!("v{number}")),
        digest: Digest::new(format!("sha256:{:064x}", u32::from(number) + 0xabc0))
            .unwrap_or_else(|error| panic!("{error}")),
        image: Some("example.com/web".to_owned()),
        commit: None,
        provenance: None,
    }
}

pub(crate) fn service_name() -> ServiceName {
    ServiceName::new("web").unwrap_or_else(|error| panic!("{error}"))
}

impl Scene {
    #[must_use]
    pub fn host_ids(&self) -> Vec<HostId> {
        let name = |index| HostId::new(format!("web{index}")).unwrap_or_else(|error| panic!("{error}"));
        (1..=self.hosts.len()).map(name).collect()
    }

    fn catalogue(&self) -> Catalogue {
        let good = Behaviour { healthy_after: Some(Millis(25)), dies_after: None };
        (0..=3)
            .map(|number| {
                let behaviour = if number == 2 { self.v2 } else { good };
                let release = release(number);
                (release.tag.clone(), Artifact { release, behaviour })
            })
            .collect()
    }

    /// All hosts begin with the same release.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        self.hosts
            .windows(2)
            .all(|two| matches!((two[0], two[1]), (Initial::Live(_), Initial::Live(_))) || two[0] == two[1])
    }

    /// The hosts as they are before the story. Must be called within a tokio runtime.
    #[must_use]
    pub fn machines(&self) -> BTreeMap<HostId, SharedMachine> {
        let catalogue = Arc::new(self.catalogue());
        let build = |(id, initial): (HostId, &Initial)| {
            let mut machine = Machine::new(id.clone(), catalogue.clone());
            machine.router_identifies = self.router_identifies;
            machine.one_offs.program = self.program.clone();
            furnish(&mut machine, *initial, self.strategy);
            (id, shared(machine))
        };
        let machines: BTreeMap<_, _> = self.host_ids().into_iter().zip(&self.hosts).map(build).collect();
        for (machine, record) in machines.values().zip(&self.records) {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.files.insert(format!("{HOME}/.lockgate/lease.json"), record.clone());
        }
        machines
    }

    #[must_use]
    pub fn project(&self) -> (Arc<Project>, Service, Environment) {
        let service = Service {
            name: service_name(),
            image: Some("example.com/web".to_owned()),
            command: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            port: Some(5000),
            health: Health::Http(HttpHealth {
                path: "/health".to_owned(),
                timeout: self.health_timeout,
                passes: 2,
                status: StatusRange::OK,
                body: None,
                headers: BTreeMap::new(),
            }),
            critical_paths: Vec::new(),
            verify: None,
            urls: BTreeMap::new(),
            ship: lockgate_model::Ship::default(),
            hooks: self.hooks.clone(),
        };
        let environment = Environment {
            name: EnvironmentName::new("prod").unwrap_or_else(|error| panic!("{error}")),
            url: None,
            from: None,
            before: vec![program("regression")],
            after: vec![through_the_router(), program("smoke")],
            schedules: BTreeMap::new(),
            soaks: Vec::new(),
            delivery: Delivery::Slots(Box::new(self.delivery())),
        };
        let project = Project {
            name: ProjectName::new("sim").unwrap_or_else(|error| panic!("{error}")),
            root: PathBuf::from("/"),
            services: BTreeMap::from([(service.name.clone(), service.clone())]),
            environments: vec![environment.clone()],
            notify: Vec::new(),
            registries: BTreeMap::new(),
            ssh: Ssh::default(),
            state: lockgate_model::StateLocation::of_folder("/".as_ref()),
            state_dir: None,
            serve: None,
        };
        (Arc::new(project), service, environment)
    }

    /// Runtime and router are named for the plan alone: the machines of this world play their parts.
    fn delivery(&self) -> SlotDelivery {
        let dir = Template::new("/srv/{service}/{slot}").unwrap_or_else(|error| panic!("{error}"));
        SlotDelivery {
            hosts: self.host_ids(),
            strategy: self.strategy,
            runtime: Runtime::Compose(ComposeRuntime {
                layout: ComposeLayout::Folders(dir),
                service: None,
                project: None,
                docker_host: None,
            }),
            router: Router::Builtin(BuiltinRouter::on("127.0.0.1:8080")),
            waves: self.waves.clone(),
            drain: self.drain,
            keep_warm: self.keep_warm,
            stop_grace: Some(Millis(500)),
            keep_releases: 2,
            disk_free_mib: 100,
            setup: None,
        }
    }

    /// What a gate's program exits with.
    #[must_use]
    pub fn exit_code(&self, argv: &[String]) -> i32 {
        let (program, tag) = (argv.first().map(String::as_str), argv.get(1).map(String::as_str));
        let fails = match program {
            Some("smoke") => self.smoke_fails,
            Some("regression") => self.regression_fails,
            _ => true,
        };
        i32::from(fails && tag == Some("v2"))
    }
}

/// A migration.
#[must_use]
pub fn hook(repeat: bool) -> Hook {
    let argv = vec![Template::new("migrate").unwrap_or_else(|error| panic!("{error}"))];
    Hook { argv, timeout: Millis::from_secs(30), repeat, only_warns: false }
}

fn program(name: &str) -> Gate {
    let template = |text: &str| Template::new(text).unwrap_or_else(|error| panic!("{error}"));
    Gate {
        name: name.to_owned(),
        kind: GateKind::Command(CommandGate {
            argv: vec![template(name), template("{tag}")],
            timeout: Millis::from_secs(5),
            pass: vec![0],
            not_yet: vec![75],
        }),
    }
}

fn through_the_router() -> Gate {
    Gate {
        name: "answers".to_owned(),
        kind: GateKind::Http(HttpGate {
            target: GateTarget::Here,
            paths: Vec::new(),
            status: StatusRange::OK,
            body: None,
            latency_p95: None,
            sampling: Sampling::Count { samples: 2, interval: Millis(50) },
            timeout: Millis::from_secs(1),
        }),
    }
}

fn furnish(machine: &mut Machine, initial: Initial, strategy: Strategy) {
    let slot = strategy.slots()[0];
    let live = match initial {
        Initial::Fresh => return,
        Initial::Foreign => {
            machine.point_at(Some("127.0.0.1:9999".to_owned()), None);
            return;
        }
        Initial::Live(beside) => {
            match beside {
                // Nothing can be beside the only slot.
                _ if strategy == Strategy::Recreate => {}
                Beside::Nothing => {}
                Beside::Stopped => machine.place(Slot::Green, &tag("v0"), false),
                Beside::Warm => {
                    machine.place(Slot::Green, &tag("v0"), true);
                    warm_up(machine, Slot::Green);
                }
            }
            release(1)
        }
        Initial::Ahead => release(2),
        Initial::Switched(_) => release(1),
    };
    machine.place(slot, &live.tag, true);
    // It has been running for long, whatever its behaviour.
    if let Some(app) = machine.slots.get_mut(&slot) {
        app.behaviour = Behaviour::default();
    }
    machine.point_at(Some(Machine::address(slot)), Some(live.digest.clone()));
    machine.files.insert(format!("{HOME}/active_color"), format!("{slot}\n").into_bytes());
    if strategy == Strategy::BlueGreen {
        machine.files.insert(format!("{HOME}/previous_color"), b"green\n".to_vec());
    }
    let list = serde_json::to_vec(&[live, release(0)]).unwrap_or_else(|error| panic!("{error}"));
    machine.files.insert(format!("{HOME}/.lockgate/releases.json"), list);
    if let Initial::Switched(active) = initial {
        let to = release(2);
        machine.place(Slot::Green, &to.tag, true);
        machine.point_at(Some(Machine::address(Slot::Green)), Some(to.digest));
        machine.files.insert(format!("{HOME}/active_color"), format!("{active}\n").into_bytes());
        let previous = if active == Slot::Green { Slot::Blue } else { Slot::Green };
        machine.files.insert(format!("{HOME}/previous_color"), format!("{previous}\n").into_bytes());
    }
}

/// A slot that had the traffic until just now and is still answering a request.
fn warm_up(machine: &mut Machine, slot: Slot) {
    machine.point_at(Some(Machine::address(slot)), None);
    if let Some(app) = machine.slots.get_mut(&slot) {
        app.behaviour = Behaviour::default();
        let until = tokio::time::Instant::now() + Millis(1_200).duration();
        app.requests.insert(u64::MAX, Some(until));
    }
}
