//! What became of a call for a deployment, in one word: its status code, and with which code a program ends.

use serde::{Deserialize, Serialize};

use crate::{Exit, Millis};

/// When it is worth trying again where somebody else deploys.
const HELD_RETRY_SECONDS: u64 = 15;
/// When it is worth trying again where a gate says not yet.
const NOT_YET_RETRY_SECONDS: u64 = 60;
/// When it is worth trying again where the daemon stops, or its store cannot be used.
const STOPPING_RETRY_SECONDS: u64 = 5;

/// What became of a call, in one word. [`DeployStatus::http`] is its status code, [`DeployStatus::exit`] with which code
/// `lockgate trigger` ends.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeployStatus {
    /// The release is live, by this run.
    Deployed,
    /// The release was live already, and nothing was done.
    LiveAlready,
    /// An event that asks for no deployment, such as a push to another branch.
    Ignored,
    /// It is kept, and will be done or is under way. Not an end.
    Accepted,
    /// The body, a header or a time in it makes no sense here.
    BadRequest,
    /// The image is not there or cannot be pulled; nothing was touched.
    ImageNotPulled,
    /// No signature, or a bad one.
    Unauthorized,
    /// No such path, service or run.
    NotFound,
    /// The path is there, and not for this method.
    MethodNotAllowed,
    /// The call took too long to arrive.
    RequestTimeout,
    /// A newer call for the same service took its place before it began.
    Superseded,
    /// Its commit is older than the live release's.
    Older,
    /// The same body was accepted before, and another call for the service since then.
    Repeated,
    /// Its id is known with another body.
    Differs,
    /// More bytes than are read.
    TooLarge,
    /// Not JSON.
    UnsupportedMediaType,
    /// A gate looked, and what it saw is not good enough; nothing was changed.
    GateFailed,
    /// Somebody else deploys this service.
    Held,
    /// A gate says that it is too early; nothing was changed.
    NotYet,
    /// More than is let in at once.
    TooMany,
    /// Header lines are larger than is read.
    HeadersTooLarge,
    /// An undo failed: somebody has to look now.
    Stuck,
    /// What it came to is not known: it may still go on.
    Unknown,
    /// It failed and was undone: the release from before is live.
    RolledBack,
    /// It failed before anything was changed for users.
    Failed,
    /// The daemon stops: whoever comes next takes it up.
    Stopping,
    /// What calls are kept in cannot be used, so that it is not known whether this one was accepted.
    Unavailable,
    /// It takes longer than its caller is kept waiting, and goes on.
    StillRunning,
}

impl DeployStatus {
    /// Every one, in the order in which they are documented.
    pub const ALL: [DeployStatus; 28] = [
        DeployStatus::Deployed,
        DeployStatus::LiveAlready,
        DeployStatus::Ignored,
        DeployStatus::Accepted,
        DeployStatus::BadRequest,
        DeployStatus::ImageNotPulled,
        DeployStatus::Unauthorized,
        DeployStatus::NotFound,
        DeployStatus::MethodNotAllowed,
        DeployStatus::RequestTimeout,
        DeployStatus::Superseded,
        DeployStatus::Older,
        DeployStatus::Repeated,
        DeployStatus::Differs,
        DeployStatus::TooLarge,
        DeployStatus::UnsupportedMediaType,
        DeployStatus::GateFailed,
        DeployStatus::Held,
        DeployStatus::NotYet,
        DeployStatus::TooMany,
        DeployStatus::HeadersTooLarge,
        DeployStatus::Stuck,
        DeployStatus::Unknown,
        DeployStatus::RolledBack,
        DeployStatus::Failed,
        DeployStatus::Stopping,
        DeployStatus::Unavailable,
        DeployStatus::StillRunning,
    ];

    /// The status code of the response.
    #[must_use]
    pub fn http(self) -> u16 {
        match self {
            DeployStatus::Deployed | DeployStatus::LiveAlready | DeployStatus::Ignored => 200,
            DeployStatus::Accepted => 202,
            DeployStatus::BadRequest | DeployStatus::ImageNotPulled => 400,
            DeployStatus::Unauthorized => 401,
            DeployStatus::NotFound => 404,
            DeployStatus::MethodNotAllowed => 405,
            DeployStatus::RequestTimeout => 408,
            DeployStatus::Superseded
            | DeployStatus::Older
            | DeployStatus::Repeated
            | DeployStatus::Differs => 409,
            DeployStatus::TooLarge => 413,
            DeployStatus::UnsupportedMediaType => 415,
            DeployStatus::GateFailed => 422,
            DeployStatus::Held => 423,
            DeployStatus::NotYet => 425,
            DeployStatus::TooMany => 429,
            DeployStatus::HeadersTooLarge => 431,
            DeployStatus::Stuck | DeployStatus::Unknown => 500,
            DeployStatus::RolledBack | DeployStatus::Failed => 502,
            DeployStatus::Stopping | DeployStatus::Unavailable => 503,
            DeployStatus::StillRunning => 504,
        }
    }

    /// With which code a program ends that was answered this.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            DeployStatus::Deployed | DeployStatus::LiveAlready | DeployStatus::Ignored => Exit::Succeeded,
            DeployStatus::BadRequest
            | DeployStatus::Unauthorized
            | DeployStatus::NotFound
            | DeployStatus::MethodNotAllowed
            | DeployStatus::TooLarge
            | DeployStatus::UnsupportedMediaType
            | DeployStatus::HeadersTooLarge => Exit::Usage,
            DeployStatus::ImageNotPulled
            | DeployStatus::RequestTimeout
            | DeployStatus::Superseded
            | DeployStatus::Older
            | DeployStatus::Repeated
            | DeployStatus::Differs
            | DeployStatus::GateFailed
            | DeployStatus::Failed => Exit::Failed,
            DeployStatus::RolledBack => Exit::RolledBack,
            DeployStatus::Stuck => Exit::Stuck,
            DeployStatus::NotYet => Exit::NotYet,
            DeployStatus::Held | DeployStatus::TooMany => Exit::Held,
            DeployStatus::Accepted
            | DeployStatus::Unknown
            | DeployStatus::Stopping
            | DeployStatus::Unavailable
            | DeployStatus::StillRunning => Exit::Unknown,
        }
    }

    /// As it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeployStatus::Deployed => "deployed",
            DeployStatus::LiveAlready => "live_already",
            DeployStatus::Ignored => "ignored",
            DeployStatus::Accepted => "accepted",
            DeployStatus::BadRequest => "bad_request",
            DeployStatus::ImageNotPulled => "image_not_pulled",
            DeployStatus::Unauthorized => "unauthorized",
            DeployStatus::NotFound => "not_found",
            DeployStatus::MethodNotAllowed => "method_not_allowed",
            DeployStatus::RequestTimeout => "request_timeout",
            DeployStatus::Superseded => "superseded",
            DeployStatus::Older => "older",
            DeployStatus::Repeated => "repeated",
            DeployStatus::Differs => "differs",
            DeployStatus::TooLarge => "too_large",
            DeployStatus::UnsupportedMediaType => "unsupported_media_type",
            DeployStatus::GateFailed => "gate_failed",
            DeployStatus::Held => "held",
            DeployStatus::NotYet => "not_yet",
            DeployStatus::TooMany => "too_many",
            DeployStatus::HeadersTooLarge => "headers_too_large",
            DeployStatus::Stuck => "stuck",
            DeployStatus::Unknown => "unknown",
            DeployStatus::RolledBack => "rolled_back",
            DeployStatus::Failed => "failed",
            DeployStatus::Stopping => "stopping",
            DeployStatus::Unavailable => "unavailable",
            DeployStatus::StillRunning => "still_running",
        }
    }

    /// The very same call may come to something else later, and its caller is told when to try again.
    #[must_use]
    pub fn is_worth_another_try(self) -> bool {
        self.retry_after().is_some()
    }

    pub(crate) fn retry_after(self) -> Option<Millis> {
        let seconds = match self {
            DeployStatus::Held => HELD_RETRY_SECONDS,
            DeployStatus::NotYet => NOT_YET_RETRY_SECONDS,
            DeployStatus::TooMany => 1,
            DeployStatus::Stopping | DeployStatus::Unavailable => STOPPING_RETRY_SECONDS,
            DeployStatus::Deployed
            | DeployStatus::LiveAlready
            | DeployStatus::Ignored
            | DeployStatus::Accepted
            | DeployStatus::BadRequest
            | DeployStatus::ImageNotPulled
            | DeployStatus::Unauthorized
            | DeployStatus::NotFound
            | DeployStatus::MethodNotAllowed
            | DeployStatus::RequestTimeout
            | DeployStatus::Superseded
            | DeployStatus::Older
            | DeployStatus::Repeated
            | DeployStatus::Differs
            | DeployStatus::TooLarge
            | DeployStatus::UnsupportedMediaType
            | DeployStatus::GateFailed
            | DeployStatus::HeadersTooLarge
            | DeployStatus::Stuck
            | DeployStatus::Unknown
            | DeployStatus::RolledBack
            | DeployStatus::Failed
            | DeployStatus::StillRunning => return None,
        };
        Some(Millis::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_code_and_the_exit_of_the_table() {
        let table: Vec<(&str, u16, u8, Option<u64>)> = DeployStatus::ALL
            .into_iter()
            .map(|one| (one.as_str(), one.http(), one.exit().code(), one.retry_after().map(|after| after.0)))
            .collect();
        let wanted = [
            ("deployed", 200, 0, None),
            ("live_already", 200, 0, None),
            ("ignored", 200, 0, None),
            ("accepted", 202, 7, None),
            ("bad_request", 400, 2, None),
            ("image_not_pulled", 400, 1, None),
            ("unauthorized", 401, 2, None),
            ("not_found", 404, 2, None),
            ("method_not_allowed", 405, 2, None),
            ("request_timeout", 408, 1, None),
            ("superseded", 409, 1, None),
            ("older", 409, 1, None),
            ("repeated", 409, 1, None),
            ("differs", 409, 1, None),
            ("too_large", 413, 2, None),
            ("unsupported_media_type", 415, 2, None),
            ("gate_failed", 422, 1, None),
            ("held", 423, 6, Some(15_000)),
            ("not_yet", 425, 5, Some(60_000)),
            ("too_many", 429, 6, Some(1_000)),
            ("headers_too_large", 431, 2, None),
            ("stuck", 500, 4, None),
            ("unknown", 500, 7, None),
            ("rolled_back", 502, 3, None),
            ("failed", 502, 1, None),
            ("stopping", 503, 7, Some(5_000)),
            ("unavailable", 503, 7, Some(5_000)),
            ("still_running", 504, 7, None),
        ];
        assert_eq!(table, wanted);
        for status in DeployStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(status.exit() == Exit::Succeeded, status.http() == 200, "{status:?}: `curl -f`");
        }
    }
}
