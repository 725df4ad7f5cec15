//! A container engine's API as far as the proxy asks it, made from the Docker Engine API reference, v1.41, and from what
//! engine 20.10.24 answers: `GET /containers/{id}/json`, `GET /containers/json?filters=…` and `GET /events`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const EVENTS_MAX: usize = 64;

/// What runs at an address, in the engine's words.
#[derive(Clone)]
pub struct Container {
    pub id: String,
    pub slot: &'static str,
    /// `None` while it does not run.
    pub ip: Option<String>,
}

pub struct Engine {
    pub socket: PathBuf,
    containers: Arc<Mutex<Vec<Container>>>,
    events: broadcast::Sender<String>,
    /// Ends the engine: who listens to it hears no more.
    stop: CancellationToken,
}

/// An id of 64 hex digits.
pub fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

impl Engine {
    pub fn start(dir: &Path, containers: Vec<Container>) -> Self {
        let containers = Arc::new(Mutex::new(containers));
        let mut engine = Self {
            socket: dir.join("docker.sock"),
            containers,
            events: broadcast::channel(EVENTS_MAX).0,
            stop: CancellationToken::new(),
        };
        engine.resume();
        engine
    }

    /// Answers (again), as after a restart.
    pub fn resume(&mut self) {
        let _none_yet = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        self.stop = CancellationToken::new();
        let (containers, events, stop) = (self.containers.clone(), self.events.clone(), self.stop.clone());
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = stop.cancelled() => return,
                };
                let (containers, events, stop) = (containers.clone(), events.clone(), stop.clone());
                let service = service_fn(move |request| answer(containers.clone(), events.clone(), request));
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    tokio::select! {
                        _ = served => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
    }

    pub fn stop(&self) {
        self.stop.cancel();
        std::fs::remove_file(&self.socket).unwrap();
    }

    /// Nobody is told of it.
    pub fn becomes(&self, containers: Vec<Container>) {
        *self.containers.lock().unwrap() = containers;
    }

    pub fn tell(&self, action: &str, container: &Container) {
        let event = json!({ "Type": "container", "Action": action,
            "Actor": { "ID": container.id, "Attributes": { "lockgate.slot": container.slot } } });
        // Nobody may listen.
        let _ = self.events.send(format!("{event}\n"));
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    containers: Arc<Mutex<Vec<Container>>>,
    events: broadcast::Sender<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let all = containers.lock().unwrap().clone();
    let path = request.uri().path();
    let value = if path == "/events" {
        let told = futures_util::stream::unfold(events.subscribe(), |mut told| async move {
            let line = told.recv().await.ok()?;
            Some((Ok(Frame::data(Bytes::from(line))), told))
        });
        return Ok(Response::new(StreamBody::new(told).boxed()));
    } else if path == "/containers/json" {
        let query = request.uri().query().unwrap();
        let wanted = |one: &&Container| {
            let label = format!("lockgate.slot%3D{}", one.slot);
            one.ip.is_some() && (query.contains(&label) || !query.contains("lockgate.slot"))
        };
        let listed = |one: &Container| json!({ "Id": one.id, "Created": 1, "State": "running" });
        Some(all.iter().filter(wanted).map(listed).collect())
    } else {
        let id = path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json")).unwrap();
        all.iter().find(|one| one.id.starts_with(id)).map(inspected)
    };
    let (status, text) = match value {
        Some(value) => (StatusCode::OK, value.to_string()),
        None => (StatusCode::NOT_FOUND, json!({ "message": "No such container" }).to_string()),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(text)).boxed()).unwrap())
}

fn inspected(one: &Container) -> serde_json::Value {
    let ip = one.ip.clone().unwrap_or_default();
    let networks: BTreeMap<&str, _> = [("edge", json!({ "IPAddress": ip }))].into();
    json!({
        "Id": one.id,
        // No process of this machine, as where the engine is elsewhere or its processes can't be looked at.
        "State": { "Running": one.ip.is_some(), "Pid": 0 },
        "HostConfig": { "NetworkMode": "edge" },
        "NetworkSettings": { "Networks": networks, "Ports": {} },
    })
}
