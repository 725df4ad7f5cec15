//! Hosts with a real sshd, Docker Engine and Caddy each, set up by `scene.sh`, and a project that deploys to them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::scene::{Scene, text};
use crate::support::http;
use crate::support::ran::Ran;

/// Where ssh's control sockets go, so that those of a killed Lockgate are found.
const SOCKETS: &str = "t";

pub struct Host {
    pub id: String,
    /// Where Caddy serves.
    pub port: u16,
    /// The host's own files, as this machine sees them.
    files: PathBuf,
}

pub struct Fleet {
    pub hosts: Vec<Host>,
    /// Taken down after the connections to it were closed.
    _scene: Scene,
    /// Two machines to deploy from, each with a project folder of its own.
    machines: tempfile::TempDir,
}

impl Fleet {
    /// `None`, said so, where a part is missing.
    pub fn start(hosts: usize) -> Option<Fleet> {
        let scene = Scene::start("scene.sh", &[hosts.to_string()], &["sshd"])?;
        let machines = tempfile::tempdir().unwrap();
        std::fs::create_dir(machines.path().join(SOCKETS)).unwrap();
        for machine in ["m1", "m2"] {
            let folder = machines.path().join(machine);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("lockgate.yaml"), config(&scene)).unwrap();
        }
        let hosts = scene.told["hosts"].as_array().unwrap().iter().map(|host| Host {
            id: text(&host["id"]).to_owned(),
            port: u16::try_from(host["port"].as_u64().unwrap()).unwrap(),
            files: text(&host["files"]).into(),
        });
        Some(Fleet { hosts: hosts.collect(), _scene: scene, machines })
    }

    /// Deploys from `machine` go to the first `count` hosts only.
    pub fn configure_hosts(&self, machine: &str, count: usize) {
        let path = self.machines.path().join(machine).join("lockgate.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once("hosts: [").unwrap();
        let (_, tail) = rest.split_once(']').unwrap();
        let ids: Vec<&str> = self.hosts[..count].iter().map(|host| host.id.as_str()).collect();
        std::fs::write(&path, format!("{head}hosts: [{}]{tail}", ids.join(", "))).unwrap();
    }

    pub fn command(&self, machine: &str, typed: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(typed.split(' ')).stdin(Stdio::null()).current_dir(self.machines.path().join(machine));
        command.env("TMPDIR", self.machines.path().join(SOCKETS));
        for name in [
            "LOCKGATE_ENV",
            "LOCKGATE_LOG",
            "SLACK_WEBHOOK_URL",
            "SLACK_BOT_TOKEN",
            "DEPLOY_SSH_OPTS",
            "DEPLOY_SSH_PORT",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, machine: &str, typed: &str) -> Ran {
        let output = self.command(machine, typed).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            typed: typed.to_owned(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Every host serves `tag` from the slot that its files name, and nothing runs beside it.
    #[track_caller]
    pub fn expect_settled(&self, tag: &str) {
        for (host, status) in self.hosts.iter().zip(self.statuses()) {
            assert_eq!(http::get(host.port, "/").unwrap().release(), tag, "{}", host.id);
            let active = host.state("active_color").expect("active_color is there");
            assert_eq!(status["router"]["target"], active.trim(), "{status}");
            let slots = status["slots"].as_object().unwrap();
            let running: Vec<&String> =
                slots.iter().filter(|(_, slot)| slot["state"] == "running").map(|(slot, _)| slot).collect();
            assert_eq!(running, [active.trim()], "{status}");
        }
    }

    /// A killed Lockgate's ssh connection waits a quarter of a minute for somebody to use it; here it is told to go.
    fn close_connections(&self) {
        let folders = std::fs::read_dir(self.machines.path().join(SOCKETS)).into_iter().flatten().flatten();
        for folder in folders {
            let mut ssh = Command::new("ssh");
            ssh.arg("-S").arg(folder.path().join("master")).args(["-O", "exit", "host"]);
            if let Err(error) = ssh.stdout(Stdio::null()).stderr(Stdio::null()).status() {
                eprintln!("ssh could not be told to go: {error}");
            }
        }
    }

    fn statuses(&self) -> Vec<Value> {
        let status = self.run("m2", "status web --format json").expect(0).last();
        self.hosts.iter().map(|host| status["hosts"][&host.id].clone()).collect()
    }
}

impl Host {
    /// A state file's content.
    pub fn state(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.files.join("apps/web").join(name)).ok()
    }

    pub fn write_state(&self, name: &str, content: &str) {
        std::fs::write(self.files.join("apps/web").join(name), content).unwrap();
    }

    pub fn compose_file(&self, slot: &str) -> PathBuf {
        self.files.join("apps/web").join(slot).join("docker-compose.yml")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close_connections();
    }
}

fn config(scene: &Scene) -> String {
    let hosts: Vec<&str> =
        scene.told["hosts"].as_array().unwrap().iter().map(|host| text(&host["id"])).collect();
    let [project, root, registry, ssh_config] =
        ["project", "root", "registry", "ssh_config"].map(|key| scene.text(key));
    let hosts = hosts.join(", ");
    format!(
        r#"project: {project}
services:
  web:
    image: {registry}/web
    port: 5000
    health: {{ path: /health, timeout: 8s }}
    verify: {{ header: {{ x-release: "{{tag}}" }} }}
environments:
  prod:
    hosts: [{hosts}]
    waves: [1, rest]
    runtime: {{ compose: {{ dir: "{root}/apps/{{service}}/{{slot}}", project: "{project}-{{slot}}" }} }}
    router: {{ caddy: {{ admin: "unix/{root}/run/admin.sock" }} }}
    after: [{{ name: smoke, http: {{ samples: 2, interval: 20ms }} }}]
    drain: 5s
ssh: {{ options: [-F, "{ssh_config}"] }}
"#
    )
}
