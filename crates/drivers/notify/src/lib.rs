#![doc = include_str!("../README.md")]

#[cfg(test)]
mod fixtures;
mod github;
mod mail;
mod plain;
mod post;
mod routed;
mod slack;
mod webhook;

pub use github::GitHub;
pub use mail::Mail;
pub use routed::Routed;
pub use slack::{Slack, SlackBot};
pub use webhook::Webhook;
