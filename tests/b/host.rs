//! System B's host, set up by `host.sh`: the first release runs, started by hand.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::a::scene::Scene;
use crate::support::http::{self, Answer};
use crate::support::project;
use crate::support::ran::Ran;
use crate::support::wait_for;

/// A container that was started answers within this time.
const ANSWERS_SECONDS_MAX: u64 = 10;

/// Which Compose the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComposeVersion {
    V2,
    V1,
}

pub struct HostB {
    pub port: u16,
    scene: Scene,
    /// Where the project lies.
    folder: tempfile::TempDir,
}

/// What tells a container apart from one that was made or started anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    id: String,
    started: String,
    restarts: i64,
}

impl HostB {
    /// `None`, said so, where a part is missing. `health` is the service's, in YAML.
    pub fn start(version: ComposeVersion, health: &str) -> Option<HostB> {
        let arg = match version {
            ComposeVersion::V2 => "v2",
            ComposeVersion::V1 => "v1",
        };
        let scene = Scene::start_in("tests/b", "host.sh", &[arg.to_owned()], &["docker-compose"])?;
        let folder = tempfile::tempdir().unwrap();
        let [project, file, registry] = ["project", "file", "registry"].map(|key| scene.text(key));
        let config = format!(
            r#"project: {project}
services:
  app: {{ image: {registry}/app, health: {health}, port: 5000 }}
environments:
  prod:
    strategy: recreate
    runtime: {{ compose: {{ file: {file}, service: app }} }}
    router: none
    keep_releases: 2
"#
        );
        std::fs::write(folder.path().join("lockgate.yaml"), config).unwrap();
        let port = u16::try_from(scene.told["port"].as_u64().unwrap()).unwrap();
        Some(HostB { port, scene, folder })
    }

    /// With other lines in the place of `router: none` and of what the Compose file publishes.
    pub fn change(&self, router: &str, ports: &str) {
        let change = |path: &std::path::Path, key: &str, line: &str| {
            let text = std::fs::read_to_string(path).unwrap();
            let lines = text.lines().map(|old| match old.trim_start().starts_with(key) {
                true => format!("{}{line}", &old[..old.len() - old.trim_start().len()]),
                false => old.to_owned(),
            });
            let changed: Vec<String> = lines.collect();
            assert!(changed.iter().any(|new| new.trim_start() == line), "{text}");
            std::fs::write(path, changed.join("\n") + "\n").unwrap();
        };
        change(&self.config(), "router:", router);
        change(std::path::Path::new(self.file()), "ports:", ports);
    }

    /// What the Compose file publishes as its team left it.
    pub fn ports(&self) -> String {
        format!("ports: [\"127.0.0.1:{}:5000\"]", self.port)
    }

    /// `lockgate.yaml`.
    pub fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("lockgate.yaml")
    }

    /// The name of a service's container.
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.scene.text("project"))
    }

    /// A command that is killed or waited for by whoever starts it.
    pub fn begin(&self, typed: &str) -> project::Running {
        project::Running::start(self.command(typed))
    }

    pub fn tag(&self, name: &str) -> &str {
        self.scene.told["tags"][name].as_str().unwrap_or_else(|| panic!("no release is called {name}"))
    }

    pub fn run(&self, typed: &str) -> Ran {
        project::run(self.command(typed))
    }

    fn command(&self, typed: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(typed.split(' ')).stdin(Stdio::null()).current_dir(self.folder.path());
        let path = std::env::var("PATH").unwrap();
        let path = match self.scene.text("bin") {
            "" => path,
            bin => format!("{bin}:{path}"),
        };
        command.env("PATH", path);
        // No test asks with the login of whoever runs it.
        command.env("DOCKER_CONFIG", self.folder.path().join("no-login"));
        for name in ["LOCKGATE_ENV", "LOCKGATE_LOG", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "IMAGE_TAG"] {
            command.env_remove(name);
        }
        command
    }

    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn inspect(&self, service: &str) -> Value {
        let name = self.container(service);
        serde_json::from_str(&self.docker(&["inspect", "-f", "{{json .}}", &name])).unwrap()
    }

    #[track_caller]
    pub fn life(&self, service: &str) -> Life {
        let seen = self.inspect(service);
        assert_eq!(seen["State"]["Running"], true, "{service}: {:#}", seen["State"]);
        Life {
            id: seen["Id"].as_str().unwrap().to_owned(),
            started: seen["State"]["StartedAt"].as_str().unwrap().to_owned(),
            restarts: seen["RestartCount"].as_i64().unwrap(),
        }
    }

    /// The Compose file.
    pub fn file(&self) -> &str {
        self.scene.text("file")
    }

    /// All containers of the Compose project, stopped ones too.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("name=^{}-", self.scene.text("project"));
        let listed = self.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The names that there should be, and no other.
    pub fn named(&self) -> Vec<String> {
        ["app", "db", "queue"].map(|service| format!("{}-{service}", self.scene.text("project"))).into()
    }

    /// References to the app's images on the host: tags of the registry, and what Lockgate keeps for itself, by digest.
    pub fn has_image(&self, digest: &str) -> bool {
        let reference = format!("{}/app@{digest}", self.scene.text("registry"));
        let output = Command::new("docker").args(["image", "inspect", &reference]).output().unwrap();
        output.status.success()
    }

    fn answer(&self) -> Answer {
        wait_for("the app to answer", ANSWERS_SECONDS_MAX, || http::get(self.port, "/").ok())
    }

    /// That release answers, its container is told its tag, and what `status` says agrees. Its digest.
    #[track_caller]
    pub fn expect_live(&self, tag: &str) -> String {
        assert_eq!(self.answer().release(), tag);
        let variables = self.inspect("app")["Config"]["Env"].clone();
        let told = format!("DEPLOYED_TAG={tag}");
        assert!(variables.as_array().unwrap().iter().any(|one| *one == told), "{variables:#}");
        let status = self.run("status app --format json").expect(0).last();
        assert_eq!(status["image_tag"], tag, "{status:#}");
        let digest = &status["hosts"]["local"]["slots"]["main"]["release"]["digest"];
        digest.as_str().unwrap_or_else(|| panic!("{status:#}")).to_owned()
    }
}
