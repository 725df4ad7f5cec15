//! A server in this process, with an app of its own, and clients that write bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use lockgate_model::{ListenAt, Serve, Timestamp, TlsFiles};
use lockgate_orchestrator::queue::QueueCounts;
use lockgate_server::{
    AnswerBody, AppParts, Ended, Folder, Limits, Listeners, Metrics, Parts, Peer, Served, Tls, Wish, serve,
};
use lockgate_sockets::Program;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Nothing here takes longer, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Running {
    pub places: Vec<ListenAt>,
    pub wishes: mpsc::Sender<Wish>,
    /// Lets go what waits at `/wait`.
    pub go: Arc<Notify>,
    /// How many wait there.
    pub waiting: Arc<AtomicUsize>,
    pub left: Arc<AtomicUsize>,
    pub metrics: Metrics,
    pub folder: Folder,
    pub task: JoinHandle<Ended>,
    _dir: tempfile::TempDir,
}

pub struct Setup {
    pub listen: Vec<ListenAt>,
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
    /// How far the server's clock is ahead.
    pub later: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let listen = vec![ListenAt::Tcp("127.0.0.1:0".parse().unwrap())];
        Self { listen, tls: None, limits: Limits::default(), later: Duration::ZERO }
    }
}

pub async fn with_limits(limits: Limits) -> Running {
    start(Setup { limits, ..Setup::default() }).await
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as i64)
}

pub async fn start(setup: Setup) -> Running {
    let later = setup.later;
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path().join("serve")).unwrap();
    let Served::Free(lock) = folder.serve().unwrap() else { panic!("nobody serves yet") };
    let (go, waiting, left) = (Arc::new(Notify::new()), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let clock: lockgate_server::Now = Arc::new(move || Timestamp(now().0 + later.as_millis() as i64));
    let tls = setup.tls.as_ref().map(|files| Tls::open(files, clock.clone()).unwrap());
    let configured =
        Serve { listen: setup.listen, tls: setup.tls, plain_http: false, endpoints: Default::default() };
    let (wishes, receiver) = mpsc::channel(8);
    let metrics = Metrics::default();
    let has_left = left.clone();
    let parts = Parts {
        listeners: Listeners::open(&configured, Vec::new(), false).unwrap(),
        tls,
        lock,
        link: None,
        // Not this test once more.
        program: Program { exe: "/bin/false".into(), args: Vec::new() },
        manager: lockgate_server::ServiceManager::default(),
        folder: folder.clone(),
        limits: setup.limits,
        app: AppParts {
            calls: calls(go.clone(), Arc::clone(&waiting)),
            metrics: metrics.clone(),
            queue: Arc::new(QueueCounts::default),
            store: Arc::new(|| Box::pin(async { Ok(()) })),
            now: clock,
            instance: Folder::instance(&dir.path().join("serve")),
        },
        wishes: receiver,
        leave: Box::pin(async move {
            has_left.fetch_add(1, SeqCst);
        }),
        turn: Arc::new(|over| Box::pin(async move { over.cancelled().await })),
    };
    let (told, places) = tokio::sync::oneshot::channel();
    let task =
        tokio::spawn(
            async move { serve(parts, |places| told.send(places.to_vec()).unwrap()).await.unwrap() },
        );
    let places = places.await.unwrap();
    Running { places, wishes, go, waiting, left, metrics, folder, task, _dir: dir }
}

/// `/wait` waits until it is let go; everything else reads the body and says how long it was, and who sent it.
fn calls(go: Arc<Notify>, waiting: Arc<AtomicUsize>) -> lockgate_server::Answer {
    Arc::new(move |request: Request<Incoming>, peer: Peer| {
        let (go, waiting) = (go.clone(), waiting.clone());
        Box::pin(async move {
            if request.uri().path() == "/wait" {
                let notified = go.notified();
                waiting.fetch_add(1, SeqCst);
                notified.await;
                return text(StatusCode::OK, "waited".to_owned());
            }
            match request.into_body().collect().await {
                Ok(body) => text(StatusCode::OK, format!("{} bytes from {peer}", body.to_bytes().len())),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            }
        })
    })
}

fn text(status: StatusCode, text: String) -> Response<AnswerBody> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        match self.places[0] {
            ListenAt::Tcp(address) => address,
            ListenAt::Unix(_) => panic!("it is a Unix socket"),
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// From another address of this machine.
    pub async fn connect_from(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(self.address()).await.unwrap()
    }

    /// Everything that is answered until the connection ends.
    pub async fn tell(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await
    }

    pub async fn get(&self, path: &str) -> String {
        self.tell(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    pub async fn is_waiting(&self, count: usize) {
        until("requests wait", || self.waiting.load(SeqCst) >= count).await;
    }

    pub async fn stop(self) {
        self.wishes.send(Wish::Stop).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
        assert_eq!(ended, Ended::Stopped);
    }
}

pub async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let read =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    // One that was closed with something unread is reset.
    drop(read);
    String::from_utf8_lossy(&answer).into_owned()
}

/// One response with a length, by a connection that stays open.
pub async fn one(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return text;
                }
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await.unwrap() {
                0 => panic!("it ended after {text:?}"),
                count => answer.extend_from_slice(&bytes[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it is answered")
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// A certificate for `localhost` that signs itself.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pair {
    /// `days`: how long it is valid.
    pub fn make(name: &str, days: i32) -> Self {
        // One that may sign others is not believed as a server's.
        Self::by(&format!(
            "req -x509 KEYS -days {days} -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
             -out cert -subj /CN={name}"
        ))
    }

    /// What commands of openssl leave in `cert` and `key`; `KEYS` makes the latter.
    pub fn by(commands: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key";
        for words in commands.replace("KEYS", keys).split(" && ") {
            let made =
                Command::new("openssl").current_dir(dir.path()).args(words.split(' ')).output().unwrap();
            assert!(made.status.success(), "{words}: {}", String::from_utf8_lossy(&made.stderr));
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        Self { cert: read("cert"), key: read("key") }
    }

    pub fn write(&self, files: &TlsFiles) {
        put(&files.cert, &self.cert);
        put(&files.key, &self.key);
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

/// As a renewal does: a new file takes the place of the old one.
pub fn put(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

pub fn files(dir: &Path) -> TlsFiles {
    TlsFiles { cert: PathBuf::from(dir).join("cert.pem"), key: PathBuf::from(dir).join("key.pem") }
}

pub type Encrypted = tokio_rustls::client::TlsStream<TcpStream>;

/// By TLS, for the protocols that are named; believes each of these certificates.
pub async fn encrypted(
    address: SocketAddr,
    believed: &[&Pair],
    protocols: &[&[u8]],
) -> std::io::Result<Encrypted> {
    let mut roots = rustls::RootCertStore::empty();
    for pair in believed {
        roots.add(pair.der()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Who answered.
pub fn shown_certificate(stream: &Encrypted) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
