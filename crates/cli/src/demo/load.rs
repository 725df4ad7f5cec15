//! Load on loopback, bounded in time: keep-alive clients, clients with a new connection each, and POSTs, each answer
//! checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const KEEP_ALIVE_CLIENTS: usize = 4;
const NEW_CONNECTION_CLIENTS: usize = 2;
const POST_CLIENTS: usize = 2;
/// Between two requests of one client: some hundred requests a second in all, a busy small service.
const PAUSE_MILLIS: u64 = 5;
const REQUEST_SECONDS_MAX: u64 = 10;
/// The demo ends long before; load never outlives it.
const LOAD_SECONDS_MAX: u64 = 90;
const POST_BODY: &str = "every byte comes back";

/// What the clients saw.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub requests: u64,
    pub failed: u64,
    /// The first few failures, for people.
    pub failures: Vec<String>,
    /// Answers by release.
    pub by_release: BTreeMap<String, u64>,
}

/// Clients at work until [`Load::stop`].
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
    tally: tokio::task::JoinHandle<Tally>,
}

/// How a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    KeepAlive,
    NewConnection,
    Post,
}

impl Load {
    pub fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, mut receiver) = mpsc::unbounded_channel::<Result<String, String>>();
        let mut clients = JoinSet::new();
        let manners = [
            (Manner::KeepAlive, KEEP_ALIVE_CLIENTS),
            (Manner::NewConnection, NEW_CONNECTION_CLIENTS),
            (Manner::Post, POST_CLIENTS),
        ];
        for manner in manners.into_iter().flat_map(|(manner, count)| std::iter::repeat_n(manner, count)) {
            let (address, stop, sender) = (address.to_owned(), stop.clone(), sender.clone());
            clients.spawn(async move { client(&address, manner, &stop, &sender).await });
        }
        let tally = tokio::spawn(async move {
            let mut tally = Tally::default();
            while let Some(answer) = receiver.recv().await {
                tally.take(answer);
            }
            tally
        });
        Self { stop, clients, tally }
    }

    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.tally.await.unwrap_or_default()
    }
}

impl Tally {
    fn take(&mut self, answer: Result<String, String>) {
        self.requests += 1;
        match answer {
            Ok(release) => *self.by_release.entry(release).or_default() += 1,
            Err(why) => {
                self.failed += 1;
                if self.failures.len() < 5 {
                    self.failures.push(why);
                }
            }
        }
    }
}

type Connection = SendRequest<Full<Bytes>>;

async fn client(
    address: &str,
    manner: Manner,
    stop: &AtomicBool,
    tell: &mpsc::UnboundedSender<Result<String, String>>,
) {
    let began = tokio::time::Instant::now();
    let mut connection: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(LOAD_SECONDS_MAX) {
        let bound = Duration::from_secs(REQUEST_SECONDS_MAX);
        let answer = match tokio::time::timeout(bound, exchange(address, manner, &mut connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {bound:?}")),
        };
        if answer.is_err() || manner == Manner::NewConnection {
            connection = None;
        }
        if tell.send(answer).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS)).await;
    }
}

/// One request; the answer must be 200, and a POST's body must come back. Returns the release that answered.
async fn exchange(
    address: &str,
    manner: Manner,
    connection: &mut Option<Connection>,
) -> Result<String, String> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        _ => connection.insert(connect(address).await?),
    };
    sender.ready().await.map_err(|error| format!("the connection broke: {error}"))?;
    let (method, path, body) = match manner {
        Manner::Post => (Method::POST, "/echo", POST_BODY),
        Manner::KeepAlive | Manner::NewConnection => (Method::GET, "/", ""),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .body(Full::from(body))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let status = response.status();
    let release =
        response.headers().get("x-release").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body =
        response.into_body().collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
    if !status.is_success() {
        return Err(format!("{path} answered {status}"));
    }
    if manner == Manner::Post && body.to_bytes() != POST_BODY.as_bytes() {
        return Err("a POST came back changed".to_owned());
    }
    release.ok_or_else(|| "an answer does not say which release gave it".to_owned())
}

async fn connect(address: &str) -> Result<Connection, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}
