//! What Slack's answers mean.

use std::time::Duration;

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

/// Longest wait that a 429 may ask for; Slack's own limit is one message a second.
pub(crate) const RETRY_AFTER_SECONDS_MAX: u64 = 5;
/// Longest of Slack's error words that is repeated to people.
const REASON_CHARS_MAX: usize = 64;

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Not delivered; asking again after this wait is allowed. The error is for when that was the last try.
    Later(Duration, PortError),
    Refused(PortError),
}

/// Slack's documented answers: 200 `ok`, 400 `invalid_payload`, 403 `action_prohibited`, 404 `channel_not_found` and
/// `no_service`, 410 `channel_is_archived`, 429 with `Retry-After` in seconds, 5xx.
pub(crate) fn judge(status: u16, retry_after: Option<&str>, body: &str) -> Verdict {
    let reason = reason(body);
    let said = format!("Slack answers {status}{}", reason.map(|word| format!(" {word}")).unwrap_or_default());
    let refused = |kind, hint: &str| Verdict::Refused(PortError::new(kind, &said).hint(hint));
    match status {
        200 if body.trim() == "ok" => Verdict::Delivered,
        200..=299 => Verdict::Refused(
            PortError::other(format!("answered {status}, but not as Slack does"))
                .hint("is the webhook's URL Slack's?"),
        ),
        401 | 403 => {
            refused(FailureKind::Unauthorized, "the workspace forbids this webhook: ask its administrator")
        }
        404 if reason == Some("channel_not_found") => {
            refused(FailureKind::NotFound, "check the channel's name")
        }
        404 | 410 if reason == Some("channel_is_archived") => {
            refused(FailureKind::NotFound, "the channel is archived: choose another one")
        }
        404 | 410 => refused(FailureKind::NotFound, "the webhook was removed: make a new one in Slack"),
        429 => {
            let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1);
            let error = PortError::other(format!("{said}: too many messages, again in {seconds} s"));
            match seconds {
                0..=RETRY_AFTER_SECONDS_MAX => Verdict::Later(Duration::from_secs(seconds), error),
                _ => Verdict::Refused(error),
            }
        }
        500..=599 => refused(FailureKind::Unreachable, "Slack has trouble: see https://slack-status.com"),
        _ => refused(FailureKind::Other, "check the webhook's URL"),
    }
}

/// Slack's error word. Anything else is not repeated: whoever answers might echo the URL.
fn reason(body: &str) -> Option<&str> {
    let word = body.trim();
    let known_form = !word.is_empty()
        && word.len() <= REASON_CHARS_MAX
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    known_form.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> FailureKind {
        match judge(status, None, body) {
            Verdict::Refused(error) | Verdict::Later(_, error) => error.kind,
            Verdict::Delivered => panic!("delivered"),
        }
    }

    #[test]
    fn every_documented_answer_has_its_kind() {
        assert_eq!(judge(200, None, "ok\n"), Verdict::Delivered);
        assert_eq!(kind(400, "invalid_payload"), FailureKind::Other);
        assert_eq!(kind(403, "action_prohibited"), FailureKind::Unauthorized);
        assert_eq!(kind(404, "channel_not_found"), FailureKind::NotFound);
        assert_eq!(kind(404, "no_service"), FailureKind::NotFound);
        assert_eq!(kind(410, "channel_is_archived"), FailureKind::NotFound);
        assert_eq!(kind(500, "rollup_error"), FailureKind::Unreachable);
        assert_eq!(kind(200, "<html>log in</html>"), FailureKind::Other);
        assert_eq!(kind(302, ""), FailureKind::Other);
    }

    #[test]
    fn a_short_wait_is_waited_and_a_long_one_is_not() {
        assert!(
            matches!(judge(429, Some("5"), ""), Verdict::Later(wait, _) if wait == Duration::from_secs(5))
        );
        assert!(matches!(judge(429, None, ""), Verdict::Later(wait, _) if wait == Duration::from_secs(1)));
        assert!(matches!(judge(429, Some("6"), ""), Verdict::Refused(_)));
    }

    #[test]
    fn only_slacks_own_words_are_repeated() {
        let Verdict::Refused(error) = judge(404, None, "no page at /services/T0/B0/hunter2") else {
            panic!()
        };
        assert_eq!(error.message, "Slack answers 404");
        let Verdict::Refused(error) = judge(404, None, "no_service") else { panic!() };
        assert_eq!(error.message, "Slack answers 404 no_service");
    }
}
