//! One caller's ports to a [`Machine`]; each call goes by way of [`Faults`].

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{HoldBounds, HostId, Millis, Release, Slot, Split, Tag};
use tokio::time::Instant;

use crate::fake::stream::FakeStream;
use crate::fake::{Call, Fate, Faults, Machine, SharedMachine, What};
use crate::{
    Check, Command, Diagnosis, Ended, Endpoint, Host, HostFile, HostPorts, HostStream, InFlight, LineSink,
    Output, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Runtime, RuntimeSlot, Swapped,
    Upload, Uploaded, Upstream, lines, only_upstream,
};

/// Between looks whether a request that waits at the router is let go.
const HELD_LOOK_MILLIS: u64 = 10;

/// What the three ports of a host have in common.
#[derive(Clone)]
pub struct FakePorts {
    id: HostId,
    machine: SharedMachine,
    faults: Arc<dyn Faults>,
}

impl FakePorts {
    /// Ports to `machine`, each call by way of `faults`.
    #[must_use]
    pub fn new(machine: SharedMachine, faults: Arc<dyn Faults>) -> Self {
        let id = machine.lock().unwrap_or_else(PoisonError::into_inner).id.clone();
        Self { id, machine, faults }
    }

    /// The ports as the rest of Lockgate wants them, with the service's home at `home`.
    #[must_use]
    pub fn host_ports(&self, home: impl Into<String>) -> HostPorts {
        HostPorts {
            id: self.id.clone(),
            host: Arc::new(FakeHost(self.clone())),
            runtime: Arc::new(FakeRuntime(self.clone())),
            router: Arc::new(FakeRouter(self.clone())),
            home: home.into(),
            mask: lockgate_model::Mask::default(),
        }
    }

    fn is_held(&self) -> bool {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).is_held()
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        what: What,
        detail: impl Into<String>,
        act: impl FnOnce(&mut Machine) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let mut call = Call { host: Some(self.id.clone()), what, detail: detail.into(), late: false };
        match self.faults.before(&call).await {
            Fate::Happens => {
                let result = self.act(&call, act);
                self.faults.after(&call).await;
                result.unwrap_or_else(|| Err(PortError::other("kept from happening")))
            }
            Fate::Fails(error) => Err(error),
            Fate::AnswerLost(error) => {
                // Whatever came of it, nobody hears.
                drop(self.act(&call, act));
                self.faults.after(&call).await;
                Err(error)
            }
            Fate::Late(after, error) => {
                call.late = true;
                let ports = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after.duration()).await;
                    drop(ports.act(&call, act));
                });
                Err(error)
            }
        }
    }

    fn act<T>(
        &self,
        call: &Call,
        act: impl FnOnce(&mut Machine) -> Result<T, PortError>,
    ) -> Option<Result<T, PortError>> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.faults.admits(call, &mut machine) {
            return None;
        }
        let result = act(&mut machine);
        self.faults.happened(call, &mut machine);
        Some(result)
    }
}

/// A host in memory. Only programs that its machine was given exist.
pub struct FakeHost(pub FakePorts);

#[async_trait]
impl Host for FakeHost {
    fn id(&self) -> &HostId {
        &self.0.id
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        let argv = command.argv.clone();
        self.0.call(What::Exec, argv.join(" "), move |machine| machine.exec(&argv)).await
    }

    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        let output = self.exec(command).await?;
        Ok(lines::replay(&output.stdout, &output.stderr, output.code, sink).await?)
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        let owned = path.to_owned();
        self.0.call(What::Read, path, move |machine| Ok(machine.read(&owned))).await
    }

    async fn write(&self, path: &str, content: &[u8], _mode: u32) -> Result<(), PortError> {
        let (owned, content) = (path.to_owned(), content.to_vec());
        self.0.call(What::Write, path, move |machine| machine.write(&owned, &content)).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.read(path).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.write(path, content, mode).await
    }

    /// A write like any other, once all has come.
    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        let path = upload.path.clone();
        let mut pieces = upload.pieces();
        let (mut whole, mut piece) = (Vec::new(), Vec::new());
        loop {
            pieces.next(&mut piece).await?;
            if piece.is_empty() {
                break;
            }
            whole.extend_from_slice(&piece);
        }
        let given = pieces.given()?;
        let owned = path.clone();
        self.0.call(What::Write, path, move |machine| machine.put(&owned, whole)).await?;
        Ok(given)
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        let begin = format!("{folder}/{prefix}");
        let within = format!("{folder}/");
        let act = move |machine: &mut Machine| Ok(machine.names(&within, &begin));
        self.0.call(What::Read, format!("{folder}/{prefix}*"), act).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        let owned = path.to_owned();
        let act = move |machine: &mut Machine| {
            machine.files.remove(&owned);
            Ok(())
        };
        self.0.call(What::Remove, path, act).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        let (owned, expected, content) = (path.to_owned(), expected.map(<[u8]>::to_vec), content.to_vec());
        let act = move |machine: &mut Machine| machine.swap(&owned, expected.as_deref(), &content);
        self.0.call(What::Swap, path, act).await
    }

    async fn connect(&self, endpoint: &Endpoint, _timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        let address = endpoint.to_string();
        let detail = address.clone();
        let listens = move |machine: &mut Machine| machine.http(&address, "/").map(|_| address);
        let address = self.0.call(What::Connect, detail, listens).await?;
        Ok(Box::new(FakeStream::new(self.0.machine.clone(), address)))
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.0.call(What::DiskFree, path, |machine| Ok(machine.disk_free_mib)).await
    }
}

/// A runtime in memory: apps behave as the catalogue says.
pub struct FakeRuntime(pub FakePorts);

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        let owned = tag.clone();
        self.0.call(What::Resolve, tag.as_str(), move |machine| machine.resolve(&owned)).await
    }

    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        self.0.call(What::Slots, "", |machine| Ok(machine.runtime_slots())).await
    }

    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        self.0.call(What::Conflicts, "", |machine| Ok(machine.conflicts.clone())).await
    }

    async fn fetch(&self, release: &Release) -> Result<(), PortError> {
        let owned = release.clone();
        self.0.call(What::Fetch, release.tag.as_str(), move |machine| machine.fetch(&owned)).await
    }

    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError> {
        let owned = release.clone();
        self.0.call(What::Start(slot), release.tag.as_str(), move |machine| machine.start(slot, &owned)).await
    }

    async fn stop(&self, slot: Slot, _grace: Millis) -> Result<(), PortError> {
        let act = move |machine: &mut Machine| {
            machine.stop(slot);
            Ok(())
        };
        self.0.call(What::Stop(slot), "", act).await
    }

    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        let act = move |machine: &mut Machine| {
            let logs = machine.slots.get(&slot).map(|app| app.logs.clone()).unwrap_or_default();
            let skip = logs.len().saturating_sub(lines as usize);
            Ok(logs[skip..].to_vec())
        };
        self.0.call(What::Logs(slot), "", act).await
    }

    async fn diagnose(&self, slot: Slot, _port: Option<u16>) -> Diagnosis {
        let died = move |machine: &mut Machine| {
            let life = machine.slots.get(&slot).map(|app| app.life(tokio::time::Instant::now()));
            Ok(life == Some(crate::fake::Life::Died))
        };
        match self.0.call(What::Diagnose(slot), "", died).await {
            Ok(true) => vec!["it exited by itself".to_owned()].into(),
            Ok(false) => Diagnosis::default(),
            Err(error) => vec![format!("it cannot be looked at: {error}")].into(),
        }
    }

    fn one_offs(&self) -> Option<&dyn crate::OneOffs> {
        Some(self)
    }

    async fn prune(&self, keep: &[Release]) -> Result<Vec<String>, PortError> {
        let keep = keep.to_vec();
        self.0.call(What::Prune, "", move |machine| Ok(machine.prune(&keep))).await
    }

    async fn check(&self) -> Vec<Check> {
        let looked = self.0.call(What::Check, "runtime", |_| Ok(())).await;
        vec![match looked {
            Ok(()) => Check::ok("fake runtime", "in memory"),
            Err(error) => Check::bad("fake runtime", error.to_string(), "wait until the host is back"),
        }]
    }
}

/// A router in memory.
pub struct FakeRouter(pub FakePorts);

#[async_trait]
impl Router for FakeRouter {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn route(&self) -> Result<Route, PortError> {
        self.0.call(What::Route, "", |machine| Ok(machine.route())).await
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        let (upstream, expected) = (to.clone(), expected.clone());
        let act = move |machine: &mut Machine| machine.switch(&upstream, &expected);
        self.0.call(What::Switch(to.slot), to.release.tag.as_str(), act).await
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        let (owned, expected) = (dial.map(str::to_owned), expected.clone());
        let act = move |machine: &mut Machine| machine.withdraw(owned.as_deref(), &expected);
        self.0.call(What::Withdraw, dial.unwrap_or(""), act).await
    }

    fn can_hold(&self) -> bool {
        true
    }

    async fn hold(&self, bounds: &HoldBounds) -> Result<(), PortError> {
        let bounds = *bounds;
        let act = move |machine: &mut Machine| {
            machine.hold(&bounds);
            Ok(())
        };
        self.0.call(What::Hold, "", act).await
    }

    async fn let_go(&self) -> Result<(), PortError> {
        let act = |machine: &mut Machine| {
            machine.let_go();
            Ok(())
        };
        self.0.call(What::LetGo, "", act).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        self.0.call(What::InFlight(slot), "", move |machine| Ok(machine.in_flight(slot))).await
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        let deadline = Instant::now() + request.timeout.duration();
        loop {
            let owned = request.clone();
            let answered = move |machine: &mut Machine| {
                Ok(if machine.is_held() { None } else { Some(machine.ask(&owned)) })
            };
            if let Some(answer) = self.0.call(What::Ask, request.target.as_str(), answered).await? {
                return Ok(answer);
            }
            while self.0.is_held() {
                if Instant::now() >= deadline {
                    return Err(PortError::timed_out("the router holds the request"));
                }
                tokio::time::sleep(Duration::from_millis(HELD_LOOK_MILLIS)).await;
            }
        }
    }

    async fn check(&self) -> Vec<Check> {
        match self.0.call(What::Check, "router", |machine| Ok(machine.dial.clone())).await {
            Ok(dial) => vec![Check::ok("fake router", dial.unwrap_or_else(|| "no route".to_owned()))],
            Err(error) => vec![Check::bad("fake router", error.to_string(), "wait until the host is back")],
        }
    }
}
