//! One request: choose a slot, send, stream the response back.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::access_log::Record;
use crate::body::{Exchange, Progress, RequestBody, ResponseBody};
use crate::flow::Flow;
use crate::headers::{self, Origin};
use crate::hold::TurnedAway;
use crate::host;
use crate::places::Place;
use crate::pool::{ConnectError, Sender};
use crate::reach::Search;
use crate::replica::Visit;
use crate::router::{Claim, Found};
use crate::shared::{Phase, Shared};
use crate::slots::CutOff;
use crate::tunnel;
use crate::wire::{RELEASE_HEADER, REPLICA_HEADER, SLOT_HEADER};

const SLOT: HeaderName = HeaderName::from_static(SLOT_HEADER);
const RELEASE: HeaderName = HeaderName::from_static(RELEASE_HEADER);
const REPLICA: HeaderName = HeaderName::from_static(REPLICA_HEADER);
/// When a client that was refused for want of a place may come again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// When a client that was turned away from a held route may come again.
const HELD_RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// One client connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Where it connected to; `None` if the kernel no longer knows.
    connected_to: Option<SocketAddr>,
    pub(crate) forwarded_for: HeaderValue,
    pub(crate) requests: AtomicU64,
    pub(crate) http2: AtomicBool,
    /// It has become a tunnel.
    switched: AtomicBool,
    /// The place that nobody else can take.
    pub(crate) own_place: Arc<Semaphore>,
    /// What its connection holds.
    pub(crate) flow: Arc<Flow>,
    /// How many requests have a place.
    busy: AtomicU64,
    since: Instant,
    /// When the last request gave its place back, in milliseconds after `since`.
    ended_ms: AtomicU64,
}

impl Client {
    pub(crate) fn new(address: IpAddr, connected_to: Option<SocketAddr>) -> Self {
        // One that came to an IPv6 socket over IPv4 is known by its IPv4 address.
        let address = address.to_canonical();
        let forwarded_for = headers::forwarded_for(address);
        Self {
            address,
            connected_to,
            forwarded_for,
            requests: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            own_place: Arc::new(Semaphore::new(1)),
            flow: Arc::new(Flow::default()),
            busy: AtomicU64::new(0),
            since: Instant::now(),
            ended_ms: AtomicU64::new(0),
        }
    }

    /// Nobody else reads what it sends meanwhile: neither HTTP/2 nor a tunnel.
    pub(crate) fn may_be_looked_at(&self) -> bool {
        !self.http2.load(Relaxed) && !self.switched.load(Relaxed)
    }

    /// The host of an HTTP/1.0 request that names none: the address that it was sent to.
    fn unnamed_host(&self) -> HeaderValue {
        let text = self.connected_to.map(|address| address.to_string()).unwrap_or_default();
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// A request got a place.
    pub(crate) fn began(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// A request gave its place back.
    pub(crate) fn ended(&self) {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ended_ms.store(elapsed, Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Since when nothing is on its way; `None` while something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.busy.load(Relaxed) == 0;
        idle.then(|| self.since + Duration::from_millis(self.ended_ms.load(Relaxed)))
    }
}

/// Why there is no response from the slot.
enum Failure {
    Connect(ConnectError),
    /// Connected, but the exchange broke before the response began.
    Broken(hyper::Error),
    TimedOut,
    /// The slot could not be sent the whole request, because the client's body was malformed or broke off.
    BadBody,
    /// The same, because the client sent it too slowly.
    Late,
}

pub(crate) async fn handle(
    shared: Arc<Shared>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    client.requests.fetch_add(1, Relaxed);
    let http2 = request.version() == Version::HTTP_2;
    if http2 {
        client.http2.store(true, Relaxed);
    }
    let host = host::requested(&request);
    let named = host.as_ref().ok().cloned().flatten();
    // Begun before there is a place, so that a client that leaves meanwhile is logged too.
    let record = Record::begin(shared.access_log.clone(), client.address, &request, named);
    let place = shared.places.request(&client).await;
    let mut response = match &place {
        Some(place) => route(&shared, &client, place, request, host, record).await,
        None => refuse_for_now(http2, "too many requests are on their way", RETRY_AFTER_SECONDS, record),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        client.switched.store(true, Relaxed);
    }
    response.body_mut().to(&client, place);
    if !http2 && shared.phase() != Phase::Serving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn route(
    shared: &Arc<Shared>,
    client: &Client,
    place: &Arc<Place>,
    mut request: Request<Incoming>,
    host: Result<Option<HeaderValue>, &'static str>,
    mut record: Record,
) -> Response<ResponseBody> {
    let host = match may_be_routed(&request, host) {
        Ok(host) => host,
        Err((status, reason)) => {
            shared.refused.fetch_add(1, Relaxed);
            return refuse_and_close(status, reason, &request, record);
        }
    };
    let name = host.as_ref().and_then(|host| host.to_str().ok()).map(host::without_port);
    let path = request.uri().path();
    let mut claim = match claim(shared, name.unwrap_or_default(), path, place, &mut record).await {
        Ok(claim) => claim,
        Err(Unclaimed::NoRoute) => {
            shared.unrouted.fetch_add(1, Relaxed);
            return refuse(StatusCode::NOT_FOUND, "no route matches this host and path", record);
        }
        Err(Unclaimed::TurnedAway(why)) => {
            let http2 = request.version() == Version::HTTP_2;
            return refuse_for_now(http2, why.reason(), HELD_RETRY_AFTER_SECONDS, record);
        }
    };
    record.sent_to(&claim.live);
    let asked = headers::take_ask(request.headers_mut(), shared.ask_token.as_bytes());
    let asked_for = headers::take_replica(request.headers_mut(), asked);
    let upgrade = headers::wanted_upgrade(&request);
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let named = host.is_some();
    let host = host.unwrap_or_else(|| client.unnamed_host());
    let proxies = &claim.live.trusted_proxies;
    // Who may ask asks as users do, who come by the proxies in front.
    let trusted = (asked && !proxies.is_empty()) || proxies.iter().any(|net| net.contains(&client.address));
    let origin = Origin { forwarded_for: &client.forwarded_for, host, named, upgrade, trusted };
    headers::prepare_request(&mut request, origin);

    // A connection that becomes a tunnel never comes back to the pool, so it isn't taken from there either.
    let pooled = client_side.is_none();
    let mut request = request.map(|body| RequestBody::new(body, claim.live.stall_timeout, place));
    headers::announce_body(&mut request);
    let upload = request.body().progress();
    match send(shared, &mut claim, request, pooled, asked_for).await {
        Ok((response, _)) if headers::has_unknown_coding(response.headers()) => {
            let reason = "the slot's answer has a transfer coding other than chunked";
            refuse(StatusCode::BAD_GATEWAY, &of_route(&claim, reason), record)
        }
        Ok((response, sender)) => {
            let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let mut response = match (switched, client_side) {
                (true, Some(client_side)) => {
                    tunnel::open(shared, claim, record, client_side, response, asked)
                }
                (true, None) => {
                    let reason = "the slot switched protocols unasked";
                    refuse(StatusCode::BAD_GATEWAY, &of_route(&claim, reason), record)
                }
                (false, _) => pass_back(claim, record, response, sender, asked, upload),
            };
            *response.version_mut() = Version::HTTP_11;
            response
        }
        Err(failure) => unanswered(&claim, failure.with(upload.as_deref()), record),
    }
}

/// What follows on this connection could be read in two ways, so it ends; a stream of HTTP/2 ends by itself.
fn refuse_and_close(
    status: StatusCode,
    reason: &str,
    request: &Request<Incoming>,
    record: Record,
) -> Response<ResponseBody> {
    let mut response = refuse(status, reason, record);
    if request.version() != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the client is told when no slot's answer came.
fn unanswered(claim: &Claim, failure: Failure, mut record: Record) -> Response<ResponseBody> {
    if matches!(failure, Failure::BadBody | Failure::Late) {
        record.cut_off = Some(CutOff::Client);
    }
    let is_nowhere = matches!(failure, Failure::Connect(ConnectError::Nowhere));
    let (status, reason) = explain(claim, failure);
    let mut response = refuse(status, &of_route(claim, reason), record);
    if is_nowhere {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

/// Why a request is sent nowhere.
enum Unclaimed {
    NoRoute,
    TurnedAway(TurnedAway),
}

/// Chooses a target; first waits where the route is held.
async fn claim(
    shared: &Shared,
    host: &str,
    path: &str,
    place: &Place,
    record: &mut Record,
) -> Result<Claim, Unclaimed> {
    let mut arrived = None;
    loop {
        match shared.router.claim(host, path) {
            None => return Err(Unclaimed::NoRoute),
            Some(Found::Target(claim)) => {
                record.held = arrived.map(|arrived: Instant| arrived.elapsed());
                return Ok(claim);
            }
            Some(Found::Held(route, gate)) => {
                let arrived = *arrived.get_or_insert_with(Instant::now);
                // On the heap, so that requests which don't wait have no room for it.
                let waited = Box::pin(shared.router.holds.wait(&route, &gate, place, arrived)).await;
                waited.map_err(Unclaimed::TurnedAway)?;
            }
        }
    }
}

/// The request's host, or why no route is looked for.
fn may_be_routed<B>(
    request: &Request<B>,
    host: Result<Option<HeaderValue>, &'static str>,
) -> Result<Option<HeaderValue>, (StatusCode, &'static str)> {
    if let Some(refused) = headers::refusal(request) {
        return Err(refused);
    }
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here"));
    }
    host.map_err(|reason| (StatusCode::BAD_REQUEST, reason))
}

impl Failure {
    /// The same, unless it is the client's own doing, as its body's progress tells.
    fn with(self, upload: Option<&Progress>) -> Self {
        match (self, upload) {
            (Self::Broken(_), Some(upload)) if upload.is_late() => Self::Late,
            (Self::Broken(_), Some(upload)) if upload.failed() => Self::BadBody,
            (Self::TimedOut, Some(upload)) if upload.waits() => Self::Late,
            (failure, _) => failure,
        }
    }
}

fn pass_back(
    claim: Claim,
    mut record: Record,
    response: Response<Incoming>,
    sender: Sender,
    asked: bool,
    upload: Option<Arc<Progress>>,
) -> Response<ResponseBody> {
    let (mut head, incoming) = response.into_parts();
    headers::prepare_response(&mut head.headers, false);
    if asked {
        answer_ask(&mut head.headers, &claim);
    }
    record.status = head.status.as_u16();
    let exchange = Exchange::new(incoming, sender, claim, record, upload, &head.headers);
    Response::from_parts(head, ResponseBody::Streamed(Box::new(exchange)))
}

/// Says which slot and release answer.
pub(crate) fn answer_ask(headers: &mut hyper::HeaderMap, claim: &Claim) {
    headers.insert(SLOT, claim.live.slot_header.clone());
    headers.insert(RELEASE, claim.live.release_header.clone());
    headers.extend(claim.visit.iter().map(|visit| (REPLICA, visit.replica().header.clone())));
}

/// Sends the request, on a pooled connection if there is one.
///
/// It is sent a second time, on a fresh connection, only if the pooled one broke (or had something else to read) before
/// the response began and either nothing was sent yet, or sending it twice is harmless. By the same rule it goes to
/// another replica when a fresh connection breaks. One that refuses the connection, or whose address may be somebody
/// else's by now, is passed over: it was sent nothing.
async fn send(
    shared: &Shared,
    claim: &mut Claim,
    mut request: Request<RequestBody>,
    pooled: bool,
    asked_for: Option<HeaderValue>,
) -> Result<(Response<Incoming>, Sender), Failure> {
    let live = claim.live.clone();
    let limit = live.response_timeout;
    let mut search = Search::new(shared, &live, asked_for);
    let mut first = search.choose();
    claim.visit = first.clone().map(Visit::to);
    if pooled
        && let Some(replica) = &first
        && let Some(mut sender) = replica.pool.checkout()
    {
        let spare = repeatable(&request);
        let progress = request.body().progress();
        match within(limit, progress.as_deref(), sender.try_send_request(request)).await {
            None => return Err(Failure::TimedOut),
            Some(Ok(response)) => return Ok((response, sender)),
            Some(Err(mut error)) => {
                let too_large = error.error().is_parse_too_large();
                if error.error().is_parse() && !too_large {
                    // What came may well have been on its way before this request was.
                    replica.pool.distrust();
                }
                match error.take_message().or(spare.filter(|_| !too_large)) {
                    Some(again) => request = again,
                    None => return Err(Failure::Broken(error.into_error())),
                }
            }
        }
        shared.retried.fetch_add(1, Relaxed);
    }
    loop {
        let (replica, mut sender) = search.connect(first.take()).await.map_err(Failure::Connect)?;
        claim.visit = Some(Visit::to(replica.clone()));
        let spare = live.replicas.are_several().then(|| repeatable(&request)).flatten();
        let progress = request.body().progress();
        let mut error = match within(limit, progress.as_deref(), sender.try_send_request(request)).await {
            None => return Err(Failure::TimedOut),
            Some(Ok(response)) => return Ok((response, sender)),
            Some(Err(error)) => error,
        };
        let is_answer = error.error().is_parse() || error.error().is_parse_too_large();
        let again = error.take_message().or(spare).filter(|_| !is_answer);
        match again {
            Some(again) if search.go_on_without(replica).await => request = again,
            _ => return Err(Failure::Broken(error.into_error())),
        }
        shared.retried.fetch_add(1, Relaxed);
    }
}

/// A copy of a request that may be sent twice: a safe method and no body.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_safe() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Waits for the response's head, at most `limit` from the last progress of the request's body.
async fn within<F: Future>(limit: Duration, progress: Option<&Progress>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut since = Instant::now();
    loop {
        match timeout_at(since + limit, future.as_mut()).await {
            Ok(output) => return Some(output),
            Err(_) => match progress.map(Progress::last) {
                Some(last) if last > since => since = last,
                _ => return None,
            },
        }
    }
}

/// A status and a reason for the client, without internals; those go to the log, though not for every request: a dead
/// slot under load would fill the disk. The metrics count them all.
fn explain(claim: &Claim, failure: Failure) -> (StatusCode, &'static str) {
    let (status, reason, detail) = match failure {
        Failure::Connect(ConnectError::TimedOut) => {
            (StatusCode::GATEWAY_TIMEOUT, "connecting to the slot took too long", None)
        }
        Failure::Connect(ConnectError::Nowhere) => {
            let reason = "the slot does not run, or where it runs now cannot be found out";
            (StatusCode::SERVICE_UNAVAILABLE, reason, claim.live.replicas.trouble())
        }
        Failure::Connect(ConnectError::NoRoom) => {
            (StatusCode::SERVICE_UNAVAILABLE, "too many connections to slots are open", None)
        }
        Failure::Connect(ConnectError::Failed(detail)) => {
            (StatusCode::BAD_GATEWAY, "the slot can't be reached", Some(detail))
        }
        Failure::Broken(error) if error.is_parse_too_large() => {
            let reason = "the slot's answer has more than 100 header lines, or too long ones";
            (StatusCode::BAD_GATEWAY, reason, None)
        }
        Failure::Broken(error) if error.is_parse() => {
            (StatusCode::BAD_GATEWAY, "the slot's answer is malformed", Some(error.to_string()))
        }
        // It is the client that failed, so the log says nothing.
        Failure::BadBody => {
            return (StatusCode::BAD_REQUEST, "the request's body is malformed or was broken off");
        }
        Failure::Broken(error) => {
            (StatusCode::BAD_GATEWAY, "the slot broke the exchange off", Some(error.to_string()))
        }
        Failure::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "the slot took too long to answer", None),
        Failure::Late => return (StatusCode::REQUEST_TIMEOUT, "the request's body came too slowly"),
    };
    if let Some(left_out) = claim.live.stats.failures.due() {
        let (route, slot) = (&claim.live.route, &claim.live.target.slot);
        tracing::warn!(route, slot, detail, left_out, "{reason}");
    }
    (status, reason)
}

fn of_route(claim: &Claim, reason: &str) -> String {
    format!("route {}: {reason}", claim.live.route)
}

/// The answer to a request for which there is no place. On HTTP/2 it is a head alone: a client that takes no body would
/// keep its stream.
fn refuse_for_now(
    http2: bool,
    reason: &str,
    retry_after: HeaderValue,
    record: Record,
) -> Response<ResponseBody> {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, reason, record);
    response.headers_mut().insert(RETRY_AFTER, retry_after);
    if http2 {
        *response.body_mut() = ResponseBody::own(Bytes::new());
    }
    response
}

/// A short plain answer of our own.
fn refuse(status: StatusCode, reason: &str, mut record: Record) -> Response<ResponseBody> {
    let text = format!("{status}\n{reason}\n");
    record.status = status.as_u16();
    record.bytes = text.len() as u64;
    record.finish();
    let mut response = Response::new(ResponseBody::own(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
