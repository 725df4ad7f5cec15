//! A URL of the user's own.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::post::{Parcel, Post};

/// A URL that takes messages as JSON.
#[derive(Debug)]
pub struct Webhook {
    url: Secret,
    headers: BTreeMap<String, Secret>,
    post: Post,
}

impl Webhook {
    /// `headers` are sent with every message, by name: `Authorization` and the like.
    #[must_use]
    pub fn new(url: Secret, headers: BTreeMap<String, Secret>) -> Self {
        Self { url, headers, post: Post::default() }
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
        let headers = self.header_map()?;
        let parcel = Parcel { who: &host, url, headers, json, repeatable: false, answer_bytes_max: 0 };
        self.post.deliver(parcel, |answer| answer::judge(&host, answer)).await?;
        Ok(None)
    }

    async fn check(&self) -> Check {
        let tried = self.url().and_then(|_| self.header_map());
        match tried {
            Ok(_) => Check::ok(self.name(), "a URL of yours, which cannot be tried without a message to it"),
            Err(error) => {
                let mend = error.hints().joined().unwrap_or_else(|| "mend it under `notify`".to_owned());
                Check::bad(self.name(), error.message, mend)
            }
        }
    }
}
