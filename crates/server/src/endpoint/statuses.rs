//! What each status means to a caller, and who is answered it: for the document.

use lockgate_model::DeployStatus;

/// A signed call may be answered so.
pub fn is_of_call(status: DeployStatus) -> bool {
    !matches!(status, DeployStatus::MethodNotAllowed)
}

/// Who looks at a run may be answered so: with what its caller gets, or because of the look itself.
pub fn is_of_look(status: DeployStatus) -> bool {
    match status {
        DeployStatus::Deployed
        | DeployStatus::LiveAlready
        | DeployStatus::Accepted
        | DeployStatus::BadRequest
        | DeployStatus::ImageNotPulled
        | DeployStatus::NotFound
        | DeployStatus::Superseded
        | DeployStatus::Older
        | DeployStatus::GateFailed
        | DeployStatus::Held
        | DeployStatus::NotYet
        | DeployStatus::TooMany
        | DeployStatus::HeadersTooLarge
        | DeployStatus::Stuck
        | DeployStatus::Unknown
        | DeployStatus::RolledBack
        | DeployStatus::Failed
        | DeployStatus::Stopping
        | DeployStatus::Unavailable => true,
        DeployStatus::Ignored
        | DeployStatus::Unauthorized
        | DeployStatus::MethodNotAllowed
        | DeployStatus::RequestTimeout
        | DeployStatus::Repeated
        | DeployStatus::Differs
        | DeployStatus::TooLarge
        | DeployStatus::UnsupportedMediaType
        | DeployStatus::StillRunning => false,
    }
}

/// In a few words, for whoever writes a client.
pub fn meaning(status: DeployStatus) -> &'static str {
    match status {
        DeployStatus::Deployed => "the commit is live, by this run",
        DeployStatus::LiveAlready => "the commit was live already, and nothing was done",
        DeployStatus::Ignored => "an event that deploys nothing; `logs` says why",
        DeployStatus::Accepted => "it is kept, and waits or is under way",
        DeployStatus::BadRequest => "the body, a header or a time in it makes no sense here",
        DeployStatus::ImageNotPulled => "the image is not there or cannot be pulled; nothing was touched",
        DeployStatus::Unauthorized => "no signature, or a bad one, whatever else is wrong",
        DeployStatus::NotFound => "signed, and there is no such service; or no such path or run",
        DeployStatus::MethodNotAllowed => "the path is there for other methods, which `Allow` names",
        DeployStatus::RequestTimeout => "the body took too long",
        DeployStatus::Superseded => "a newer call took its place before it began",
        DeployStatus::Older => "the commit is older than what is live, and `force` was not said",
        DeployStatus::Repeated => {
            "the same call was made before, and another one since then; `force` deploys it again"
        }
        DeployStatus::Differs => "the call's id is known with another body",
        DeployStatus::TooLarge => "the body is larger than is read",
        DeployStatus::UnsupportedMediaType => "the body is not plain JSON",
        DeployStatus::GateFailed => "a gate failed; nothing was changed",
        DeployStatus::Held => "somebody else deploys this service",
        DeployStatus::NotYet => "a gate says not yet; nothing was changed",
        DeployStatus::TooMany => "more calls than are let in at once",
        DeployStatus::HeadersTooLarge => "the headers are larger than is read",
        DeployStatus::Stuck => "an undo failed: `error` says what to type",
        DeployStatus::Unknown => "what it came to is not known: it may still go on",
        DeployStatus::RolledBack => "it failed, and the release from before is live again",
        DeployStatus::Failed => "it failed, and nothing was changed for users",
        DeployStatus::Stopping => "the daemon stops; whoever comes next takes the call up",
        DeployStatus::Unavailable => "what calls are kept in cannot be used now",
        DeployStatus::StillRunning => "it takes longer than the endpoint keeps a caller waiting, and goes on",
    }
}
