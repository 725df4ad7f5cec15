//! Posting one message, with one retry.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Message, Notifier, PortError};
use reqwest::{Client, Url};

use crate::answer::{Verdict, judge};
use crate::text::text;

/// For everything: connecting, waiting, retrying.
const SEND_SECONDS_MAX: u64 = 10;
/// Pause before a second try to connect.
const RECONNECT_MILLIS: u64 = 300;
/// Tries altogether.
const TRIES_MAX: u32 = 2;
/// Of an answer, which is one word, so much is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// An incoming webhook.
#[derive(Debug)]
pub struct Slack {
    webhook: Secret,
    channel: Option<String>,
    client: OnceLock<Result<Client, PortError>>,
}

impl Slack {
    /// `webhook` is the whole URL that Slack gave out. `channel` (`#deploys`) is only heeded by webhooks of the older
    /// kind; newer ones are bound to their channel.
    #[must_use]
    pub fn new(webhook: Secret, channel: Option<String>) -> Self {
        Self { webhook, channel, client: OnceLock::new() }
    }

    fn client(&self) -> Result<&Client, PortError> {
        let built = self.client.get_or_init(|| {
            Client::builder()
                .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|problem| {
                    PortError::other(format!("no HTTP client can be made: {}", root_cause(&problem)))
                })
        });
        built.as_ref().map_err(Clone::clone)
    }

    async fn deliver(&self, body: &[u8]) -> Result<(), PortError> {
        let mut tries = 1;
        loop {
            let (wait, error) = match self.post(body).await? {
                Verdict::Delivered => return Ok(()),
                Verdict::Refused(error) => return Err(error),
                Verdict::Later(wait, error) => (wait, error),
            };
            if tries == TRIES_MAX {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn post(&self, body: &[u8]) -> Result<Verdict, PortError> {
        let url = Url::parse(self.webhook.reveal()).map_err(|_| {
            PortError::other("the Slack webhook is not a URL")
                .hint("it looks like https://hooks.slack.com/services/…")
        })?;
        let request = self.client()?.post(url).header("content-type", "application/json").body(body.to_vec());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(problem) => return Ok(unsent(problem.without_url())),
        };
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        let mut answer = Vec::new();
        while answer.len() < ANSWER_BYTES_MAX {
            let chunk = response.chunk().await.map_err(|problem| {
                PortError::unreachable(format!(
                    "Slack's answer broke off: {}",
                    root_cause(&problem.without_url())
                ))
            })?;
            match chunk {
                Some(bytes) => answer.extend_from_slice(&bytes),
                None => break,
            }
        }
        Ok(judge(status, retry_after.as_deref(), &String::from_utf8_lossy(&answer)))
    }
}

/// Nothing was sent when there was no connection, so it is safe to try again; a connection that broke later is not
/// tried again, for the message may have arrived.
fn unsent(problem: reqwest::Error) -> Verdict {
    let cause = root_cause(&problem);
    if problem.is_connect() {
        let error = PortError::unreachable(format!("cannot connect to Slack: {cause}"));
        Verdict::Later(Duration::from_millis(RECONNECT_MILLIS), error)
    } else if problem.is_builder() {
        Verdict::Refused(PortError::other("the Slack webhook is not a URL that can be asked"))
    } else {
        Verdict::Refused(PortError::unreachable(format!("the connection to Slack broke: {cause}")))
    }
}

/// The innermost error: the outer ones only say that a request failed.
fn root_cause(problem: &dyn std::error::Error) -> String {
    let mut innermost = problem;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[async_trait]
impl Notifier for Slack {
    fn name(&self) -> String {
        "slack".to_owned()
    }

    async fn send(&self, message: &Message) -> Result<(), PortError> {
        let mut payload = serde_json::json!({ "text": text(message), "unfurl_links": false });
        if let Some(channel) = &self.channel {
            payload["channel"] = channel.clone().into();
        }
        let body = payload.to_string().into_bytes();
        let bound = Duration::from_secs(SEND_SECONDS_MAX);
        match tokio::time::timeout(bound, self.deliver(&body)).await {
            Ok(result) => result,
            Err(_) => Err(PortError::timed_out(format!("Slack does not answer within {SEND_SECONDS_MAX} s"))),
        }
    }
}
