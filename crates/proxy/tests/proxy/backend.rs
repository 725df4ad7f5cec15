//! A slot to talk to: a small HTTP/1.1 server that knows when it should no longer be asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, Infallible>;

pub struct Backend {
    pub address: SocketAddr,
    pub state: Arc<State>,
}

#[derive(Default)]
pub struct State {
    name: String,
    /// Set while the slot counts as stopped: whatever still arrives is a mistake.
    pub closed: AtomicBool,
    pub mistakes: AtomicU64,
    pub busy: AtomicU64,
    pub served: AtomicU64,
    pub connections: AtomicU64,
    /// `/hold` answers once this is set.
    pub released: AtomicBool,
}

impl Backend {
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0").await
    }

    pub async fn start_at(name: &str, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { name: name.to_owned(), ..State::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, SeqCst);
                let state = shared.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self { address, state }
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if state.closed.load(SeqCst) {
        state.mistakes.fetch_add(1, SeqCst);
    }
    state.busy.fetch_add(1, SeqCst);
    let response = respond(&state, request).await;
    state.busy.fetch_sub(1, SeqCst);
    state.served.fetch_add(1, SeqCst);
    response
}

async fn respond(state: &Arc<State>, mut request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => {
            let body = request.into_body().collect().await?.to_bytes();
            Ok(Response::new(full(format!("{} {}", state.name, body.len()))))
        }
        "/hold" => {
            while !state.released.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(Response::new(full(state.name.clone())))
        }
        "/head" => {
            let head: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            let response = Response::builder().header("connection", "x-hop, keep-alive").header("x-hop", "1");
            Ok(response
                .header("x-end", "1")
                .header("keep-alive", "timeout=9")
                .body(full(head.join("\n")))
                .unwrap())
        }
        "/endless" => {
            let pieces =
                futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'.'; 16_384]))));
            Ok(Response::new(StreamBody::new(pieces).boxed()))
        }
        "/events" | "/stall" => {
            let kind = if path == "/events" { "text/event-stream" } else { "text/plain" };
            let state = state.clone();
            let events = futures_util::stream::unfold(0, move |n| {
                let state = state.clone();
                async move {
                    while n > 0 && !state.released.load(SeqCst) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    (n < 3).then(|| (Ok(Frame::data(Bytes::from(format!("data: {n}\n\n")))), n + 1))
                }
            });
            let response = Response::builder().header("content-type", kind);
            Ok(response.body(StreamBody::new(events).boxed()).unwrap())
        }
        "/socket" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgraded.await.unwrap());
                let mut bytes = [0; 64];
                while let Ok(n @ 1..) = io.read(&mut bytes).await {
                    if io.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
            });
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            Ok(response.header(CONNECTION, "upgrade").header(UPGRADE, "websocket").body(full("")).unwrap())
        }
        _ => Ok(Response::new(full(state.name.clone()))),
    }
}

/// A server that answers the first request of each connection, and closes the connection when a second one arrives.
/// Answers with its address and a counter of requests seen.
pub async fn closes_on_second_request() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                for turn in 0..2 {
                    if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    counter.fetch_add(1, SeqCst);
                    if turn == 0 {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    (address, seen)
}

/// A slot that keeps what it is sent on all connections, and answers each request with these bytes: each head where the
/// request has no chunked body, else its end.
pub async fn recorder(answer: impl Into<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let (record, answer) = (recorded.clone(), answer.into());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (record, answer) = (record.clone(), answer.clone());
            tokio::spawn(async move {
                let (mut bytes, mut request) = ([0; 65536], Vec::new());
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    request.extend_from_slice(&bytes[..n]);
                    let text = String::from_utf8_lossy(&request);
                    let chunked = text.contains("transfer-encoding: chunked\r\n");
                    let at_end = text.split_once("\r\n\r\n").is_some_and(|(_, body)| {
                        !chunked || body.contains("0\r\n") && body.ends_with("\r\n\r\n")
                    });
                    if at_end {
                        record.lock().unwrap().append(&mut request);
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, recorded)
}

/// A slot that speaks before it is asked: a connection's first request is answered, and when the second one arrives the
/// slot has just sent something else. Answers with its address and how many connections were used twice.
pub async fn speaks_unasked(with_the_answer: bool) -> (SocketAddr, Arc<AtomicU64>) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let used_twice = Arc::new(AtomicU64::new(0));
    let counter = used_twice.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(ANSWER).await.unwrap();
                if with_the_answer && stream.write_all(b"and more").await.is_err() {
                    return;
                }
                if stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                    counter.fetch_add(1, SeqCst);
                    // The proxy may have closed by now, which is as good.
                    let _ = stream.write_all(b"and more\r\n\r\n").await;
                }
            });
        }
    });
    (address, used_twice)
}
