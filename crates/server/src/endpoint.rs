//! The signed endpoint: which path takes what, and the order in which a call is checked.
//!
//! Method and path first, then size and time, then the signature over the very bytes; only then is anything else about the
//! call looked at. So whoever cannot sign learns nothing but which paths there are.

mod answer;
mod arrive;
mod body;
mod bounds;
mod configured;
mod github;
mod openapi;
mod origin;
mod parse;
mod refused;
mod signature;
mod signed_call;
mod statuses;
mod stream;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use lockgate_model::{DeployAnswer, DeployCall, DeployStatus, Endpoint, EndpointPath, Mask, Project, RunId};
use lockgate_orchestrator::queue::{Queue, RefusedCall, Ticket};
use lockgate_signature::SigningSecrets;
use serde_json::Value;
use tokio::sync::Semaphore;

use self::answer::{RUNS_PATH, json, no_such_path, response, wrong_method};
use self::arrive::{Arrivals, Arrived};
use self::body::Asked;
pub use self::bounds::Bounds;
use self::origin::Origin;
use self::refused::Refused;
use self::signed_call::SignedCall;
use self::waiting::Manner;
use crate::shared::AnswerBody;

/// Where the document about all of this is.
const OPENAPI_PATH: &str = "/openapi.json";
const READS: &str = "GET, HEAD";
const CALLS: &str = "POST";

/// An endpoint that cannot be served, because it has no secret that protects it.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {path}: {why}")]
pub struct Unprotected {
    /// Which one.
    pub path: EndpointPath,
    /// What is wrong with its secrets; never one itself.
    pub why: lockgate_signature::BadSecret,
}

/// All endpoints of a project, with the runs that came of them. Cheap to clone.
#[derive(Clone)]
pub struct Endpoints(Arc<Inner>);

struct Inner {
    project: Arc<Project>,
    served: BTreeMap<String, Served>,
    queue: Queue,
    arrivals: Arrivals,
    /// See [`bounds::LOOKUPS_MAX`].
    lookups: Semaphore,
    mask: Mask,
    bounds: Bounds,
    document: Value,
}

struct Served {
    endpoint: Endpoint,
    secrets: Arc<SigningSecrets>,
}

impl Endpoints {
    /// Those of the project's `serve:`; none where it has none. `mask` hides what callers and logs must not be told.
    ///
    /// # Errors
    /// [`Unprotected`] for the first one whose secrets protect nothing.
    pub fn new(project: Arc<Project>, queue: Queue, mask: Mask, bounds: Bounds) -> Result<Self, Unprotected> {
        let endpoints = project.serve.iter().flat_map(|serve| serve.endpoints.values());
        let served = endpoints.map(|endpoint| {
            let secrets = signature::secrets(endpoint)
                .map_err(|why| Unprotected { path: endpoint.path.clone(), why })?;
            let served = Served { endpoint: endpoint.clone(), secrets: Arc::new(secrets) };
            Ok((endpoint.path.as_str().to_owned(), served))
        });
        let served = served.collect::<Result<BTreeMap<_, Served>, Unprotected>>()?;
        let document = openapi::document(served.values().map(|served| &served.endpoint));
        let arrivals = Arrivals::new(bounds);
        let lookups = Semaphore::new(bounds::LOOKUPS_MAX);
        Ok(Self(Arc::new(Inner { project, served, queue, arrivals, lookups, mask, bounds, document })))
    }

    /// Answers a request, whatever it is. `from`: the peer's address without its port, or the socket's name; what a header
    /// says of it is not looked at. Dropping the future leaves a call that was kept as it is: it goes on.
    pub async fn answer<B>(&self, request: Request<B>, from: &str) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        // Paths are compared as they are written: nothing is decoded, joined or taken away.
        let path = parts.uri.path();
        let mut response = match self.0.served.get(path) {
            Some(served) if parts.method == Method::POST => self.0.call(served, &parts, body, from).await,
            Some(served) => self.0.other_method(served, from),
            None => self.0.read(&parts, from).await,
        };
        // After chunks what follows may be somebody else's, if there was a length, too: it is not read (RFC 9112, 6.1).
        let is_unread =
            matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        if parts.version <= Version::HTTP_11 && (is_unread || parts.headers.contains_key(TRANSFER_ENCODING)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Inner {
    async fn call<B>(&self, served: &Served, parts: &Parts, body: B, from: &str) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes>,
    {
        let endpoint = &served.endpoint;
        let arrived = match self.arrivals.read(&parts.headers, body).await {
            Ok(arrived) => arrived,
            Err(refused) => return self.refuse(endpoint, from, refused),
        };
        let signed = match signature::verify(&served.secrets, &parts.headers, &arrived.bytes).await {
            Ok(signed) => signed,
            Err(why) => {
                let refused = RefusedCall { detail: why.to_string(), ..refused_call(endpoint, from) };
                self.queue.note(refused);
                tracing::warn!(endpoint = endpoint.path.as_str(), from, %why, "call refused: not signed");
                return response(&unsigned());
            }
        };
        let call = SignedCall {
            endpoint,
            project: &self.project,
            headers: &parts.headers,
            signed: &signed,
            body: &arrived.bytes,
            from,
        };
        let understood = waiting::last_heard(&parts.headers)
            .and_then(|after| body::understand(&call).map(|asked| (asked, after)));
        match understood {
            Ok((Asked::Deploy(call), after)) => {
                drop::<Arrived>(arrived);
                self.keep(served, parts, *call, after).await
            }
            Ok((Asked::Ignored(why), _)) => {
                let why = self.mask.hide(why);
                tracing::info!(endpoint = endpoint.path.as_str(), from, %why, "call ignored");
                self.note(endpoint, from, DeployStatus::Ignored, why.clone());
                response(&DeployAnswer { logs: vec![why], ..DeployAnswer::new(DeployStatus::Ignored) })
            }
            Err(refused) => self.refuse(endpoint, from, refused),
        }
    }

    /// Hands a call to the queue, and answers in the manner that its caller wants.
    async fn keep(
        &self,
        served: &Served,
        parts: &Parts,
        call: DeployCall,
        after: Option<u64>,
    ) -> Response<AnswerBody> {
        let endpoint = &served.endpoint;
        let (manner, origin) = (Manner::of_call(&parts.headers), self.origin(parts));
        let (from, sha) = (call.from.clone(), call.sha.clone());
        let ticket = match self.queue.submit(call).await {
            Ok(ticket) => ticket,
            Err(answer) => {
                let status = answer.status.as_str();
                tracing::warn!(endpoint = endpoint.path.as_str(), %from, %sha, status, "call refused");
                return response(&origin.typed(answer));
            }
        };
        let (run, repeated) = (ticket.run, ticket.repeated);
        tracing::info!(%run, endpoint = endpoint.path.as_str(), %from, %sha, repeated, "call accepted");
        let limit = Duration::from_millis(endpoint.timeout.0);
        match manner {
            Manner::End => response(&origin.typed(waiting::wait(&ticket, limit).await)),
            Manner::Events => {
                stream::stream(ticket, after, limit, Duration::from_millis(self.bounds.keep_alive.0), origin)
            }
            Manner::Kept { preferred } => {
                let mut response = response(&DeployAnswer::accepted(run));
                if preferred {
                    let applied = HeaderName::from_static("preference-applied");
                    response.headers_mut().insert(applied, HeaderValue::from_static("respond-async"));
                }
                response
            }
        }
    }

    /// What is at a path that is no endpoint.
    async fn read(&self, parts: &Parts, from: &str) -> Response<AnswerBody> {
        let path = parts.uri.path();
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        match path.strip_prefix(RUNS_PATH).and_then(run) {
            Some(run) if is_read => self.run(run, parts).await,
            Some(_) => wrong_method(READS),
            None if path == OPENAPI_PATH => match is_read {
                true => json(StatusCode::OK, &self.document),
                false => wrong_method(READS),
            },
            None => {
                if !is_read {
                    let (endpoint, status) = (None, DeployStatus::NotFound);
                    let detail = "no such path".to_owned();
                    let (service, environment, from) = (None, None, from.to_owned());
                    let refused = RefusedCall { from, endpoint, status, service, environment, detail };
                    self.queue.note(refused);
                }
                no_such_path()
            }
        }
    }

    /// How a run is now; or all that is told of it.
    async fn run(&self, run: RunId, parts: &Parts) -> Response<AnswerBody> {
        let after = match waiting::last_heard(&parts.headers) {
            Ok(after) => after,
            Err(refused) => return response(&refused.answer()),
        };
        let origin = self.origin(parts);
        match self.ticket(run).await {
            Ok(Some(ticket)) if parts.method == Method::GET && waiting::takes_events(&parts.headers) => {
                let limit = Duration::from_millis(self.bounds.look_millis_max.0);
                stream::stream(ticket, after, limit, Duration::from_millis(self.bounds.keep_alive.0), origin)
            }
            Ok(Some(ticket)) => {
                response(&origin.typed(ticket.now().unwrap_or_else(|| DeployAnswer::accepted(run))))
            }
            Ok(None) => {
                let refused = Refused {
                    status: DeployStatus::NotFound,
                    message: format!("no call has asked for run {run}"),
                    hint: "see `lockgate history` for runs of other origin".to_owned(),
                };
                response(&refused.answer())
            }
            Err(why) => {
                tracing::error!(%run, why, "a run cannot be looked up");
                let message = "the store does not answer".to_owned();
                let hint = "ask again in a moment".to_owned();
                response(&Refused { status: DeployStatus::Unavailable, message, hint }.answer())
            }
        }
    }

    fn origin(&self, parts: &Parts) -> Origin {
        Origin::of(parts, self.project.serve.as_ref().is_some_and(|serve| serve.tls.is_some()))
    }

    /// # Errors
    /// Why it cannot be looked up, for the log.
    async fn ticket(&self, run: RunId) -> Result<Option<Ticket>, String> {
        let look = async {
            let _turn = self.lookups.acquire().await;
            self.queue.ticket(run).await
        };
        match tokio::time::timeout(Duration::from_secs(bounds::LOOKUP_SECONDS_MAX), look).await {
            Ok(found) => found.map_err(|failure| failure.to_string()),
            Err(_) => Err(format!("it takes longer than {} s", bounds::LOOKUP_SECONDS_MAX)),
        }
    }

    fn other_method(&self, served: &Served, from: &str) -> Response<AnswerBody> {
        let endpoint = &served.endpoint;
        self.note(endpoint, from, DeployStatus::MethodNotAllowed, "another method".to_owned());
        wrong_method(CALLS)
    }

    fn refuse(&self, endpoint: &Endpoint, from: &str, refused: Refused) -> Response<AnswerBody> {
        let answer = refused.answer().masked(&self.mask);
        let (path, status) = (endpoint.path.as_str(), answer.status);
        let why = answer.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        tracing::warn!(endpoint = path, from, status = status.as_str(), why, "call refused");
        self.note(endpoint, from, status, why);
        response(&answer)
    }

    fn note(&self, endpoint: &Endpoint, from: &str, status: DeployStatus, detail: String) {
        self.queue.note(RefusedCall { status, detail, ..refused_call(endpoint, from) });
    }
}

/// Of a call that is not signed.
fn refused_call(endpoint: &Endpoint, from: &str) -> RefusedCall {
    RefusedCall {
        from: from.to_owned(),
        endpoint: Some(endpoint.path.as_str().to_owned()),
        status: DeployStatus::Unauthorized,
        service: None,
        environment: None,
        detail: String::new(),
    }
}

/// The same for every call without a valid signature.
fn unsigned() -> DeployAnswer {
    let refused = Refused {
        status: DeployStatus::Unauthorized,
        message: "the call is not signed with a secret of this endpoint".to_owned(),
        hint: "sign the very bytes of the body, as in `X-Hub-Signature-256: sha256=…`".to_owned(),
    };
    refused.answer()
}

/// A run's id as we write it, and in no other spelling.
fn run(text: &str) -> Option<RunId> {
    text.parse().ok().filter(|run: &RunId| run.to_string() == text)
}
