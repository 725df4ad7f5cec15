//! Two slots with a small app each, and a router for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_builtin::{Builtin, BuiltinOptions};
use lockgate_local::Local;
use lockgate_model::{Digest, Millis, Release, ServiceName, Slot, SlotState, Tag};
use lockgate_ports::conformance::router::{HeldRequest, RouterFixture};
use lockgate_ports::{Endpoint, Owner, Replica, Router, Upstream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What a held request waits for: it says that it began, then waits for leave to finish.
type Held = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// Held requests by their number, until the app takes them.
#[derive(Clone, Default)]
struct Holds(Arc<Mutex<HashMap<u64, Held>>>);

/// Answers `/hold/N` when told to and everything else at once, with the slot's name and the path.
async fn app(slot: Slot, holds: Holds) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream, slot, holds.clone()));
        }
    });
    address
}

async fn connection(stream: TcpStream, slot: Slot, holds: Holds) {
    let mut stream = BufReader::new(stream);
    while let Some(path) = request(&mut stream).await {
        let number = path.strip_prefix("/hold/").map(|number| number.parse::<u64>().unwrap());
        if let Some(number) = number {
            let (began, finish) = holds.0.lock().unwrap().remove(&number).unwrap();
            began.send(()).unwrap();
            finish.await.unwrap();
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nx-path: {path}\r\ncontent-length: {}\r\n\r\n", slot.as_str().len());
        if stream.write_all(format!("{head}{slot}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The path of the next request; `None` when the connection has ended.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut path = None;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 0 {
        if line == "\r\n" {
            return path;
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
        line.clear();
    }
    None
}

/// The apps are this test's own.
pub fn this_process() -> Owner {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let began = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    Owner::Process { pid: std::process::id(), began, boot_id }
}

/// As the proxy before it knew of replicas, behind one that does: refuses a route that names some, and hands on the rest.
pub async fn without_replicas(listener: tokio::net::UnixListener, proxy: PathBuf) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 65_536];
        let read = stream.read(&mut head).await.unwrap();
        let text = String::from_utf8_lossy(&head[..read]).into_owned();
        if text.contains("\"replicas\"") {
            let message = "the body isn't understood: unknown field `replicas`, expected one of `hosts`, `target` at line 1";
            let body = serde_json::json!({ "kind": "invalid", "message": message }).to_string();
            let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        let mut behind = tokio::net::UnixStream::connect(&proxy).await.unwrap();
        behind.write_all(&head[..read]).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut behind).await });
    }
}

/// Answers a hold as the proxy did before it knew of any.
pub async fn old_proxy(socket: tokio::net::UnixListener) {
    loop {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let (status, kind, message) = match head[..read].starts_with(b"DELETE ") {
            true => ("404 Not Found", "not_found", "there is no route \\\"shop-web-prod/hold\\\""),
            false => (
                "405 Method Not Allowed",
                "method_not_allowed",
                "/v1/routes/shop-web-prod/hold doesn't take POST",
            ),
        };
        let body = format!("{{\"kind\":\"{kind}\",\"message\":\"{message}\"}}");
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
        let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub router: Builtin,
    /// Where the proxy listens.
    pub listen: String,
    apps: HashMap<Slot, String>,
    holds: Holds,
    next: Mutex<u64>,
}

impl World {
    /// A router for a proxy in `dir` that listens on `listen`; `change` sees the options before.
    pub async fn new(
        dir: tempfile::TempDir,
        listen: String,
        change: impl FnOnce(&mut BuiltinOptions),
    ) -> World {
        let holds = Holds::default();
        let mut apps = HashMap::new();
        for slot in [Slot::Blue, Slot::Green] {
            apps.insert(slot, app(slot, holds.clone()).await);
        }
        let mut options = BuiltinOptions {
            host: Arc::new(Local::new()),
            dir: dir.path().join("proxy").display().to_string(),
            route_id: "shop-web-prod".into(),
            listen: listen.clone(),
            hosts: Vec::new(),
            path: None,
            response_timeout: None,
            stall_timeout: None,
            trusted_proxies: Vec::new(),
            launch: None,
        };
        change(&mut options);
        World { dir, router: Builtin::new(options), listen, apps, holds, next: Mutex::new(0) }
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("proxy")
    }
}

#[async_trait]
impl RouterFixture for World {
    fn router(&self) -> &dyn Router {
        &self.router
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        let digit = if slot == Slot::Blue { "b" } else { "9" };
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new("v1").unwrap(),
            digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        };
        let endpoint = Endpoint::Tcp(self.apps[&slot].clone());
        let owner = Some(this_process());
        let replica =
            Replica { name: None, state: SlotState::Running, endpoint: Some(endpoint.clone()), owner };
        Upstream { slot, release, endpoint, replicas: vec![replica] }
    }

    async fn hold_request(&self) -> Box<dyn HeldRequest> {
        let number = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let (began, has_begun) = oneshot::channel();
        let (finish, may_finish) = oneshot::channel();
        self.holds.0.lock().unwrap().insert(number, (began, may_finish));
        let mut stream = TcpStream::connect(&self.listen).await.unwrap();
        let text = format!("GET /hold/{number} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        tokio::time::timeout(Millis::from_secs(10).duration(), has_begun).await.unwrap().unwrap();
        Box::new(Holding { stream, finish })
    }
}

struct Holding {
    stream: TcpStream,
    finish: oneshot::Sender<()>,
}

#[async_trait]
impl HeldRequest for Holding {
    async fn finish(mut self: Box<Self>) -> Result<String, String> {
        self.finish.send(()).map_err(|()| "the app gave up".to_owned())?;
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("cut off: {text:?}"))?;
        if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
    }
}

/// Cargo builds examples beside the folder that this test's binary is in.
pub fn example() -> String {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/proxy").display().to_string()
}

/// The `router.builtin.launch` of a world whose proxy is not started by the test.
pub fn launch_by_example(options: &mut BuiltinOptions) {
    options.launch = Some(vec![example(), options.dir.clone(), options.listen.clone()]);
}

/// An address that nobody listens on.
pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Ends the proxies that a test has started, whatever became of the test.
pub struct Reaper(pub PathBuf);

impl Reaper {
    /// Processes that were told this folder.
    pub fn processes(&self) -> Vec<u32> {
        let told = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| word == self.0.to_string_lossy())
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok());
        pids.filter(told).collect()
    }

    pub fn kill(&self) {
        for pid in self.processes() {
            let _already_gone = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.kill();
    }
}
