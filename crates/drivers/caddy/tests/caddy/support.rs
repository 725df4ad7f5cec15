//! A real Caddy and two tiny apps, on loopback, of one test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_caddy::{Caddy, CaddyOptions};
use lockgate_model::{Digest, Millis, Release, ServiceName, Slot, Split, Tag};
use lockgate_ports::conformance::router::{HeldRequest, RouterFixture};
use lockgate_ports::{Answer, Endpoint, Host, PortError, Request, Router, Upstream, http};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

const START_SECONDS_MAX: u64 = 10;
const START_TRIES_MAX: usize = 3;
const STEP_SECONDS_MAX: u64 = 10;
const LOOK_MILLIS: u64 = 10;
pub const SITE: &str = "a.test";
pub const ID: &str = "web_upstream";

/// Debian's, which has no file switch.
pub const OLD: Program = Program { path: "caddy", user: None };
/// The newest, where `scripts/setup` puts it; its path is its version's.
pub const NEW: Program = Program { path: "/usr/local/share/lockgate-test/caddy-2.11.7/caddy", user: None };

/// A Caddy to run.
#[derive(Clone, Copy)]
pub struct Program {
    pub path: &'static str,
    /// Whom it runs as; `None`: whoever runs the tests.
    pub user: Option<u32>,
}

/// True when there is a Caddy to test with; says so when there is none.
pub fn caddy_is_there() -> bool {
    is_there(OLD)
}

/// True when the newest one is there; says so when it is not.
pub fn new_caddy_is_there() -> bool {
    is_there(NEW)
}

fn is_there(Program { path, .. }: Program) -> bool {
    let there = std::process::Command::new(path).arg("version").stdout(Stdio::null()).status().is_ok();
    if !there {
        assert!(
            std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(),
            "{path} is not installed: `scripts/setup` does it"
        );
        eprintln!("skipped: {path} is not installed");
    }
    there
}

pub fn local() -> Arc<dyn Host> {
    Arc::new(lockgate_local::Local::new())
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An app in a slot. `/hold` answers when it is let go, everything else at once; the body is the slot's name.
pub struct App {
    pub slot: Slot,
    pub address: SocketAddr,
    held: watch::Sender<usize>,
    go: Semaphore,
}

impl App {
    pub async fn start(slot: Slot) -> Arc<App> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Arc::new(App { slot, address, held: watch::Sender::new(0), go: Semaphore::new(0) });
        let accepting = app.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        app
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        loop {
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => head.extend_from_slice(&piece[..length]),
                }
            }
            if head.starts_with(b"GET /hold") {
                self.held.send_modify(|held| *held += 1);
                self.go.acquire().await.unwrap().forget();
            }
            head.clear();
            let body = self.slot.as_str();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// A Caddy process, killed on drop.
pub struct Process {
    child: Child,
    pub dir: tempfile::TempDir,
    config: String,
    adapter: &'static str,
    program: Program,
    /// Where it listens without an admin API.
    pub site: Option<SocketAddr>,
    pub admin: Endpoint,
}

impl Process {
    /// `config` is the file's content; `adapter` is empty for JSON. `site`: where it is waited for, when it has no admin API.
    pub async fn start(
        program: Program,
        dir: tempfile::TempDir,
        config: &str,
        adapter: &'static str,
        admin: Endpoint,
        site: Option<SocketAddr>,
    ) -> Process {
        std::fs::write(dir.path().join("config"), config).unwrap();
        let child = run(program, dir.path(), adapter, &[]);
        let mut process = Process { child, dir, config: config.to_owned(), adapter, program, site, admin };
        process.await_up().await;
        process
    }

    /// Kills it and starts it anew from its file, or from what it last ran with `--resume`.
    pub async fn restart(&mut self, args: &[&str]) {
        self.stop();
        self.child = run(self.program, self.dir.path(), self.adapter, args);
        self.await_up().await;
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn await_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        for _ in 0..START_TRIES_MAX {
            while self.child.try_wait().unwrap().is_none() {
                if self.is_up().await {
                    return;
                }
                assert!(
                    Instant::now() < deadline,
                    "Caddy is up within {START_SECONDS_MAX} s; its log:\n{}",
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
            }
            // Another process may have taken the port in between.
            self.child = run(self.program, self.dir.path(), self.adapter, &[]);
        }
        panic!("Caddy does not start; its log:\n{}", self.log());
    }

    async fn is_up(&self) -> bool {
        match self.site {
            Some(site) => TcpStream::connect(site).await.is_ok(),
            None => {
                let look = self.empty_host(Request::get("/config/", MOMENT));
                http::send(local().as_ref(), &self.admin, look).await.is_ok()
            }
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn empty_host(&self, request: Request) -> Request {
        if matches!(self.admin, Endpoint::Unix(_)) { request.header("host", "") } else { request }
    }

    pub async fn admin(&self, method: &'static str, path: &str, body: &Value) -> Answer {
        let request = if method == "GET" {
            Request::get(path, MOMENT)
        } else {
            Request::json(method, path, body.to_string().into_bytes(), MOMENT)
        };
        http::send(local().as_ref(), &self.admin, self.empty_host(request)).await.unwrap()
    }

    pub async fn config(&self) -> Value {
        serde_json::from_slice(&self.admin("GET", "/config/", &Value::Null).await.body).unwrap()
    }

    /// As `caddy reload` of the file it was started with: what the admin API changed is lost.
    pub async fn reload(&self) {
        if self.adapter.is_empty() {
            let file: Value = serde_json::from_str(&self.config).unwrap();
            assert_eq!(self.admin("POST", "/load", &file).await.status, 200);
            return;
        }
        let file = self.dir.path().join("config");
        let status = std::process::Command::new(self.program.path)
            .args(["reload", "--adapter", self.adapter, "--address", &self.admin.to_string(), "--config"])
            .arg(file)
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "caddy reload");
    }
}

pub const MOMENT: Millis = Millis::from_secs(STEP_SECONDS_MAX);

fn run(program: Program, dir: &std::path::Path, adapter: &str, args: &[&str]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = std::process::Command::new(program.path);
    if let Some(user) = program.user {
        std::os::unix::fs::chown(dir, Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
    }
    command
        .args(["run", "--adapter", adapter, "--config"])
        .arg(dir.join("config"))
        .args(args)
        .env("XDG_CONFIG_HOME", dir)
        .env("XDG_DATA_HOME", dir)
        .env("HOME", dir)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two apps, a Caddy before them, and the driver.
pub struct World {
    pub apps: [Arc<App>; 2],
    pub process: Process,
    pub site: SocketAddr,
    pub caddy: Caddy,
}

/// How a test's Caddy is set up.
pub struct Setup {
    pub apps: [Arc<App>; 2],
    pub admin: Endpoint,
    pub site: SocketAddr,
}

impl Setup {
    pub async fn new() -> Setup {
        let apps = [App::start(Slot::Blue).await, App::start(Slot::Green).await];
        let admin = Endpoint::Tcp(format!("127.0.0.1:{}", free_port()));
        Setup { apps, admin, site: SocketAddr::from(([127, 0, 0, 1], free_port())) }
    }

    pub fn dial(&self, slot: Slot) -> String {
        self.apps.iter().find(|app| app.slot == slot).unwrap().address.to_string()
    }

    pub fn app_port(&self, slot: Slot) -> u16 {
        self.apps.iter().find(|app| app.slot == slot).unwrap().address.port()
    }

    pub fn proxy(&self) -> Value {
        json!({"handler": "reverse_proxy", "upstreams": [{"dial": self.dial(Slot::Blue)}]})
    }

    /// A JSON configuration whose one server has `routes`.
    pub fn json(&self, routes: &Value) -> Value {
        let listen = match &self.admin {
            Endpoint::Tcp(address) => address.clone(),
            Endpoint::Unix(path) => format!("unix/{path}"),
        };
        json!({
            "admin": {"listen": listen},
            "apps": {"http": {"servers": {"srv0": {
                "listen": [self.site.to_string()],
                "automatic_https": {"disable": true},
                "routes": routes,
            }}}},
        })
    }

    pub fn caddyfile(&self, site: &str) -> String {
        format!(
            "{{\n admin {}\n auto_https off\n}}\nhttp://{SITE}:{} {{\n bind 127.0.0.1\n {site}\n}}\n",
            self.admin,
            self.site.port()
        )
    }

    pub fn options(&self) -> CaddyOptions {
        CaddyOptions {
            host: local(),
            label: "web".to_owned(),
            admin: match &self.admin {
                Endpoint::Tcp(address) => format!("http://{address}"),
                Endpoint::Unix(path) => format!("unix/{path}"),
            },
            id: None,
            dial: [Slot::Blue, Slot::Green]
                .into_iter()
                .map(|slot| (slot, self.dial(slot)))
                .collect::<BTreeMap<_, _>>(),
            ask: None,
            snippet: None,
        }
    }

    pub fn with_id(&self) -> CaddyOptions {
        CaddyOptions { id: Some(ID.to_owned()), ..self.options() }
    }

    pub async fn run_json(self, config: &Value, options: CaddyOptions) -> World {
        self.run(&config.to_string(), "", options).await
    }

    pub async fn run(self, config: &str, adapter: &'static str, options: CaddyOptions) -> World {
        self.run_program(OLD, config, adapter, options).await
    }

    pub async fn run_program(
        self,
        program: Program,
        config: &str,
        adapter: &'static str,
        options: CaddyOptions,
    ) -> World {
        let dir = tempfile::tempdir().unwrap();
        // The file may be looked at without the admin API, by whoever knows where it is.
        let silent = config.contains("admin off").then_some(self.site);
        let process = Process::start(program, dir, config, adapter, self.admin.clone(), silent).await;
        World { process, site: self.site, apps: self.apps, caddy: Caddy::new(options).unwrap() }
    }

    /// One route for [`SITE`] whose handler has [`ID`].
    pub fn simple(&self) -> Value {
        let mut proxy = self.proxy();
        proxy["@id"] = json!(ID);
        self.json(&json!([{"match": [{"host": [SITE]}], "handle": [proxy], "terminal": true}]))
    }
}

impl World {
    pub async fn simple() -> World {
        let setup = Setup::new().await;
        let (config, options) = (setup.simple(), setup.with_id());
        setup.run_json(&config, options).await
    }

    pub fn app(&self, slot: Slot) -> &Arc<App> {
        self.apps.iter().find(|app| app.slot == slot).unwrap()
    }

    /// Switches from what the route is now.
    pub async fn switch(&self, slot: Slot) -> Result<(), PortError> {
        let version = self.caddy.route().await?.version;
        self.caddy.set(&Split::all_to(self.upstream(slot)), &version).await
    }

    /// Which slot answers a user.
    pub async fn answer(&self) -> String {
        let request = Request::get("/slot", MOMENT);
        let seen = self.caddy.ask(&request).await.unwrap();
        assert_eq!(seen.answer.status, 200);
        seen.answer.text()
    }
}

#[async_trait]
impl RouterFixture for World {
    fn router(&self) -> &dyn Router {
        &self.caddy
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        let digit = if slot == Slot::Blue { "b" } else { "a" };
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(slot.as_str()).unwrap(),
            digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        };
        Upstream {
            slot,
            release,
            endpoint: Endpoint::Tcp(self.app(slot).address.to_string()),
            replicas: Vec::new(),
        }
    }

    async fn hold_request(&self) -> Box<dyn HeldRequest> {
        let mut seen = self.apps.each_ref().map(|app| app.held.subscribe());
        seen.iter_mut().for_each(|held| held.mark_unchanged());
        let mut stream = TcpStream::connect(self.site).await.unwrap();
        let head = format!("GET /hold HTTP/1.1\r\nhost: {SITE}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let [blue, green] = &mut seen;
        let begun = async {
            tokio::select! {
                _ = blue.changed() => self.apps[0].clone(),
                _ = green.changed() => self.apps[1].clone(),
            }
        };
        let app = timeout(MOMENT.duration(), begun).await.expect("the held request reaches an app");
        Box::new(Held { app, stream })
    }
}

struct Held {
    app: Arc<App>,
    stream: TcpStream,
}

#[async_trait]
impl HeldRequest for Held {
    async fn finish(mut self: Box<Self>) -> Result<String, String> {
        self.app.go.add_permits(1);
        let mut answer = String::new();
        let read = timeout(MOMENT.duration(), self.stream.read_to_string(&mut answer)).await;
        read.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(format!("broken off: {answer:?}")),
        }
    }
}
