//! Posting one message, with one retry, and what is the same in every receiver's answer.

use std::sync::OnceLock;
use std::time::Duration;

use lockgate_model::FailureKind;
use lockgate_ports::PortError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};

/// For everything: connecting, waiting, retrying.
const SEND_SECONDS_MAX: u64 = 10;
/// Pause before a second try to connect.
const RECONNECT_MILLIS: u64 = 300;
/// Tries altogether.
const TRIES_MAX: u32 = 2;
/// Longest wait that a 429 may ask for; Slack's own limit is one message a second.
const RETRY_AFTER_SECONDS_MAX: u64 = 5;

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Not delivered; asking again after this wait is allowed. The error is for when that was the last try.
    Later(Duration, PortError),
    Refused(PortError),
}

impl Verdict {
    pub(crate) fn refused(kind: FailureKind, said: &str, hint: &str) -> Verdict {
        Verdict::Refused(PortError::new(kind, said).hint(hint))
    }

    /// 429: again after the seconds in `Retry-After` (RFC 9110, 10.2.3; without it one), if they are few.
    pub(crate) fn too_many(said: &str, retry_after: Option<&str>) -> Verdict {
        let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1);
        let error = PortError::other(format!("{said}: too many messages, again in {seconds} s"));
        match seconds {
            0..=RETRY_AFTER_SECONDS_MAX => Verdict::Later(Duration::from_secs(seconds), error),
            _ => Verdict::Refused(error),
        }
    }
}

/// An answer as far as it was read.
pub(crate) struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: String,
}

/// A message on its way.
pub(crate) struct Parcel<'a> {
    /// The receiver as people may see it: never the URL.
    pub who: &'a str,
    pub url: Url,
    /// `content-type` is set already.
    pub headers: HeaderMap,
    pub json: Vec<u8>,
    /// Of the answer's body so much is read; with 0 the head alone decides.
    pub answer_bytes_max: usize,
}

/// The HTTP client, made when first needed.
#[derive(Debug, Default)]
pub(crate) struct Post(OnceLock<Result<Client, PortError>>);

impl Post {
    /// # Errors
    /// What `judge` makes of the answer, `Unreachable`, `TimedOut`.
    pub(crate) async fn deliver(
        &self,
        parcel: Parcel<'_>,
        judge: impl Fn(&Answer) -> Verdict,
    ) -> Result<(), PortError> {
        let deliver = async {
            let mut tries = 1;
            loop {
                let (wait, error) = match self.post(&parcel, &judge).await? {
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
        };
        match tokio::time::timeout(Duration::from_secs(SEND_SECONDS_MAX), deliver).await {
            Ok(result) => result,
            Err(_) => Err(PortError::timed_out(format!(
                "{} does not answer within {SEND_SECONDS_MAX} s",
                parcel.who
            ))),
        }
    }

    fn client(&self) -> Result<&Client, PortError> {
        let built = self.0.get_or_init(|| {
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

    async fn post(
        &self,
        parcel: &Parcel<'_>,
        judge: &impl Fn(&Answer) -> Verdict,
    ) -> Result<Verdict, PortError> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client()?.post(parcel.url.clone()).header(CONTENT_TYPE, json);
        let request = request.headers(parcel.headers.clone()).body(parcel.json.clone());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(problem) => return Ok(unsent(parcel.who, &problem.without_url())),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let mut body = Vec::new();
        while body.len() < parcel.answer_bytes_max {
            let chunk = response.chunk().await.map_err(|problem| {
                let cause = root_cause(&problem.without_url());
                PortError::unreachable(format!("the answer of {} broke off: {cause}", parcel.who))
            })?;
            let Some(bytes) = chunk else { break };
            body.extend_from_slice(&bytes);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(judge(&Answer { status, retry_after, body }))
    }
}

/// Nothing was sent when there was no connection, so it is safe to try again; a connection that broke later is not
/// tried again, for the message may have arrived.
fn unsent(who: &str, problem: &reqwest::Error) -> Verdict {
    let cause = root_cause(problem);
    if problem.is_connect() {
        let error = PortError::unreachable(format!("cannot connect to {who}: {cause}"));
        Verdict::Later(Duration::from_millis(RECONNECT_MILLIS), error)
    } else if problem.is_builder() {
        let error = PortError::other(format!("the URL of {who} cannot be asked"));
        Verdict::Refused(error.hint("it starts with https://"))
    } else {
        Verdict::Refused(PortError::unreachable(format!("the connection to {who} broke: {cause}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_is_waited_and_a_long_one_is_not() {
        let waits = |text| match Verdict::too_many("they answer 429", text) {
            Verdict::Later(wait, _) => Some(wait.as_secs()),
            _ => None,
        };
        assert_eq!([waits(Some("5")), waits(None), waits(Some("6"))], [Some(5), Some(1), None]);
    }
}
