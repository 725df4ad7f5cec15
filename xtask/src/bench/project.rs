//! A project in a folder of its own, and `lockgate` run on it with a clock beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Request};
use super::place::{self, Address, Programs, Running};

const GONE_SECONDS_MAX: u64 = 15;
const READY_LOOK: Duration = Duration::from_millis(1);

/// Removed at the end, with every process that was started from it.
pub struct Project {
    dir: TempDir,
    pub programs: Programs,
    /// For every `lockgate`.
    pub env: Vec<(String, String)>,
}

impl Project {
    /// With `hello` in it as `./hello`.
    pub fn new(programs: &Programs, config: &str) -> Result<Self> {
        let dir = place::folder()?;
        std::fs::copy(&programs.hello, dir.path().join("hello"))?;
        std::fs::write(dir.path().join("lockgate.yaml"), config)?;
        Ok(Self { dir, programs: programs.clone(), env: Vec::new() })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.lockgate);
        self.prepare(&mut command);
        command.args(args);
        command
    }

    /// `lockgate serve` at this port of loopback, once it is ready.
    pub fn serve(&self, port: u16) -> Result<(Running, Address)> {
        let process = Running::start(&mut self.command(&["serve"]))?;
        let address = place::local(port);
        let ready =
            || http::send(&address, &Request::get("/readyz")).is_ok_and(|answer| answer.status == 200);
        place::wait_until("lockgate serve", READY_LOOK, ready)?;
        Ok((process, address))
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.path()).stdin(Stdio::null());
        // What whoever runs the benchmark has set must not change what is measured.
        for name in [
            "LOCKGATE_ENV",
            "SLACK_WEBHOOK_URL",
            "SLACK_BOT_TOKEN",
            "DEPLOY_HOST",
            "DEPLOY_SSH_OPTS",
            "DOCKER_HOST",
            "IMAGE_TAG",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// `lockgate ARGS --format json`, which must succeed.
    pub fn lockgate(&self, args: &[&str]) -> Result<Timeline> {
        let mut command = self.command(args);
        command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Timeline::of(&mut command)
    }

    /// fsync(2) and its like during one `lockgate ARGS`, by `strace`; `None` where that is not possible.
    pub fn count_syncs(&self, args: &[&str]) -> Result<Option<u64>> {
        if !place::installed("strace") {
            return Ok(None);
        }
        let log = self.path().join("strace");
        let mut command = Command::new("strace");
        command
            .args(["-I1", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(&log)
            .arg(&self.programs.lockgate);
        self.prepare(&mut command);
        let mut child = command
            .args(args)
            .args(["--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut ended = false;
        for line in output.lines() {
            ended = line?.contains("\"event\":\"result\"");
            if ended {
                break;
            }
        }
        // It would wait for the services that were started; asked to end, it lets them go.
        place::signal(child.id(), Signal::TERM)?;
        child.wait()?;
        if !ended {
            return Ok(None);
        }
        let log = std::fs::read_to_string(log)?;
        // A call that is interrupted by another thread's is shown twice: `unfinished` and `resumed`.
        let calls = log.lines().filter(|line| line.contains("sync(") && !line.contains("resumed"));
        Ok(Some(calls.count() as u64))
    }

    /// Processes that run a program of this folder, or were told of it.
    fn processes(&self) -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| *id != std::process::id() && self.is_ours(*id)).collect()
    }

    fn is_ours(&self, id: u32) -> bool {
        let folder = self.path();
        let exe: PathBuf = std::fs::read_link(format!("/proc/{id}/exe")).unwrap_or_default();
        let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let told = words.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
        exe.starts_with(folder) || told.map(Path::new).any(|word| word.starts_with(folder))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let limit = Instant::now() + Duration::from_secs(GONE_SECONDS_MAX);
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            let late = Instant::now() >= limit;
            for id in left {
                if let Err(error) = place::signal(id, if late { Signal::KILL } else { Signal::TERM }) {
                    eprintln!("bench: process {id} could not be ended: {error:#}");
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// When each event of a command came, counted from the start of its process.
#[derive(Debug)]
pub struct Timeline {
    pub total: Duration,
    events: Vec<(Duration, Value)>,
}

impl Timeline {
    fn of(command: &mut Command) -> Result<Self> {
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let mut events = Vec::new();
        for line in BufReader::new(child.stdout.take().context("no stdout")?).lines() {
            let line = line?;
            events.push((start.elapsed(), serde_json::from_str(&line).with_context(|| line.clone())?));
        }
        let output = child.wait_with_output()?;
        let total = start.elapsed();
        ensure!(
            output.status.success(),
            "{command:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { total, events })
    }

    /// From the start to the first event of that name.
    pub fn at(&self, event: &str) -> Result<Duration> {
        self.events
            .iter()
            .find(|(_, value)| value["event"] == event)
            .map(|(at, _)| *at)
            .with_context(|| format!("there was no event {event}: {:?}", self.events))
    }

    /// What each step does, and how long it took, in the order of their starts.
    pub fn steps(&self) -> Result<Vec<(String, Duration)>> {
        let actions = self.actions()?;
        let mut started = BTreeMap::new();
        let mut steps = Vec::new();
        for (at, value) in &self.events {
            let Some(step) = value["step"].as_u64() else { continue };
            match value["event"].as_str() {
                Some("step_started") => {
                    started.insert(step, *at);
                }
                Some("step_succeeded") => {
                    let (Some(began), Some(action)) = (started.get(&step), actions.get(&step)) else {
                        continue;
                    };
                    steps.push((action.clone(), *at - *began));
                }
                _ => bail!("a step did not succeed: {value}"),
            }
        }
        Ok(steps)
    }

    /// From the start to the end of the step that does `action`.
    pub fn done(&self, action: &str) -> Result<Duration> {
        let actions = self.actions()?;
        let is_it = |value: &Value| {
            value["event"] == "step_succeeded"
                && value["step"]
                    .as_u64()
                    .and_then(|step| actions.get(&step))
                    .is_some_and(|seen| seen == action)
        };
        let found = self.events.iter().find(|(_, value)| is_it(value)).map(|(at, _)| *at);
        found.with_context(|| format!("nothing did {action}"))
    }

    fn actions(&self) -> Result<BTreeMap<u64, String>> {
        let started = self.events.iter().find(|(_, value)| value["event"] == "run_started");
        let (_, started) = started.context("there was no run")?;
        let phases = started["plan"]["phases"].as_array().context("a plan has phases")?;
        let lanes = phases.iter().filter_map(|phase| phase["lanes"].as_array()).flatten();
        let steps = lanes.filter_map(|lane| lane["steps"].as_array()).flatten();
        Ok(steps
            .filter_map(|step| Some((step["id"].as_u64()?, step["action"]["do"].as_str()?.to_owned())))
            .collect())
    }
}
