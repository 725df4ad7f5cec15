//! The built-in reverse proxy: Lockgate's data plane.
//!
//! It keeps serving while everything else is down, and it is changed through a Unix socket in its state folder. A
//! route names the slot that serves it; switching a route is one atomic pointer swap, and the requests still in
//! flight on the old slot are counted exactly, so that the drainer can *look* instead of sleep.
//!
//! Invariants:
//! - Once `PUT /v1/routes/{id}` has answered, no request is sent to the previous target any more, by this process or
//!   by a predecessor that still drains after an upgrade.
//! - A change is durable (file and folder synced) before it takes effect; when it can't be stored, nothing changes.
//! - A request counts as in flight from the moment its target is chosen until its response body is completely
//!   received from the slot and handed to the client's connection, or given up. A WebSocket counts, as `upgraded`,
//!   until it closes. A reader may see a count that is too high for an instant, never one that is too low.
//! - A request that may have reached a slot is never sent twice, except a bodyless GET, HEAD, OPTIONS or TRACE whose
//!   pooled connection broke before the response began.
//! - Once `POST /v1/routes/{id}/hold` has answered, no request is sent to any target of the route, until it is let go
//!   (`DELETE`) or the hold's time has passed: they wait, within bounds, and hold no connection to a slot. A switch lets
//!   nothing go. A hold survives a restart and an upgrade of the proxy, and ends when nobody renews it.
//! - Whatever clients do, the admin interface answers, a client connection can have one request on its way, and nothing
//!   waits without a bound for a peer that does not go on.
//! - An upgrade to a new executable loses no request: the listening sockets, the lock and the ask token are handed
//!   over, and the old process answers what its clients still send on open connections.
//!
//! Absent on purpose: TLS (put Caddy, nginx or a load balancer in front, and name it in the route's `trusted_proxies`,
//! so that its `X-Forwarded-*` is passed on), HTTP/2 to the slots, upgrades to HTTP (`Upgrade: h2c`, which becomes a
//! request without it), WebSockets over HTTP/2 (extended CONNECT), 1xx informational responses other than 101, wildcard
//! hosts, path stripping, health checks (the plan probes a slot before it switches), buffering and caching of any kind.

mod access_log;
mod admin;
mod body;
mod claims;
mod client_stream;
mod config;
mod descriptors;
mod flow;
mod forward;
mod handover;
mod headers;
mod hold;
mod host;
mod inherit;
mod lanes;
mod listen;
mod lock;
mod log_limit;
mod metrics;
mod places;
mod pool;
mod predecessor;
mod router;
mod serve;
mod server;
mod shared;
mod slots;
mod socket;
mod stall_timer;
mod store;
mod streams;
mod table;
mod tunnel;
mod wire;

pub use config::{ProxyConfig, ProxyError};
pub use serve::{ProxyHandle, serve, start};
pub use wire::{
    ASK_HEADER, ErrorKind, ErrorView, HoldRequest, HoldView, InFlight, InFlightByRoute, InFlightBySlot,
    ProxyState, RELEASE_HEADER, RouteSpec, RouteView, RoutesView, SLOT_HEADER, StatusView, Target,
    UpgradeRequest, UpgradeView,
};
