//! What a signed call asks for: its body, understood and checked against the configuration. Nothing in it is fetched or run.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use lockgate_model::{
    By, CommitSha, DeliveryId, DeployCall, DeployStatus, Digest, Endpoint, Project, Requester, Service, Tag,
    Timestamp, quoted,
};
use lockgate_signature::Signed;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::configured;
use super::github;
use super::refused::{Refused, shown};

/// Longest reason of a parser that is passed on, in characters.
const REASON_CHARS_MAX: usize = 200;
const FORM_HINT: &str = r#"send {"service": "web", "image_sha": "<40 hex digits of the commit>"}"#;

/// A request whose signature is valid.
pub struct SignedCall<'a> {
    pub endpoint: &'a Endpoint,
    pub project: &'a Project,
    pub headers: &'a HeaderMap,
    pub signed: &'a Signed,
    pub body: &'a [u8],
    /// The peer's address, whatever a header says of it.
    pub from: &'a str,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Deploy(Box<DeployCall>),
    /// Nothing is to be done: why.
    Ignored(String),
}

/// What to deploy, by whichever form of the body.
pub struct Wanted<'a> {
    pub service: &'a Service,
    pub tag: Tag,
    pub sha: CommitSha,
    pub committed_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub force: bool,
    pub requester: Requester,
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
        service: service_named(call, form.service.as_deref())?,
        tag: tag(call.endpoint, &sha)?,
        sha,
        committed_at: time("committed_at", form.committed_at.as_deref())?,
        sent_at: time("sent_at", form.sent_at.as_deref())?,
        force: form.force,
        requester: requester(call),
    })
}

fn older<'a>(form: OlderForm, call: &SignedCall<'a>) -> Result<Wanted<'a>, Refused> {
    let sha = commit("commit_sha", &form.commit_sha)?;
    let service = service_named(call, Some(&form.service_name))?;
    let tag = tag(call.endpoint, &sha)?;
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

/// The service of this name, which the endpoint deploys. `None`: the only one that it deploys.
pub fn service_named<'a>(call: &SignedCall<'a>, name: Option<&str>) -> Result<&'a Service, Refused> {
    let names = || call.endpoint.services.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (name, call.endpoint.services.as_slice()) {
        (Some(name), all) => all.iter().find(|one| one.as_str() == name),
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(Refused::bad(
                "the endpoint has several services, and the call names none",
                format!("add `service`: {}", names()),
            ));
        }
    };
    found.and_then(|name| call.project.services.get(name)).ok_or_else(|| Refused {
        status: DeployStatus::NotFound,
        message: format!("{} deploys no service {}", call.endpoint.path, shown(name.unwrap_or_default())),
        hint: format!("services here: {}", names()),
    })
}

pub fn tag(endpoint: &Endpoint, sha: &CommitSha) -> Result<Tag, Refused> {
    endpoint.tag.fill(sha.as_str()).map_err(|bad| {
        Refused::bad(
            format!("the endpoint's `tag` makes none of this commit: {}", bad.reason),
            "mend `tag` of the endpoint in lockgate.yaml",
        )
    })
}

fn commit(name: &str, text: &str) -> Result<CommitSha, Refused> {
    CommitSha::new(text).map_err(|bad| {
        Refused::bad(
            format!("`{name}` {} is no commit: {}", shown(text), bad.reason),
            "send what `git rev-parse HEAD` prints",
        )
    })
}

/// RFC 3339.
pub fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Refused::bad(
            format!("`{name}` {} is no time", shown(text)),
            "write it as in 2026-11-27T06:40:00Z: `date -u +%Y-%m-%dT%H:%M:%SZ` prints it so",
        )
    })?;
    Ok(Some(Timestamp(time.as_millisecond())))
}

/// The body as JSON: UTF-8 without a byte order mark, one value, no member twice.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(body).map_err(|bad| {
        Refused::bad(format!("the body is not UTF-8 at byte {}", bad.valid_up_to()), FORM_HINT)
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Refused::bad("the body begins with a byte order mark", "write it without one"));
    }
    serde_json::from_str(text).map_err(|bad| {
        let reason = quoted(&bad.to_string(), REASON_CHARS_MAX);
        Refused::bad(format!("the body is not what it must be: {reason}"), FORM_HINT)
    })
}

/// `application/json` in UTF-8, and nothing around it: what is packed could be of any size once unpacked.
fn is_plain_json(headers: &HeaderMap) -> Result<(), Refused> {
    let refused = |message: String, hint: &str| Refused {
        status: DeployStatus::UnsupportedMediaType,
        message,
        hint: hint.to_owned(),
    };
    let hint = "send the header `Content-Type: application/json`";
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let given = match (types.next(), types.next()) {
        (None, _) => return Err(refused("the call has no content type".to_owned(), hint)),
        (Some(_), Some(_)) => return Err(refused("the call has two content types".to_owned(), hint)),
        (Some(one), None) => String::from_utf8_lossy(one.as_bytes()).to_ascii_lowercase(),
    };
    let mut parts = given.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json");
    let is_utf8 = |part: &str| match part.strip_prefix("charset=") {
        Some(charset) => charset.trim_matches('"') == "utf-8",
        None => true,
    };
    if !is_json || !parts.all(is_utf8) {
        return Err(refused(format!("the content type is {}, not JSON in UTF-8", shown(&given)), hint));
    }
    let is_plain = |value: &hyper::header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().find(|value| !is_plain(value)) {
        None => Ok(()),
        Some(packed) => {
            let packed = shown(&String::from_utf8_lossy(packed.as_bytes()));
            Err(refused(format!("the body is packed with {packed}"), "send it as it is"))
        }
    }
}
