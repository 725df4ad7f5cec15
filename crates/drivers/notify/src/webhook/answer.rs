//! What a receiver's answers mean. Its body is never repeated: it might echo a secret.

use lockgate_model::FailureKind;

use crate::post::{Answer, Verdict};

pub(crate) fn judge(host: &str, answer: &Answer) -> Verdict {
    let status = answer.status;
    let said = format!("{host} answers {status}");
    let refused = |kind, hint| Verdict::refused(kind, &said, hint);
    match status {
        200..=299 => Verdict::Delivered(()),
        300..=399 => refused(FailureKind::Other, "redirects are not followed: configure the final URL"),
        401 | 403 => refused(FailureKind::Unauthorized, "check the webhook's headers"),
        404 | 410 => refused(FailureKind::NotFound, "check the webhook's URL"),
        429 => Verdict::too_many(&said, answer.retry_after),
        500..=599 => refused(FailureKind::Unreachable, "the receiver has trouble: see its log"),
        _ => refused(FailureKind::Other, "the receiver does not want this message: see its log"),
    }
}
