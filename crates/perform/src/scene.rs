//! What this crate's tests play on: a host in memory, a router that is odd in one respect, and a runtime with one slot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use lockgate_model::{
    Digest, EnvironmentName, Health, HostId, HttpHealth, Mask, Millis, OwnEnd, Probe, ProjectName, Release,
    ServiceName, Slot, SlotState, Split, StatusRange, Tag,
};
use lockgate_ports::fake::{Artifact, Behaviour, FakePorts, Machine, NoFaults, SharedMachine, shared};
use lockgate_ports::{
    Answer, Check, Diagnosis, Gates, HostPorts, InFlight, PortError, Replica, Request, Route, RouteVersion,
    Router, RouterAnswer, Runtime, RuntimeSlot, Tried, Upstream,
};

use crate::conductor::{Conductor, Subject};
use crate::grace::KILLED;

pub(crate) fn releases(tags: &[&str]) -> Arc<BTreeMap<Tag, Artifact>> {
    let artifact = |(index, tag): (usize, &&str)| {
        let tag = Tag::new(*tag).unwrap();
        let digest = Digest::new(format!("sha256:{}", (index + 1).to_string().repeat(64))).unwrap();
        let service = ServiceName::new("web").unwrap();
        let release =
            Release { service, tag: tag.clone(), digest, image: None, commit: None, provenance: None };
        (tag, Artifact { release, behaviour: Behaviour::default() })
    };
    Arc::new(tags.iter().enumerate().map(artifact).collect())
}

/// `v1` or `v2`.
pub(crate) fn release(tag: &str) -> Release {
    releases(&["v1", "v2"])[&Tag::new(tag).unwrap()].release.clone()
}

/// A machine that has `tag` running in `slot`, with the traffic.
pub(crate) fn serving(slot: Slot, tag: &str) -> (SharedMachine, HostPorts) {
    let machine = shared(Machine::new(HostId::new("web1").unwrap(), releases(&["v1", "v2"])));
    {
        let mut machine = machine.lock().unwrap();
        machine.place(slot, &Tag::new(tag).unwrap(), true);
        machine.point_at(Some(Machine::address(slot)), None);
    }
    let ports = FakePorts::new(machine.clone(), Arc::new(NoFaults)).host_ports("/srv/web");
    (machine, ports)
}

/// After a switch: `v1` runs in blue, `v2` in green with the traffic.
pub(crate) fn switched() -> (SharedMachine, HostPorts) {
    let (machine, ports) = serving(Slot::Green, "v2");
    machine.lock().unwrap().place(Slot::Blue, &Tag::new("v1").unwrap(), true);
    (machine, ports)
}

pub(crate) fn probe() -> Probe {
    let health = Health::Http(HttpHealth {
        path: "/health".into(),
        timeout: Millis::from_secs(10),
        passes: 1,
        status: StatusRange::OK,
        body: None,
        headers: BTreeMap::new(),
    });
    Probe { health, port: None, origin: None }
}

/// As [`probe`], for whoever borrows it.
pub(crate) fn probed() -> &'static Probe {
    static PROBE: LazyLock<Probe> = LazyLock::new(probe);
    &PROBE
}

/// Who performs on these ports alone.
pub(crate) fn conductor(ports: &HostPorts) -> Conductor {
    let subject = Subject {
        project: ProjectName::new("shop").unwrap(),
        service: service().clone(),
        environment: EnvironmentName::new("prod").unwrap(),
    };
    Conductor {
        subject,
        hosts: BTreeMap::from([(ports.id.clone(), ports.clone())]),
        gates: Gates::new(|_| unreachable!("no gate is asked")),
        probe: probe(),
        mask: Mask::default(),
        told: Mask::default(),
    }
}

pub(crate) fn service() -> &'static ServiceName {
    static SERVICE: LazyLock<ServiceName> = LazyLock::new(|| ServiceName::new("web").unwrap());
    &SERVICE
}

pub(crate) fn answer(status: u16, body: &str, slot: Option<Slot>) -> Result<RouterAnswer, PortError> {
    let answer = Answer { status, body: body.into(), ..Answer::default() };
    Ok(RouterAnswer { answer, slot, release: None })
}

/// A runtime with something running in blue, whatever is done; only how it is stopped is remembered.
#[derive(Default)]
pub(crate) struct OneSlot {
    pub release: Option<Release>,
    pub replicas: Vec<Replica>,
    /// What its definition wants.
    pub stop_grace: Option<Millis>,
    /// How long the app takes to end, if it is let.
    pub ends_after: Millis,
    /// The grace that it was stopped with.
    pub given: Mutex<Option<Millis>>,
}

#[async_trait]
impl Runtime for OneSlot {
    fn name(&self) -> &'static str {
        "one slot"
    }

    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        Err(PortError::not_found(tag.to_string()))
    }

    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        Ok(vec![RuntimeSlot {
            slot: Slot::Blue,
            release: self.release.clone(),
            state: SlotState::Running,
            started_at: None,
            restarts: 0,
            endpoint: self.replicas.iter().find_map(|one| one.endpoint.clone()),
            replicas: self.replicas.clone(),
            stop_grace: self.stop_grace,
        }])
    }

    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn fetch(&self, _: &Release) -> Result<(), PortError> {
        Ok(())
    }

    async fn start(&self, _: Slot, _: &Release) -> Result<(), PortError> {
        Ok(())
    }

    async fn stop(&self, _: Slot, grace: Millis) -> Result<(), PortError> {
        *self.given.lock().unwrap() = Some(grace);
        tokio::time::sleep(grace.min(self.ends_after).duration()).await;
        Ok(())
    }

    async fn logs(&self, _: Slot, _: u32) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn diagnose(&self, _: Slot, _: Option<u16>) -> Diagnosis {
        Diagnosis::default()
    }

    async fn end_of(&self, _: Slot) -> Result<Option<OwnEnd>, PortError> {
        let end = |given| {
            let exit_code = if given < self.ends_after { KILLED } else { 0 };
            OwnEnd { exit_code, ended_at: None, out_of_memory: false }
        };
        Ok(self.given.lock().unwrap().map(end))
    }

    async fn prune(&self, _: &[Release]) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}

type Asking = Box<dyn Fn() -> Result<RouterAnswer, PortError> + Send + Sync>;
type Trying = Box<dyn Fn() -> Tried + Send + Sync>;
type Routing = Box<dyn Fn(u32) -> Result<(), PortError> + Send + Sync>;

/// Another router in all but this.
pub(crate) struct Odd {
    pub of: Arc<dyn Router>,
    /// What is answered through it; `None`: as by the other.
    pub asked: Option<Asking>,
    /// What comes of trying a slot; `None`: as by the other.
    pub tried: Option<Trying>,
    /// Whether its route can be read, by how often it was revived.
    pub routed: Option<Routing>,
    pub revived: Arc<AtomicU32>,
    /// Its switch is `active_color`, and whether it is known to be in force.
    pub by_file: Option<Result<(), PortError>>,
}

impl Odd {
    pub fn new(of: Arc<dyn Router>) -> Self {
        Self { of, asked: None, tried: None, routed: None, revived: Arc::default(), by_file: None }
    }
}

#[async_trait]
impl Router for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn dials_slots(&self) -> bool {
        self.of.dials_slots()
    }

    async fn route(&self) -> Result<Route, PortError> {
        if let Some(routed) = &self.routed {
            routed(self.revived.load(Ordering::Relaxed))?;
        }
        self.of.route().await
    }

    async fn revive(&self) -> Result<(), PortError> {
        self.revived.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        self.of.set(to, expected).await
    }

    async fn try_out(&self, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
        match &self.tried {
            Some(tried) => Ok(tried()),
            None => self.of.try_out(to, request).await,
        }
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        self.of.withdraw(dial, expected).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        self.of.in_flight(slot).await
    }

    async fn goes_by_active_color(&self) -> Result<bool, PortError> {
        Ok(self.by_file.is_some())
    }

    async fn in_force(&self, _: Slot) -> Result<(), PortError> {
        self.by_file.clone().unwrap_or(Ok(()))
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        match &self.asked {
            Some(asked) => asked(),
            None => self.of.ask(request).await,
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.of.check().await
    }
}
