use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_model::{
    Digest, EnvironmentName, Evidence, FailureKind, HostId, Millis, Release, Repository, ServiceName, Slot,
    Tag,
};

use crate::conformance::gate::{GateFixture, Outside};
use crate::conformance::registry::RegistryFixture;
use crate::conformance::router::{HeldRequest, RouterFixture};
use crate::conformance::runtime::RuntimeFixture;
use crate::fake::{
    Artifact, Behaviour, Call, Catalogue, FakeGate, FakeHost, FakePorts, FakeRegistry, FakeRouter,
    FakeRuntime, Fate, Faults, Machine, NoFaults, SharedMachine, What, shared,
};
use crate::{
    Answer, Command, Effect, Endpoint, Gate, GateAnswer, GateSubject, Host, Line, Output, Pipe, PortError,
    Registry, Request, Router, Runtime, Swapped, Upload, Upstream, conformance, http,
};

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

fn catalogue() -> Catalogue {
    let artifact = |(index, name): (usize, &str)| {
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: tag(name),
            digest: Digest::new(format!("sha256:{:064x}", index + 1)).unwrap(),
            image: Some("example.com/web".to_owned()),
            commit: None,
            provenance: None,
        };
        (tag(name), Artifact { release, behaviour: Behaviour::default() })
    };
    ["v1", "v2"].into_iter().enumerate().map(artifact).collect()
}

fn machine() -> SharedMachine {
    shared(Machine::new(HostId::new("web1").unwrap(), Arc::new(catalogue())))
}

struct Fixture {
    machine: SharedMachine,
    host: FakeHost,
    runtime: FakeRuntime,
    router: FakeRouter,
}

fn fixture() -> Fixture {
    let machine = machine();
    let ports = FakePorts::new(machine.clone(), Arc::new(NoFaults));
    Fixture {
        machine,
        host: FakeHost(ports.clone()),
        runtime: FakeRuntime(ports.clone()),
        router: FakeRouter(ports),
    }
}

#[async_trait]
impl RuntimeFixture for Fixture {
    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }

    async fn tags(&self) -> (Tag, Tag) {
        (tag("v1"), tag("v2"))
    }

    fn missing_tag(&self) -> Tag {
        tag("nowhere")
    }

    async fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Answer, PortError> {
        http::send(&self.host, endpoint, Request::get(path, Millis::from_secs(1))).await
    }
}

struct Held(SharedMachine, u64);

#[async_trait]
impl HeldRequest for Held {
    async fn finish(self: Box<Self>) -> Result<String, String> {
        let slot = self.0.lock().unwrap().answer_request(self.1);
        slot.map(|slot| slot.to_string()).ok_or_else(|| "the request was cut off".to_owned())
    }
}

#[async_trait]
impl RouterFixture for Fixture {
    fn router(&self) -> &dyn Router {
        &self.router
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        let machine = self.machine.lock().unwrap();
        let release = machine.slots[&slot].release.clone();
        Upstream { slot, release, endpoint: Endpoint::Tcp(Machine::address(slot)), replicas: Vec::new() }
    }

    async fn hold_request(&self) -> Box<dyn HeldRequest> {
        let id = self.machine.lock().unwrap().request(None).expect("an app takes the request");
        Box::new(Held(self.machine.clone(), id))
    }
}

#[tokio::test]
async fn the_fake_runtime_conforms() {
    conformance::runtime::suite(&fixture()).await;
}

#[tokio::test]
async fn the_fake_router_conforms() {
    let fixture = fixture();
    {
        let mut machine = fixture.machine.lock().unwrap();
        machine.place(Slot::Blue, &tag("v1"), true);
        machine.place(Slot::Green, &tag("v2"), true);
    }
    conformance::router::suite(&fixture).await;
}

/// The host suite looks at processes of a real machine; of what it asks of files, this is what a fake can answer.
#[tokio::test]
async fn the_fake_host_swaps_only_what_is_expected() {
    let Fixture { host, .. } = fixture();
    assert_eq!(
        host.swap("/f", Some(b""), b"1").await.unwrap(),
        Swapped::No,
        "an empty file is not a missing one"
    );
    assert_eq!(host.swap("/f", None, b"1").await.unwrap(), Swapped::Yes);
    assert_eq!(host.swap("/f", None, b"2").await.unwrap(), Swapped::No);
    assert_eq!(host.swap("/f", Some(b"1"), b"2").await.unwrap(), Swapped::Yes);
    conformance::host::increment(&host, "/counter").await;
    conformance::host::increment(&host, "/counter").await;
    assert_eq!(host.read("/counter").await.unwrap().content.as_deref(), Some(b"2".as_slice()));
    host.remove("/f").await.unwrap();
    assert_eq!(host.read("/f").await.unwrap().content, None);
}

#[tokio::test]
async fn the_fake_host_takes_a_stream_whole_or_not_at_all_and_tells_lines() {
    let Fixture { host, machine, .. } = fixture();
    let content = vec![7; 5 * 1024 * 1024];
    let uploaded = host.upload(Upload::new("/f", 0o644, &mut content.as_slice())).await.unwrap();
    assert_eq!(uploaded.size, content.len() as u64);
    let short = host.upload(Upload::new("/f", 0o644, &mut b"new".as_slice()).size(4)).await.unwrap_err();
    assert_eq!((short.kind, short.effect()), (FailureKind::Refused, Effect::None), "{short}");
    machine.lock().unwrap().disk_free_mib = 0;
    let full = host.upload(Upload::new("/f", 0o644, &mut b"new".as_slice())).await.unwrap_err();
    assert_eq!((full.kind, full.effect()), (FailureKind::DiskFull, Effect::None), "{full}");
    assert_eq!(machine.lock().unwrap().files["/f"], content, "the old file is there");

    let output = Output { code: 3, stdout: b"one\ntwo".to_vec(), stderr: b"three\n".to_vec() };
    machine.lock().unwrap().programs.insert("talk".to_owned(), output);
    let mut said = Vec::new();
    let mut sink = |line: Line| said.push((line.pipe, line.text));
    let ended = host.exec_lines(&Command::new(["talk", "x"]), &mut sink).await.unwrap();
    assert_eq!((ended.code, ended.lines), (3, 3));
    said.sort_by_key(|(pipe, _)| *pipe == Pipe::Stderr);
    let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
}

/// Gives its fates in turn, then lets everything happen.
struct Scripted(Mutex<Vec<Fate>>);

#[async_trait]
impl Faults for Scripted {
    async fn before(&self, call: &Call) -> Fate {
        if call.what != What::Write {
            return Fate::Happens;
        }
        self.0.lock().unwrap().pop().unwrap_or(Fate::Happens)
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}

#[tokio::test(start_paused = true)]
async fn a_call_fails_loses_its_answer_or_happens_late_as_nature_says() {
    let error = PortError::timed_out("as told");
    let fates = vec![
        Fate::Late(Millis(500), error.clone()),
        Fate::AnswerLost(error.clone()),
        Fate::Fails(error.clone()),
    ];
    let host = FakeHost(FakePorts::new(machine(), Arc::new(Scripted(Mutex::new(fates)))));
    let seen = async || host.read("/f").await.unwrap().content;
    assert_eq!(host.write("/f", b"1", 0o644).await, Err(error.clone()));
    assert_eq!(seen().await, None, "it failed before it happened");
    assert_eq!(host.write("/f", b"2", 0o644).await, Err(error.clone()));
    assert_eq!(seen().await.as_deref(), Some(b"2".as_slice()), "it happened, whatever its caller heard");
    assert_eq!(host.write("/f", b"3", 0o644).await, Err(error));
    assert_eq!(seen().await.as_deref(), Some(b"2".as_slice()), "not yet");
    tokio::time::sleep(Millis(501).duration()).await;
    assert_eq!(seen().await.as_deref(), Some(b"3".as_slice()), "late");
}

struct RegistryHere(FakeRegistry, AtomicU32);

#[async_trait]
impl RegistryFixture for RegistryHere {
    fn registry(&self) -> &dyn Registry {
        &self.0
    }

    fn repository(&self) -> Repository {
        Repository::new(format!("registry.test/web{}", self.1.fetch_add(1, Ordering::Relaxed))).unwrap()
    }

    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Digest {
        self.0.push_blob(repository, bytes).unwrap()
    }
}

#[tokio::test]
async fn the_fake_registry_passes_the_suite() {
    conformance::registry::suite(&RegistryHere(FakeRegistry::new(Arc::new(NoFaults)), AtomicU32::new(0)))
        .await;
}

#[tokio::test]
async fn the_fake_store_passes_the_suite() {
    let store = crate::fake::FakeStore::default();
    conformance::store::suite(&store, &store).await;
}

/// The world of a fake gate.
struct Around(Outside);

#[async_trait]
impl Faults for Around {
    async fn before(&self, _: &Call) -> Fate {
        match self.0 {
            Outside::Down => Fate::Fails(PortError::unreachable("nobody listens")),
            Outside::Silent | Outside::Stalls => std::future::pending().await,
            _ => Fate::Happens,
        }
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}

struct Gated;

#[async_trait]
impl GateFixture for Gated {
    async fn gate(&self, outside: Outside) -> (Arc<dyn Gate>, GateSubject) {
        let seen = |seen: &str, ok| {
            Ok(GateAnswer::judge(vec![Evidence {
                check: "a look".into(),
                wanted: "200".into(),
                seen: seen.into(),
                ok,
            }]))
        };
        let answer = move |_: &GateSubject| match outside {
            Outside::Well => seen("200", true),
            Outside::Unauthorized => seen("401", false),
            Outside::RateLimited => seen("429", false),
            _ => Err(PortError::other("half an answer")),
        };
        let subject = GateSubject {
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            release: None,
            routers: BTreeMap::new(),
        };
        let gate = FakeGate::new(Arc::new(Around(outside)), Millis::from_secs(1), answer);
        (Arc::new(gate), subject)
    }
}

#[tokio::test(start_paused = true)]
async fn the_fake_gate_conforms() {
    conformance::gate::suite(&Gated).await;
}
