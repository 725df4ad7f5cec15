//! Slack's incoming webhooks.

mod answer;
mod bot;
mod bounded;
mod changes;
mod details;
mod markup;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::sync::Once;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};
use reqwest::Url;
use reqwest::header::HeaderMap;

pub use bot::SlackBot;

use crate::post::{Parcel, Post};

/// Of an answer, which is one word, so much is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// An incoming webhook.
#[derive(Debug)]
pub struct Slack {
    webhook: Secret,
    channel: Option<String>,
    post: Post,
    /// Said once that the channel may have no effect.
    said: Once,
}

impl Slack {
    /// `webhook` is the whole URL that Slack gave out. `channel` (`#deploys`) is only heeded by webhooks of the older
    /// kind; newer ones are bound to their channel.
    #[must_use]
    pub fn new(webhook: Secret, channel: Option<String>) -> Self {
        Self { webhook, channel, post: Post::default(), said: Once::new() }
    }

    fn url(&self) -> Result<Url, PortError> {
        Url::parse(self.webhook.reveal()).map_err(|_| {
            PortError::other("the Slack webhook is not a URL")
                .hint("it looks like https://hooks.slack.com/services/…")
        })
    }
}

#[async_trait]
impl Notifier for Slack {
    fn name(&self) -> String {
        "slack".to_owned()
    }

    async fn send(&self, message: &Message, _: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        if let Some(channel) = &self.channel {
            self.said.call_once(|| tracing::warn!("slack: {}; {}", ignored(channel), mend(channel)));
        }
        let mut payload = serde_json::json!({ "text": text::whole(message), "unfurl_links": false });
        if let Some(channel) = &self.channel {
            payload["channel"] = channel.clone().into();
        }
        let parcel = Parcel {
            who: "Slack",
            url: self.url()?,
            headers: HeaderMap::new(),
            json: payload.to_string().into_bytes(),
            repeatable: false,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.post.deliver(parcel, answer::judge).await?;
        Ok(None)
    }

    async fn check(&self) -> Check {
        let untried = "an incoming webhook, which cannot be tried without a message in the channel";
        match (self.url(), &self.channel) {
            (Err(error), _) => {
                let mend = error.hints().to_string();
                Check::bad(self.name(), error.message, mend)
            }
            (Ok(_), None) => Check::ok(self.name(), untried),
            (Ok(_), Some(channel)) => {
                Check::warn(self.name(), format!("{untried}; {}", ignored(channel)), mend(channel))
            }
        }
    }
}

fn ignored(channel: &str) -> String {
    format!(
        "the webhooks of an app write to the channel that they were made for, and ignore `channel` ({channel:?})"
    )
}

fn mend(channel: &str) -> String {
    format!(
        "to choose the channel use a bot token: `notify: [{{ slack: {{ token: \"${{SLACK_BOT_TOKEN}}\", channel: {channel:?} }} }}]`, \
         or export SLACK_BOT_TOKEN beside SLACK_CHANNEL; else remove `channel`, or unset SLACK_CHANNEL"
    )
}
