//! What strangers may take: bytes, time, connections. What a call's body may take is the endpoint's.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// A request's first line and header lines. GitHub's are 2 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// From the moment a connection has nothing to do until the next request's header lines are there, whole. It bounds slow
/// headers and idle connections alike.
const HEAD_SECONDS_MAX: u64 = 15;
const HANDSHAKE_SECONDS_MAX: u64 = 5;
/// Beyond it the connection that has been idle for longest is closed for a new one; where none is idle, the new one is.
const CONNECTIONS_MAX: usize = 2048;
/// Of one address, by the same rule; Unix sockets have none.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// Requests at once of one HTTP/2 connection.
const STREAMS_MAX: u32 = 16;
/// How long a client may take nothing of what is sent to it.
const UNSENT_SECONDS_MAX: u64 = 30;
/// After a handover: how long idle HTTP/1 connections stay open, whose next request is answered and told to come again by
/// another one.
const LAME_DUCK_SECONDS: u64 = 5;
/// How long answers that are ready may take to be taken when this process ends.
const STOP_SECONDS_MAX: u64 = 10;
/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK_SECONDS: u64 = 2;
/// Descriptors that are not for clients: the store, hosts, programs, logs, a successor.
const DESCRIPTORS_RESERVED: u64 = 256;

/// Bounds of all connections; the default is what is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a request's first line and header lines, in bytes; at least 8,192.
    pub head_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// From idle to a request's whole head.
    pub head_time_max: Duration,
    /// Of TLS.
    pub handshake_time_max: Duration,
    /// Open at once.
    pub connections_max: usize,
    /// Open at once from one address.
    pub connections_per_peer_max: usize,
    /// Requests at once of one HTTP/2 connection.
    pub streams_max: u32,
    /// How long a client may take nothing of what is sent to it.
    pub unsent_time_max: Duration,
    /// How long idle HTTP/1 connections stay open after a handover.
    pub lame_duck: Duration,
    /// How long the last answers may take to be taken.
    pub stop_time_max: Duration,
    /// How often the certificate's files are looked at.
    pub certificate_look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            head_time_max: Duration::from_secs(HEAD_SECONDS_MAX),
            handshake_time_max: Duration::from_secs(HANDSHAKE_SECONDS_MAX),
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
            streams_max: STREAMS_MAX,
            unsent_time_max: Duration::from_secs(UNSENT_SECONDS_MAX),
            lame_duck: Duration::from_secs(LAME_DUCK_SECONDS),
            stop_time_max: Duration::from_secs(STOP_SECONDS_MAX),
            certificate_look: Duration::from_secs(CERTIFICATE_LOOK_SECONDS),
        }
    }
}

impl Limits {
    /// The same, with as many connections as this process may have descriptors for.
    #[must_use]
    pub fn within_descriptors(mut self) -> Self {
        let Some(limit) = getrlimit(Resource::Nofile).current else { return self };
        let most = usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX).max(16);
        if most < self.connections_max {
            tracing::warn!(
                connections = most,
                descriptors = limit,
                "the limit of open descriptors (RLIMIT_NOFILE) allows fewer connections at once"
            );
            self.connections_max = most;
        }
        self
    }
}
