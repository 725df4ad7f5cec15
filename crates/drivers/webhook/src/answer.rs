//! What a receiver's answers mean. Its body is never repeated: it might echo a secret.

use std::time::Duration;

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

/// Longest wait that a 429 may ask for.
pub(crate) const RETRY_AFTER_SECONDS_MAX: u64 = 5;

/// What to do after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Not delivered; asking again after this wait is allowed. The error is for when that was the last try.
    Later(Duration, PortError),
    Refused(PortError),
}

pub(crate) fn judge(host: &str, status: u16, retry_after: Option<&str>) -> Verdict {
    let said = format!("{host} answers {status}");
    let refused = |kind, hint: &str| Verdict::Refused(PortError::new(kind, &said).hint(hint));
    match status {
        200..=299 => Verdict::Delivered,
        300..=399 => refused(FailureKind::Other, "redirects are not followed: configure the final URL"),
        401 | 403 => refused(FailureKind::Unauthorized, "check the webhook's headers"),
        404 | 410 => refused(FailureKind::NotFound, "check the webhook's URL"),
        429 => {
            let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1);
            let error = PortError::other(format!("{said}: too many messages, again in {seconds} s"));
            match seconds {
                0..=RETRY_AFTER_SECONDS_MAX => Verdict::Later(Duration::from_secs(seconds), error),
                _ => Verdict::Refused(error),
            }
        }
        500..=599 => refused(FailureKind::Unreachable, "the receiver has trouble: see its log"),
        _ => refused(FailureKind::Other, "the receiver does not want this message: see its log"),
    }
}
