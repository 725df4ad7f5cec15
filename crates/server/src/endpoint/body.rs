//! What a signed call asks for: its body, understood and checked against the configuration. Nothing in it is fetched or run.

use std::collections::BTreeMap;

use lockgate_model::{By, DeliveryId, DeployCall, Digest, Requester, Timestamp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::parse::{commit, is_plain_json, parse, time};
use super::refused::Refused;
use super::signed_call::{SignedCall, Wanted};
use super::{configured, github};

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Deploy(Box<DeployCall>),
    /// Nothing is to be done: why.
    Ignored(String),
}

/// A call in our own form. An explicit `null` is no way to leave a member out.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnForm {
    /// What to deploy; may be left out where the endpoint has only one.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    service: Option<String>,
    /// The commit whose image is deployed, by the endpoint's `tag`: 40 lower-case hex digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{40}$"))]
    image_sha: String,
    /// Although the same call was made before, or what is live is newer. Only with `sent_at`.
    #[serde(default)]
    force: bool,
    /// When the call was sent, RFC 3339: one that is older or newer than five minutes is refused.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    sent_at: Option<String>,
    /// When the commit was made, RFC 3339: one that is older than what is live is refused.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    committed_at: Option<String>,
}

/// A call in the form of older clients. What they give beside the commit must be what the configuration says.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OlderForm {
    /// What to deploy.
    service_name: String,
    /// `repository:tag`, as by the configuration.
    image: String,
    /// The commit: 40 lower-case hex digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{40}$"))]
    commit_sha: String,
    /// As the endpoint's `container_name`.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    container_name: Option<String>,
    /// As the endpoint's `healthcheck_url`, or the service's URL and health path.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    healthcheck_url: Option<String>,
}

/// Members that the older form alone has.
const OLDER_MEMBERS: [&str; 5] = ["service_name", "image", "commit_sha", "container_name", "healthcheck_url"];

fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// # Errors
/// [`Refused`] with the status for the caller.
pub fn understand(call: &SignedCall<'_>) -> Result<Asked, Refused> {
    is_plain_json(call.headers)?;
    match github::event(call.headers)? {
        Some(event) => match github::wanted(&event, call)? {
            github::Event::Wanted(wanted) => kept(call, *wanted),
            github::Event::Ignored(why) => Ok(Asked::Ignored(why)),
        },
        None => {
            let members: BTreeMap<String, IgnoredAny> = parse(call.body)?;
            let wanted = match OLDER_MEMBERS.iter().any(|member| members.contains_key(*member)) {
                true => older(parse(call.body)?, call)?,
                false => own(parse(call.body)?, call)?,
            };
            kept(call, wanted)
        }
    }
}

/// As the queue keeps it.
fn kept(call: &SignedCall<'_>, wanted: Wanted<'_>) -> Result<Asked, Refused> {
    let message = call.signed.message.as_ref();
    let signed_at = message.map(|message| Timestamp(message.seconds.saturating_mul(1000)));
    // Of two times that were signed the earlier one: a call is no fresher than the oldest thing in it.
    let sent_at = wanted.sent_at.into_iter().chain(signed_at).min();
    if wanted.force && sent_at.is_none() {
        return Err(Refused::bad(
            "`force` without a time would let anybody who saw the call send it again",
            "add `sent_at`, the time now as in 2026-11-27T06:40:00Z, and sign the body with it",
        ));
    }
    Ok(Asked::Deploy(Box::new(DeployCall {
        endpoint: call.endpoint.path.as_str().to_owned(),
        // GitHub's X-GitHub-Delivery is not signed, so that whoever sends a call again could choose another one.
        id: message.map(|message| DeliveryId::new(&message.id)),
        body: Digest::of(call.body),
        service: wanted.service.name.clone(),
        environment: call.endpoint.environment.clone(),
        tag: wanted.tag,
        sha: wanted.sha,
        committed_at: wanted.committed_at,
        sent_at,
        force: wanted.force,
        requester: wanted.requester,
        from: call.from.to_owned(),
        timeout: call.endpoint.timeout,
        repeated: call.endpoint.repeated,
    })))
}

fn own<'a>(form: OwnForm, call: &SignedCall<'a>) -> Result<Wanted<'a>, Refused> {
    let sha = commit("image_sha", &form.image_sha)?;
    Ok(Wanted {
        service: call.service(form.service.as_deref())?,
        tag: call.tag(&sha)?,
        sha,
        committed_at: time("committed_at", form.committed_at.as_deref())?,
        sent_at: time("sent_at", form.sent_at.as_deref())?,
        force: form.force,
        requester: requester(call),
    })
}

fn older<'a>(form: OlderForm, call: &SignedCall<'a>) -> Result<Wanted<'a>, Refused> {
    let sha = commit("commit_sha", &form.commit_sha)?;
    let service = call.service(Some(&form.service_name))?;
    let tag = call.tag(&sha)?;
    configured::image(service, &tag, &form.image)?;
    if let Some(given) = &form.container_name {
        configured::container_name(call, service, given)?;
    }
    if let Some(given) = &form.healthcheck_url {
        configured::healthcheck_url(call, service, given)?;
    }
    let requester = requester(call);
    Ok(Wanted { service, tag, sha, committed_at: None, sent_at: None, force: false, requester })
}

fn requester(call: &SignedCall<'_>) -> Requester {
    Requester::new(By::Ci, &format!("signed call to {}", call.endpoint.path))
}
