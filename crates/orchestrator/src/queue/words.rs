//! What is said of calls: to their callers, and in the audit.

use lockgate_model::{
    AuditEntry, DeliveryAnswer, DeployAnswer, DeployCall, DeployStatus, Digest, FailureKind, Millis,
    Presence, ProjectName, Received, Repeat, RunId, Timestamp, WebhookDelivery,
};

/// Hex digits of a commit, for people.
const SHA_DIGITS: usize = 8;
/// What makes the same call a new one.
const SENT_AGAIN: &str = "to have it again, add `sent_at`, the time in RFC 3339, to the body, and sign that; `lockgate trigger` does";

pub(super) fn superseded(by: RunId, call: &DeployCall) -> DeployAnswer {
    let message = format!("a newer call, for {}, took its place before it began", call.tag);
    DeployAnswer::refused(DeployStatus::Superseded, FailureKind::Conflict, message)
        .hint(format!("the newer one is run {by}: `GET /runs/{by}`"))
}

pub(super) fn too_late(behind: RunId) -> DeployAnswer {
    let message = "a newer call has had its turn before this one could begin";
    DeployAnswer::refused(DeployStatus::Superseded, FailureKind::Conflict, message)
        .hint(format!("the newer one is run {behind}: `GET /runs/{behind}`"))
}

pub(super) fn older(call: &DeployCall, than: &str) -> DeployAnswer {
    let message = format!("the commit {} is older than {than}", call.sha.first(SHA_DIGITS));
    DeployAnswer::refused(DeployStatus::Older, FailureKind::Conflict, message)
        .hint("to deploy it all the same, say so with `force`, or go back with `lockgate rollback`")
}

pub(super) fn stale(off: Millis, max: Millis) -> DeployAnswer {
    let message = format!("`sent_at` is {off} away from this machine's time, and {max} are believed");
    DeployAnswer::refused(DeployStatus::BadRequest, FailureKind::Refused, message)
        .hint("set the clock of whoever sends, and this machine's: `timedatectl`")
        .hint("a call that was kept for longer is to be made anew, with its own time")
}

pub(super) fn unforced() -> DeployAnswer {
    let message = "`force` needs `sent_at`, so that nobody can send it again later";
    DeployAnswer::refused(DeployStatus::BadRequest, FailureKind::Refused, message)
        .hint("add `sent_at`, the time in RFC 3339; `lockgate trigger --force` does")
}

pub(super) fn differs(first: &WebhookDelivery) -> DeployAnswer {
    let message = format!("the id {} was used before, for another body", first.id);
    DeployAnswer::refused(DeployStatus::Differs, FailureKind::Conflict, message)
        .hint("give each delivery an id of its own")
}

pub(super) fn overtaken(first: &WebhookDelivery) -> DeployAnswer {
    let message = format!(
        "the same was asked for before, as run {}, and something else has been asked for since",
        first.run
    );
    DeployAnswer::refused(DeployStatus::Repeated, FailureKind::Conflict, message).hint(SENT_AGAIN)
}

pub(super) fn not_live_any_more(first: &WebhookDelivery, live: &Presence) -> DeployAnswer {
    let message = format!(
        "the same was asked for before, as run {}, and {} is live since then",
        first.run, live.release.tag
    );
    DeployAnswer::refused(DeployStatus::Repeated, FailureKind::Conflict, message).hint(SENT_AGAIN)
}

pub(super) fn too_many() -> DeployAnswer {
    DeployAnswer::refused(DeployStatus::TooMany, FailureKind::Refused, "more calls come in than can be kept")
        .hint("send it again in a moment")
}

pub(super) fn unavailable(failure: &lockgate_model::Failure) -> DeployAnswer {
    DeployAnswer::of_failure(DeployStatus::Unavailable, failure)
        .hint("send the same call again: it has one effect, whether this one was kept or not")
}

pub(super) fn forgotten() -> DeployAnswer {
    let message = "what it asked for was not kept, by an older lockgate";
    DeployAnswer::refused(DeployStatus::Unknown, FailureKind::Other, message)
        .hint("send it again, with a new id")
}

/// As the store keeps it. `begun`: the journal knows of its run.
pub(super) fn kept(
    answer: &DeployAnswer,
    begun: bool,
    live: Option<Digest>,
    at: Timestamp,
) -> DeliveryAnswer {
    // An image that was missing may have been pushed since then.
    let is_missing = answer.status == DeployStatus::ImageNotPulled && !begun;
    let repeat = match (answer.status.is_worth_another_try() || is_missing, begun) {
        (false, _) => Repeat::First,
        (true, true) => Repeat::FirstIfNamed,
        (true, false) => Repeat::Anew,
    };
    // Of plain data, which always has a JSON.
    let body = serde_json::to_string(answer).unwrap_or_default();
    let settled = begun || answer.status == DeployStatus::LiveAlready;
    DeliveryAnswer { status: answer.status.http(), body, at, repeat, live, settled }
}

/// As it was told before. What cannot be read is not known.
pub(super) fn again(run: RunId, answer: &DeliveryAnswer) -> DeployAnswer {
    match serde_json::from_str::<DeployAnswer>(&answer.body) {
        Ok(told) => DeployAnswer { retry_after: DeployAnswer::new(told.status).retry_after, ..told },
        Err(error) => {
            tracing::warn!(%error, %run, "what was answered cannot be read");
            let message = "what was answered before cannot be read";
            DeployAnswer::refused(DeployStatus::Unknown, FailureKind::Other, message).of_run(run)
        }
    }
}

/// That it was accepted.
pub(super) fn accepted(project: &ProjectName, call: &DeployCall, run: RunId, at: Timestamp) -> AuditEntry {
    let forced = if call.force { ", forced" } else { "" };
    let id = call.id.as_ref().map(|id| format!(", as {id}")).unwrap_or_default();
    let sha = call.sha.first(SHA_DIGITS);
    AuditEntry {
        detail: format!("{} ({sha}) at {}{id}{forced}", call.tag, call.endpoint),
        result: Some("accepted".to_owned()),
        ..entry(project, call, run, at)
    }
}

/// What it came to.
pub(super) fn answered(
    project: &ProjectName,
    call: &DeployCall,
    run: RunId,
    answer: &DeployAnswer,
    at: Timestamp,
) -> AuditEntry {
    let detail = match (&answer.error, &answer.release) {
        (Some(error), _) => error.message.clone(),
        (None, Some(release)) => format!("{} ({})", release.tag, release.digest.short()),
        (None, None) => String::new(),
    };
    AuditEntry {
        digest: answer.release.as_ref().map(|release| release.digest.clone()),
        detail,
        result: Some(answer.status.as_str().to_owned()),
        ..entry(project, call, run, at)
    }
}

fn entry(project: &ProjectName, call: &DeployCall, run: RunId, at: Timestamp) -> AuditEntry {
    AuditEntry {
        project: project.clone(),
        at,
        by: call.requester.to_string(),
        via: "webhook".to_owned(),
        action: "deploy".to_owned(),
        service: Some(call.service.clone()),
        environment: Some(call.environment.clone()),
        digest: None,
        run: Some(run),
        detail: String::new(),
        from: Some(call.from.clone()),
        result: None,
        count: None,
    }
}

/// What a call was that was not let in.
pub(super) fn refused(received: &Received, off: Millis, max: Millis) -> Option<DeployAnswer> {
    match received {
        Received::Differs { first } => Some(differs(first)),
        Received::Overtaken { first } => Some(overtaken(first)),
        Received::Unknown => Some(stale(off, max)),
        Received::First | Received::Again { .. } | Received::Anew { .. } => None,
    }
}
