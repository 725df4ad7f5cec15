//! The admin interface: HTTP/1.1 and JSON over `admin.sock` (mode 0600).

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ProxyError, STALL_BYTES_MIN};
use crate::metrics;
use crate::router::Precondition;
use crate::shared::{Command, Shared};
use crate::socket::Socket;
use crate::stall_timer::StallTimer;
use crate::trial;
use crate::wire::{
    ErrorKind, ErrorView, HoldRequest, RouteSpec, RouteView, RoutesView, TryRequest, UpgradeRequest,
};

/// A larger request body is refused.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request's head or body may take.
const REQUEST_SECONDS_MAX: u64 = 10;
/// How many connections are served at once; more wait in the kernel's queue. Their descriptors are reserved.
const CONNECTIONS_MAX: usize = 32;
/// How long a caller may let its answer stand still.
const STALL_SECONDS_MAX: u64 = 10;
/// How long answers may still take when the interface stops.
const STOP_SECONDS_MAX: u64 = 2;
/// The pause after accepting failed.
const ACCEPT_PAUSE_MS: u64 = 50;

type Answer = Response<Full<Bytes>>;

/// A socket that is bound under a temporary name, so that nobody reaches it before its mode is set and the proxy is
/// ready.
pub(crate) struct Bound {
    listener: UnixListener,
    folder: PathBuf,
}

impl Bound {
    pub(crate) fn bind(dir: &Path) -> Result<Self, ProxyError> {
        let folder = dir.join(format!(".a{}", std::process::id()));
        remove_folder(&folder);
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| ProxyError::io("create", &folder, error))?;
        let path = folder.join("s");
        let bound = UnixListener::bind(&path);
        let listener = bound.map_err(|error| ProxyError::io("bind the admin socket", &path, error))?;
        let mode = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        mode.map_err(|error| ProxyError::io("set the mode of", &path, error))?;
        Ok(Self { listener, folder })
    }

    /// Gives the socket its name, replacing whatever had it, and answers.
    pub(crate) fn publish(self, shared: &Arc<Shared>) -> Result<Admin, ProxyError> {
        let path = shared.config.admin_socket();
        fs::rename(self.folder.join("s"), &path).map_err(|error| ProxyError::io("publish", &path, error))?;
        remove_folder(&self.folder);
        let admin = Admin { stop: CancellationToken::new(), connections: TaskTracker::new() };
        let (stop, connections) = (admin.stop.clone(), admin.connections.clone());
        tokio::spawn(accept(self.listener, shared.clone(), stop, connections));
        Ok(admin)
    }
}

fn remove_folder(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, folder = %folder.display(), "a temporary folder can't be removed");
        }
        _ => {}
    }
}

/// The running interface.
pub(crate) struct Admin {
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Admin {
    /// Accepts nothing more and finishes the answers that are being given.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.connections.close();
        let limit = Duration::from_secs(STOP_SECONDS_MAX);
        if tokio::time::timeout(limit, self.connections.wait()).await.is_err() {
            tracing::warn!("an admin connection didn't end in time");
        }
    }
}

async fn accept(
    listener: UnixListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let next = async || -> std::io::Result<(UnixStream, OwnedSemaphorePermit)> {
        // The semaphore is never closed, so the error can't happen.
        let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        Ok((listener.accept().await?.0, permit))
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next() => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                drop(connections.spawn(serve(stream, shared.clone(), stop.clone(), permit)))
            }
            Err(error) => {
                tracing::warn!(%error, "accepting on the admin socket failed");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn serve(
    stream: UnixStream,
    shared: Arc<Shared>,
    stop: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    let stall_timer = StallTimer::new(Duration::from_secs(STALL_SECONDS_MAX), STALL_BYTES_MIN);
    let stream = Socket::new(stream, Arc::default(), Some(stall_timer), None, permit);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        // A task of its own, so that a change is finished even if the caller hangs up in the middle of it.
        let answer = tokio::spawn(async move { answer(&shared, request).await });
        async move {
            let crashed = |error: tokio::task::JoinError| {
                refuse(&ErrorView::new(ErrorKind::Unavailable, format!("the call broke down: {error}")))
            };
            Ok::<_, Infallible>(answer.await.unwrap_or_else(crashed))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(REQUEST_SECONDS_MAX));
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended");
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    dispatch(shared, request).await.unwrap_or_else(|error| refuse(&error))
}

async fn dispatch(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, ErrorView> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    if let Some(id) = path.strip_prefix("/v1/routes/").and_then(|rest| rest.strip_suffix("/hold")) {
        return match method {
            Method::POST => hold(shared, id, request).await,
            Method::DELETE => Ok(route(StatusCode::OK, &shared.router.let_go(id).await?)),
            _ => Err(wrong_method(&method, &path)),
        };
    }
    if let Some(id) = path.strip_prefix("/v1/routes/") {
        return match method {
            Method::GET => {
                shared.router.view(id).map(|view| route(StatusCode::OK, &view)).ok_or_else(|| missing(id))
            }
            Method::PUT => put(shared, id, request).await,
            Method::DELETE => {
                let deleted = shared.router.delete(id, precondition(&request)?).await?;
                Ok(route(StatusCode::OK, &deleted))
            }
            _ => Err(wrong_method(&method, &path)),
        };
    }
    match (path.as_str(), &method) {
        ("/v1/status", &Method::GET) => Ok(json(StatusCode::OK, &shared.status())),
        ("/v1/routes", &Method::GET) => {
            Ok(json(StatusCode::OK, &RoutesView { routes: shared.router.views() }))
        }
        ("/v1/shutdown", &Method::POST) => {
            command(shared, Command::Shutdown).await?;
            Ok(json(StatusCode::ACCEPTED, &shared.status()))
        }
        ("/v1/upgrade", &Method::POST) => upgrade(shared, request).await,
        ("/v1/try", &Method::POST) => {
            let wanted: TryRequest = body(request)
                .await?
                .ok_or_else(|| ErrorView::new(ErrorKind::Invalid, "the body is missing"))?;
            Ok(json(StatusCode::OK, &trial::try_out(wanted).await?))
        }
        ("/metrics", &Method::GET) => metrics(shared),
        ("/v1/status" | "/v1/routes" | "/v1/shutdown" | "/v1/upgrade" | "/v1/try" | "/metrics", _) => {
            Err(wrong_method(&method, &path))
        }
        _ => Err(ErrorView::new(ErrorKind::NotFound, format!("there is no {path:?}"))),
    }
}

async fn put(shared: &Shared, id: &str, request: Request<Incoming>) -> Result<Answer, ErrorView> {
    let precondition = precondition(&request)?;
    let spec: RouteSpec = body(request).await?.ok_or_else(|| {
        ErrorView::new(ErrorKind::Invalid, "the body is missing").hint("send the route as JSON")
    })?;
    let (view, _changed) = shared.router.put(id, spec, precondition).await?;
    Ok(route(StatusCode::OK, &view))
}

async fn hold(shared: &Shared, id: &str, request: Request<Incoming>) -> Result<Answer, ErrorView> {
    let wanted: HoldRequest = body(request).await?.ok_or_else(|| {
        ErrorView::new(ErrorKind::Invalid, "the body is missing")
            .hint(r#"send the bounds as JSON: {"time_ms":30000,"requests_max":1000}"#)
    })?;
    Ok(route(StatusCode::OK, &shared.router.hold(id, wanted).await?))
}

async fn upgrade(shared: &Shared, request: Request<Incoming>) -> Result<Answer, ErrorView> {
    let wanted: UpgradeRequest = body(request).await?.unwrap_or_default();
    let (reply, outcome) = oneshot::channel();
    command(shared, Command::Upgrade(wanted, reply)).await?;
    let gone = |_| ErrorView::new(ErrorKind::Unavailable, "the proxy is stopping");
    let view = outcome.await.map_err(gone)??;
    Ok(json(StatusCode::OK, &view))
}

async fn command(shared: &Shared, command: Command) -> Result<(), ErrorView> {
    let sent = shared.commands.send(command).await;
    sent.map_err(|_| ErrorView::new(ErrorKind::Unavailable, "the proxy is stopping"))
}

fn metrics(shared: &Arc<Shared>) -> Result<Answer, ErrorView> {
    let text = metrics::render(shared);
    let text = text.map_err(|_| ErrorView::new(ErrorKind::Unavailable, "the metrics can't be written"))?;
    let mut response = Response::new(Full::from(text));
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format));
    Ok(response)
}

/// The body as JSON; `None` when it is empty.
async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<Option<T>, ErrorView> {
    let invalid = |message: String| ErrorView::new(ErrorKind::Invalid, message);
    let read = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let read = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), read).await;
    let read = read.map_err(|_| invalid("the body took too long".to_owned()))?;
    let bytes = match read {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(ErrorView::new(
                ErrorKind::TooLarge,
                format!("the body has more than {BODY_BYTES_MAX} bytes"),
            ));
        }
        Err(error) => return Err(invalid(format!("the body can't be read: {error}"))),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| invalid(format!("the body isn't understood: {error}")))
}

fn precondition(request: &Request<Incoming>) -> Result<Precondition, ErrorView> {
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let version = match text(IF_MATCH) {
        None => None,
        Some(tag) => {
            let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            Some(version.and_then(|version| version.parse().ok()).ok_or_else(|| {
                ErrorView::new(ErrorKind::Invalid, format!("If-Match is a quoted version, not {tag:?}"))
            })?)
        }
    };
    let absent = match text(IF_NONE_MATCH) {
        None => false,
        Some("*") => true,
        Some(other) => {
            return Err(ErrorView::new(ErrorKind::Invalid, format!("If-None-Match is *, not {other:?}")));
        }
    };
    Ok(Precondition { version, absent })
}

fn missing(id: &str) -> ErrorView {
    ErrorView::new(ErrorKind::NotFound, format!("there is no route {id:?}"))
}

fn wrong_method(method: &Method, path: &str) -> ErrorView {
    ErrorView::new(ErrorKind::MethodNotAllowed, format!("{path} doesn't take {method}"))
}

fn route(status: StatusCode, view: &RouteView) -> Answer {
    let mut response = json(status, view);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", view.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn refuse(error: &ErrorView) -> Answer {
    let status = match error.kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::VersionMismatch => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::StorageFailed => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::UpgradeFailed => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
    };
    json(status, error)
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let (status, text) = match serde_json::to_vec_pretty(value) {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
