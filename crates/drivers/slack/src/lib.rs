//! The notifier that posts to a Slack channel through an incoming webhook
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
//!
//! Invariants: the webhook's URL, which is the secret, is in no error and no log; the text holds names, numbers, the
//! failure and what to type, never an application's log lines; everything that comes from elsewhere is escaped, so
//! that it cannot mention a channel; sending ends within 10 s, one retry included.
//!
//! Absent: threads, updates of an earlier message and bot tokens. Absent too: the choice of a TLS provider, which
//! the binary (or a test) installs once with `rustls::crypto::ring::default_provider().install_default()`.

mod answer;
mod slack;
mod text;

pub use slack::Slack;
