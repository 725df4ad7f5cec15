//! One client, many probes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use lockgate_model::Millis;
use lockgate_ports::{Answer, PortError, Prober, Request};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use crate::error;

/// Largest answer read; a page that is checked for a text is far smaller.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest an unused connection is kept. Below the idle timeout of common servers (5 s for Node), so that a probe
/// seldom meets a connection that the server is just closing.
const POOL_IDLE_SECONDS_MAX: u64 = 4;

/// [`Prober`] by reqwest over rustls. Cheap to make: the client, which reads the machine's root certificates, is
/// built by the first request.
#[derive(Debug)]
pub struct HttpProber {
    user_agent: String,
    client: OnceLock<Result<Client, PortError>>,
}

impl HttpProber {
    /// `user_agent` is sent with every request that brings none of its own: `lockgate/0.1.0`.
    #[must_use]
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), client: OnceLock::new() }
    }

    fn client(&self) -> Result<&Client, PortError> {
        let built = self.client.get_or_init(|| {
            Client::builder()
                .user_agent(&self.user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .pool_idle_timeout(Duration::from_secs(POOL_IDLE_SECONDS_MAX))
                .build()
                .map_err(|problem| {
                    PortError::other(format!("no HTTP client can be made: {}", error::root_cause(&problem)))
                        .without_effect()
                })
        });
        built.as_ref().map_err(Clone::clone)
    }

    async fn exchange(&self, url: Url, request: &Request) -> Result<Answer, PortError> {
        let prepared = self
            .client()?
            .request(method(request.method)?, url)
            .headers(headers(&request.headers)?)
            .body(request.body.clone());
        let start = Instant::now();
        let response = prepared.send().await.map_err(error::from_request)?;
        let status = response.status().as_u16();
        let mut headers = pairs(response.headers());
        // Not `Response::bytes`, which knows no bound and drops trailers.
        let body = reqwest::Body::from(response);
        let collected = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(error::from_body)?;
        if let Some(trailers) = collected.trailers() {
            headers.extend(pairs(trailers));
        }
        let body = collected.to_bytes().to_vec();
        Ok(Answer { status, headers, body, elapsed: start.elapsed() })
    }
}

#[async_trait]
impl Prober for HttpProber {
    async fn send(&self, request: &Request) -> Result<Answer, PortError> {
        let url = Url::parse(&request.target).map_err(|problem| {
            // The text is not repeated: whatever it is, it may hold a password.
            PortError::other(format!("the URL to ask is not valid: {problem}"))
                .without_effect()
                .hint("write it whole, as in https://example.com/health")
        })?;
        let what = format!("{} {}", request.method, error::shown(&url));
        let error = match tokio::time::timeout(request.timeout.duration(), self.exchange(url, request)).await
        {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(problem)) => problem.context(&what),
            Err(_) => too_late(&what, request.timeout),
        };
        Err(if request.only_looks() { error.without_effect() } else { error })
    }
}

fn too_late(what: &str, timeout: Millis) -> PortError {
    PortError::timed_out(format!("{what}: no whole answer within {timeout}"))
}

fn method(name: &str) -> Result<Method, PortError> {
    Method::from_bytes(name.as_bytes())
        .map_err(|_| PortError::other(format!("{name:?} is not an HTTP method")).without_effect())
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, PortError> {
    let mut map = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| PortError::other(format!("{name:?} is not a header's name")).without_effect())?;
        // The value is not shown: it may be a token.
        let value = HeaderValue::from_str(value).map_err(|_| {
            PortError::other(format!("the value of the header {name} cannot be sent")).without_effect()
        })?;
        map.append(key, value);
    }
    Ok(map)
}

fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}
