//! A real nginx and two tiny apps, on loopback, of one test's own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{Digest, Millis, NginxSwitch, Release, ServiceName, Slot, Split, Tag};
use lockgate_nginx::{Nginx, NginxOptions};
use lockgate_ports::conformance::router::{HeldRequest, RouterFixture};
use lockgate_ports::{Check, Endpoint, Host, PortError, Request, Router, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::hosts::Prefixed;

const START_SECONDS_MAX: u64 = 10;
const START_TRIES_MAX: usize = 3;
const STEP_SECONDS_MAX: u64 = 10;
const LOOK_MILLIS: u64 = 10;
pub const MOMENT: Millis = Millis::from_secs(STEP_SECONDS_MAX);
pub const LOOPBACK: &str = "127.0.0.1";
pub const SITE: &str = "a.test";

/// What `doctor` tells people to paste, and the location to it.
pub const SNIPPET: &str = "set $slot_of_web blue;
set $dial_of_web BLUE;
if (-f MARKER) {
	set $slot_of_web green;
	set $dial_of_web GREEN;
}
location = /.lockgate/web {
	default_type text/plain;
	return 200 $slot_of_web;
}
location / {
	proxy_pass http://$dial_of_web;
	proxy_redirect http://$dial_of_web/ /;
}
location /ws {
	proxy_pass http://$dial_of_web;
	proxy_http_version 1.1;
	proxy_set_header Upgrade $http_upgrade;
	proxy_set_header Connection upgrade;
}
";

/// What is written at first where a switch is a reload.
pub const LIVE: &str = "# Lockgate writes this at each switch: what is changed here is lost.
map \"\" $slot_of_web { default blue; }
map \"\" $dial_of_web { default BLUE; }
";

/// The newest, where `scripts/setup` puts it.
pub const NEWEST: &str = "/usr/local/share/lockgate-test/nginx-1.31.3/nginx";

/// True when there is an nginx to test with; says so when there is none.
pub fn nginx_is_there() -> bool {
    is_there("nginx")
}

/// As [`nginx_is_there`], of the newest.
pub fn newest_is_there() -> bool {
    is_there(NEWEST)
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok();
    if !there {
        assert!(
            std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(),
            "{program} is not installed: `scripts/setup` does it"
        );
        eprintln!("skipped: {program} is not installed");
    }
    there
}

pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(1) == Some("0"));
    if !root {
        assert!(std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(), "this wants root");
        eprintln!("skipped: only root can start an nginx whose workers are somebody else");
    }
    root
}

pub fn local() -> Arc<dyn Host> {
    Arc::new(lockgate_local::Local::new())
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An nginx process with its workers, ended on drop.
pub struct Process {
    child: Child,
    pub dir: tempfile::TempDir,
    site: SocketAddr,
    program: &'static str,
}

impl Process {
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("nginx.conf")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("error.log")).unwrap_or_default()
    }

    /// Its workers too.
    pub fn stop(&mut self) {
        signal("-TERM", self.child.id());
        let deadline = std::time::Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while self.child.try_wait().unwrap().is_none() {
            assert!(std::time::Instant::now() < deadline, "nginx ends when it is told to");
            std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    pub async fn start(&mut self) {
        self.child = run(self.program, self.dir.path());
        self.await_up().await;
    }

    async fn await_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        for _ in 0..START_TRIES_MAX {
            while self.child.try_wait().unwrap().is_none() {
                if TcpStream::connect(self.site).await.is_ok() {
                    return;
                }
                assert!(Instant::now() < deadline, "nginx is up in time; its log:\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
            }
            // Another process may have taken the port in between.
            self.child = run(self.program, self.dir.path());
        }
        panic!("nginx does not start; its log:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal("-TERM", self.child.id());
            let _ = self.child.wait();
        }
    }
}

pub fn signal(which: &str, pid: u32) {
    let _ = Command::new("kill").args([which, &pid.to_string()]).status();
}

fn run(program: &str, dir: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("error.log")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join("nginx.conf")).args(["-g", "daemon off;"]);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// How a world differs from the usual one. `MARKER`, `BLUE`, `GREEN`, `SITE` (address), `DIR` are filled in everywhere.
#[derive(Default)]
pub struct Setup {
    /// Within the server for [`SITE`]; the snippet where it is empty.
    pub server: String,
    /// Within `http`, before that server.
    pub http: String,
    /// Files beside `nginx.conf`.
    pub files: Vec<(&'static str, String)>,
    pub host: Option<Arc<dyn Host>>,
    pub ask: Option<&'static str>,
    pub switch: NginxSwitch,
    /// The one on the path where it is absent.
    pub program: Option<&'static str>,
    /// Dials the upstream groups `web_blue` and `web_green` instead of addresses.
    pub by_groups: bool,
}

/// Two apps, an nginx before them, and the driver.
pub struct World {
    pub apps: [Arc<App>; 2],
    pub process: Process,
    pub site: SocketAddr,
    pub nginx: Nginx,
    /// The marker is in it, and nothing else.
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn simple() -> World {
        World::new(Setup::default()).await
    }

    pub async fn new(setup: Setup) -> World {
        let apps = [App::start(Slot::Blue, LOOPBACK).await, App::start(Slot::Green, LOOPBACK).await];
        let site = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (dir, folder) = (open_folder(), open_folder());
        let name = match setup.switch {
            NginxSwitch::File => "green_is_live",
            NginxSwitch::Reload => "nginx_live.conf",
        };
        let marker = folder.path().join(name).to_str().unwrap().to_owned();
        let path = dir.path().to_str().unwrap().to_owned();
        let fill = |text: &str| {
            text.replace("MARKER", &marker)
                .replace("BLUE", &apps[0].address.to_string())
                .replace("GREEN", &apps[1].address.to_string())
                .replace("SITE", &site.to_string())
                .replace("DIR", &path)
        };
        let server = if setup.server.is_empty() { SNIPPET } else { &setup.server };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .collect();
        let text = format!(
            "worker_processes 2;\npid {path}/pid;\nerror_log {path}/error.log;\nevents {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}{}\nserver {{\nlisten {site};\nserver_name {SITE};\n{server}}}\n}}\n",
            setup.http
        );
        for (name, content) in &setup.files {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, fill(content)).unwrap();
        }
        std::fs::write(dir.path().join("nginx.conf"), fill(&text)).unwrap();
        if setup.switch == NginxSwitch::Reload {
            std::fs::write(&marker, fill(LIVE)).unwrap();
        }
        let program = setup.program.unwrap_or("nginx");
        let child = run(program, dir.path());
        let mut process = Process { child, dir, site, program };
        process.await_up().await;
        let options = NginxOptions {
            host: setup.host.unwrap_or_else(|| match setup.program {
                Some(program) => Prefixed::with_programs_of(Path::new(program).parent().unwrap()),
                None => local(),
            }),
            service: "web".to_owned(),
            switch: setup.switch,
            seen_as: marker.clone(),
            marker: marker.clone(),
            dial: apps
                .iter()
                .map(|app| match setup.by_groups {
                    true => (app.slot, format!("web_{}", app.slot)),
                    false => (app.slot, app.address.to_string()),
                })
                .collect(),
            config: Some(process.config().to_str().unwrap().to_owned()),
            container: None,
            ask: setup.ask.map(fill),
        };
        World { apps, site, nginx: Nginx::new(options).unwrap(), process, folder }
    }

    pub fn marker(&self) -> PathBuf {
        self.folder.path().join("green_is_live")
    }

    pub fn app(&self, slot: Slot) -> &Arc<App> {
        self.apps.iter().find(|app| app.slot == slot).unwrap()
    }

    /// Switches from what the route is now.
    pub async fn switch(&self, slot: Slot) -> Result<(), PortError> {
        let version = self.nginx.route().await?.version;
        self.nginx.set(&Split::all_to(self.upstream(slot)), &version).await
    }

    /// Which slot answers a user.
    pub async fn answer(&self, path: &str) -> String {
        let seen = self.nginx.ask(&Request::get(path, MOMENT)).await.unwrap();
        assert_eq!(seen.answer.status, 200, "{}", seen.answer.text());
        seen.answer.text()
    }

    pub async fn check(&self, what: &str) -> Check {
        let checks = self.nginx.check().await;
        let found = checks.iter().find(|check| check.what == what).cloned();
        found.unwrap_or_else(|| panic!("nothing is said of {what}: {checks:?}"))
    }
}

/// Each slot has a release of its own.
pub fn upstream(apps: &[Arc<App>; 2], slot: Slot) -> Upstream {
    let digit = if slot == Slot::Blue { "b" } else { "a" };
    let release = Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(slot.as_str()).unwrap(),
        digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    };
    let app = apps.iter().find(|app| app.slot == slot).unwrap();
    let endpoint = Endpoint::Tcp(app.address.to_string());
    Upstream { slot, release, endpoint, replicas: Vec::new() }
}

/// One that nginx's workers, who may be somebody else, may look into.
pub fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[async_trait]
impl RouterFixture for World {
    fn router(&self) -> &dyn Router {
        &self.nginx
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        upstream(&self.apps, slot)
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

pub struct Held {
    pub app: Arc<App>,
    pub stream: TcpStream,
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
