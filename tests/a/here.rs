//! One host, this machine, set up by `here.sh`: a Docker Engine that the test may end and start again, a registry, and
//! a Caddy outside of that engine.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::scene::{Scene, of_repository, text};
use crate::support::project::{self, Running};
use crate::support::ran::Ran;
use crate::support::{http, processes, wait_for};

/// Of Caddy in a deployment: for the counter of requests in flight, and for the switch.
pub const RELOADS: usize = 2;
/// From a line of output to the next one that a test waits for.
const EVENT_SECONDS_MAX: u64 = 30;

pub struct Here {
    pub port: u16,
    pub registry: String,
    scene: Scene,
    /// Where the project lies.
    folder: tempfile::TempDir,
}

impl Here {
    /// `None`, said so, where a part is missing.
    pub fn start() -> Option<Here> {
        Self::start_with(&[])
    }

    /// With the newest Caddy, which reads `active_color` at each request.
    pub fn start_by_file() -> Option<Here> {
        Self::start_with(&["file".to_owned()])
    }

    /// With nginx in the place of Caddy, which looks for a marker at each request.
    pub fn start_behind_nginx() -> Option<Here> {
        let here = Self::start_with(&["nginx".to_owned()])?;
        let admin = here.told("admin").to_owned();
        let yaml = std::fs::read_to_string(here.folder().join("lockgate.yaml")).unwrap();
        let router = format!("{{ nginx: {{ config: {}/nginx/nginx.conf }} }}", here.told("root"));
        here.configure(&yaml.replace(&format!("{{ caddy: {{ admin: \"{admin}\" }} }}"), &router));
        Some(here)
    }

    fn start_with(args: &[String]) -> Option<Here> {
        let scene = Scene::start("here.sh", args, &[])?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lockgate.yaml"), config(&scene)).unwrap();
        let port = u16::try_from(scene.told["port"].as_u64().unwrap()).unwrap();
        let registry = scene.text("registry").to_owned();
        Some(Here { port, registry, scene, folder })
    }

    /// Another configuration than the one with Caddy.
    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.folder.path().join("lockgate.yaml"), yaml).unwrap();
    }

    /// Where the project lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the script says.
    pub fn told(&self, key: &str) -> &str {
        self.scene.text(key)
    }

    /// Of Compose, or of nobody, in a slot's folder.
    pub fn write(&self, path: &str, content: &str) {
        let path = Path::new(self.told("root")).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn command(&self, typed: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(typed.split(' ')).stdin(Stdio::null()).current_dir(self.folder.path());
        command.env("DOCKER_HOST", self.scene.text("docker_host"));
        // No test asks with the login of whoever runs it.
        command.env("DOCKER_CONFIG", self.folder.path().join("no-login"));
        for name in ["LOCKGATE_ENV", "LOCKGATE_LOG", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "E2E_REGISTRY"] {
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

    /// Base URL of Caddy's admin API.
    pub fn admin(&self) -> &str {
        self.scene.text("admin")
    }

    pub fn run(&self, typed: &str) -> Ran {
        project::run(self.command(typed))
    }

    /// Tells the engine something.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker")
            .args(["-H", self.scene.text("docker_host")])
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
        let flags = text(&self.scene.told["engine"]["LOCKGATE_DOCKERD_FLAGS"]).replace("--live-restore", "");
        self.engine("scripts/dockerd-up", Some(&flags));
    }

    fn engine(&self, what: &str, flags: Option<&str>) {
        let mut command = Command::new("bash");
        command.arg(of_repository(what)).stdin(Stdio::null());
        for (name, value) in self.scene.told["engine"].as_object().unwrap() {
            command.env(name, text(value));
        }
        if let Some(flags) = flags {
            command.env("LOCKGATE_DOCKERD_FLAGS", flags);
        }
        // The script bounds its own waits.
        let status = command.status().unwrap();
        assert!(status.success(), "{what}: {status}");
    }

    /// Caddy does not find that container by its name any more.
    pub fn forget_name(&self, name: &str) {
        let hosts = Path::new(self.scene.text("root")).join("hosts");
        let known = std::fs::read_to_string(&hosts).unwrap();
        let left: String =
            known.lines().filter(|line| !line.ends_with(name)).flat_map(|line| [line, "\n"]).collect();
        assert_ne!(left, known, "{name} is in it");
        // In place, for Caddy has this very file in the place of its own.
        std::fs::write(&hosts, left).unwrap();
    }

    pub fn signal_registry(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.scene.told["registry_pid"].as_i64().unwrap()).unwrap();
        processes::send(pid, signal);
    }

    /// The registry ends; it is not started again.
    pub fn registry_down(&self) {
        self.signal_registry(rustix::process::Signal::KILL);
        wait_for("the registry to end", 5, || std::net::TcpStream::connect(&self.registry).err());
    }

    /// All that a deployment could change: what the router dials, containers, and the host's state files.
    pub fn world(&self) -> String {
        let admin = self.scene.text("admin").rsplit_once(':').unwrap().1.parse().unwrap();
        let upstreams = http::get(admin, "/id/web_upstream/upstreams").unwrap().text();
        let containers = self.docker(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]);
        let state = ["active_color", "previous_color", ".lockgate/releases.json"]
            .map(|name| std::fs::read_to_string(self.home().join(name)).ok());
        format!("{upstreams}\n{containers}\n{state:?}")
    }

    /// What the script says, as it is.
    pub fn told_as_json(&self, key: &str) -> &Value {
        &self.scene.told[key]
    }

    /// Where the service's state is.
    pub fn home(&self) -> std::path::PathBuf {
        Path::new(self.scene.text("root")).join("apps/web")
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

fn step_in(plan: &Value, action: &str) -> Value {
    let phases = plan["phases"].as_array().unwrap().iter();
    let lanes = phases.flat_map(|phase| phase["lanes"].as_array().unwrap());
    let mut steps = lanes.flat_map(|lane| lane["steps"].as_array().unwrap());
    let step = steps.find(|step| step["action"]["do"] == action);
    step.unwrap_or_else(|| panic!("no step does {action}: {plan:#}"))["id"].clone()
}

fn config(scene: &Scene) -> String {
    let [project, root, registry, admin] =
        ["project", "root", "registry", "admin"].map(|key| scene.text(key));
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
