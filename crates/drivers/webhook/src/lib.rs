//! The notifier that posts every message as JSON to a URL of the user's.
//!
//! The body is the serialised [`lockgate_ports::Message`]; fields that hold nothing are left out:
//!
//! ```json
//! {
//!   "kind": "rolled_back",
//!   "project": "acme", "service": "web", "environment": "prod",
//!   "release": { "service": "web", "tag": "v2", "digest": "sha256:…", "image": "ghcr.io/acme/web", "commit": "…" },
//!   "run": "0192f0c4-…", "at": 1763683200000, "owner": "lee@laptop", "hosts": ["web1", "web2"],
//!   "failure": { "kind": "unhealthy", "message": "…", "hint": "…", "host": "web1", "slot": "green",
//!                "logs": ["…"], "evidence": [{ "check": "…", "wanted": "…", "seen": "…", "ok": false }] },
//!   "commands": ["…"]
//! }
//! ```
//!
//! `kind` is `starting`, `success`, `rolled_back`, `failed` (nothing was changed) or `critical` (the rollback failed
//! too, and `commands` is what to type). `at` is milliseconds since 1970-01-01T00:00:00Z.
//!
//! Any 2xx is a delivery. Invariants: the URL and the headers' values, which are secrets, are in no error and no log;
//! only the host is shown; a redirect is not followed, for it would carry the headers elsewhere; sending ends within
//! 10 s, one retry included (a 429 that asks for at most 5 s, or no connection).
//!
//! Absent: signatures and a queue. Absent too: the choice of a TLS provider, which the binary (or a test) installs
//! once with `rustls::crypto::ring::default_provider().install_default()`.

mod answer;
mod webhook;

pub use webhook::Webhook;
