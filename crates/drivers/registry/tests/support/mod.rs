//! A double that answers as it is told, and Debian's real `docker-registry`.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lockgate_local::Local;
use lockgate_model::{
    Digest, HostId, Millis, Reference, RegistryHost, RegistryLogin, Repository, Secret, Tag,
};
use lockgate_ports::{Endpoint, Host, HostFile, HostStream, Output, PortError, Swapped};
use lockgate_registry::{RegistryClient, RegistryOptions};

const READY_SECONDS_MAX: u64 = 20;
const LOOK_MILLIS: u64 = 20;
/// First byte of a TLS record with a greeting.
const TLS_GREETING: u8 = 0x16;

pub const USER: &str = "ann";
pub const PASSWORD: &str = "hunter2:with a colon";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// One request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// A value of the query, decoded as far as tests need it.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let decode = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).next()
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of the body only so much is sent, although all of it was announced.
    pub cut: Option<usize>,
    /// Nothing is sent, and the connection stays.
    pub silent: bool,
}

impl Reply {
    pub fn new(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Reply {
        Reply::new(status).header("content-type", "application/json").body(body.to_string())
    }

    /// As the distribution specification writes errors.
    pub fn code(status: u16, code: &str, message: &str) -> Reply {
        Reply::json(
            status,
            &serde_json::json!({ "errors": [{ "code": code, "message": message, "detail": {} }] }),
        )
    }

    pub fn cut(mut self, cut: usize) -> Reply {
        self.cut = Some(cut);
        self
    }
}

/// An HTTP server on a loopback port, on threads of its own.
pub struct Double {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

impl Double {
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let (log, stop) = (seen.clone(), stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, log, stop) = (answer.clone(), log.clone(), stop.clone());
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(stream, answer.as_ref(), &log, &stop));
            }
        });
        Double { address, seen, stopped }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Seen) -> Reply, log: &Mutex<Vec<Seen>>, stopped: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_secs(READY_SECONDS_MAX))).unwrap();
    let mut first = [0];
    if stream.peek(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut writer = stream.try_clone().unwrap();
    if first[0] == TLS_GREETING {
        // As Go's server does when it is greeted with TLS where there is none.
        drop(
            writer.write_all(
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
            ),
        );
        return;
    }
    let Some(request) = read_request(&stream) else { return };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    if reply.silent {
        while !stopped.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
        return;
    }
    let mut head = format!("HTTP/1.1 {} Told\r\nconnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body =
        if request.method == "HEAD" { &[] } else { &reply.body[..reply.cut.unwrap_or(reply.body.len())] };
    // Whoever reads no more closes: that is what some rows are about.
    drop(writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body)));
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let mut request =
        Seen { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Seen::default() };
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// A client that knows no login but the one given for `address`; it never sees this machine's own Docker configuration.
pub fn client(address: &str, login: Option<(&str, &str)>) -> RegistryClient {
    client_with(address, login, "/nonexistent/docker-login")
}

pub fn client_with(address: &str, login: Option<(&str, &str)>, docker_config: &str) -> RegistryClient {
    // An error means that another test of this process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = login.map(|(user, password)| {
        let login = RegistryLogin { user: user.to_owned(), password: Secret::new(password) };
        (RegistryHost::new(address).unwrap(), login)
    });
    RegistryClient::new(RegistryOptions {
        logins: BTreeMap::from_iter(own),
        host: Arc::new(Local::new()),
        docker_config: Some(docker_config.to_owned()),
        github_token: None,
    })
}

/// This machine with one more folder of programs, as the first on its PATH.
pub struct WithPrograms(pub Local, pub std::path::PathBuf);

#[async_trait]
impl Host for WithPrograms {
    fn id(&self) -> &HostId {
        self.0.id()
    }

    async fn exec(&self, command: &lockgate_ports::Command) -> Result<Output, PortError> {
        let path = std::env::var("PATH").unwrap_or_default();
        self.0.exec(&command.clone().env("PATH", format!("{}:{path}", self.1.display()))).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read(path).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read_own(path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write(path, content, mode).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write_own(path, content, mode).await
    }

    async fn exec_lines(
        &self,
        command: &lockgate_ports::Command,
        sink: &mut dyn lockgate_ports::LineSink,
    ) -> Result<lockgate_ports::Ended, PortError> {
        self.0.exec_lines(command, sink).await
    }

    async fn upload(
        &self,
        upload: lockgate_ports::Upload<'_>,
    ) -> Result<lockgate_ports::Uploaded, PortError> {
        self.0.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.0.remove(path).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.0.swap(path, expected, content).await
    }

    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        self.0.connect(endpoint, timeout).await
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.0.disk_free_mib(path).await
    }
}

pub fn repository(address: &str) -> Repository {
    Repository::new(format!("{address}/acme/web")).unwrap()
}

pub fn tag(text: &str) -> Reference {
    Reference::Tag(Tag::new(text).unwrap())
}

pub fn fresh(prefix: &str) -> String {
    format!("{prefix}{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Prints why the test cannot run here, or panics where everything must.
fn skip(what: &str) {
    let required = std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{what} is not installed");
    eprintln!("skipped: {what} is not installed");
}

/// False, with the reason printed, when one of the programs is missing.
pub fn ready(programs: &[&str]) -> bool {
    let is_there = |program: &&&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
    };
    let missing = programs.iter().find(|program| !is_there(program));
    if let Some(program) = missing {
        skip(program);
    }
    missing.is_none()
}

pub fn run(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Debian's `docker-registry` on a loopback port; everything is removed on drop.
pub struct Debian {
    pub address: String,
    child: Child,
    dir: tempfile::TempDir,
}

impl Debian {
    /// `configure` changes the configuration, which is plain HTTP for everybody; files may be put into the folder.
    pub fn start(configure: impl FnOnce(&mut serde_json::Value, &Path)) -> Debian {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut config = serde_json::json!({
            "version": 0.1, "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": dir.path().join("store") } },
            "http": { "addr": address },
        });
        configure(&mut config, dir.path());
        let path = dir.path().join("registry.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Debian { address, child, dir };
        let limit = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        while TcpStream::connect(&registry.address).is_err() {
            let log = std::fs::read_to_string(registry.dir.path().join("log")).unwrap();
            assert!(Instant::now() < limit, "the registry is not there: {log}");
            std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
        registry
    }

    /// Every blob of every repository, put beside the API as a builder's push would have left it: the client has no way to
    /// push blobs.
    pub fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let hex = digest.as_str().trim_start_matches("sha256:");
        let root = self.dir.path().join("store/docker/registry/v2");
        let blob = root.join(format!("blobs/sha256/{}/{hex}", &hex[..2]));
        let link = root.join(format!("repositories/{}/_layers/sha256/{hex}", repository.path()));
        for (folder, file, content) in [(&blob, "data", bytes), (&link, "link", digest.as_str().as_bytes())] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(file), content).unwrap();
        }
        digest
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// For [`Debian::start`]: only [`USER`] with [`PASSWORD`] may read and write.
pub fn htpasswd(config: &mut serde_json::Value, dir: &Path) {
    let path = dir.join("htpasswd");
    let made = run("htpasswd", &["-nbB", USER, PASSWORD], b"");
    std::fs::write(&path, made).unwrap();
    config["auth"] = serde_json::json!({ "htpasswd": { "realm": "test", "path": path } });
}

/// An authority of our own (`ca.pem`), and a key and a certificate of it for 127.0.0.1: `key.pem`, `cert.pem`.
pub fn certificate(dir: &Path) {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let [ca, ca_key, key, cert] = ["ca.pem", "ca-key.pem", "key.pem", "cert.pem"].map(path);
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let own = ["-subj", "/CN=lockgate-test-ca", "-keyout", &ca_key, "-out", &ca];
    run("openssl", &[&new[..], &own[..]].concat(), b"");
    let names = ["-subj", "/CN=lockgate-test", "-addext", "subjectAltName=IP:127.0.0.1"];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", &ca, "-CAkey", &ca_key];
    run("openssl", &[&new[..], &names[..], &leaf[..], &["-keyout", &key, "-out", &cert]].concat(), b"");
}
