//! Slack's incoming webhooks.

mod answer;
#[cfg(test)]
mod tests;
mod text;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Message, Notifier, PortError};
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::post::{Parcel, Post};

/// Of an answer, which is one word, so much is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// An incoming webhook.
#[derive(Debug)]
pub struct Slack {
    webhook: Secret,
    channel: Option<String>,
    post: Post,
}

impl Slack {
    /// `webhook` is the whole URL that Slack gave out. `channel` (`#deploys`) is only heeded by webhooks of the older
    /// kind; newer ones are bound to their channel.
    #[must_use]
    pub fn new(webhook: Secret, channel: Option<String>) -> Self {
        Self { webhook, channel, post: Post::default() }
    }
}

#[async_trait]
impl Notifier for Slack {
    fn name(&self) -> String {
        "slack".to_owned()
    }

    async fn send(&self, message: &Message) -> Result<(), PortError> {
        let url = Url::parse(self.webhook.reveal()).map_err(|_| {
            PortError::other("the Slack webhook is not a URL")
                .hint("it looks like https://hooks.slack.com/services/…")
        })?;
        let mut payload = serde_json::json!({ "text": text::text(message), "unfurl_links": false });
        if let Some(channel) = &self.channel {
            payload["channel"] = channel.clone().into();
        }
        let parcel = Parcel {
            who: "Slack",
            url,
            headers: HeaderMap::new(),
            json: payload.to_string().into_bytes(),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.post.deliver(parcel, answer::judge).await
    }
}
