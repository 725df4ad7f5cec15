//! Load that must not notice anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::client::{Body, connect, get, post, text};

const KEEP_ALIVE_CLIENTS: usize = 6;
const NEW_CONNECTION_CLIENTS: usize = 2;
/// Larger than a socket's first window, so that a body is really on its way for a while.
const POST_BYTES: usize = 200_000;

/// What the clients saw.
#[derive(Default)]
pub struct Seen {
    pub ok: AtomicU64,
    pub failures: std::sync::Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Load {
    pub seen: Arc<Seen>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let seen = Arc::new(Seen::default());
        let mut clients = JoinSet::new();
        for n in 0..KEEP_ALIVE_CLIENTS + NEW_CONNECTION_CLIENTS {
            clients.spawn(client(address, seen.clone(), n < KEEP_ALIVE_CLIENTS, n % 2 == 0));
        }
        Self { seen, clients }
    }

    /// Ends the load; panics if anybody noticed anything. Answers with the number of good answers.
    pub async fn end(self) -> u64 {
        self.seen.stop.store(true, SeqCst);
        self.clients.join_all().await;
        let failures = self.seen.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} failures, the first is {}", failures.len(), failures[0]);
        self.seen.ok.load(SeqCst)
    }
}

async fn client(address: SocketAddr, seen: Arc<Seen>, keep_alive: bool, posts: bool) {
    let body = bytes::Bytes::from(vec![b'x'; POST_BYTES]);
    let mut connection = None;
    while !seen.stop.load(SeqCst) {
        let request = if posts { post("/echo", body.clone()) } else { get("/") };
        match one(address, &mut connection, request).await {
            Ok((StatusCode::OK, text)) if !posts || text.ends_with(&format!(" {POST_BYTES}")) => {
                seen.ok.fetch_add(1, SeqCst);
            }
            Ok(other) => seen.failures.lock().unwrap().push(format!("{other:?}")),
            Err(error) => seen.failures.lock().unwrap().push(error),
        }
        if !keep_alive {
            connection = None;
        }
    }
}

type Connection = Option<hyper::client::conn::http1::SendRequest<Body>>;

async fn one(
    address: SocketAddr,
    connection: &mut Connection,
    request: hyper::Request<Body>,
) -> Result<(StatusCode, String), String> {
    // A connection that was closed between two requests, as announced, is replaced like every client does.
    let mut kept = connection.take();
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(address).await.map_err(|error| format!("connect: {error}"))?,
    };
    let response = sender.send_request(request).await.map_err(|error| format!("send: {error:?}"))?;
    let answer = text(response).await.map_err(|error| format!("read: {error:?}"))?;
    *connection = Some(sender);
    Ok(answer)
}
