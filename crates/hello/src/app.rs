//! What `hello` answers.
//!
//! | path | answer |
//! | --- | --- |
//! | `/` | text with the release and the slot |
//! | `/health` | JSON `{status, release, slot}`; 200 or 503 |
//! | `/version` | the release label as plain text |
//! | `/metrics` | Prometheus text: requests, in flight, uptime |
//! | `/slow?ms=N[&stream=1]` | answers after N ms; with `stream=1` the first byte comes at once |
//! | `/bytes?count=N` | N bytes, as fast as they are taken |
//! | `/sse?events=N&every_ms=M` | N server-sent events, M ms apart |
//! | `/echo` | POST or PUT: the body, as it came |
//! | `/ws` | a WebSocket that echoes messages |
//!
//! Any request with `Upgrade: echo` becomes a plain two-way echo of bytes.

use crate::body::{AppBody, InFlight, InFlightGuard};
use crate::options::HelloOptions;
use crate::websocket;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Longest wait that `/slow` and `/sse` accept; more is a 400.
pub const SLOW_MS_MAX: u64 = 600_000;
/// Most bytes that `/bytes` sends; more is a 400.
pub const BYTES_MAX: u64 = 1 << 40;
/// Most events that `/sse` accepts; more is a 400.
pub const SSE_EVENTS_MAX: u64 = 1_000_000;
/// Longest body that `/echo` sends back; more cuts the connection.
pub const ECHO_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Pieces of a streamed answer that may wait for a slow reader.
const PIECES_MAX: usize = 16;

type Answer = Response<AppBody>;

/// One running app: its options and its counters.
pub(crate) struct App {
    options: HelloOptions,
    /// When listening began; health and death are counted from here.
    listening_since: Instant,
    requests: AtomicU64,
    health_probes: AtomicU64,
    pub(crate) in_flight: InFlight,
    /// Cancelled when the app is asked to stop; upgraded connections end on it.
    stopping: CancellationToken,
}

impl App {
    pub(crate) fn new(options: HelloOptions, stopping: CancellationToken) -> Self {
        Self {
            options,
            listening_since: Instant::now(),
            requests: AtomicU64::new(0),
            health_probes: AtomicU64::new(0),
            in_flight: InFlight::new(),
            stopping,
        }
    }

    /// Answers one request; every answer says which release and slot gave it.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let guard = self.in_flight.enter();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut answer = self.route(request, guard).await;
        answer.headers_mut().insert("x-release", header(&self.options.version));
        if let Some(slot) = &self.options.slot {
            answer.headers_mut().insert("x-slot", header(slot));
        }
        Ok(answer)
    }

    async fn route(&self, request: Request<Incoming>, guard: InFlightGuard) -> Answer {
        let path = request.uri().path().to_owned();
        if path != "/health" {
            sleep(self.options.latency).await;
        }
        if self.options.fail_paths.contains(&path) {
            let told = format!("{path} fails, as told by FAIL_PATHS\n");
            return text(StatusCode::INTERNAL_SERVER_ERROR, told).map(|body| body.in_flight(guard));
        }
        if upgrade_wanted(&request).as_deref() == Some("echo") {
            return self.upgrade_to_echo(request, guard);
        }
        if path == "/ws" {
            return self.upgrade_to_websocket(request, guard);
        }
        let answer = if path == "/echo" { echo(request) } else { self.read(&path, &request).await };
        answer.map(|body| body.in_flight(guard))
    }

    async fn read(&self, path: &str, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        let query = request.uri().query().unwrap_or_default();
        match path {
            "/" => {
                text(StatusCode::OK, format!("hello from {}{}\n", self.options.version, self.slot_words()))
            }
            "/health" => self.health(),
            "/version" => text(StatusCode::OK, format!("{}\n", self.options.version)),
            "/metrics" => self.metrics(),
            "/slow" => self.slow(query).await,
            "/sse" => self.events(query),
            "/bytes" => bytes(query),
            _ => text(StatusCode::NOT_FOUND, format!("no such path: {path}\n")),
        }
    }

    fn slot_words(&self) -> String {
        self.options.slot.as_ref().map(|slot| format!(" in slot {slot}")).unwrap_or_default()
    }

    fn health(&self) -> Answer {
        let probe = self.health_probes.fetch_add(1, Ordering::Relaxed);
        let (status, word) = if self.options.unhealthy {
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
        } else if self.listening_since.elapsed() < self.options.healthy_after {
            (StatusCode::SERVICE_UNAVAILABLE, "starting")
        } else if self.options.flap && probe % 2 == 1 {
            (StatusCode::SERVICE_UNAVAILABLE, "flapping")
        } else {
            (StatusCode::OK, "ok")
        };
        let json = serde_json::json!({
            "status": word, "release": self.options.version, "slot": self.options.slot,
        });
        respond(status, "application/json", format!("{json}\n"))
    }

    fn metrics(&self) -> Answer {
        let release = self.options.version.replace('\\', "\\\\").replace('"', "\\\"");
        let lines = format!(
            "# TYPE hello_requests_total counter\n\
             hello_requests_total{{release=\"{release}\"}} {}\n\
             # TYPE hello_in_flight gauge\n\
             hello_in_flight{{release=\"{release}\"}} {}\n\
             # TYPE hello_uptime_seconds gauge\n\
             hello_uptime_seconds{{release=\"{release}\"}} {:.3}\n",
            self.requests.load(Ordering::Relaxed),
            self.in_flight.count(),
            self.listening_since.elapsed().as_secs_f64(),
        );
        respond(StatusCode::OK, "text/plain; version=0.0.4", lines)
    }

    async fn slow(&self, query: &str) -> Answer {
        let (wait, stream) = match (number(query, "ms", 1000, SLOW_MS_MAX), number(query, "stream", 0, 1)) {
            (Ok(ms), Ok(stream)) => (Duration::from_millis(ms), stream == 1),
            (Err(answer), _) | (_, Err(answer)) => return *answer,
        };
        let rest = format!("waited {} ms in {}\n", wait.as_millis(), self.options.version);
        if !stream {
            sleep(wait).await;
            return text(StatusCode::OK, rest);
        }
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            // A closed channel means that the reader left; then there is nobody to wait for.
            if sender.send(Bytes::from_static(b".")).await.is_ok() {
                tokio::select! {
                    () = sleep(wait) => drop(sender.send(Bytes::from(rest)).await),
                    () = sender.closed() => {}
                }
            }
        });
        Response::new(AppBody::pieces(receiver))
    }

    fn events(&self, query: &str) -> Answer {
        let (events, every) = match (
            number(query, "events", 10, SSE_EVENTS_MAX),
            number(query, "every_ms", 100, SLOW_MS_MAX),
        ) {
            (Ok(events), Ok(every)) => (events, Duration::from_millis(every)),
            (Err(answer), _) | (_, Err(answer)) => return *answer,
        };
        let release = self.options.version.clone();
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            for event in 1..=events {
                let data = serde_json::json!({ "event": event, "release": release });
                if sender.send(Bytes::from(format!("id: {event}\ndata: {data}\n\n"))).await.is_err() {
                    return;
                }
                if event < events {
                    sleep(every).await;
                }
            }
        });
        let mut answer = Response::new(AppBody::pieces(receiver));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
        answer
    }

    fn upgrade_to_echo(&self, mut request: Request<Incoming>, guard: InFlightGuard) -> Answer {
        let upgraded = hyper::upgrade::on(&mut request);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let copied = async {
                let stream = TokioIo::new(upgraded.await.map_err(io::Error::other)?);
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await.map(drop)
            };
            tokio::select! {
                result = copied => report("echo", result),
                () = stopping.cancelled() => {}
            }
            drop(guard);
        });
        switching("echo")
    }

    fn upgrade_to_websocket(&self, mut request: Request<Incoming>, guard: InFlightGuard) -> Answer {
        let is_websocket = upgrade_wanted(&request).as_deref() == Some("websocket")
            && request.headers().get("sec-websocket-version").is_some_and(|version| version == "13");
        let key = request.headers().get("sec-websocket-key").filter(|_| is_websocket);
        let Some(accept) = key.map(|key| websocket::accept_of(key.as_bytes())) else {
            let mut answer = text(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket 13\n");
            answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            answer.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
            return answer.map(|body| body.in_flight(guard));
        };
        let upgraded = hyper::upgrade::on(&mut request);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let echoed = async {
                let stream = TokioIo::new(upgraded.await.map_err(io::Error::other)?);
                websocket::echo(stream, stopping).await
            };
            report("websocket", echoed.await);
            drop(guard);
        });
        let mut answer = switching("websocket");
        answer.headers_mut().insert("sec-websocket-accept", header(&accept));
        answer
    }
}

/// A peer that goes away in the middle of an upgraded connection is worth a line, not a crash.
fn report(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("hello: {what} connection ended: {error}");
    }
}

/// The protocol that the request wants to switch to, in lower case.
fn upgrade_wanted(request: &Request<Incoming>) -> Option<String> {
    let connection = request.headers().get(CONNECTION)?.to_str().ok()?;
    let asks = connection.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = request.headers().get(UPGRADE)?.to_str().ok()?;
    asks.then(|| protocol.trim().to_ascii_lowercase())
}

fn bytes(query: &str) -> Answer {
    const PIECE: &[u8] = &[b'.'; 16 * 1024];
    let count = match number(query, "count", 1024, BYTES_MAX) {
        Ok(count) => count,
        Err(answer) => return *answer,
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut left = count;
        while left > 0 {
            let piece = &PIECE[..PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            left -= piece.len() as u64;
            if sender.send(Bytes::from_static(piece)).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Response::new(AppBody::pieces(receiver));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(AppBody::whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    answer
}

fn echo(request: Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return not_allowed("POST, PUT");
    }
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut answer = Response::new(AppBody::from_body(
        Limited::new(request.into_body(), ECHO_BYTES_MAX).map_err(Into::into),
    ));
    let fallback = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(CONTENT_TYPE, content_type.unwrap_or(fallback));
    answer
}

/// The number `name` of a query string, `default` when absent; anything over `max` or no number is a 400.
fn number(query: &str, name: &str, default: u64, max: u64) -> Result<u64, Box<Answer>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, value)) = pairs.find(|(key, _)| *key == name) else { return Ok(default) };
    match value.parse() {
        Ok(number) if number <= max => Ok(number),
        _ => {
            Err(Box::new(text(StatusCode::BAD_REQUEST, format!("{name} must be a number from 0 to {max}\n"))))
        }
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AppBody::whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Labels are checked to be printable when they are read; one that a caller of the library set
/// otherwise is shown as unprintable rather than dropped.
fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("(unprintable)"))
}
