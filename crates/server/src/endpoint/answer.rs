//! An answer as a response.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use lockgate_model::{DeployAnswer, DeployStatus, RunId};
use serde::Serialize;

use super::refused::Refused;
use crate::shared::AnswerBody;

/// Where a run is looked at.
pub const RUNS_PATH: &str = "/runs/";

/// With the status, the headers and the JSON of an answer.
pub fn response(answer: &DeployAnswer) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(answer.status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, answer);
    let headers = response.headers_mut();
    if let Some(after) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.0.div_ceil(1000).max(1)));
    }
    if let Some(place) = answer.run.filter(|_| goes_on(answer.status)).and_then(place) {
        headers.insert(LOCATION, place);
    }
    if answer.status == DeployStatus::Unauthorized {
        // RFC 9110 wants a scheme here, and none is registered for signatures over a body.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("HMAC-SHA256"));
    }
    response
}

/// No such path: the same for everybody, signed or not.
pub fn no_such_path() -> Response<AnswerBody> {
    let refused = Refused {
        status: DeployStatus::NotFound,
        message: "there is nothing at this path".to_owned(),
        hint: "see /openapi.json for what there is".to_owned(),
    };
    response(&refused.answer())
}

/// The path is there, for other methods.
pub fn wrong_method(allowed: &'static str) -> Response<AnswerBody> {
    let refused = Refused {
        status: DeployStatus::MethodNotAllowed,
        message: format!("this path takes {allowed}"),
        hint: format!("send {allowed}"),
    };
    let mut response = response(&refused.answer());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Any value as JSON. `<`, `>` and `&` are written as numbers, so that nothing in it is ever a page's.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<AnswerBody> {
    let mut text = plain(value);
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// JSON on one line.
pub fn plain(value: &impl Serialize) -> String {
    // Our own types have names as keys, and serialise.
    let text = serde_json::to_string(value).unwrap_or_default();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn place(run: RunId) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{RUNS_PATH}{run}")).ok()
}

/// The run is not at its end, so there is something to look at later.
pub fn goes_on(status: DeployStatus) -> bool {
    matches!(status, DeployStatus::Accepted | DeployStatus::StillRunning | DeployStatus::Stopping)
}

#[cfg(test)]
mod tests {
    use lockgate_model::FailureKind;

    use super::*;

    #[tokio::test]
    async fn what_somebody_wrote_is_no_page_no_escape_sequence_and_no_header() {
        let message = "\u{1b}[2J<script>alert('x')</script>\r\nSet-Cookie: a=b & more";
        let answer = DeployAnswer::refused(DeployStatus::BadRequest, FailureKind::Refused, message);
        let response = response(&answer);
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert!(!response.headers().contains_key("set-cookie"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(!text.contains(['<', '>', '&', '\u{1b}', '\r']), "{text}");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let read: DeployAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(
            read.error.unwrap().message,
            "\\x1b[2J<script>alert('x')</script>\\r\\nSet-Cookie: a=b & more"
        );
    }

    #[test]
    fn a_time_to_try_again_and_a_place_to_look_are_headers() {
        let run = RunId(uuid::Uuid::from_u128(7));
        let table = [
            (DeployStatus::Accepted, None, true),
            (DeployStatus::StillRunning, None, true),
            (DeployStatus::Stopping, Some("5"), true),
            (DeployStatus::Held, Some("15"), false),
            (DeployStatus::NotYet, Some("60"), false),
            (DeployStatus::TooMany, Some("1"), false),
            (DeployStatus::Deployed, None, false),
        ];
        for (status, after, placed) in table {
            let response = response(&DeployAnswer::new(status).of_run(run));
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header(RETRY_AFTER).as_deref(), after, "{status:?}");
            let place = placed.then_some("/runs/00000000-0000-0000-0000-000000000007");
            assert_eq!(header(LOCATION).as_deref(), place, "{status:?}");
        }
    }
}
