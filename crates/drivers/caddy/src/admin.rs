//! Caddy's admin API: its requests, and what its answers mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockgate_model::{FailureKind, Hints, Millis};
use lockgate_ports::{Answer, Endpoint, Host, PortError, Request, http};
use serde_json::Value;

/// Longest wait for a look.
const LOOK_SECONDS_MAX: u64 = 10;
/// Tries of a request that may be repeated, when the connection breaks.
pub(crate) const TRIES_MAX: usize = 3;
const TRY_PAUSE_MILLIS: u64 = 20;
/// Longest wait for a change: Caddy answers once the new configuration runs.
const CHANGE_SECONDS_MAX: u64 = 30;
/// Longest piece of Caddy's own error text that is passed on.
const ERROR_CHARS_MAX: usize = 400;

pub(crate) struct Admin {
    host: Arc<dyn Host>,
    endpoint: Endpoint,
    /// The address as configured, for people.
    shown: String,
    /// It has asked for an `Origin` (`admin { enforce_origin }`); sent unasked it would be compared all the same.
    wants_origin: AtomicBool,
}

/// A piece of configuration and what tells whether it changed.
pub(crate) struct Tagged {
    pub value: Value,
    /// `None` for a Caddy that gives no ETag (before 2.5).
    pub etag: Option<String>,
}

/// What to do with a piece of configuration.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// Replace what is there.
    Patch,
    /// Create what is not there.
    Put,
    /// Take away what is there; the value is not looked at.
    Delete,
}

impl Admin {
    pub(crate) fn new(host: Arc<dyn Host>, endpoint: Endpoint, shown: String) -> Self {
        Self { host, endpoint, shown, wants_origin: AtomicBool::new(false) }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Reads `/config/…`; a missing last key is `null`.
    pub(crate) async fn get(&self, path: &str) -> Result<Tagged, PortError> {
        let mut tries = 1;
        let answer = loop {
            match self.send(Request::get(path, Millis::from_secs(LOOK_SECONDS_MAX))).await {
                // At a change of configuration Caddy replaces its admin server too, and the old one may close a
                // connection that it has just accepted.
                Err(error) if error.kind == FailureKind::Unreachable && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(TRY_PAUSE_MILLIS)).await;
                }
                answer => break answer?,
            }
        };
        if answer.status != 200 {
            return Err(self.refusal("GET", path, &answer));
        }
        let value = serde_json::from_slice(&answer.body).map_err(|error| {
            PortError::other(format!("GET {path} at {}: the answer is not JSON: {error}", self.shown))
                .without_effect()
                .caused_by(error)
                .hint("does `router.caddy.admin` name Caddy's admin API and not a site?")
        })?;
        Ok(Tagged { value, etag: answer.header("etag").map(str::to_owned) })
    }

    /// Changes `/config/…`, and only while `etag` still holds where one is given.
    pub(crate) async fn change(
        &self,
        change: Change,
        path: &str,
        value: &Value,
        etag: Option<&str>,
    ) -> Result<(), PortError> {
        let method = match change {
            Change::Patch => "PATCH",
            Change::Put => "PUT",
            Change::Delete => "DELETE",
        };
        let body = value.to_string().into_bytes();
        let mut request = Request::json(method, path, body, Millis::from_secs(CHANGE_SECONDS_MAX));
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        let answer = self.send(request).await?;
        if answer.status == 200 { Ok(()) } else { Err(self.refusal(method, path, &answer)) }
    }

    /// Nothing was done by a request that is refused for its origin, so it is sent again.
    async fn send(&self, request: Request) -> Result<Answer, PortError> {
        let knows = self.wants_origin.load(Ordering::Relaxed);
        let with_origin = |request: Request| {
            let request = match self.endpoint {
                Endpoint::Tcp(_) => request,
                // The host is compared with what is allowed as well.
                Endpoint::Unix(_) => request.header("host", "127.0.0.1"),
            };
            request.header("origin", self.origin())
        };
        let first = if knows { with_origin(request.clone()) } else { request.clone() };
        let answer = self.send_once(first).await?;
        let said = said(&answer).to_ascii_lowercase();
        if knows || answer.status != 403 || !["origin", "host"].iter().any(|word| said.contains(word)) {
            return Ok(answer);
        }
        let again = self.send_once(with_origin(request)).await?;
        self.wants_origin.store(again.status != 403, Ordering::Relaxed);
        Ok(again)
    }

    /// What Caddy lists by itself for the address that it listens on.
    fn origin(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp(address) => format!("http://{address}"),
            Endpoint::Unix(_) => "http://127.0.0.1".to_owned(),
        }
    }

    async fn send_once(&self, mut request: Request) -> Result<Answer, PortError> {
        let named = request.headers.iter().any(|(name, _)| name == "host");
        if matches!(self.endpoint, Endpoint::Unix(_)) && !named {
            // On a Unix socket Caddy 2.6 takes an empty Host only, and newer ones take it as well.
            request = request.header("host", "");
        }
        http::send(self.host.as_ref(), &self.endpoint, request).await.map_err(|error| match error.kind {
            FailureKind::Unreachable | FailureKind::NotFound => error
                .of_kind(FailureKind::Unreachable)
                .context(format!("Caddy's admin API at {} does not answer", self.shown))
                .with_hints(Hints::from_iter([self.down_hint()])),
            _ => error.or_hint(|| self.down_hint()),
        })
    }

    fn down_hint(&self) -> String {
        format!(
            "is Caddy running on {}? `systemctl status caddy`; its admin API is expected at {} (`router.caddy.admin`)",
            self.host.id(),
            self.shown
        )
    }

    fn refusal(&self, method: &str, path: &str, answer: &Answer) -> PortError {
        let said = said(answer);
        let message = format!("{method} {path} at {}: {} {said}", self.shown, answer.status);
        match answer.status {
            412 => PortError::new(FailureKind::Conflict, format!("Caddy's configuration changed meanwhile: {message}"))
                .hint("somebody else changes this Caddy; look at the route again and repeat"),
            401 | 403 => PortError::new(FailureKind::Unauthorized, message)
                .hint(format!("Caddy's `admin` block refuses this origin or host; allow it with `admin {{ origins {} }}`, or set `router.caddy.admin` to the address that Caddy itself listens on", self.origin())),
            404 => PortError::not_found(message)
                .hint("does `router.caddy.admin` name the admin API of Caddy 2?"),
            _ => PortError::other(format!("Caddy keeps its old configuration: {message}"))
                .without_effect()
                .asks_to_wait(answer.retry_after())
                .hint(format!("`journalctl -u caddy -n 50` on {} says more", self.host.id())),
        }
    }
}

/// Caddy's own words, cut to a bearable length.
fn said(answer: &Answer) -> String {
    let text = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .and_then(|body| body.get("error").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| answer.text());
    text.trim().chars().take(ERROR_CHARS_MAX).collect()
}
