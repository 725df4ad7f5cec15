//! A project in a clone of its own, which is shipped to this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::a::scene::Scene;
use crate::support::http::{self, Answer};
use crate::support::project::{self, Running};
use crate::support::ran::Ran;
use crate::support::wait_for;

/// A container that was started answers within this time.
const ANSWERS_SECONDS_MAX: u64 = 10;
/// Variables of whoever runs the tests that a job of theirs must not see.
const NOT_OURS: [&str; 11] = [
    "LOCKGATE_ENV",
    "LOCKGATE_LOG",
    "SLACK_WEBHOOK_URL",
    "SLACK_BOT_TOKEN",
    "GITHUB_ACTIONS",
    "GITHUB_EVENT_NAME",
    "GITHUB_EVENT_PATH",
    "GITHUB_TOKEN",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "IMAGE_TAG",
];

/// What a test wants otherwise than usual; texts are YAML.
#[derive(Default)]
pub struct Setup {
    /// Lines of the service, indented by four.
    pub service: String,
    /// Lines at the end.
    pub end: String,
    /// The image is kept where a login is wanted.
    pub private: bool,
}

pub struct Yard {
    pub port: u16,
    /// `127.0.0.1:PORT`.
    pub registry: String,
    scene: Scene,
    folder: tempfile::TempDir,
}

impl Yard {
    /// `None`, said so, where a part is missing. The first commit is there, and nothing is live.
    pub fn start(setup: &Setup) -> Option<Yard> {
        let scene = Scene::start_in("tests/c", "yard.sh", &[], &["git", "htpasswd"])?;
        // What Compose calls after its folder is found by the project's name, and removed by it.
        let prefix = format!("{}-", scene.text("project"));
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let registry = scene.text(if setup.private { "private" } else { "registry" }).to_owned();
        let port = u16::try_from(scene.told["port"].as_u64().unwrap()).unwrap();
        let yard = Yard { port, registry, scene, folder };
        let (project, image) = (yard.scene.text("project"), yard.image());
        let Setup { service, end, .. } = setup;
        yard.write(
            "lockgate.yaml",
            &format!(
                "project: {project}\nservices:\n  web:\n    image: {image}\n    port: 5000\n    health: {{ path: /health, timeout: \
                 20s }}\n{service}environments:\n  prod:\n    strategy: recreate\n    runtime: {{ compose: {{ file: \
                 docker-compose.yml, service: web }} }}\n    router: none\n{end}"
            ),
        );
        yard.write(
            "docker-compose.yml",
            &format!(
                "services:\n  web:\n    image: {image}:${{IMAGE_TAG:-none}}\n    container_name: {project}-web\n    ports: \
                 [\"127.0.0.1:{port}:5000\"]\n"
            ),
        );
        std::fs::copy(yard.scene.text("hello"), yard.path("hello")).unwrap();
        yard.write("src/version", "one");
        yard.write(
            "Dockerfile",
            "FROM scratch\nCOPY hello /hello\nCOPY src /src\nENV PORT=5000\nENTRYPOINT [\"/hello\"]\n",
        );
        yard.write(".dockerignore", ".lockgate\n");
        yard.git(&["init", "-q"]);
        yard.commit("First");
        Some(yard)
    }

    pub fn image(&self) -> String {
        format!("{}/web", self.registry)
    }

    pub fn password(&self) -> &str {
        self.scene.text("password")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let who = [
            "-c",
            "user.name=Kim Ship",
            "-c",
            "user.email=kim@shop.example",
            "-c",
            "init.defaultBranch=main",
        ];
        let mut command = Command::new("git");
        command.args(who).args(args).current_dir(self.folder.path()).env_remove("GIT_DIR");
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// All that lies here, as a commit; its name.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A", "--", ".", ":!.lockgate"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A file changed and committed; the commit's name.
    pub fn change(&self, name: &str, content: &str, message: &str) -> String {
        self.write(name, content);
        self.commit(message)
    }

    pub fn command(&self, typed: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(typed.split(' ')).stdin(Stdio::null()).current_dir(self.folder.path());
        // No test asks with the login of whoever runs it.
        command.env("DOCKER_CONFIG", self.path(".lockgate/no-login"));
        for name in NOT_OURS {
            command.env_remove(name);
        }
        // What configurations here name; of some commands it is another one.
        command.env("SHOP_PASSWORD", self.password()).env("SHOP_GREETING", "hunter2-greets");
        command
    }

    pub fn run(&self, typed: &str) -> Ran {
        project::run(self.command(typed))
    }

    pub fn begin(&self, typed: &str) -> Running {
        Running::start(self.command(typed))
    }

    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the tag leads to in the registry; `None` where it does not have it.
    pub fn in_registry(&self, tag: &str) -> Option<String> {
        let port = self.registry.rsplit(':').next().unwrap().parse().unwrap();
        let mut client = http::tcp(port).unwrap();
        let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
        let headers = [("accept", accept), ("connection", "close")];
        let answer: Answer = client.send("GET", &format!("/v2/web/manifests/{tag}"), &headers, b"").unwrap();
        (answer.status == 200).then(|| answer.header("docker-content-digest").unwrap().to_owned())
    }

    /// The release that is live, as `status` has it.
    #[track_caller]
    pub fn live(&self) -> Value {
        let status = self.run("status web --format json").expect(0).last();
        status["hosts"]["local"]["slots"]["main"]["release"].clone()
    }

    #[track_caller]
    pub fn expect_serving(&self) {
        wait_for("the app to answer", ANSWERS_SECONDS_MAX, || {
            http::get(self.port, "/").ok().filter(|answer| answer.status == 200)
        });
    }

    /// All that was kept of the jobs, oldest `ship` first.
    pub fn logs(&self, job: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(".lockgate/ship")) else { return Vec::new() };
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders.iter().filter_map(|folder| std::fs::read_to_string(folder.join(job)).ok()).collect()
    }
}

/// A way to a registry that breaks when a layer is sent: it hands on what is asked, and closes the connection at the first
/// `PATCH` or at a `PUT` of a blob.
pub struct Breaking {
    pub address: String,
}

impl Breaking {
    pub fn start(registry: &str) -> Breaking {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = registry.to_owned();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let registry = registry.clone();
                std::thread::spawn(move || hand_on(client, &registry));
            }
        });
        Breaking { address }
    }
}

fn hand_on(mut client: std::net::TcpStream, registry: &str) -> Option<()> {
    use std::io::{Read, Write};
    let mut server = std::net::TcpStream::connect(registry).ok()?;
    let (mut back, mut to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut back, &mut to_client));
    let mut bytes = [0; 16 * 1024];
    loop {
        let read = client.read(&mut bytes).ok().filter(|read| *read > 0)?;
        let said = String::from_utf8_lossy(&bytes[..read]);
        let sends = said.starts_with("PATCH ") || (said.starts_with("PUT ") && said.contains("/blobs/"));
        if sends {
            client.shutdown(std::net::Shutdown::Both).ok()?;
            server.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
        server.write_all(&bytes[..read]).ok()?;
    }
}
