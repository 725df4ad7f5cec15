//! The demo's folder, its deployments as child processes, and its cleaning up.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::{Action, Event, EventKind, Millis, Strategy, Timestamp};
use lockgate_orchestrator::{Site, Wiring};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::error::CliError;
use crate::sink::Screen;
use crate::wiring::{self, Wires};

/// No deployment of the demo takes longer; the health timeout of v4 is the longest wait in it.
const DEPLOYMENT_SECONDS_MAX: u64 = 60;
const STOP_SECONDS: u64 = 2;
const STOP_LOOK_MILLIS: u64 = 5;

pub struct Scene {
    /// Removed when dropped.
    dir: tempfile::TempDir,
    pub listen: String,
    pub site: Site,
}

/// How one command of the demo went.
#[derive(Debug, Default)]
pub struct Played {
    pub exit: Option<i32>,
    /// From starting the program to the new release having the traffic.
    pub to_traffic: Option<Millis>,
    /// Switches of traffic, those of an undo included.
    pub switches: u32,
}

impl Scene {
    pub fn set_up() -> Result<Self, CliError> {
        let dir = tempfile::Builder::new().prefix("lockgate-demo-").tempdir()?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let program = serde_json::Value::from(wiring::this_program()?);
        let config = format!(
            r#"project: demo
services:
  hello:
    command: [{program}, demo-app, "{{tag}}"]
    health: {{ path: /health, timeout: 2s }}
    critical_paths: [/, /metrics]
environments:
  local:
    runtime: process
    router: {{ builtin: {{ listen: "{listen}" }} }}
    before: [{{ command: {{ run: "true" }}, name: unit tests }}]
    after: [{{ http: {{ samples: 3, interval: 20ms, latency_p95: 500ms }}, name: smoke }}]
    drain: 5s
"#
        );
        let path = dir.path().join("lockgate.yaml");
        std::fs::write(&path, config)?;
        let loaded = lockgate_config::load(&path, &|_| None)?;
        let project = Arc::new(loaded.project);
        let (Some(service), Some(environment)) =
            (project.services.values().next(), project.environments.first())
        else {
            return Err(CliError::failed("the demo's own configuration has no service"));
        };
        let site = Wires::new(project.clone()).site(service, environment)?;
        Ok(Self { dir, listen, site })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `lockgate ARGS`, showing its events; with `kill_after`, kills it with SIGKILL when that event came.
    pub async fn play(
        &self,
        args: &[&str],
        screen: &Screen,
        kill_after: Option<fn(&EventKind, &PlanSteps) -> bool>,
    ) -> Result<Played, CliError> {
        let started = lockgate_local::now();
        let mut child = self.command(args).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(CliError::failed("a child has no stdout")) };
        let lines = BufReader::new(stdout).lines();
        let watching = watch(&mut child, lines, screen, started, kill_after);
        let bound = Duration::from_secs(DEPLOYMENT_SECONDS_MAX);
        tokio::time::timeout(bound, watching).await.map_err(|_| {
            CliError::failed(format!("`lockgate {}` took longer than {bound:?}", args.join(" ")))
        })?
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--format", "json", "--config"])
            .arg(self.dir.path().join("lockgate.yaml"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Stops both slots and the proxy. Tries all of it before it says what went wrong.
    pub async fn clean_up(self) -> Result<(), CliError> {
        let mut trouble = None;
        for ports in &self.site.hosts {
            for slot in Strategy::BlueGreen.slots().iter().copied() {
                trouble = ports.runtime.stop(slot, Millis::from_secs(STOP_SECONDS)).await.err().or(trouble);
            }
        }
        let stopped = self.stop_proxy().await;
        drop(self.dir);
        match (trouble, stopped) {
            (Some(error), _) => Err(error.into()),
            (None, stopped) => stopped,
        }
    }

    async fn stop_proxy(&self) -> Result<(), CliError> {
        let folder = self.path().join(".lockgate/proxy");
        let socket = folder.join("admin.sock");
        if !socket.exists() {
            return Ok(());
        }
        let Some(ports) = self.site.hosts.first() else { return Ok(()) };
        let pid =
            std::fs::read_to_string(folder.join("proxy.lock")).ok().and_then(|pid| pid.trim().parse().ok());
        let endpoint = lockgate_ports::Endpoint::Unix(socket.to_string_lossy().into_owned());
        let timeout = Millis::from_secs(STOP_SECONDS);
        let request = lockgate_ports::Request::json("POST", "/v1/shutdown", Vec::new(), timeout);
        lockgate_ports::http::send(ports.host.as_ref(), &endpoint, request).await?;
        // It closes its socket a little before it has gone. What has ended has no command line left.
        let command_line = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let limit = Instant::now() + timeout.duration();
        while Instant::now() < limit {
            let gone = pid.is_none_or(|pid| command_line(pid).is_empty());
            if gone && ports.host.connect(&endpoint, timeout).await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(STOP_LOOK_MILLIS)).await;
        }
        Err(CliError::failed("the demo's proxy does not stop"))
    }
}

/// What the steps of the run do, for telling a switch from the rest.
#[derive(Debug, Default)]
pub struct PlanSteps(Vec<Action>);

impl PlanSteps {
    pub fn is_switch(&self, step: lockgate_model::StepId) -> bool {
        self.0.get(step.0 as usize).is_some_and(|action| action.properties().moves_traffic)
    }
}

async fn watch(
    child: &mut Child,
    mut lines: Lines<BufReader<ChildStdout>>,
    screen: &Screen,
    started: Timestamp,
    kill_after: Option<fn(&EventKind, &PlanSteps) -> bool>,
) -> Result<Played, CliError> {
    let mut played = Played::default();
    let mut steps = PlanSteps::default();
    while let Some(line) = lines.next_line().await? {
        // The last line is the result, which is no event of a run.
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        screen.event(&event);
        match &event.kind {
            EventKind::RunStarted { plan, .. } => {
                steps = PlanSteps(plan.steps().map(|(_, _, step)| step.action.clone()).collect());
            }
            EventKind::StepSucceeded { step, .. } if steps.is_switch(*step) => {
                played.switches += 1;
                played.to_traffic = Some(event.at.since(started));
            }
            EventKind::UndoSucceeded { step } if steps.is_switch(*step) => played.switches += 1,
            _ => {}
        }
        if kill_after.is_some_and(|now| now(&event.kind, &steps)) {
            child.start_kill()?;
            child.wait().await?;
            return Ok(played);
        }
    }
    played.exit = child.wait().await?.code();
    Ok(played)
}

fn free_port() -> Result<u16, CliError> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
