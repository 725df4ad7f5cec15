//! What Slack's answers mean.

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

use super::words::word;
use crate::post::{Answer, Verdict};

/// Slack's documented answers: 200 `ok`, 400 `invalid_payload`, 403 `action_prohibited`, 404 `channel_not_found` and
/// `no_service`, 410 `channel_is_archived`, 429 with `Retry-After` in seconds, 5xx.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    let (status, body) = (answer.status, answer.body.as_str());
    let reason = word(body);
    let said = format!("Slack answers {status}{}", reason.map(|word| format!(" {word}")).unwrap_or_default());
    let refused = |kind, hint| Verdict::refused(kind, &said, hint);
    match status {
        200 if body.trim() == "ok" => Verdict::Delivered(()),
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
        429 => Verdict::too_many(&said, answer.retry_after),
        500..=599 => refused(FailureKind::Unreachable, "Slack has trouble: see https://slack-status.com"),
        _ => refused(FailureKind::Other, "check the webhook's URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Verdict {
        judge(&Answer { status, body: body.to_owned(), ..Answer::default() })
    }

    fn kind(status: u16, body: &str) -> FailureKind {
        match judged(status, body) {
            Verdict::Refused(error)
            | Verdict::Unsure(error)
            | Verdict::Later(error)
            | Verdict::Limited(_, error) => error.kind,
            Verdict::Delivered(()) => panic!("delivered"),
        }
    }

    #[test]
    fn every_documented_answer_has_its_kind() {
        assert_eq!(judged(200, "ok\n"), Verdict::Delivered(()));
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
    fn only_slacks_own_words_are_repeated() {
        let Verdict::Refused(error) = judged(404, "no page at /services/T0/B0/hunter2") else { panic!() };
        assert_eq!(error.message, "Slack answers 404");
        let Verdict::Refused(error) = judged(404, "no_service") else { panic!() };
        assert_eq!(error.message, "Slack answers 404 no_service");
    }
}
