//! A URL of the user's own.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lockgate_model::{Digest, Secret};
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};
use lockgate_signature::{ID_HEADER, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::post::{Parcel, Post};

/// Hex digits of a message's SHA-256 in its id.
const ID_DIGITS: usize = 32;

/// A URL that takes messages as JSON.
#[derive(Debug)]
pub struct Webhook {
    url: Secret,
    headers: BTreeMap<String, Secret>,
    secret: Option<Secret>,
    post: Post,
}

impl Webhook {
    /// `headers` are sent with every message, by name: `Authorization` and the like.
    #[must_use]
    pub fn new(url: Secret, headers: BTreeMap<String, Secret>) -> Self {
        Self { url, headers, secret: None, post: Post::default() }
    }

    /// Messages are signed with this secret, as Standard Webhooks has it (<https://www.standardwebhooks.com>): the same message
    /// has the same `webhook-id`, by which who hears it twice knows it. `None`: they are not.
    #[must_use]
    pub fn signed_with(self, secret: Option<Secret>) -> Self {
        Self { secret, ..self }
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

    fn header_map(&self) -> Result<HeaderMap, PortError> {
        let mut map = HeaderMap::new();
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

    fn signing(&self) -> Result<Option<SigningSecret>, PortError> {
        let Some(secret) = &self.secret else { return Ok(None) };
        SigningSecret::new(secret.reveal())
            .map(Some)
            .map_err(|error| PortError::other(format!("messages cannot be signed: {error}")))
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn name(&self) -> String {
        match self.host() {
            Some(host) => format!("webhook {host}"),
            None => "webhook".to_owned(),
        }
    }

    async fn send(&self, message: &Message, _: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let json = serde_json::to_vec(message).map_err(|problem| {
            PortError::other(format!("the message cannot be written as JSON: {problem}"))
        })?;
        let url = self.url()?;
        let host = url.host_str().unwrap_or("the host").to_owned();
        let mut headers = self.header_map()?;
        // Who is told the same twice knows it by its id.
        let repeatable = self.secret.is_some();
        if let Some(secret) = self.signing()? {
            sign(&secret, &json, &mut headers)?;
        }
        let parcel = Parcel { who: &host, url, headers, json, repeatable, answer_bytes_max: 0 };
        self.post.deliver(parcel, |answer| answer::judge(&host, answer)).await?;
        Ok(None)
    }

    async fn check(&self) -> Check {
        let tried = self.url().and_then(|_| self.header_map()).and_then(|_| self.signing());
        match tried {
            Ok(_) => Check::ok(self.name(), "a URL of yours, which cannot be tried without a message to it"),
            Err(error) => {
                let mend = error.hints().joined().unwrap_or_else(|| "mend it under `notify`".to_owned());
                Check::bad(self.name(), error.message, mend)
            }
        }
    }
}

/// Adds the three headers of Standard Webhooks.
fn sign(secret: &SigningSecret, json: &[u8], headers: &mut HeaderMap) -> Result<(), PortError> {
    let digest = Digest::of(json);
    let id = format!(
        "msg_{}",
        digest.as_str().rsplit(':').next().and_then(|hex| hex.get(..ID_DIGITS)).unwrap_or_default()
    );
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = seconds.to_string();
    let unsigned =
        |error: &dyn std::fmt::Display| PortError::other(format!("a message cannot be signed: {error}"));
    let message = lockgate_signature::Message::new(&id, &time).map_err(|error| unsigned(&error))?;
    let signature = secret.sign_standard(&message, json);
    for (name, value) in [(ID_HEADER, &id), (TIMESTAMP_HEADER, &time), (SIGNATURE_HEADER, &signature)] {
        let value = HeaderValue::from_str(value).map_err(|error| unsigned(&error))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}
