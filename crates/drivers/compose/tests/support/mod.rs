//! A real registry, real images and a service of its own for each test; everything is removed on drop.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lockgate_compose::{Compose, ComposeCli, ComposeOptions};
use lockgate_local::Local;
use lockgate_model::{
    ComposeLayout, ComposeRuntime, EnvironmentName, Health, HttpHealth, Millis, ProjectName, Secret, Service,
    ServiceName, StatusRange, Strategy, Tag, Template,
};
use lockgate_ports::{Answer, Endpoint, Host, PortError, Request, http};

const READY_SECONDS_MAX: u64 = 20;
const LOOK_MILLIS: u64 = 20;
/// The port that the test image listens on.
pub const PORT: u16 = 8080;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Prints why the test cannot run here, or panics where everything must.
pub fn skip(what: &str) {
    let required = std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{what} is not installed or does not answer");
    eprintln!("skipped: {what} is not installed");
}

fn works(argv: &[&str]) -> bool {
    let status = Command::new(argv[0]).args(&argv[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// False, with the reason printed, when the real parts are missing.
pub fn ready(compose: Option<ComposeCli>) -> bool {
    let needed: &[(&str, &[&str])] = &[
        ("Docker Engine", &["docker", "version"]),
        ("docker-registry", &["docker-registry", "--version"]),
        ("busybox-static", &["/bin/busybox", "true"]),
    ];
    let cli: (&str, &[&str]) = match compose {
        Some(ComposeCli::Standalone) => ("docker-compose", &["docker-compose", "version", "--short"]),
        _ => ("the Docker Compose plugin", &["docker", "compose", "version", "--short"]),
    };
    let missing = needed.iter().copied().chain([cli]).find(|(_, argv)| !works(argv));
    if let Some((what, _)) = missing {
        skip(what);
    }
    missing.is_none()
}

pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's `docker-registry` on a loopback port.
pub struct Registry {
    pub address: String,
    child: Child,
}

impl Registry {
    /// With `htpasswd`, only that file's users may read and write.
    pub fn start(dir: &Path, htpasswd: Option<&Path>) -> Registry {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let auth = htpasswd.map_or(
            serde_json::json!({}),
            |path| serde_json::json!({ "htpasswd": { "realm": "test", "path": path } }),
        );
        let mut config = serde_json::json!({
            "version": 0.1, "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": dir.join(format!("registry-{port}")) } },
            "http": { "addr": address },
        });
        if htpasswd.is_some() {
            config["auth"] = auth;
        }
        let path = dir.join(format!("registry-{port}.yml"));
        std::fs::write(&path, config.to_string()).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { address, child };
        wait_for("the registry", || std::net::TcpStream::connect(&registry.address).is_ok());
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    while !condition() {
        assert!(Instant::now() < limit, "{what} was not there within {READY_SECONDS_MAX} s");
        std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
    }
}

/// A registry, a folder and a service whose names no other test has.
pub struct World {
    pub dir: tempfile::TempDir,
    pub registry: Registry,
    pub name: String,
    pub host: Arc<dyn Host>,
    repositories: std::sync::Mutex<Vec<String>>,
}

impl World {
    pub fn new() -> World {
        World::with(|dir| Registry::start(dir, None))
    }

    pub fn with(registry: impl FnOnce(&Path) -> Registry) -> World {
        let dir = tempfile::Builder::new().prefix("lockgate compose ").tempdir().unwrap();
        let name = format!("lg{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let registry = registry(dir.path());
        World { dir, registry, name, host: Arc::new(Local::new()), repositories: std::sync::Mutex::default() }
    }

    pub fn repository(&self) -> String {
        format!("{}/{}/web", self.registry.address, self.name)
    }

    /// Makes an image `FROM scratch` whose `/` answers with a body of its own; it is on this machine only.
    pub fn build(&self, repository: &str, tag: &str) -> String {
        self.build_with(repository, tag, &[])
    }

    /// With more of a Dockerfile's instructions: `VOLUME /www`.
    pub fn build_with(&self, repository: &str, tag: &str, instructions: &[&str]) -> String {
        let root = self.dir.path().join(format!("rootfs-{tag}"));
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("www")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        std::fs::write(root.join("www/index.html"), format!("{} {tag}\n", self.name)).unwrap();
        let script = format!(
            "trap 'exit 0' TERM; echo started {tag}; echo \"[$TOKEN]\" >/www/token; \
             /bin/busybox httpd -f -p {PORT} -h /www & wait"
        );
        let command = serde_json::json!(["/bin/busybox", "sh", "-c", script]);
        let mut tar = Command::new("tar")
            .arg("-c")
            .arg("-C")
            .arg(&root)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let reference = format!("{repository}:{tag}");
        let output = Command::new("docker")
            .args(["import", "--change", &format!("CMD {command}")])
            .args(["--change", &format!("LABEL org.opencontainers.image.revision=commit-{tag}")])
            .args(instructions.iter().flat_map(|instruction| ["--change", instruction]))
            .args(["-", &reference])
            .stdin(tar.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(tar.wait().unwrap().success() && output.status.success(), "{output:?}");
        self.repositories.lock().unwrap().push(repository.to_owned());
        reference
    }

    /// In the registry, and not on this machine.
    pub fn publish(&self, tag: &str) {
        self.publish_with(tag, &[]);
    }

    /// As [`World::build_with`].
    pub fn publish_with(&self, tag: &str, instructions: &[&str]) {
        let reference = self.build_with(&self.repository(), tag, instructions);
        docker(&["push", "--quiet", &reference]);
        docker(&["rmi", &reference]);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// System A's layout, as a user would write it, in a folder whose name has a space.
    pub fn folders(&self) -> ComposeLayout {
        for slot in ["blue", "green"] {
            let content = format!(
                "version: '3.8'\nservices:\n  {}:\n    image: {}:${{IMAGE_TAG}}\n    container_name: {}-{slot}\n",
                self.name,
                self.repository(),
                self.name
            );
            self.write(&format!("srv apps/{}/{slot}/docker-compose.yml", self.name), &content);
        }
        self.folders_as_they_are()
    }

    /// As [`World::folders`], with the files that a test has written there.
    pub fn folders_as_they_are(&self) -> ComposeLayout {
        let root = self.path("srv apps");
        ComposeLayout::Folders(Template::new(format!("{}/{{service}}/{{slot}}", root.display())).unwrap())
    }

    /// System D's layout: one file with both slots.
    pub fn file(&self) -> ComposeLayout {
        let image = format!("{}:${{IMAGE_TAG:-none}}", self.repository());
        let content = format!(
            "services:\n  {0}-blue: {{ image: '{image}' }}\n  {0}-green: {{ image: '{image}' }}\n  redis: {{ image: none }}\n",
            self.name
        );
        let path = self.write(&format!("{}/docker-compose.yml", self.name), &content);
        ComposeLayout::File(Template::new(path).unwrap())
    }

    pub fn service(&self) -> Service {
        Service {
            name: ServiceName::new(&self.name).unwrap(),
            image: Some(self.repository()),
            command: Vec::new(),
            cwd: None,
            env: BTreeMap::from([("TOKEN".to_owned(), Secret::new("a$b ${HOME} \"q\""))]),
            env_from: BTreeMap::new(),
            port: Some(PORT),
            health: Health::Http(HttpHealth {
                path: "/".to_owned(),
                timeout: Millis::from_secs(10),
                passes: 1,
                status: StatusRange::OK,
                body: None,
                headers: BTreeMap::new(),
            }),
            critical_paths: Vec::new(),
            verify: None,
            urls: BTreeMap::new(),
            ship: lockgate_model::Ship::default(),
            hooks: lockgate_model::Hooks::default(),
        }
    }

    pub fn options(&self, layout: ComposeLayout) -> ComposeOptions {
        ComposeOptions {
            host: self.host.clone(),
            project: ProjectName::new(&self.name).unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            service: self.service(),
            slots: Strategy::BlueGreen.slots(),
            runtime: ComposeRuntime { layout, service: None, project: None, docker_host: None },
            disk_free_mib: 1,
        }
    }

    pub fn compose(&self, layout: ComposeLayout) -> Compose {
        Compose::new(self.options(layout))
    }

    pub async fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Answer, PortError> {
        http::send(self.host.as_ref(), endpoint, Request::get(path, Millis::from_secs(2))).await
    }

    /// The body of the first 200.
    pub async fn body(&self, endpoint: &Endpoint, path: &str) -> String {
        let limit = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        loop {
            match self.get(endpoint, path).await {
                Ok(answer) if answer.status == 200 => return answer.text(),
                other => assert!(Instant::now() < limit, "{endpoint}{path}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
    }

    fn clean(&self) {
        let list = |args: &[&str]| -> Vec<String> { docker(args).lines().map(str::to_owned).collect() };
        let containers: Vec<String> = list(&["ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Labels}}"])
            .into_iter()
            .filter(|line| line.contains(&self.name))
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect();
        for id in containers {
            docker(&["rm", "-f", "-v", &id]);
        }
        let networks = list(&["network", "ls", "--format", "{{.Name}}"]);
        for network in networks.iter().filter(|network| network.contains(&self.name)) {
            docker(&["network", "rm", network]);
        }
        let images = list(&["images", "--digests", "--format", "{{.Repository}} {{.ID}}"]);
        let repositories = self.repositories.lock().unwrap();
        for line in images {
            let (repository, id) = line.split_once(' ').unwrap();
            if repository.contains(&self.name) || repositories.iter().any(|one| one == repository) {
                // Several lines can name one image.
                Command::new("docker").args(["rmi", "-f", id]).output().unwrap();
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() || std::env::var_os("LOCKGATE_TEST_KEEP").is_none() {
            self.clean();
        }
    }
}

pub fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}
