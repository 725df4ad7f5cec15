//! One host, this machine, set up by `here.sh`: a Docker Engine that the test may end and start again, a registry, and
//! a Caddy outside of that engine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::fleet::{is_root, is_there, target_folder, text};
use crate::support::project::{self, Running};
use crate::support::ran::Ran;
use crate::support::{http, processes, skipped, wait_for};

const PROGRAMS: [&str; 8] =
    ["docker", "dockerd", "docker-registry", "caddy", "unshare", "iptables", "jq", "curl"];
/// Of Caddy in a deployment: for the counter of requests in flight, and for the switch.
pub const RELOADS: usize = 2;
/// From a line of output to the next one that a test waits for.
const EVENT_SECONDS_MAX: u64 = 30;

pub struct Here {
    pub port: u16,
    pub registry: String,
    told: Value,
    /// Ends, and cleans up, when its input does.
    scene: Child,
    /// Where the project lies.
    folder: tempfile::TempDir,
}

impl Here {
    /// `None`, said so, where a part is missing.
    pub fn start() -> Option<Here> {
        if let Some(missing) = PROGRAMS.iter().find(|program| !is_there(program)) {
            skipped(&format!("{missing} is not installed"));
            return None;
        }
        if !is_root() {
            skipped("only root can start a Docker Engine");
            return None;
        }
        let mut scene = Command::new("bash")
            .arg(script("tests/a/here.sh"))
            .env("CARGO_TARGET_DIR", target_folder())
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(scene.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("here.sh says above what went wrong");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lockgate.yaml"), config(&told)).unwrap();
        let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
        let registry = text(&told["registry"]).to_owned();
        Some(Here { port, registry, told, scene, folder })
    }

    pub fn command(&self, typed: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(typed.split(' ')).stdin(Stdio::null()).current_dir(self.folder.path());
        command.env("DOCKER_HOST", text(&self.told["docker_host"]));
        // No test asks with the login of whoever runs it.
        command.env("DOCKER_CONFIG", self.folder.path().join("no-login"));
        for name in ["LOCKGATE_ENV", "LOCKGATE_LOG", "SLACK_WEBHOOK_URL", "E2E_REGISTRY"] {
            command.env_remove(name);
        }
        command
    }

    /// Like [`Here::command`], with another registry than the real one.
    pub fn command_asking(&self, registry: &str, typed: &str) -> Command {
        let mut command = self.command(typed);
        command.env("E2E_REGISTRY", registry);
        command
    }

    pub fn run(&self, typed: &str) -> Ran {
        project::run(self.command(typed))
    }

    /// Tells the engine something.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker")
            .args(["-H", text(&self.told["docker_host"])])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn engine_down(&self) {
        self.engine("scripts/dockerd-down", None);
    }

    pub fn engine_up(&self) {
        self.engine("scripts/dockerd-up", None);
    }

    /// As most engines are: containers end with it, and those with a restart policy come back with it.
    pub fn engine_up_without_live_restore(&self) {
        let flags = text(&self.told["engine"]["LOCKGATE_DOCKERD_FLAGS"]).replace("--live-restore", "");
        self.engine("scripts/dockerd-up", Some(&flags));
    }

    fn engine(&self, what: &str, flags: Option<&str>) {
        let mut command = Command::new("bash");
        command.arg(script(what)).stdin(Stdio::null());
        for (name, value) in self.told["engine"].as_object().unwrap() {
            command.env(name, text(value));
        }
        if let Some(flags) = flags {
            command.env("LOCKGATE_DOCKERD_FLAGS", flags);
        }
        // The script bounds its own waits.
        let status = command.status().unwrap();
        assert!(status.success(), "{what}: {status}");
    }

    /// The registry ends; it is not started again.
    pub fn registry_down(&self) {
        let pid = i32::try_from(self.told["registry_pid"].as_i64().unwrap()).unwrap();
        processes::send(pid, rustix::process::Signal::KILL);
        wait_for("the registry to end", 5, || std::net::TcpStream::connect(&self.registry).err());
    }

    /// All that a deployment could change: what the router dials, containers, and the host's state files.
    pub fn world(&self) -> String {
        let admin = text(&self.told["admin"]).rsplit_once(':').unwrap().1.parse().unwrap();
        let upstreams = http::get(admin, "/id/web_upstream/upstreams").unwrap().text();
        let containers = self.docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]);
        let state = ["active_color", "previous_color", ".lockgate/releases.json"]
            .map(|name| std::fs::read_to_string(self.home().join(name)).ok());
        format!("{upstreams}\n{containers}\n{state:?}")
    }

    fn home(&self) -> std::path::PathBuf {
        Path::new(text(&self.told["root"])).join("apps/web")
    }

    /// Waits until a run that prints JSON has begun with the first step that does `action`.
    pub fn wait_until_begun(&self, running: &Running, action: &str) {
        wait_for(&format!("{action} to begin"), EVENT_SECONDS_MAX, || {
            let output = running.stdout();
            // A line that is still being written is no JSON yet.
            let events: Vec<Value> =
                output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let plan = &events.iter().find(|event| event["event"] == "run_started")?["plan"];
            let step = step_in(plan, action);
            events.iter().find(|event| event["event"] == "step_started" && event["step"] == step).map(drop)
        });
    }

    #[track_caller]
    pub fn expect_live(&self, tag: &str) {
        let answer = http::get(self.port, "/").unwrap();
        assert_eq!((answer.status, answer.release()), (200, tag), "{}", answer.text());
    }

    /// `tag` is live, alone, in the slot that the files name, and nothing is left unfinished.
    #[track_caller]
    pub fn expect_settled(&self, tag: &str) {
        self.expect_live(tag);
        let status = self.run("status web --format json").expect(0).last();
        assert_eq!(status["image_tag"], tag, "{status:#}");
        let host = &status["hosts"]["local"];
        let active = std::fs::read_to_string(self.home().join("active_color")).unwrap();
        assert_eq!(host["router"]["target"], active.trim(), "{status:#}");
        let slots = host["slots"].as_object().unwrap();
        let running: Vec<&String> =
            slots.iter().filter(|(_, slot)| slot["state"] == "running").map(|(slot, _)| slot).collect();
        assert_eq!(running, [active.trim()], "{status:#}");
        self.run("resume web").expect(0).says(&["nothing was left unfinished"]);
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(self.scene.stdin.take());
        // Its own functions bound every wait.
        if let Err(error) = self.scene.wait() {
            eprintln!("here.sh could not be waited for: {error}");
        }
    }
}

fn step_in(plan: &Value, action: &str) -> Value {
    let phases = plan["phases"].as_array().unwrap().iter();
    let lanes = phases.flat_map(|phase| phase["lanes"].as_array().unwrap());
    let mut steps = lanes.flat_map(|lane| lane["steps"].as_array().unwrap());
    let step = steps.find(|step| step["action"]["do"] == action);
    step.unwrap_or_else(|| panic!("no step does {action}: {plan:#}"))["id"].clone()
}

fn script(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn config(told: &Value) -> String {
    let (project, root) = (text(&told["project"]), text(&told["root"]));
    let (registry, admin) = (text(&told["registry"]), text(&told["admin"]));
    format!(
        r#"project: {project}
services:
  web:
    image: "${{E2E_REGISTRY:-{registry}}}/web"
    port: 5000
    health: {{ path: /health, timeout: 20s }}
    verify: {{ header: {{ x-release: "{{tag}}" }} }}
environments:
  prod:
    runtime: {{ compose: {{ dir: "{root}/apps/{{service}}/{{slot}}", project: "{project}-{{slot}}" }} }}
    router: {{ caddy: {{ admin: "{admin}" }} }}
    after: [{{ name: smoke, http: {{ samples: 2, interval: 20ms }} }}]
    drain: 5s
"#
    )
}
