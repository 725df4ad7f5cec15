//! What is answered besides calls: whether the process lives, whether it is ready, and what it has counted.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use lockgate_orchestrator::queue::QueueCounts;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::{Metrics, Now};
use crate::peer::Peer;
use crate::server::Connections;
use crate::shared::{Answer, AnswerBody};
use crate::tls::{Now as Clock, Tls};

const JSON: &str = "application/json";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const READS: &str = "GET, HEAD";
const INSTANCE: HeaderName = HeaderName::from_static("x-lockgate-instance");
/// How long the store may take to answer whoever asks whether all is ready.
const LOOK_SECONDS_MAX: u64 = 3;
/// So long the answer of the store is believed: strangers may ask as often as they like.
const LOOK_BELIEVED_MS: u64 = 1000;

/// Looks whether the store answers.
pub type StoreLook = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the composition root hands in.
pub struct AppParts {
    /// Answers what is not of this module.
    pub calls: Answer,
    /// Hears what happens.
    pub metrics: Metrics,
    /// How much the queue has of what.
    pub queue: Arc<dyn Fn() -> QueueCounts + Send + Sync>,
    /// Whether calls can be kept.
    pub store: StoreLook,
    /// The time now.
    pub now: Clock,
    /// Which daemon this is, see [`crate::Folder::instance`]: whoever looks at it from this machine can tell it from others.
    pub instance: String,
}

/// Answers every request.
pub(crate) struct App {
    parts: AppParts,
    connections: Connections,
    tls: Option<Tls>,
    is_stopping: AtomicBool,
    last_look: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl App {
    pub(crate) fn new(parts: AppParts, connections: Connections, tls: Option<Tls>) -> Arc<Self> {
        let (is_stopping, last_look) = (AtomicBool::new(false), Mutex::new(None));
        Arc::new(Self { parts, connections, tls, is_stopping, last_look })
    }

    /// From here on nobody should send anything new.
    pub(crate) fn stops(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    pub(crate) fn answer(self: &Arc<Self>) -> Answer {
        let app = self.clone();
        Arc::new(move |request: Request<Incoming>, peer: Peer| {
            let app = app.clone();
            Box::pin(async move { app.respond(request, peer).await })
        })
    }

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<AnswerBody> {
        let path = request.uri().path();
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return (self.parts.calls)(request, peer).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response =
                respond(StatusCode::METHOD_NOT_ALLOWED, JSON, json!({ "allowed": READS }).to_string());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(READS));
            return response;
        }
        match path {
            "/healthz" => self.alive(),
            "/readyz" => self.ready().await,
            _ => self.metrics(),
        }
    }

    fn alive(&self) -> Response<AnswerBody> {
        let mut response = respond(StatusCode::OK, JSON, json!({ "alive": true }).to_string());
        if let Ok(instance) = HeaderValue::try_from(&self.parts.instance) {
            response.headers_mut().insert(INSTANCE, instance);
        }
        response
    }

    async fn ready(&self) -> Response<AnswerBody> {
        let mut why = Vec::new();
        if self.is_stopping.load(Relaxed) {
            why.push("this process stops".to_owned());
        }
        if self.store().await.is_err() {
            // What a store says of itself is for the log.
            why.push("the store does not answer".to_owned());
        }
        let status = match why.is_empty() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let told = json!({ "ready": why.is_empty(), "why": why, "warnings": self.warnings() });
        respond(status, JSON, told.to_string())
    }

    /// What does not keep anybody from being served.
    fn warnings(&self) -> Vec<&'static str> {
        let Some(state) = self.tls.as_ref().map(Tls::state) else { return Vec::new() };
        let mut warnings = Vec::new();
        if state.wrong.is_some() {
            warnings.push("the certificate's files hold what cannot be used: the one before is served");
        }
        if state.valid_until < (self.parts.now)() {
            warnings.push("the certificate has expired");
        }
        warnings
    }

    async fn store(&self) -> Result<(), String> {
        let mut last = self.last_look.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < Duration::from_millis(LOOK_BELIEVED_MS)
        {
            return result.clone();
        }
        let limit = Duration::from_secs(LOOK_SECONDS_MAX);
        let looked = tokio::time::timeout(limit, (self.parts.store)()).await;
        let result = looked.unwrap_or_else(|_| Err(format!("no answer within {LOOK_SECONDS_MAX} s")));
        if let Err(error) = &result {
            tracing::warn!(%error, "the store does not answer");
        }
        *last = Some((Instant::now(), result.clone()));
        result
    }

    fn metrics(&self) -> Response<AnswerBody> {
        let now = Now {
            queue: (self.parts.queue)(),
            connections: self.connections.counts(),
            certificate: self.tls.as_ref().map(Tls::state),
        };
        match self.parts.metrics.render(now) {
            Ok(text) => respond(StatusCode::OK, METRICS, text),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                respond(StatusCode::INTERNAL_SERVER_ERROR, JSON, json!({}).to_string())
            }
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<AnswerBody> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
