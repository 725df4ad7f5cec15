//! A project in a folder of its own, with its app's releases, its slots and its proxy.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Answer};
use super::ran::Ran;
use super::{app, processes, wait_for};

/// Ports of proxies: below the range from which the system takes ports for connections.
const PORTS: std::ops::Range<u16> = 21_000..31_000;
/// Nobody outside is told by a test.
const SLACK_VARIABLES: [&str; 4] = ["SLACK_WEBHOOK_URL", "SLACK_CHANNEL", "SLACK_BOT_TOKEN", "SLACK_API_URL"];
/// In the JSON of a deployment over a live release, with the smoke gate of [`Setup::default`]: the old slot begins to drain.
pub const DRAIN_BEGINS: &str = "\"event\":\"step_started\",\"step\":7}";
/// No command of these tests takes longer.
const COMMAND_SECONDS_MAX: u64 = 60;
/// No line of their output is waited for longer.
const PRINTED_SECONDS_MAX: u64 = 20;

/// What a test wants otherwise than usual; texts are YAML.
#[derive(Debug, Clone)]
pub struct Setup {
    pub health: &'static str,
    /// Lines of the service, with their indentation of four.
    pub service: String,
    pub before: String,
    pub after: String,
    /// Lines of the environment, with their indentation of four.
    pub environment: String,
    pub end: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            health: "{ path: /health, timeout: 10s }",
            service: String::new(),
            before: "[]".into(),
            after: "[{ name: smoke, http: { samples: 2, interval: 5ms } }]".into(),
            environment: String::new(),
            end: String::new(),
        }
    }
}

/// Where a deployment waits until [`Project::open_gate`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    BeforeSwitch,
    AfterSwitch,
}

pub struct Project {
    /// Removed when dropped, after all that works in it has been ended.
    dir: TempDir,
    pub port: u16,
    /// Keeps the port ours among all tests that run at the same time.
    _port: File,
}

impl Project {
    /// A good `v1` and `v2`, nothing deployed.
    pub fn new() -> Project {
        Self::with(&Setup::default())
    }

    pub fn with(setup: &Setup) -> Project {
        let project = Self::empty();
        for machine in ["m1", "m2"] {
            std::fs::create_dir(project.path(machine)).unwrap();
            std::fs::write(project.path(machine).join("lockgate.yaml"), project.config(setup)).unwrap();
        }
        project.release("v1", "");
        project.release("v2", "");
        project
    }

    /// `v1` is live, and the next deployment will wait at a gate. There is a `v3` for somebody who comes in between.
    pub fn waiting(waits: Waits) -> Project {
        Self::waiting_with(waits, String::new())
    }

    /// With lines at the end of the configuration.
    pub fn waiting_with(waits: Waits, end: String) -> Project {
        let gate = "[{ name: wait, command: \"ROOT/gate\" }]".to_owned();
        let project = Self::with(&match waits {
            Waits::BeforeSwitch => Setup { before: gate, end, ..Setup::default() },
            Waits::AfterSwitch => Setup { after: gate, end, ..Setup::default() },
        });
        project.release("v3", "");
        project.waiting_gate();
        project.open_gate();
        project.deploy("v1");
        std::fs::remove_file(project.path("open")).unwrap();
        project
    }

    /// A folder and a port, nothing else.
    pub fn empty() -> Project {
        // Short, for the proxy's socket lies in it.
        let dir = tempfile::Builder::new().prefix("lg").tempdir_in("/tmp").unwrap();
        let (port, lock) = reserve_port();
        Project { dir, port, _port: lock }
    }

    /// Absolute folders, so that both machines' projects mean the same host.
    pub fn config(&self, setup: &Setup) -> String {
        let (root, port) = (self.root().display(), self.port);
        let Setup { health, service, before, after, environment, end } = setup;
        format!(
            r#"project: shop
services:
  web:
    command: ["{root}/app-{{tag}}"]
    cwd: "{root}"
    health: {health}
    critical_paths: [/, /metrics]
{service}environments:
  prod:
    runtime: {{ process: {{ dir: "{root}/host" }} }}
    router: {{ builtin: {{ listen: "127.0.0.1:{port}", dir: "{root}/host/proxy" }} }}
    before: {before}
    after: {after}
    drain: 2s
    stop_grace: 3s
{environment}{end}"#
        )
        .replace("ROOT", &root.to_string())
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a release beside the others; `knobs` are variables for `hello`, as a shell writes them.
    pub fn release(&self, tag: &str, knobs: &str) {
        let hello = app::hello().display();
        let script =
            format!("#!/bin/sh\nHOST=127.0.0.1 VERSION={tag} SLOT=$LOCKGATE_SLOT {knobs} exec {hello}\n");
        self.script(&format!("app-{tag}"), &script);
    }

    pub fn script(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program for a command gate that tells that it is there, and goes on when [`Project::open_gate`] was called.
    fn waiting_gate(&self) {
        let root = self.root().display();
        let script = format!(
            "#!/bin/sh\n: > {root}/at-gate-$LOCKGATE_TAG\ni=0\nwhile [ ! -e {root}/open ] && [ $i -lt 1500 ]\ndo sleep 0.02; i=$((i+1)); done\n[ -e {root}/open ]\n"
        );
        self.script("gate", &script);
    }

    pub fn wait_at_gate(&self, tag: &str) {
        let path = self.path(format!("at-gate-{tag}"));
        wait_for("the gate to be asked", 30, || path.exists().then_some(()));
    }

    pub fn open_gate(&self) {
        std::fs::write(self.path("open"), "").unwrap();
    }

    /// The binary with arguments, on the first machine.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        self.command_on("m1", args)
    }

    /// The binary with arguments, on a machine with its own journal.
    pub fn command_on<'a>(&self, machine: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
        let folder = self.path(machine);
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(args).stdin(Stdio::null());
        for name in
            ["LOCKGATE_ENV", "LOCKGATE_LOG", "DEPLOY_HOST", "NO_COLOR"].into_iter().chain(SLACK_VARIABLES)
        {
            command.env_remove(name);
        }
        command.current_dir(if folder.is_dir() { folder } else { self.root().to_owned() });
        command
    }

    /// Runs `lockgate ARGS`, split at blanks.
    pub fn run(&self, args: &str) -> Ran {
        run(self.command(args.split_whitespace()))
    }

    pub fn run_on(&self, machine: &str, args: &str) -> Ran {
        run(self.command_on(machine, args.split_whitespace()))
    }

    pub fn start(&self, args: &str) -> Running {
        Running::start(self.command(args.split_whitespace()))
    }

    #[track_caller]
    pub fn deploy(&self, tag: &str) {
        self.run(&format!("deploy web {tag}")).expect(0);
    }

    /// The first answer through the router.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Answer {
        http::get(self.port, path).unwrap_or_else(|error| panic!("GET {path} through the router: {error}"))
    }

    /// The object of `status --format json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.run("status web --format json").expect(0).last()
    }

    #[track_caller]
    pub fn expect_live(&self, tag: &str) -> Value {
        let answer = self.ask("/");
        assert_eq!((answer.status, answer.release()), (200, tag), "{}", answer.text());
        let status = self.status();
        assert_eq!(status["image_tag"], tag, "{status:#}");
        status
    }

    /// `tag` is live, alone, and nobody is at work or has left anything.
    #[track_caller]
    pub fn expect_settled(&self, tag: &str) {
        let status = self.expect_live(tag);
        let apps = self.apps();
        assert_eq!(apps.len(), 1, "{apps:#?}");
        let lease = self.lease();
        assert!(lease["holder"].is_null() && lease["unfinished"].is_null(), "{lease:#}");
        let host = &status["hosts"]["local"];
        let target = &host["router"]["target"];
        assert_eq!(&host["recorded"]["active"], target, "{status:#}");
        assert_eq!(host["slots"][target.as_str().unwrap()]["state"], "running", "{status:#}");
    }

    /// The lease record on the host.
    pub fn lease(&self) -> Value {
        let text = std::fs::read_to_string(self.path("host/prod/web/.lockgate/lease.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Processes of the app.
    pub fn apps(&self) -> Vec<processes::Process> {
        processes::below(self.root()).into_iter().filter(|process| process.runs("hello")).collect()
    }

    /// Processes of the proxy that serve, its supervisors not among them.
    pub fn proxies(&self) -> Vec<processes::Process> {
        self.of_the_proxy(false)
    }

    /// Processes that start the proxy again.
    pub fn supervisors(&self) -> Vec<processes::Process> {
        self.of_the_proxy(true)
    }

    fn of_the_proxy(&self, supervises: bool) -> Vec<processes::Process> {
        let has = |process: &processes::Process, word: &str| process.argv.iter().any(|one| one == word);
        let is_one =
            |process: &processes::Process| has(process, "proxy") && has(process, "--supervise") == supervises;
        processes::below(self.root()).into_iter().filter(is_one).collect()
    }

    /// Ends when nobody listens any more, and its supervisor does not start another, as after a power failure.
    pub fn kill_proxy(&self) {
        self.supervisors().iter().for_each(|process| process.signal(rustix::process::Signal::KILL));
        let pid = self.admin("GET", "/v1/status", "").json()["pid"].as_i64().unwrap();
        processes::send(i32::try_from(pid).unwrap(), rustix::process::Signal::KILL);
        wait_for("the proxy to end", 5, || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
    }

    /// One call to the proxy's admin socket.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut client =
            http::unix(&self.path("host/proxy/admin.sock")).expect("the proxy's admin socket answers");
        client.send(method, path, &[("connection", "close")], body.as_bytes()).expect("the proxy answers")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        processes::end_all(self.dir.path());
        if std::thread::panicking() && std::env::var_os("LOCKGATE_TEST_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}

/// A command that is under way; killed when dropped.
pub struct Running {
    pub child: Child,
    typed: String,
    output: TempDir,
}

impl Running {
    /// Output goes to files, so that nobody needs to read along.
    pub fn start(mut command: Command) -> Running {
        let output = tempfile::tempdir().unwrap();
        command.stdout(File::create(output.path().join("out")).unwrap());
        command.stderr(File::create(output.path().join("err")).unwrap());
        let typed = typed(&command);
        Running { child: command.spawn().unwrap(), typed, output }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        processes::send(i32::try_from(self.child.id()).unwrap(), signal);
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.output.path().join("out")).unwrap()
    }

    /// Waits until `text` is in what it printed.
    pub fn wait_until_printed(&self, text: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(PRINTED_SECONDS_MAX);
        loop {
            let stderr = std::fs::read_to_string(self.output.path().join("err")).unwrap();
            if self.stdout().contains(text) || stderr.contains(text) {
                return;
            }
            let late = std::time::Instant::now() >= deadline;
            assert!(!late, "{text:?} was not printed by {}:\n{}\n{stderr}", self.typed, self.stdout());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub fn end(mut self) -> Ran {
        let child = &mut self.child;
        let status = wait_for(&self.typed, COMMAND_SECONDS_MAX, || child.try_wait().unwrap());
        let stderr = std::fs::read_to_string(self.output.path().join("err")).unwrap();
        Ran { typed: self.typed.clone(), code: status.code(), stdout: self.stdout(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `end` it has ended already, which is no error.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn run(command: Command) -> Ran {
    Running::start(command).end()
}

pub fn typed(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("lockgate {}", args.join(" "))
}

fn reserve_port() -> (u16, File) {
    let folder = std::env::temp_dir().join("lockgate-e2e-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let span = usize::from(PORTS.end - PORTS.start);
    let first = usize::try_from(std::process::id()).unwrap() * 13 % span;
    for step in 0..span {
        let port = PORTS.start + u16::try_from((first + step) % span).unwrap();
        let Ok(lock) = File::create(folder.join(port.to_string())) else { continue };
        if lock.try_lock().is_ok() && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return (port, lock);
        }
    }
    panic!("no port from {PORTS:?} is free");
}
