//! HTTP/1.1 over a host's stream, so that probes and admin APIs work alike on this machine and over SSH.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use lockgate_model::{FailureKind, Millis, without_query};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Endpoint, Host, HostStream, PortError};

/// Largest answer read; more is an error, for every caller wants a small document.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A request with its whole body.
#[derive(Debug, Clone)]
pub struct Request {
    /// In upper case: `GET`.
    pub method: &'static str,
    /// Path and query (`/health?x=1`), or for a [`crate::Prober`] an absolute URL.
    pub target: String,
    /// Names in lower case. `host` may be given; it defaults to the endpoint.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// For the whole: from connecting to the last byte of the answer.
    pub timeout: Millis,
}

impl Request {
    /// It only looks, so that whatever came of it, nothing was changed (RFC 9110, 9.2.1).
    #[must_use]
    pub fn only_looks(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }

    /// A GET without headers and body.
    #[must_use]
    pub fn get(target: impl Into<String>, timeout: Millis) -> Self {
        Self { method: "GET", target: target.into(), headers: Vec::new(), body: Vec::new(), timeout }
    }

    /// With a JSON body, and the header that says so.
    #[must_use]
    pub fn json(method: &'static str, target: impl Into<String>, body: Vec<u8>, timeout: Millis) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body, timeout }
            .header("content-type", "application/json")
    }

    /// Adds a header; `name` is in lower case.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A whole answer. Trailers are folded into `headers` (Caddy sends its ETag as one).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, 100 to 599.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// To its last byte, at most 8 MiB.
    pub body: Vec<u8>,
    /// From connecting to the last byte.
    pub elapsed: Duration,
}

impl Answer {
    /// The first header of this name, in lower case; `None` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body; what is no UTF-8 is `U+FFFD` in it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// When it wants to be asked again; see [`retry_after`].
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(self.header("retry-after"), self.header("date"))
    }
}

/// What `Retry-After` asks for: seconds, or a date, which is taken against the answer's own `Date`, so that no two clocks
/// are compared. `None` where it asks for nothing that can be read.
#[must_use]
pub fn retry_after(asked: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let asked = asked?.trim();
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let parsed = |text| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let (then, now) = (parsed(asked)?, parsed(date?.trim())?);
    Some(Duration::from_secs(u64::try_from(then.as_second() - now.as_second()).unwrap_or(0)))
}

/// Sends one request on a fresh connection to `endpoint` as seen from `host`.
///
/// # Errors
/// `Unreachable` when nothing listens or the connection breaks, `TimedOut` when `request.timeout` passes, `TooLarge`, and
/// `Other` for an answer that is not HTTP. Certainly nothing was done where the request [only looks](Request::only_looks),
/// and where nothing of it had been sent; else whether it was done is not known.
pub async fn send(host: &dyn Host, endpoint: &Endpoint, request: Request) -> Result<Answer, PortError> {
    let timeout = request.timeout;
    send_over(host.connect(endpoint, timeout), endpoint, request).await
}

/// As [`send`], over a stream of the caller's own making, such as one with TLS; `endpoint` is what it leads to.
///
/// # Errors
/// As for [`send`], and those of making the stream.
pub async fn send_over(
    stream: impl Future<Output = Result<Box<dyn HostStream>, PortError>> + Send,
    endpoint: &Endpoint,
    request: Request,
) -> Result<Answer, PortError> {
    let timeout = request.timeout;
    let what = format!("{} {}{}", request.method, endpoint, without_query(&request.target));
    let (only_looks, sent) = (request.only_looks(), AtomicBool::new(false));
    let answered = tokio::time::timeout(timeout.duration(), exchange(stream, endpoint, request, &sent)).await;
    let error = match answered {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.context(&what),
        Err(_) => PortError::timed_out(format!("{what}: no answer within {timeout}")),
    };
    let is_certain = only_looks || !sent.load(Ordering::Relaxed);
    Err(if is_certain { error.without_effect() } else { error })
}

/// `sent` becomes true before the first byte of the request goes out.
async fn exchange(
    stream: impl Future<Output = Result<Box<dyn HostStream>, PortError>> + Send,
    endpoint: &Endpoint,
    request: Request,
    sent: &AtomicBool,
) -> Result<Answer, PortError> {
    let start = Instant::now();
    let stream = stream.await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this future, also where that is dropped: whoever is at the other end sees that nobody waits any more.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let default_host = match endpoint {
        Endpoint::Tcp(address) => address.clone(),
        Endpoint::Unix(_) => "localhost".to_owned(),
    };
    let mut builder = hyper::Request::builder().method(request.method).uri(&request.target);
    if !request.headers.iter().any(|(name, _)| name == "host") {
        builder = builder.header("host", default_host);
    }
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let message = builder
        .header("connection", "close")
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| PortError::other(format!("the request cannot be sent: {error}")))?;
    sent.store(true, Ordering::Relaxed);
    let response = sender.try_send_request(message).await.map_err(|mut unsent| {
        // What comes back was never written.
        if unsent.take_message().is_some() {
            sent.store(false, Ordering::Relaxed);
        }
        broken(unsent.into_error())
    })?;
    let (parts, body) = response.into_parts();
    let collected = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(broken_off)?;
    let mut headers = pairs(&parts.headers);
    if let Some(trailers) = collected.trailers() {
        headers.extend(pairs(trailers));
    }
    let body = collected.to_bytes().to_vec();
    Ok(Answer { status: parts.status.as_u16(), headers, body, elapsed: start.elapsed() })
}

fn pairs(map: &hyper::HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn broken_off(error: Box<dyn std::error::Error + Send + Sync>) -> PortError {
    if error.is::<LengthLimitError>() {
        return PortError::too_large("the answer", BODY_BYTES_MAX);
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => broken(*error),
        Err(error) => PortError::unreachable(format!("the answer broke off: {error}"))
            .caused_by(std::io::Error::other(error)),
    }
}

/// What an error of the connection means for what was asked.
#[must_use]
pub fn broken(error: hyper::Error) -> PortError {
    let told = if error.is_parse_too_large() {
        PortError::new(FailureKind::TooLarge, format!("the answer's head is too large to be read: {error}"))
    } else if error.is_parse() {
        PortError::other(format!("the answer is not HTTP: {error}"))
    } else {
        PortError::unreachable(format!("the connection broke: {error}"))
    };
    told.caused_by(error)
}

#[cfg(test)]
mod tests;
