//! What the benchmarks work with: the program as it is installed, folders, projects, and processes that end with the benchmark.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use super::http::Address;
use super::http::{self, Request};

const START_SECONDS_MAX: u64 = 20;
const STOP_SECONDS_MAX: u64 = 15;

/// The programs that are measured.
#[derive(Debug, Clone)]
pub struct Programs {
    pub lockgate: PathBuf,
    pub hello: PathBuf,
    /// What people install: the static program, where `scripts/release` has built it. `None` elsewhere.
    pub static_lockgate: Option<PathBuf>,
    /// The repository's root.
    pub root: PathBuf,
    /// Where the programs are.
    _installed: Arc<TempDir>,
}

impl Programs {
    /// Builds both as they are installed (`--profile dist`), unless `LOCKGATE_BIN` and `LOCKGATE_BENCH_HELLO` name some that are there, and copies them as an
    /// installation does: what a linker wrote piece by piece lies in the page cache in small pieces, and every page of
    /// it costs a fault of its own (1.5 ms in a deployment of 25). `LOCKGATE_STATIC_BIN` names another static program than
    /// the one that `scripts/release` makes.
    pub fn build() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?.to_owned();
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let target = named("CARGO_TARGET_DIR").unwrap_or_else(|| root.join("target"));
        let given = (named("LOCKGATE_BIN"), named("LOCKGATE_BENCH_HELLO"));
        if given.0.is_none() || given.1.is_none() {
            let mut build = Command::new("cargo");
            build.args(["build", "--quiet", "--profile", "dist", "-p", "lockgate", "-p", "lockgate-hello"]);
            run(build.current_dir(&root))?;
        }
        let installed = folder()?;
        let install = |given: Option<PathBuf>, name: &str| -> Result<PathBuf> {
            let (from, to) =
                (given.unwrap_or_else(|| target.join("dist").join(name)), installed.path().join(name));
            std::fs::copy(&from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
            Ok(to)
        };
        let made = target.join("x86_64-unknown-linux-musl/dist/lockgate");
        let made = named("LOCKGATE_STATIC_BIN").or_else(|| made.is_file().then_some(made));
        Ok(Self {
            lockgate: install(given.0, "lockgate")?,
            hello: install(given.1, "hello")?,
            static_lockgate: made.map(|made| install(Some(made), "lockgate-static")).transpose()?,
            root,
            _installed: Arc::new(installed),
        })
    }
}

/// A folder that is removed at the end.
pub fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("lockgate-bench-").tempdir()?)
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

/// Runs it to its end; its output is shown only when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Waits for a condition, looking every `pause`.
pub fn wait_until(what: &str, pause: Duration, mut met: impl FnMut() -> bool) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while !met() {
        ensure!(Instant::now() < limit, "{what}: not within {START_SECONDS_MAX} s");
        std::thread::sleep(pause);
    }
    Ok(())
}

pub fn healthy(address: &Address) -> bool {
    http::send(address, &Request::get("/health")).is_ok_and(|answer| answer.status == 200)
}

/// A process of ours, asked to end when dropped and waited for.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(Some(child.with_context(|| format!("start {command:?}"))?)))
    }

    pub fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
        signal(child.id(), Signal::TERM)?;
        let limit = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while child.try_wait()?.is_none() {
            if Instant::now() >= limit {
                child.kill()?;
                child.wait()?;
                bail!("process {} had to be killed", child.id());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("bench: {error:#}");
        }
    }
}

/// One that has ended already is as good.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `lockgate proxy` of our own.
pub struct Proxy {
    pub dir: PathBuf,
    pub listen: String,
    pub process: Running,
}

impl Proxy {
    pub fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        Self::of(&programs.lockgate, dir)
    }

    /// The proxy of this very program.
    pub fn of(program: &Path, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let process = Running::start(
            Command::new(program).arg("proxy").arg("--dir").arg(dir).args(["--listen", &listen]),
        )?;
        let proxy = Self { dir: dir.to_owned(), listen, process };
        wait_until("the proxy", Duration::from_millis(2), || proxy.status().is_ok())?;
        Ok(proxy)
    }

    pub fn admin(&self) -> Address {
        Address::Unix(self.dir.join("admin.sock"))
    }

    pub fn public(&self) -> Address {
        Address::Tcp(self.listen.clone())
    }

    pub fn status(&self) -> Result<serde_json::Value> {
        http::call(&self.admin(), "GET", "/v1/status", None)
    }

    /// Sends route `r` to the slot.
    pub fn switch(&self, slot: &str, release: &str, port: u16) -> Result<()> {
        let target =
            serde_json::json!({ "slot": slot, "release": release, "dial": format!("127.0.0.1:{port}") });
        let spec = serde_json::json!({ "target": target });
        http::call(&self.admin(), "PUT", "/v1/routes/r", Some(&spec)).map(drop)
    }

    pub fn in_flight(&self, slot: &str) -> Result<u64> {
        let status = self.status()?;
        let count = |what: &str| status["in_flight"]["r"][slot][what].as_u64().unwrap_or(0);
        Ok(count("requests") + count("upgraded"))
    }
}

/// `hello` of our own on a free port, not waited for.
pub fn start_hello(programs: &Programs, version: &str) -> Result<(Running, u16)> {
    let port = free_port()?;
    let process = Running::start(
        Command::new(&programs.hello)
            .args(["--version", version])
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string()),
    )?;
    Ok((process, port))
}

/// The same, healthy.
pub fn healthy_hello(programs: &Programs, version: &str) -> Result<(Running, u16)> {
    let (process, port) = start_hello(programs, version)?;
    let address = local(port);
    wait_until("hello", Duration::from_millis(1), || healthy(&address))?;
    Ok((process, port))
}

pub fn local(port: u16) -> Address {
    Address::Tcp(format!("127.0.0.1:{port}"))
}

/// Servers that scripts/lib.sh knows how to start: a script that keeps them until we close its input.
pub struct Stage {
    child: Child,
    /// What the script said, one line each.
    pub said: Vec<String>,
}

impl Stage {
    /// `script` may use all of lib.sh; what it prints on stdout is kept.
    pub fn start(programs: &Programs, script: &str, arguments: &[&str]) -> Result<Self> {
        const LAST: &str = "lockgate-bench-stage-is-set";
        let lib = programs.root.join("scripts/lib.sh");
        let text =
            format!(". '{}'\n{script}\necho {LAST}\nexec >/dev/null\nread -r _ || true\n", lib.display());
        let mut child = Command::new("bash")
            .args(["-c", &text, "bench"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("the stage has no stdout")?).lines();
        let mut stage = Self { child, said: Vec::new() };
        for line in lines {
            let line = line?;
            if line == LAST {
                return Ok(stage);
            }
            stage.said.push(line);
        }
        bail!("the stage could not be set: {:?}", stage.said)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("bench: the stage could not be cleared: {error}");
        }
    }
}
