use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{Health, HostId, Secret, Slot, StatusRange};
use lockgate_ports::fake::{Artifact, Behaviour, FakePorts, Machine, NoFaults, shared as shared_machine};
use lockgate_ports::{
    Command, Ended, Host, HostFile, HostStream, LineSink, Output, PortError, Swapped, Upload, Uploaded,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::scene::release;

fn probe(origin: Option<&str>, own: &[(&str, &str)]) -> Probe {
    let headers = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let health = Health::Http(HttpHealth {
        path: "/health".into(),
        timeout: Millis::from_secs(5),
        passes: 1,
        status: StatusRange::OK,
        body: None,
        headers,
    });
    Probe { health, port: None, origin: origin.map(str::to_owned) }
}

/// As an app with allowed hosts and forced https: answers 200 to the right `Host` by https, sends others elsewhere, and
/// refuses unknown names with a page.
async fn picky(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    return;
                }
                read.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&read).to_lowercase();
            let has = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
            let (status, more, body) = match (has("host: shop.example"), has("x-forwarded-proto: https")) {
                (true, true) => ("200 OK", "", "fine"),
                (true, false) => {
                    ("301 Moved Permanently", "location: https://shop.example/health?key=hunter2\r\n", "")
                }
                (false, _) => {
                    ("400 Bad Request", "", "\u{1b}[31mInvalid HTTP_HOST header\r\nkey hunter2hunter2\r\n")
                }
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}connection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.ok();
        });
    }
}

/// A fake host whose slots answer at real addresses.
pub(crate) struct At {
    pub(crate) host: Arc<dyn Host>,
    /// All at this one; `None`: each at its own.
    pub(crate) address: Option<String>,
}

#[async_trait]
impl Host for At {
    fn id(&self) -> &HostId {
        self.host.id()
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        self.host.exec(command).await
    }

    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        self.host.exec_lines(command, sink).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.host.read(path).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.host.read_own(path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.host.write(path, content, mode).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.host.write_own(path, content, mode).await
    }

    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        self.host.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.host.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.host.remove(path).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.host.swap(path, expected, content).await
    }

    async fn connect(&self, endpoint: &Endpoint, _: Millis) -> Result<Box<dyn HostStream>, PortError> {
        let stream = TcpStream::connect(self.address.clone().unwrap_or_else(|| endpoint.to_string())).await;
        stream.map(|stream| Box::new(stream) as _).map_err(|error| PortError::unreachable(error.to_string()))
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.host.disk_free_mib(path).await
    }
}

/// A host where blue runs the picky app, whose secret is `hunter2hunter2`.
async fn with_picky_app() -> HostPorts {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(picky(listener));
    let release = release("v2");
    let tag = release.tag.clone();
    let artifact = Artifact { release, behaviour: Behaviour::default() };
    let catalogue = BTreeMap::from([(tag.clone(), artifact)]);
    let machine = shared_machine(Machine::new(HostId::new("web1").unwrap(), Arc::new(catalogue)));
    machine.lock().unwrap().place(Slot::Blue, &tag, true);
    let mut ports = FakePorts::new(machine, Arc::new(NoFaults)).host_ports("/srv/web");
    ports.host = Arc::new(At { host: ports.host.clone(), address: Some(address) });
    crate::masked(&ports, &Mask::of([&Secret::new("hunter2hunter2"), &Secret::new("sw0rdfish-key")]))
}

#[tokio::test]
async fn an_app_with_allowed_hosts_and_forced_https_is_healthy_when_it_is_asked_as_users_do() {
    let ports = with_picky_app().await;
    for probe in [
        probe(Some("https://shop.example"), &[]),
        probe(None, &[("host", "shop.example"), ("x-forwarded-proto", "https")]),
        probe(Some("http://other.example"), &[("host", "shop.example"), ("x-forwarded-proto", "https")]),
    ] {
        let seen = crate::health::wait(&ports, Slot::Blue, &release("v2"), &probe).await.unwrap();
        assert!(seen[0].ok, "{seen:?}");
        crate::health::once(&ports, Slot::Blue, &release("v2"), &probe).await.unwrap();
    }
}

/// The whole error, for each way of asking it wrongly.
#[tokio::test]
async fn what_was_sent_and_what_came_back_are_in_the_error_without_secrets() {
    let ports = with_picky_app().await;
    let soon = |mut probe: Probe| {
        let Health::Http(http) = &mut probe.health else { unreachable!() };
        http.timeout = Millis(20);
        probe
    };
    let failed = async |probe: Probe| {
        let failure =
            crate::health::wait(&ports, Slot::Blue, &release("v2"), &soon(probe)).await.unwrap_err();
        let (_, said) = failure.message.split_once(": ").unwrap();
        (said.to_owned(), failure.logs.clone(), failure.hints.to_string())
    };
    let (said, logs, hints) = failed(probe(None, &[])).await;
    assert_eq!(said, "GET /health: it answered 400, wanted 2xx");
    assert_eq!(logs[..2], ["(its answer) [31mInvalid HTTP_HOST header", "(its answer) key ***"]);
    assert!(
        hints.contains("it was asked as 10.0.0.1:5000") && hints.contains("headers: { Host: … }"),
        "{hints}"
    );

    let (said, logs, hints) = failed(probe(Some("http://shop.example"), &[("x-tenant", "acme")])).await;
    let sent = "Host: shop.example, X-Forwarded-Proto: http, X-Tenant";
    assert_eq!(said, format!("GET /health ({sent}): it answered 301, wanted 2xx"));
    assert_eq!(logs[..1], ["(its answer) Location: https://shop.example/health?…"]);
    assert!(!hints.contains("it was asked as"), "{hints}");
}

#[test]
fn a_body_is_shown_by_its_beginning_only() {
    assert_eq!(beginning("db: refused\n\n  cache: ok  \n"), ["db: refused", "  cache: ok"]);
    assert_eq!(beginning(&"x\n".repeat(100)).len(), BODY_LINES_MAX);
    let long = beginning(&"ä".repeat(5_000));
    assert_eq!((long.len(), long[0].chars().count()), (1, BODY_CHARS_MAX));
}

/// Half of a secret is still one.
#[test]
fn a_secret_at_the_end_of_what_is_shown_is_hidden_whole() {
    let secret = Secret::new("sw0rdfish-key");
    let body = format!("{}sw0rdfish-key", "x".repeat(BODY_CHARS_MAX - 5));
    let answer = Answer { status: 500, body: body.into_bytes(), ..Answer::default() };
    let shown = shown(&answer, &Mask::of([&secret]));
    assert!(!shown[0].contains("sw0rd"), "{shown:?}");
}
