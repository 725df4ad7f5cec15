//! What GitHub's answers mean. A body is read for the deployment's id alone, and never repeated.
//!
//! Sources: <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api> and
//! <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api> (a limit is a 403 or a 429, with
//! `retry-after`, or with `x-ratelimit-remaining: 0` and the time of `x-ratelimit-reset`; without either, a minute).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

use crate::post::{Answer, Verdict};

/// How long GitHub wants nothing more to be asked where it says only that it is too much.
const LIMITED_SECONDS: u64 = 60;
/// Words in the message of a limit that comes without a header.
const LIMIT_WORDS: &str = "rate limit";

pub(crate) fn judge(repository: &str, answer: &Answer) -> Verdict<String> {
    let status = answer.status;
    let said = format!("GitHub answers {status}");
    let refused = |kind, hint: &str| Verdict::refused(kind, &said, hint);
    match status {
        201 => Verdict::Delivered(answer.body.clone()),
        200..=299 => refused(FailureKind::Other, "a deployment was asked for, and none was made"),
        300..=399 => {
            refused(FailureKind::Other, "the repository has another name now: write that under `notify`")
        }
        401 => refused(FailureKind::Unauthorized, "the token is not valid, or has expired"),
        403 | 429 if let Some(wait) = limit(answer) => Verdict::too_many(&said, Some(wait)),
        403 => refused(
            FailureKind::Unauthorized,
            "the token may not write deployments: give it that permission (`deployments: write` in a workflow)",
        ),
        404 => refused(
            FailureKind::NotFound,
            &format!("there is no repository {repository}, or the token may not see it"),
        ),
        409 => refused(FailureKind::Conflict, "something stands in the deployment's way: see the repository"),
        422 => refused(
            FailureKind::Refused,
            "the repository has neither the commit nor a tag or branch of the release's name",
        ),
        429 => Verdict::too_many(&said, answer.retry_after),
        500..=599 => Verdict::Unsure(
            PortError::unreachable(said).hint("GitHub has trouble: see https://www.githubstatus.com"),
        ),
        _ => refused(FailureKind::Other, "GitHub does not want this message"),
    }
}

/// For how long, where it is a limit: a 403 may be that as well as a missing permission.
fn limit(answer: &Answer) -> Option<Duration> {
    let until_reset = |reset: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(reset).saturating_sub(now)
    };
    let by_words = answer.body.to_ascii_lowercase().contains(LIMIT_WORDS);
    answer
        .retry_after
        .or_else(|| answer.limited_until.map(until_reset))
        .or_else(|| by_words.then_some(Duration::from_secs(LIMITED_SECONDS)))
}

/// Of the deployment that was made.
///
/// # Errors
/// `Other` where none is in it: it is a part of the next URL, so it is a number and nothing else.
pub(crate) fn id(body: &str) -> Result<String, PortError> {
    let told: Result<serde_json::Value, _> = serde_json::from_str(body);
    let id = told.ok().and_then(|told| told.get("id").and_then(serde_json::Value::as_u64));
    id.map(|id| id.to_string()).ok_or_else(|| {
        PortError::other("GitHub made a deployment and did not say which one")
            .hint("its API may be another one: see `api` under `notify`")
    })
}
