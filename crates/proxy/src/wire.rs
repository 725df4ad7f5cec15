//! The admin interface's JSON: what goes over `admin.sock`, and the names of the headers used for asking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A request that carries this header with [`StatusView::ask_token`] is answered with [`SLOT_HEADER`] and
/// [`RELEASE_HEADER`]. The header is never forwarded.
pub const ASK_HEADER: &str = "lockgate-ask";
/// Names the slot that answered, in the response to a request that asked.
pub const SLOT_HEADER: &str = "lockgate-slot";
/// Names the release that answered, in the response to a request that asked.
pub const RELEASE_HEADER: &str = "lockgate-release";
/// In a request that asks: the dial of the replica that is to answer it; in the response, of the one that did. Never
/// forwarded.
pub const REPLICA_HEADER: &str = "lockgate-replica";

/// Where a route's requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The slot's name, `blue` for example: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub slot: String,
    /// The release that runs there, as the plan calls it: 1 to 256 visible ASCII characters.
    pub release: String,
    /// `host:port`, or `unix:/absolute/path`.
    pub dial: String,
}

/// One of the addresses at which a slot answers: a container's, or a process's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// `host:port`, or `unix:/absolute/path`.
    pub dial: String,
    /// Whose address that is. Absent: nobody is asked, and it is trusted for as long as the route stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Whose an address is. Somebody else may get it as soon as the owner has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A container. When it comes back, or another takes its place, the engine says where it answers then.
    Container(ContainerOwner),
    /// A process of this machine. What comes after it is another's.
    Process(ProcessOwner),
}

/// A process, so that no later one with its number is taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessOwner {
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: when it began, in clock ticks after the boot.
    pub began: u64,
    /// `/proc/sys/kernel/random/boot_id` of that boot.
    pub boot_id: String,
}

/// A container, and where in it the slot answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerOwner {
    /// Absolute path of the socket of the engine that has it.
    pub engine: PathBuf,
    /// Its id: 12 to 64 hex digits.
    pub id: String,
    /// What a container that takes its place is labelled with, once there is none with its id any more; at most 16. Empty:
    /// none takes its place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The network whose address is dialled; absent: the host's own, or where the port is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Where it listens in the container.
    pub port: u16,
    /// Its first process. As long as that lives the address is its own, also while the engine is down. Absent where the
    /// process can't be looked at: then the engine's word counts for as long as it tells what happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessOwner>,
}

/// What `PUT /v1/routes/{id}` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Host names without port; empty means any host. A named host wins over any host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// `/api` matches `/api` and `/api/x`, not `/apix`. The longest prefix wins; none is the same as `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Where requests go.
    pub target: Target,
    /// How long the slot may take to begin its response, in milliseconds; absent: the proxy's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_ms: Option<u64>,
    /// How long a request's or a response's body may stand still, in milliseconds; absent: the proxy's default. A response
    /// that says it is a stream (`text/event-stream` for example) may pause for as long as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout_ms: Option<u64>,
    /// Networks (`10.0.0.0/8`) of the proxies in front whose `X-Forwarded-*` is believed and passed on, at most 64; from
    /// everybody else it is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// All addresses at which the slot answers, at most 64, each with its owner; the first is the target's dial. Requests go
    /// to the one with the fewest in flight. Empty: the target's dial alone, and nobody is asked whose it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<Replica>,
}

impl RouteSpec {
    /// Everything there is goes to `target`; the rest as the proxy does by itself.
    pub fn to(target: Target) -> Self {
        Self {
            hosts: Vec::new(),
            path_prefix: None,
            target,
            response_timeout_ms: None,
            stall_timeout_ms: None,
            trusted_proxies: Vec::new(),
            replicas: Vec::new(),
        }
    }
}

/// What `POST /v1/routes/{id}/hold` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// How long the hold lasts unless it is asked for again, and how long one request waits at most, in milliseconds: 1 to
    /// 86,400,000 (a day).
    pub time_ms: u64,
    /// How many requests may wait at once, at most 100,000; more are answered 503. All held routes together have half of
    /// the proxy's connections for it.
    #[serde(default = "hold_requests_max")]
    pub requests_max: u32,
}

/// How many requests wait for a held route when nobody says so.
fn hold_requests_max() -> u32 {
    1_000
}

/// What `POST /v1/try` takes: one question to an address, which no user is sent to by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TryRequest {
    /// As [`Target::dial`].
    pub dial: String,
    /// Path and query of a GET.
    pub target: String,
    /// Sent with it, at most 64; without a `host` the address is sent as one.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryView {
    /// The address accepted a connection.
    pub reached: bool,
    /// What it answered; absent where it did not within the proxy's patience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A route that is held, as it is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// When it ends by itself, in milliseconds since 1970.
    pub until_ms: u64,
    /// As asked for in [`HoldRequest::time_ms`].
    pub time_ms: u64,
    /// As asked for in [`HoldRequest::requests_max`].
    pub requests_max: u32,
    /// How many requests wait. Those that wait in a predecessor process are not among them.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds.
    pub longest_ms: u64,
    /// How many requests of this route were refused since this process started because it was held.
    pub refused: u64,
}

/// How many requests a slot is working on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Ordinary requests, server-sent events among them.
    pub requests: u64,
    /// Upgraded connections (WebSockets). They don't end by themselves: give them a deadline.
    pub upgraded: u64,
}

impl InFlight {
    /// Nothing is in flight.
    pub fn is_zero(&self) -> bool {
        self.requests == 0 && self.upgraded == 0
    }
}

/// Slot name to what is in flight there.
pub type InFlightBySlot = BTreeMap<String, InFlight>;
/// Route id to [`InFlightBySlot`].
pub type InFlightByRoute = BTreeMap<String, InFlightBySlot>;

/// One address of a slot as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Where it answers now, which may be elsewhere than the route was told.
    pub dial: String,
    /// The container that has the address; absent for a process, and where nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Whether requests are sent there: its owner has it, as far as can be told.
    pub trusted: bool,
    /// How many requests are on their way there, of those that this process sent.
    pub requests: u64,
}

/// One route as it is served at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    pub id: String,
    /// Grows with every change, over all routes, over restarts and re-creations. It is the `ETag`, quoted.
    pub version: u64,
    pub hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// As the route was told, but for `dial`: that is where the slot's first replica answers now.
    pub target: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// Where the slot's owners answer now; empty for a route that was told no owners, and when none of them runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaView>,
    /// As the route was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Replica>,
    /// Why requests are answered 503 instead of being sent, or why some owner can't be asked; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The current slot, the recent ones, and every one that still has something in flight, here or in a
    /// predecessor process that drains after an upgrade.
    pub in_flight: InFlightBySlot,
    /// Absent unless requests wait instead of being sent to the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
}

/// What `GET /v1/routes` answers, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesView {
    pub routes: Vec<RouteView>,
}

/// Whether the proxy takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyState {
    Serving,
    Draining,
}

/// What `GET /v1/status` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    pub pid: u32,
    /// The crate's version.
    pub version: String,
    pub state: ProxyState,
    /// The addresses really bound, so never port 0.
    pub listeners: Vec<SocketAddr>,
    /// How many routes there are.
    pub routes: usize,
    /// When this process started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Somebody starts it again when it dies. Absent from proxies that know of no supervisor.
    #[serde(default)]
    pub supervised: bool,
    /// The value for [`ASK_HEADER`]. It survives upgrades, not restarts.
    pub ask_token: String,
    /// Access log lines dropped because the writer couldn't follow.
    pub access_log_dropped: u64,
    /// The process that still drains after an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<u32>,
    /// Everything in flight, deleted routes included. Slots with nothing in flight are left out.
    pub in_flight: InFlightByRoute,
    /// The routes that are held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<String, HoldView>,
}

/// What `POST /v1/upgrade` takes. What is left out stays as this process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<PathBuf>,
    /// The arguments after the program's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// What a successful `POST /v1/upgrade` answers; the new process serves by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeView {
    /// The new process.
    pub pid: u32,
}

/// Says what the caller may do about a refused admin call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 404: no such route or path.
    NotFound,
    /// 412: someone else changed the route; look at `current` and decide anew.
    VersionMismatch,
    /// 400: the request itself is wrong.
    Invalid,
    /// 409: another route claims the same host and prefix.
    Conflict,
    /// 507: the change couldn't be stored; nothing changed.
    StorageFailed,
    /// 503: this process has handed over or is stopping; connect again.
    Unavailable,
    /// 500: the new process didn't come up; the old one serves on.
    UpgradeFailed,
    /// 413: the body is too large.
    TooLarge,
    /// 405: the path exists, the method doesn't.
    MethodNotAllowed,
}

/// The body of every refused admin call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    pub kind: ErrorKind,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The route as it is, when its version was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<RouteView>>,
}

impl ErrorView {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, current: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn current(mut self, current: Option<RouteView>) -> Self {
        self.current = current.map(Box::new);
        self
    }
}
