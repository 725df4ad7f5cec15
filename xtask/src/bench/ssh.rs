//! Over SSH: connections opened, and what they cost.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Options;
use super::place::{self, Programs, Proxy, Stage};
use super::project::Project;
use super::report::Report;
use super::stats::{Samples, number};

const TITLE: &str = "over SSH to this machine";

const MEANING: &str = "The embedded deployment of `overhead` (`passes: 1`), once on `local` and once on a host that is this machine \
behind an sshd of our own, in turn. Connections are the lines \"Accepted publickey\" in that sshd's log while one command \
ran. `ssh HOST true` is one new connection with the same keys, and `ssh HOST true` through an open one (ControlMaster) \
is what each further command costs at least.";

/// This machine behind an sshd of its own.
pub struct Machine {
    _stage: Stage,
    home: tempfile::TempDir,
    port: u16,
}

impl Machine {
    pub fn start(programs: &Programs) -> Result<Self> {
        Self::with(programs, &[])
    }

    /// `options`: lines of its sshd_config.
    pub fn with(programs: &Programs, options: &[&str]) -> Result<Self> {
        let (home, port) = (place::folder()?, place::free_port()?);
        let dir = home.path().to_str().context("a folder that is no text")?.to_owned();
        let port_text = port.to_string();
        let arguments: Vec<&str> =
            [port_text.as_str(), &dir].into_iter().chain(options.iter().copied()).collect();
        let stage = Stage::start(programs, r#"sshd_up "$@""#, &arguments)?;
        Ok(Self { _stage: stage, home, port })
    }

    /// Its sshd's, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Another file of `ssh -F`: the same host, reached through this port of loopback.
    pub fn through(&self, port: u16) -> Result<String> {
        let text = std::fs::read_to_string(self.config())?;
        let own = format!("  Port {}\n", self.port);
        let other = format!("  Port {port}\n  HostKeyAlias [127.0.0.1]:{}\n", self.port);
        ensure!(text.contains(&own), "{} names no port", self.config());
        let path = self.home.path().join(format!("config-{port}"));
        std::fs::write(&path, text.replace(&own, &other))?;
        Ok(path.display().to_string())
    }

    /// As `ssh` takes it with that configuration.
    pub fn name(&self) -> String {
        format!("lockgate-{}", self.port)
    }

    /// The file of `ssh -F`.
    pub fn config(&self) -> String {
        self.home.path().join("config").display().to_string()
    }

    /// So far.
    fn connections(&self) -> Result<u64> {
        let log = std::fs::read_to_string(self.home.path().join("log"))?;
        Ok(log.lines().filter(|line| line.contains("Accepted publickey")).count() as u64)
    }

    pub fn time_ssh(&self, options: &[&str]) -> Result<std::time::Duration> {
        self.time_ssh_by(&self.config(), options)
    }

    /// The same with another file of `ssh -F`.
    pub fn time_ssh_by(&self, config: &str, options: &[&str]) -> Result<std::time::Duration> {
        let mut command = Command::new("ssh");
        command.args(["-F", config]).args(options).args([self.name().as_str(), "true"]);
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{command:?} ended with {status}");
        Ok(start.elapsed())
    }
}

fn config(machine: &Machine, folder: &str, remote: bool, proxy: &Proxy) -> String {
    let host = if remote { machine.name() } else { "local".to_owned() };
    format!(
        r#"project: bench
services:
  hello:
    command: ["{folder}/hello", "--version", "{{tag}}"]
    cwd: {folder}
    health: {{ path: /health, timeout: 10s, passes: 1 }}
environments:
  it:
    hosts: ["{host}"]
    runtime: {{ process: {{ dir: "{folder}/state" }} }}
    router: {{ builtin: {{ listen: "{}", dir: "{}" }} }}
ssh: {{ options: ["-F", "{}"] }}
"#,
        proxy.listen,
        proxy.dir.display(),
        machine.config(),
    )
}

fn project(programs: &Programs, machine: &Machine, remote: bool, proxy: &Proxy) -> Result<Project> {
    let project = Project::new(programs, "")?;
    let folder = project.path().to_str().context("a folder that is no text")?;
    std::fs::write(project.path().join("lockgate.yaml"), config(machine, folder, remote, proxy))?;
    Ok(project)
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    for program in ["sshd", "ssh", "ssh-keygen"] {
        if !place::installed(program) {
            return Ok(Report::skipped("ssh", TITLE, format!("{program} is not installed")));
        }
    }
    let machine = Machine::start(programs)?;
    let proxies = [place::folder()?, place::folder()?];
    let proxies = [Proxy::start(programs, proxies[0].path())?, Proxy::start(programs, proxies[1].path())?];
    let near = project(programs, &machine, false, &proxies[0])?;
    let far = project(programs, &machine, true, &proxies[1])?;
    let master = machine.home.path().join("m").display().to_string();
    let control = format!("ControlPath={master}");
    let shared = ["-o", "ControlMaster=auto", "-o", &control, "-o", "ControlPersist=60"];
    machine.time_ssh(&shared)?;

    let (mut new, mut reused) = (Samples::default(), Samples::default());
    let (mut local, mut remote) = (Samples::default(), Samples::default());
    let (mut looking, mut status) = (Samples::default(), Samples::default());
    let (mut per_deploy, mut per_status) = (Vec::new(), Vec::new());
    for project in [&near, &far] {
        project.lockgate(&["deploy", "hello", "v0"])?;
    }
    for round in 1..=options.repetitions(10) {
        let tag = format!("v{round}");
        new.push(machine.time_ssh(&[])?);
        reused.push(machine.time_ssh(&["-o", &control])?);
        local.push(near.lockgate(&["deploy", "hello", &tag])?.total);
        let before = machine.connections()?;
        remote.push(far.lockgate(&["deploy", "hello", &tag])?.total);
        per_deploy.push(machine.connections()? - before);
        looking.push(near.lockgate(&["status"])?.total);
        let before = machine.connections()?;
        status.push(far.lockgate(&["status"])?.total);
        per_status.push(machine.connections()? - before);
    }
    Command::new("ssh")
        .args(["-F", &machine.config(), "-o", &control, "-O", "exit", &machine.name()])
        .output()?;

    let mut report = Report::new("ssh", TITLE);
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "over local, ms", "connections, most"];
    let most = |counts: &[u64]| counts.iter().max().copied().unwrap_or(0);
    report.row(["`ssh HOST true`, new connection", &new.shown(), "", "1"]);
    report.row(["`ssh HOST true`, through an open one", &reused.shown(), "", "0"]);
    report.row(["`lockgate deploy`, local", &local.shown(), "–", "0"]);
    report.row([
        "`lockgate deploy`, over SSH",
        &remote.shown(),
        &remote.minus(&local).shown(),
        &most(&per_deploy).to_string(),
    ]);
    report.row(["`lockgate status`, local", &looking.shown(), "–", "0"]);
    report.row([
        "`lockgate status`, over SSH",
        &status.shown(),
        &status.minus(&looking).shown(),
        &most(&per_status).to_string(),
    ]);
    let all_one = per_deploy.iter().chain(&per_status).all(|count| *count == 1);
    let seen = format!("{} for deploy, {} for status", most(&per_deploy), most(&per_status));
    report.target("connections a host and command", "1", seen, all_one);
    let extra = remote.minus(&local).median() - new.median();
    report.note(format!(
        "Beyond the connection itself a deployment over SSH costs {} ms more than a local one, as much as {} commands through an open connection.",
        number(extra),
        number(extra / reused.median())
    ));
    Ok(report)
}
