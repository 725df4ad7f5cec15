//! Posting one message, with one retry.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Message, Notifier, PortError};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};

use crate::answer::{Verdict, judge};

/// For everything: connecting, waiting, retrying.
const SEND_SECONDS_MAX: u64 = 10;
/// Pause before a second try to connect.
const RECONNECT_MILLIS: u64 = 300;
/// Tries altogether.
const TRIES_MAX: u32 = 2;

/// A URL that takes messages as JSON.
#[derive(Debug)]
pub struct Webhook {
    url: Secret,
    headers: BTreeMap<String, Secret>,
    client: OnceLock<Result<Client, PortError>>,
}

impl Webhook {
    /// `headers` are sent with every message, by name: `Authorization` and the like.
    #[must_use]
    pub fn new(url: Secret, headers: BTreeMap<String, Secret>) -> Self {
        Self { url, headers, client: OnceLock::new() }
    }

    fn url(&self) -> Result<Url, PortError> {
        Url::parse(self.url.reveal()).map_err(|_| {
            PortError::other("the webhook's URL is not valid")
                .hint("write it whole, as in https://example.com/hook")
        })
    }

    /// The host, which is all that is ever shown of the URL.
    fn host(&self) -> Option<String> {
        self.url().ok()?.host_str().map(ToOwned::to_owned)
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

    fn header_map(&self) -> Result<HeaderMap, PortError> {
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| PortError::other(format!("{name:?} is not a header's name")))?;
            let mut value = HeaderValue::from_str(value.reveal())
                .map_err(|_| PortError::other(format!("the value of the header {name} cannot be sent")))?;
            value.set_sensitive(true);
            map.insert(key, value);
        }
        Ok(map)
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

    /// The answer's head decides; its body is not read.
    async fn post(&self, body: &[u8]) -> Result<Verdict, PortError> {
        let url = self.url()?;
        let host = url.host_str().unwrap_or("the host").to_owned();
        let request = self.client()?.post(url).headers(self.header_map()?).body(body.to_vec());
        match request.send().await {
            Ok(response) => {
                let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                Ok(judge(&host, response.status().as_u16(), retry_after))
            }
            Err(problem) => Ok(unsent(&host, problem.without_url())),
        }
    }
}

/// Nothing was sent when there was no connection, so it is safe to try again; a connection that broke later is not
/// tried again, for the message may have arrived.
fn unsent(host: &str, problem: reqwest::Error) -> Verdict {
    let cause = root_cause(&problem);
    if problem.is_connect() {
        let error = PortError::unreachable(format!("cannot connect to {host}: {cause}"));
        Verdict::Later(Duration::from_millis(RECONNECT_MILLIS), error)
    } else if problem.is_builder() {
        Verdict::Refused(
            PortError::other("the webhook's URL cannot be asked").hint("it starts with https://"),
        )
    } else {
        Verdict::Refused(PortError::unreachable(format!("the connection to {host} broke: {cause}")))
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
impl Notifier for Webhook {
    fn name(&self) -> String {
        match self.host() {
            Some(host) => format!("webhook {host}"),
            None => "webhook".to_owned(),
        }
    }

    async fn send(&self, message: &Message) -> Result<(), PortError> {
        let body = serde_json::to_vec(message).map_err(|problem| {
            PortError::other(format!("the message cannot be written as JSON: {problem}"))
        })?;
        let bound = Duration::from_secs(SEND_SECONDS_MAX);
        match tokio::time::timeout(bound, self.deliver(&body)).await {
            Ok(result) => result,
            Err(_) => {
                let host = self.host().unwrap_or_else(|| "the host".to_owned());
                Err(PortError::timed_out(format!("{host} does not answer within {SEND_SECONDS_MAX} s")))
            }
        }
    }
}
