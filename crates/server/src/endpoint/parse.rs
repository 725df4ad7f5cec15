//! Bytes, texts and headers of a call, read strictly.

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use lockgate_model::{CommitSha, DeployStatus, Timestamp, quoted};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::refused::{Refused, shown};

/// Longest reason of a parser that is passed on, in characters.
const REASON_CHARS_MAX: usize = 200;
/// Longest name of a member that is passed on, in characters.
const MEMBER_CHARS_MAX: usize = 80;
/// The path of what is about no member.
const NOWHERE: &str = ".";
const FORM_HINT: &str = r#"send {"service": "web", "image_sha": "<40 hex digits of the commit>"}"#;

/// The body as JSON: UTF-8 without a byte order mark, one value, no member twice.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    parse_as(body, FORM_HINT)
}

/// As [`parse`], of an event of GitHub's.
pub fn parse_event<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    parse_as(body, "send GitHub's own payload of this event, or leave X-GitHub-Event out")
}

fn parse_as<T: DeserializeOwned>(body: &[u8], hint: &str) -> Result<T, Refused> {
    let text = std::str::from_utf8(body)
        .map_err(|bad| Refused::bad(format!("the body is not UTF-8 at byte {}", bad.valid_up_to()), hint))?;
    if text.starts_with('\u{feff}') {
        return Err(Refused::bad("the body begins with a byte order mark", "write it without one"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|bad| reason(&bad.path().to_string(), bad.inner()))
        .and_then(|parsed| json.end().map(|()| parsed).map_err(|bad| reason(NOWHERE, &bad)));
    parsed.map_err(|reason| {
        let reason = quoted(&reason, REASON_CHARS_MAX);
        Refused::bad(format!("the body is not what it must be: {reason}"), hint)
    })
}

/// What a parser says, with the member that it says it of: `head_commit.id`. It names unknown ones and those that are there twice
/// by itself.
fn reason(path: &str, bad: &serde_json::Error) -> String {
    let said = bad.to_string();
    let is_named = ["unknown field", "duplicate field"].iter().any(|words| said.starts_with(words));
    match bad.classify() == Category::Data && path != NOWHERE && !is_named {
        true => format!("'{}': {said}", quoted(path, MEMBER_CHARS_MAX)),
        false => said,
    }
}

/// `application/json` in UTF-8, and nothing around it: what is packed could be of any size once unpacked.
pub fn is_plain_json(headers: &HeaderMap) -> Result<(), Refused> {
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
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().find(|value| !is_plain(value)) {
        None => Ok(()),
        Some(packed) => {
            let packed = shown(&String::from_utf8_lossy(packed.as_bytes()));
            Err(refused(format!("the body is packed with {packed}"), "send it as it is"))
        }
    }
}

/// All 40 digits; `name` is the member's.
pub fn commit(name: &str, text: &str) -> Result<CommitSha, Refused> {
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
