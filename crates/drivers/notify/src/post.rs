//! Asking a receiver, again where that is safe, and what is the same in every receiver's answer.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lockgate_model::FailureKind;
use lockgate_ports::{PortError, http};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};
use tokio::time::Instant;

/// For everything: connecting, waiting, trying again.
pub(crate) const SEND_SECONDS_MAX: u64 = 60;
/// For one try.
const TRY_SECONDS_MAX: u64 = 10;
/// Pause before a second try that nobody named a time for; twice as long before each further one.
const PAUSE_MILLIS: u64 = 300;
/// Tries altogether.
const TRIES_MAX: u32 = 3;
/// Longest wait that a 429 may ask for while a message waits; for a longer one the message is given up.
const RETRY_AFTER_SECONDS_MAX: u64 = 30;

const SCOPES: HeaderName = HeaderName::from_static("x-oauth-scopes");
const LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Longest time in which nothing is asked because a 429 said so.
const QUIET_SECONDS_MAX: u64 = 3_600;

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T = ()> {
    Delivered(T),
    /// Not delivered, and nobody said for how long: again after a pause. The error is for when that was the last try.
    Later(PortError),
    /// Not delivered: nothing may be asked before this wait is over.
    Limited(Duration, PortError),
    /// It may have been delivered: only what may arrive twice is asked again.
    Unsure(PortError),
    Refused(PortError),
}

impl<T> Verdict<T> {
    pub(crate) fn refused(kind: FailureKind, said: &str, hint: &str) -> Self {
        Verdict::Refused(PortError::new(kind, said).hint(hint))
    }

    /// 429: again after what `Retry-After` says (RFC 9110, 10.2.3; without it, a second).
    pub(crate) fn too_many(said: &str, retry_after: Option<Duration>) -> Self {
        let seconds = retry_after.map_or(1, |wait| wait.as_secs());
        let error = PortError::other(format!("{said}: too many messages, again in {seconds} s"));
        Verdict::Limited(Duration::from_secs(seconds), error)
    }
}

/// Whether a message waits for so long; else it is given up.
fn is_bearable(wait: Duration) -> bool {
    wait <= Duration::from_secs(RETRY_AFTER_SECONDS_MAX)
}

/// An answer as far as it was read.
#[derive(Default)]
pub(crate) struct Answer {
    pub status: u16,
    /// What it asks to be waited for, as [`http::retry_after`] reads it.
    pub retry_after: Option<Duration>,
    /// What a token of Slack's may do, separated by commas.
    pub scopes: Option<String>,
    /// When GitHub takes more, in seconds since 1970, where it says that nothing is left of what may be asked.
    pub limited_until: Option<u64>,
    pub body: String,
}

/// A message on its way.
pub(crate) struct Parcel<'a> {
    /// The receiver as people may see it: never the URL.
    pub who: &'a str,
    pub url: Url,
    /// `content-type` is `application/json` where they have none.
    pub headers: HeaderMap,
    pub json: Vec<u8>,
    /// It may arrive twice, so it is asked again also when it may have arrived.
    pub repeatable: bool,
    /// Of the answer's body so much is read; with 0 the head alone decides.
    pub answer_bytes_max: usize,
}

/// Asks one receiver.
#[derive(Debug, Default)]
pub(crate) struct Post {
    /// Made when first needed.
    client: OnceLock<Result<Client, PortError>>,
    /// Until when the receiver wants not to be asked.
    quiet_until: Mutex<Option<Instant>>,
}

impl Post {
    /// # Errors
    /// What `judge` makes of the answer, `Unreachable`, `TimedOut`.
    pub(crate) async fn deliver<T>(
        &self,
        parcel: Parcel<'_>,
        judge: impl Fn(&Answer) -> Verdict<T>,
    ) -> Result<T, PortError> {
        let late =
            |seconds| PortError::timed_out(format!("{} does not answer within {seconds} s", parcel.who));
        let deliver = async {
            let mut pause = Duration::from_millis(PAUSE_MILLIS);
            let mut tries = 0;
            loop {
                tries += 1;
                self.quiet(parcel.who).await?;
                let posted = self.post(&parcel, &judge);
                let verdict = match tokio::time::timeout(Duration::from_secs(TRY_SECONDS_MAX), posted).await {
                    Ok(verdict) => verdict,
                    Err(_) => Verdict::Unsure(late(TRY_SECONDS_MAX)),
                };
                let (error, again) = match verdict {
                    Verdict::Delivered(answer) => return Ok(answer),
                    Verdict::Refused(error) => (error, false),
                    Verdict::Later(error) => (error, true),
                    Verdict::Unsure(error) => (error, parcel.repeatable),
                    Verdict::Limited(wait, error) => {
                        self.be_quiet_for(wait);
                        (error, is_bearable(wait))
                    }
                };
                if !again || tries == TRIES_MAX {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        };
        match tokio::time::timeout(Duration::from_secs(SEND_SECONDS_MAX), deliver).await {
            Ok(result) => result,
            Err(_) => Err(late(SEND_SECONDS_MAX)),
        }
    }

    fn be_quiet_for(&self, wait: Duration) {
        let until = Instant::now() + wait.min(Duration::from_secs(QUIET_SECONDS_MAX));
        *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Waits for as long as the receiver asked for, also when it asked so of an earlier message.
    ///
    /// # Errors
    /// Where that is too long.
    async fn quiet(&self, who: &str) -> Result<(), PortError> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if !is_bearable(wait) {
            let seconds = wait.as_secs();
            return Err(PortError::other(format!(
                "{who} wants to be asked again in {seconds} s, not before"
            )));
        }
        tokio::time::sleep(wait).await;
        Ok(())
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

    async fn post<T>(&self, parcel: &Parcel<'_>, judge: &impl Fn(&Answer) -> Verdict<T>) -> Verdict<T> {
        let json = HeaderValue::from_static("application/json");
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return Verdict::Refused(error),
        };
        let request = client.post(parcel.url.clone()).header(CONTENT_TYPE, json);
        let request = request.headers(parcel.headers.clone()).body(parcel.json.clone());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(problem) => return unsent(parcel.who, &problem.without_url()),
        };
        let status = response.status().as_u16();
        let header = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
        };
        let retry_after = http::retry_after(header(RETRY_AFTER).as_deref(), header(DATE).as_deref());
        let scopes = header(SCOPES);
        let limited_until = header(LIMIT_RESET)
            .filter(|_| header(LIMIT_REMAINING).as_deref() == Some("0"))
            .and_then(|reset| reset.parse().ok());
        let mut body = Vec::new();
        while body.len() < parcel.answer_bytes_max {
            match response.chunk().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(problem) => {
                    let cause = root_cause(&problem.without_url());
                    let said = format!("the answer of {} broke off: {cause}", parcel.who);
                    return Verdict::Unsure(PortError::unreachable(said));
                }
            }
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        judge(&Answer { status, retry_after, scopes, limited_until, body })
    }
}

/// Nothing was sent when there was no connection, so it is safe to try again; what broke later may have arrived.
fn unsent<T>(who: &str, problem: &reqwest::Error) -> Verdict<T> {
    let cause = root_cause(problem);
    if problem.is_connect() {
        let error = PortError::unreachable(format!("cannot connect to {who}: {cause}"));
        Verdict::Later(error)
    } else if problem.is_builder() {
        let error = PortError::other(format!("the URL of {who} cannot be asked"));
        Verdict::Refused(error.hint("it starts with https://"))
    } else {
        Verdict::Unsure(PortError::unreachable(format!("the connection to {who} broke: {cause}")))
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
        let waits = |text| match Verdict::<()>::too_many("they answer 429", http::retry_after(text, None)) {
            Verdict::Limited(wait, _) if is_bearable(wait) => Some(wait.as_secs()),
            _ => None,
        };
        assert_eq!([waits(Some("30")), waits(None), waits(Some("31"))], [Some(30), Some(1), None]);
    }
}
