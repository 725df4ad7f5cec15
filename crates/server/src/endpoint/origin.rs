//! The address that a caller used, so that what is to be typed next works where they are.

use hyper::HeaderMap;
use hyper::header::HOST;
use hyper::http::request::Parts;
use lockgate_model::DeployAnswer;

use super::answer::RUNS_PATH;

/// Longest name with a port that is passed on, in bytes.
const HOST_BYTES_MAX: usize = 260;
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// `https://deploy.shop.example:8443`; `None` where the caller named no host. It is what the caller says, so it is told to that
/// caller alone, and nothing is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Option<String>);

impl Origin {
    /// `is_encrypted`: this process speaks TLS itself; else whoever ends it in front says so.
    pub fn of(parts: &Parts, is_encrypted: bool) -> Self {
        let host = match parts.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => header(&parts.headers, HOST.as_str()),
        };
        let is_encrypted = is_encrypted || header(&parts.headers, FORWARDED_PROTO) == Some("https");
        let scheme = if is_encrypted { "https" } else { "http" };
        Self(host.filter(|host| is_plain(host)).map(|host| format!("{scheme}://{host}")))
    }

    /// With `GET /runs/…` in its hints as a command that asks there.
    pub fn typed(&self, mut answer: DeployAnswer) -> DeployAnswer {
        if let (Some(origin), Some(error)) = (&self.0, &mut answer.error) {
            let (asked, typed) = (format!("`GET {RUNS_PATH}"), format!("`curl -sS {origin}{RUNS_PATH}"));
            error.hints = std::mem::take(&mut error.hints).map(|hint| hint.replace(&asked, &typed));
        }
        answer
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Nothing in it means anything to a shell.
fn is_plain(host: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let bare = host.strip_prefix('[').map_or(host.to_owned(), |rest| rest.replacen(']', "", 1));
    let first = bare.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b':');
    first && host.len() <= HOST_BYTES_MAX && bare.bytes().all(may)
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use lockgate_model::{DeployStatus, FailureKind};

    use super::*;

    fn hint(uri: &str, headers: &[(&str, &str)], is_encrypted: bool) -> String {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let answer = DeployAnswer::refused(DeployStatus::Superseded, FailureKind::Conflict, "x")
            .hint("the newer one is run 7: `GET /runs/7`");
        let hints = Origin::of(&parts, is_encrypted).typed(answer).error.unwrap().hints;
        hints.first().unwrap().replace("the newer one is run 7: ", "")
    }

    #[test]
    fn a_run_is_looked_at_where_the_caller_called() {
        let host = ("host", "deploy.shop.example:8443");
        assert_eq!(hint("/deploy", &[host], true), "`curl -sS https://deploy.shop.example:8443/runs/7`");
        assert_eq!(hint("/deploy", &[("host", "[::1]:8443")], false), "`curl -sS http://[::1]:8443/runs/7`");
        let forwarded = ("x-forwarded-proto", "https");
        assert_eq!(
            hint("/deploy", &[host, forwarded], false),
            "`curl -sS https://deploy.shop.example:8443/runs/7`"
        );
        // HTTP/2 has it in the request's own line.
        assert_eq!(hint("https://shop.example/deploy", &[], true), "`curl -sS https://shop.example/runs/7`");
    }

    #[test]
    fn what_a_shell_would_understand_is_not_passed_on() {
        let long = "a".repeat(300);
        for odd in ["", "$(id)", "a;b", "a b", "a`b`", "a&b", "-x", "a/b", "kim@shop.example", "[$x]", &long]
        {
            assert_eq!(hint("/deploy", &[("host", odd)], true), "`GET /runs/7`", "{odd}");
        }
        assert_eq!(hint("/deploy", &[], true), "`GET /runs/7`");
    }
}
