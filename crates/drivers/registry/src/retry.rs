//! When to ask again: pure.

use std::time::Duration;

use lockgate_ports::http;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Tries of one exchange altogether.
pub(crate) const TRIES_MAX: u32 = 3;
/// Longest `Retry-After` that is waited for; a longer one is told instead.
pub(crate) const RETRY_AFTER_SECONDS_MAX: u64 = 10;
/// Pause before the second try; before the third it is twice that.
const PAUSE_MILLIS: u64 = 200;

/// The pause after this many tries, where the answer asks for none.
pub(crate) fn pause(tries: u32) -> Duration {
    Duration::from_millis(PAUSE_MILLIS) * tries
}

/// What `Retry-After` asks for, as [`http::retry_after`] reads it. `None` where it asks for nothing that can be read.
pub(crate) fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    http::retry_after(text(RETRY_AFTER), text(DATE))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_answer_s_own_clock() {
        for (asked, date, wanted) in [
            (Some("3"), None, Some(3)),
            (Some(" 0 "), None, Some(0)),
            (Some("99999999999999999999"), None, Some(u64::MAX)),
            (Some("Thu, 26 Nov 2026 17:00:07 GMT"), Some("Thu, 26 Nov 2026 17:00:00 GMT"), Some(7)),
            (Some("Thu, 26 Nov 2026 16:00:00 GMT"), Some("Thu, 26 Nov 2026 17:00:00 GMT"), Some(0)),
            (Some("Thu, 26 Nov 2026 17:00:07 GMT"), None, None),
            (Some("-1"), None, None),
            (Some("soon"), Some("later"), None),
            (Some(""), None, None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, asked), (DATE, date)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(after(&headers).map(|wait| wait.as_secs()), wanted, "{asked:?} {date:?}");
        }
    }
}
