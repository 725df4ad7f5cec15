#![doc = include_str!("../README.md")]

#[cfg(test)]
mod fixtures;
mod post;
mod slack;
mod webhook;

pub use slack::{Slack, SlackBot};
pub use webhook::Webhook;
