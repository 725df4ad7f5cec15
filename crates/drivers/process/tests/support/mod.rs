//! A folder with releases of a service in it, and a runtime for them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lockgate_local::Local;
use lockgate_model::{
    EnvironmentName, Health, HostId, HttpHealth, Millis, ProjectName, Secret, Service, ServiceName, Slot,
    StatusRange, Strategy, Tag, Template,
};
use lockgate_ports::conformance::runtime::RuntimeFixture;
use lockgate_ports::{
    Answer, Command, Endpoint, Host, HostFile, HostStream, Output, PortError, Request, Runtime, Swapped, http,
};
use lockgate_process::{Process, ProcessOptions};

/// How long anything in these tests may take to come true.
pub const WAIT_SECONDS_MAX: u64 = 20;

/// This machine under another name, so that the driver goes the way it goes over SSH.
pub struct Elsewhere(Local, HostId);

#[async_trait]
impl Host for Elsewhere {
    fn id(&self) -> &HostId {
        &self.1
    }
    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        self.0.exec(command).await
    }
    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read(path).await
    }
    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write(path, content, mode).await
    }
    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read_own(path).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write_own(path, content, mode).await
    }

    async fn exec_lines(
        &self,
        command: &lockgate_ports::Command,
        sink: &mut dyn lockgate_ports::LineSink,
    ) -> Result<lockgate_ports::Ended, PortError> {
        self.0.exec_lines(command, sink).await
    }

    async fn upload(
        &self,
        upload: lockgate_ports::Upload<'_>,
    ) -> Result<lockgate_ports::Uploaded, PortError> {
        self.0.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.0.remove(path).await
    }
    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.0.swap(path, expected, content).await
    }
    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        self.0.connect(endpoint, timeout).await
    }
    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.0.disk_free_mib(path).await
    }
}

pub fn here() -> Arc<dyn Host> {
    Arc::new(Local::new())
}

pub fn elsewhere() -> Arc<dyn Host> {
    Arc::new(Elsewhere(Local::new(), HostId::new("elsewhere").unwrap()))
}

pub struct World {
    pub root: tempfile::TempDir,
    pub runtime: Process,
    host: Arc<dyn Host>,
}

/// What varies between tests.
pub struct Shape {
    pub command: Vec<&'static str>,
    pub port: Option<u16>,
    pub env: BTreeMap<String, Secret>,
    pub slots: &'static [Slot],
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            command: vec!["./serve-{tag}", "{tag}"],
            port: None,
            env: BTreeMap::new(),
            slots: Strategy::BlueGreen.slots(),
        }
    }
}

impl World {
    /// With the releases `v1` and `v2`, different files.
    pub fn new(host: Arc<dyn Host>, shape: Shape) -> World {
        let root = tempfile::tempdir().unwrap();
        for tag in ["v1", "v2"] {
            let mut bytes = std::fs::read(example()).unwrap();
            bytes.extend(tag.as_bytes());
            executable(&root.path().join(format!("serve-{tag}")), &bytes);
        }
        let service = Service {
            name: ServiceName::new("web").unwrap(),
            image: None,
            command: shape.command.iter().map(|text| Template::new(*text).unwrap()).collect(),
            cwd: None,
            env: shape.env,
            env_from: BTreeMap::new(),
            port: shape.port,
            health: Health::Http(HttpHealth {
                path: "/".into(),
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
        let runtime = Process::new(ProcessOptions {
            host: host.clone(),
            project: ProjectName::new("shop").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            service,
            slots: shape.slots,
            // A blank and a quote, for nothing may depend on their absence.
            dir: format!("{}/state of 'web'", root.path().display()),
            root: root.path().display().to_string(),
            proxied: None,
            occupants: None,
        });
        World { root, runtime, host }
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("state of 'web'")
    }

    /// The only pid file of the slot: its path, pid, start time and boot id.
    pub fn run(&self, slot: Slot) -> (PathBuf, u32, u64, String) {
        let files = std::fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path());
        let is_run = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(slot.as_str()) && name.ends_with(".pid")
        };
        let files: Vec<PathBuf> = files.filter(is_run).collect();
        assert_eq!(files.len(), 1, "{slot} has one run: {files:?}");
        let text = std::fs::read_to_string(&files[0]).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        (files[0].clone(), words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].to_owned())
    }

    /// Processes that run something in this world, launchers included.
    pub fn processes(&self) -> Vec<u32> {
        let here = self.root.path().as_os_str().as_encoded_bytes().to_vec();
        let mine = |pid: &u32| {
            let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            cwd.starts_with(self.root.path()) || read("cmdline").windows(here.len()).any(|part| part == here)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok());
        pids.filter(mine).filter(|pid| is_alive(*pid)).collect()
    }
}

/// No test leaves a process behind, whatever became of it.
impl Drop for World {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _already_gone = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

#[async_trait]
impl RuntimeFixture for World {
    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }
    async fn tags(&self) -> (Tag, Tag) {
        (tag("v1"), tag("v2"))
    }
    fn missing_tag(&self) -> Tag {
        tag("v3")
    }
    async fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Answer, PortError> {
        http::send(&*self.host, endpoint, Request::get(path, Millis::from_secs(5))).await
    }
}

pub fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

/// Cargo builds examples beside the folder that this test's binary is in.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/serve")
}

pub fn executable(path: &Path, bytes: &[u8]) {
    // By renaming: a program that runs cannot be written to.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, bytes).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// Runs and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until `seen` says yes.
pub async fn eventually(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
    while !seen().await {
        assert!(Instant::now() < limit, "not within {WAIT_SECONDS_MAX} s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
