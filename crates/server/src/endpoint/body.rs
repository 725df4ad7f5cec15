//! What a signed call asks for: its body, understood and checked against the configuration. Nothing in it is fetched or run.

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use lockgate_model::{
    By, CommitSha, DeliveryId, DeployCall, DeployStatus, Digest, Endpoint, Project, Requester, Service, Tag,
    Timestamp, quoted,
};
use lockgate_signature::Signed;
use serde::de::DeserializeOwned;
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

/// All members of both forms, so that one that belongs to neither is named. An explicit `null` is no way to leave one out.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Members {
    #[serde(deserialize_with = "some")]
    service: Option<String>,
    #[serde(deserialize_with = "some")]
    image_sha: Option<String>,
    #[serde(deserialize_with = "some")]
    force: Option<bool>,
    #[serde(deserialize_with = "some")]
    sent_at: Option<String>,
    #[serde(deserialize_with = "some")]
    committed_at: Option<String>,
    #[serde(deserialize_with = "some")]
    service_name: Option<String>,
    #[serde(deserialize_with = "some")]
    image: Option<String>,
    #[serde(deserialize_with = "some")]
    commit_sha: Option<String>,
    #[serde(deserialize_with = "some")]
    container_name: Option<String>,
    #[serde(deserialize_with = "some")]
    healthcheck_url: Option<String>,
}

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
            let members: Members = parse(call.body)?;
            kept(call, wanted(members, call)?)
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

fn wanted<'a>(members: Members, call: &SignedCall<'a>) -> Result<Wanted<'a>, Refused> {
    let requester = Requester::new(By::Ci, &format!("signed call to {}", call.endpoint.path));
    let Members { service, image_sha, force, sent_at, committed_at, .. } = &members;
    let own = [
        ("service", service.is_some()),
        ("image_sha", image_sha.is_some()),
        ("force", force.is_some()),
        ("sent_at", sent_at.is_some()),
        ("committed_at", committed_at.is_some()),
    ];
    let older = [
        ("service_name", members.service_name.is_some()),
        ("image", members.image.is_some()),
        ("commit_sha", members.commit_sha.is_some()),
        ("container_name", members.container_name.is_some()),
        ("healthcheck_url", members.healthcheck_url.is_some()),
    ];
    let first =
        |of: &[(&'static str, bool)]| of.iter().find(|(_, is_there)| *is_there).map(|(name, _)| *name);
    match (first(&own), first(&older)) {
        (Some(one), Some(other)) => Err(Refused::bad(
            format!("`{one}` and `{other}` belong to two forms of the body"),
            "send either `service` and `image_sha`, or `service_name`, `image` and `commit_sha`",
        )),
        (_, None) => {
            let sha = commit("image_sha", image_sha.as_deref())?;
            let service = service_named(call, service.as_deref())?;
            Ok(Wanted {
                service,
                tag: tag(call.endpoint, &sha)?,
                sha,
                committed_at: time("committed_at", committed_at.as_deref())?,
                sent_at: time("sent_at", sent_at.as_deref())?,
                force: force.unwrap_or(false),
                requester,
            })
        }
        (None, Some(_)) => {
            let sha = commit("commit_sha", members.commit_sha.as_deref())?;
            let name = members.service_name.as_deref().ok_or_else(|| missing("service_name"))?;
            let service = service_named(call, Some(name))?;
            let tag = tag(call.endpoint, &sha)?;
            let image = members.image.as_deref().ok_or_else(|| missing("image"))?;
            configured::image(service, &tag, image)?;
            if let Some(given) = &members.container_name {
                configured::container_name(call, service, given)?;
            }
            if let Some(given) = &members.healthcheck_url {
                configured::healthcheck_url(call, service, given)?;
            }
            Ok(Wanted { service, tag, sha, committed_at: None, sent_at: None, force: false, requester })
        }
    }
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

fn missing(name: &str) -> Refused {
    Refused::bad(format!("`{name}` is missing"), FORM_HINT)
}

fn commit(name: &str, text: Option<&str>) -> Result<CommitSha, Refused> {
    let text = text.ok_or_else(|| missing(name))?;
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
