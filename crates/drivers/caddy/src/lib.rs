//! The port [`Router`](lockgate_ports::Router) for Caddy 2, through its admin API.
//!
//! A switch changes one thing: the `upstreams` of one `reverse_proxy` handler, by
//! `PATCH /config/…/upstreams` under `If-Match`. It is the only form that can be repeated, keeps the handler's other
//! settings and keeps its `@id`. Everything goes over [`lockgate_ports::http::send`], so it is the same on this machine
//! and over SSH.
//!
//! How the handler is found: by `@id` when one is configured (on the handler, or on anything around it that holds
//! exactly one `reverse_proxy`, such as a route), else, or when the id is lost because Caddy was reloaded, as the one
//! handler that dials one of the slots. None or several are refused with what was found.
//!
//! Invariants:
//! - Nothing is changed unless the route is still what the caller saw ([`RouteVersion`](lockgate_ports::RouteVersion)
//!   is Caddy's ETag of the upstreams).
//! - A count of requests in flight is never a false 0. Caddy forgets an upstream, while requests run on it, as soon as
//!   no handler dials it. So before the first switch a *ghost* route is added to the same server: it matches nothing
//!   and dials both slots, and keeps the counts alive. Its upstreams carry the `@id`s `lockgate_ghost_<label>:blue`
//!   and `:green`, which also say which address is which slot. Where the ghost is missing, as after `caddy reload`,
//!   the count of a slot that is not live is an error. Caddy counts WebSockets as requests: `upgraded` is always 0.
//! - On Caddy before 2.7 every change of configuration kills the requests in flight of every `reverse_proxy` that has
//!   `flush_interval -1`. Where one is there, nothing is done and the error says which. Caddy's admin API does not tell
//!   its version, so `caddy version` is run on the host; where that fails (Caddy in a container) the version is unknown
//!   and only a `flush_interval -1` in the service's own route is refused.
//!
//! The snippet: with `snippet` configured, the file is kept at exactly `to <dial>\n`, and the Caddyfile has
//! `reverse_proxy { import <file> }`. It is written before the switch, so that a restart of Caddy comes back to the
//! slot that is to be live. Without it a restart with `--config` returns to the file's upstream; `--resume` keeps it.
//!
//! What Caddy itself loses: every change of its configuration is a reload. It closes idle keep-alive connections, so a
//! client that sends on one in that instant sees a reset and, if it is a good client, repeats. And it opens a new
//! listening socket and closes the old one, with which the kernel resets connections that were not accepted yet; on
//! Linux 5.14 and later `net.ipv4.tcp_migrate_req = 1` hands them to the new socket instead, and then none is lost.
//! [`Router::check`](lockgate_ports::Router::check) says when that is off. `tests/caddy/load.rs` counts both.
//!
//! Absent: reloads of Caddy, other settings of the handler, and any cache: every call looks at the live configuration.

mod admin;
mod ask;
mod caddy;
mod check;
mod ghost;
mod options;
mod router;
mod snippet;
mod tls;
mod tree;
mod version;

pub use caddy::Caddy;
pub use options::CaddyOptions;
