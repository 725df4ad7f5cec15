//! How the proxy is started, and why it may refuse to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lockgate_own::{Foreign, OwnError};
use lockgate_sockets::SocketsError;

/// How long connecting to a slot may take.
pub(crate) const CONNECT_SECONDS_MAX: u64 = 5;
/// How long a slot may take to begin its response (measured from the last progress of the request's body).
pub(crate) const RESPONSE_SECONDS_MAX: u64 = 60;
/// How long a client may take for a request's head; also how long an idle client connection is kept.
pub(crate) const HEAD_SECONDS_MAX: u64 = 60;
/// How long a body may stand still: a request's for want of the client, a response's for want of the slot or of a client
/// that takes it. A route can say otherwise for what it sends and gets; for a client that doesn't read this is it.
pub(crate) const STALL_SECONDS_MAX: u64 = 60;
/// What a client has to send or take in that time to count as moving.
pub(crate) const STALL_BYTES_MIN: u64 = 1024;
/// How long an idle connection to a slot is kept. Below the keep-alive of common servers (Node, uvicorn and Apache:
/// 5 s), so that we close before they do. Gunicorn's threaded worker closes after 2 s: there a request that isn't
/// repeatable can meet a closing connection, unless its `--keep-alive` is raised.
pub(crate) const UPSTREAM_IDLE_SECONDS_MAX: u64 = 4;
/// How many idle connections are kept to one target.
pub(crate) const UPSTREAM_IDLE_CONNECTIONS_MAX: usize = 512;
/// How many client connections are served at once; more wait in the kernel's queue. Fewer when the limit of open
/// descriptors doesn't allow that many.
pub(crate) const CONNECTIONS_MAX: usize = 16_384;
/// How long requests may still run after a shutdown was asked for.
pub(crate) const SHUTDOWN_SECONDS_MAX: u64 = 30;
/// How long requests and WebSockets may still run in the old process after an upgrade.
pub(crate) const UPGRADE_DRAIN_SECONDS_MAX: u64 = 300;
/// How long after an upgrade the old process answers requests on connections it already has (each such answer says
/// `Connection: close`), before it closes the ones that stayed idle.
pub(crate) const LAME_DUCK_SECONDS_MAX: u64 = 5;
/// How long the new process may take from its start until it serves.
pub(crate) const UPGRADE_READY_SECONDS_MAX: u64 = 10;
/// At what size the access log is rotated; one old file is kept.
pub(crate) const ACCESS_LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How the proxy is started. `ProxyConfig::new(dir)` has working defaults for everything but `listen`.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The state folder: `admin.sock`, `routes.json`, `access.log`, `proxy.lock`. Created (0700) if it is missing.
    pub dir: PathBuf,
    /// Where to listen; port 0 takes a free one. Ignored when listeners are inherited (upgrade, systemd sockets).
    pub listen: Vec<SocketAddr>,
    /// How long connecting to a slot may take (5 s).
    pub connect_timeout: Duration,
    /// How long a slot may take to begin its response (60 s); a route can say otherwise.
    pub response_timeout: Duration,
    /// How long a request's or a response's body may stand still (60 s); a route can say otherwise.
    pub stall_timeout: Duration,
    /// How long a client may take for a request's head, and how long it may stay idle (60 s).
    pub head_timeout: Duration,
    /// How long an idle connection to a slot is kept (4 s).
    pub upstream_idle: Duration,
    /// How many idle connections are kept to one target (512).
    pub upstream_idle_connections_max: usize,
    /// How many client connections are served at once (16,384, or what the limit of open descriptors allows).
    pub connections_max: usize,
    /// How long requests may still run after a shutdown was asked for (30 s).
    pub shutdown_drain: Duration,
    /// How long requests may still run in the old process after an upgrade (300 s).
    pub upgrade_drain: Duration,
    /// How long the old process still answers on open connections after an upgrade (5 s).
    pub lame_duck: Duration,
    /// How long the new process may take until it serves (10 s).
    pub upgrade_ready: Duration,
    /// At what size the access log is rotated (64 MiB); 0 writes no access log.
    pub access_log_bytes_max: u64,
}

impl ProxyConfig {
    /// Defaults for everything; listens nowhere until `listen` is filled (or sockets are inherited).
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let seconds = Duration::from_secs;
        Self {
            dir: dir.into(),
            listen: Vec::new(),
            connect_timeout: seconds(CONNECT_SECONDS_MAX),
            response_timeout: seconds(RESPONSE_SECONDS_MAX),
            stall_timeout: seconds(STALL_SECONDS_MAX),
            head_timeout: seconds(HEAD_SECONDS_MAX),
            upstream_idle: seconds(UPSTREAM_IDLE_SECONDS_MAX),
            upstream_idle_connections_max: UPSTREAM_IDLE_CONNECTIONS_MAX,
            connections_max: CONNECTIONS_MAX,
            shutdown_drain: seconds(SHUTDOWN_SECONDS_MAX),
            upgrade_drain: seconds(UPGRADE_DRAIN_SECONDS_MAX),
            lame_duck: seconds(LAME_DUCK_SECONDS_MAX),
            upgrade_ready: seconds(UPGRADE_READY_SECONDS_MAX),
            access_log_bytes_max: ACCESS_LOG_BYTES_MAX,
        }
    }

    /// The same, listening on these addresses.
    pub fn listen(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.listen = addresses.into_iter().collect();
        self
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    pub(crate) fn routes_file(&self) -> PathBuf {
        self.dir.join("routes.json")
    }

    pub(crate) fn access_log(&self) -> PathBuf {
        self.dir.join("access.log")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.dir.join("proxy.lock")
    }
}

/// Why the proxy didn't start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Another live proxy owns the folder.
    #[error("a proxy is already running in {dir}{}", pid.map(|pid| format!(", pid {pid}")).unwrap_or_default())]
    AlreadyRunning { dir: PathBuf, pid: Option<u32> },
    /// `routes.json` can't be understood. It is left as it is.
    #[error("{path} is not a routes file that this version understands, and was left untouched: {reason}")]
    RoutesCorrupt { path: PathBuf, reason: String },
    /// There is nothing to listen on.
    #[error("nothing to listen on: no address was given and no listening socket was inherited")]
    NothingToListenOn,
    /// An address can't be bound.
    #[error("can't listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    /// What was inherited from the previous process or from systemd is not usable.
    #[error("inherited sockets are not usable: {reason}")]
    Inherited { reason: String },
    /// The previous process went away or said something unexpected during an upgrade.
    #[error("the handover from the previous proxy failed: {reason}")]
    Handover { reason: String },
    /// A file or socket in the state folder can't be used.
    #[error("can't {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// The state folder or a file in it is somebody else's, or others may write it, or it is no file.
    #[error("{message}")]
    NotOurs { message: String, hint: String },
    /// The proxy's own main task ended abnormally.
    #[error("the proxy stopped unexpectedly: {reason}")]
    Stopped { reason: String },
}

impl ProxyError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn sockets(error: SocketsError) -> Self {
        match error {
            SocketsError::Inherited { reason } => Self::Inherited { reason },
            SocketsError::Io { action, path, source } => Self::Io { action, path, source },
            SocketsError::NotOurs { message, hint } => Self::NotOurs { message, hint },
        }
    }

    pub(crate) fn own(action: &'static str, path: impl Into<PathBuf>, error: OwnError) -> Self {
        match error {
            OwnError::Foreign(Foreign { message, hint }) => Self::NotOurs { message, hint },
            OwnError::Io(source) => Self::io(action, path, source),
        }
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::AlreadyRunning { .. } => {
                "one proxy owns a folder; upgrade the running one (SIGHUP, POST /v1/upgrade) or stop it first"
            }
            Self::RoutesCorrupt { .. } => {
                "repair the file or move it away; without it the proxy starts with no routes and the next deployment puts them back"
            }
            Self::NothingToListenOn => "name at least one address, 127.0.0.1:8080 for example",
            Self::Listen { .. } => {
                "another program may own the port, or it needs a privilege (ports below 1024)"
            }
            Self::Inherited { .. } => {
                "start the proxy without LOCKGATE_PROXY_HANDOVER and LISTEN_FDS, or fix the unit file"
            }
            Self::Handover { .. } => "the previous process serves on; look at its log",
            Self::Io { .. } => {
                "look at the folder's owner, mode and free space; a socket's path may have at most 107 bytes"
            }
            Self::NotOurs { hint, .. } => hint,
            Self::Stopped { .. } => "this is a bug in the proxy; its log says more",
        }
    }
}
