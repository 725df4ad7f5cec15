//! Notifiers: people are told of a run by a bot of Slack's (<https://docs.slack.dev/apis/web-api>), through Slack's incoming
//! webhooks (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>), or as JSON at a URL of theirs.
//!
//! Invariants: a URL, a token and the headers' values, which are secrets, are in no error and no log; a redirect is not
//! followed, for it would carry them elsewhere; sending ends within a minute, at most three tries included (a 429 that asks
//! for at most 30 s, no connection, or what may arrive twice: a message that is changed); a new message that may have
//! arrived is not sent again. Slack's text holds names, numbers, the failure and what to type, never an application's log
//! lines; everything that comes from elsewhere is escaped and set as code, so that it mentions nobody, makes no link and
//! formats nothing; and no text is longer than `chat.update` takes, 4,000 characters.
//!
//! A run has one message of a bot: `chat.postMessage` when it starts, `chat.update` when it ends, and why it failed in the
//! thread below. Where there is no message, or it is gone, its end is a new one. A webhook can change nothing, so it has a
//! message for the start and one for the end; a webhook of an app also ignores `channel`, and says so.
//!
//! The body for a URL of one's own is the serialised [`lockgate_ports::Message`]; fields that hold nothing are left out:
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
//! too, and `commands` is what to type). A command that failed before its run began has no `run`, and in place of
//! `release` it has `asked`: the tag or digest that was typed, if one was. `at` is milliseconds since
//! 1970-01-01T00:00:00Z. Any 2xx is a delivery.
//!
//! Absent: signatures and a queue (`lockgate-orchestrator` has it). Absent too: the choice of a TLS provider, which the
//! binary (or a test) installs once with `rustls::crypto::ring::default_provider().install_default()`.

#[cfg(test)]
mod fixtures;
mod post;
mod slack;
mod webhook;

pub use slack::{Slack, SlackBot};
pub use webhook::Webhook;
