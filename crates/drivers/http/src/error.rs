//! What a failed probe says, without what a URL hides.

use std::error::Error;

use lockgate_model::FailureKind;
use lockgate_ports::PortError;
use reqwest::Url;

use crate::prober::BODY_BYTES_MAX;

/// The URL without user, password, query and fragment: all of them are places for secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut bare = url.clone();
    // Both fail only for URLs that cannot have credentials at all.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    let hidden = if bare.query().is_some() { "?…" } else { "" };
    bare.set_query(None);
    format!("{bare}{hidden}")
}

/// An error before the answer's head was there.
pub(crate) fn from_request(problem: reqwest::Error) -> PortError {
    let host = problem.url().and_then(Url::host_str).unwrap_or("the host").to_owned();
    let problem = problem.without_url();
    let cause = root_cause(&problem);
    let error = if is_too_large(&problem) {
        let message = format!("the head of {host}'s answer is too large to be read: {cause}");
        PortError::new(FailureKind::TooLarge, message)
    } else if problem.is_timeout() {
        PortError::timed_out(format!("{host} does not answer in time: {cause}"))
    } else if problem.is_builder() {
        PortError::other(format!("the request cannot be sent: {cause}")).without_effect()
    } else if is_certificate(&cause) {
        PortError::unreachable(format!("cannot connect to {host}: {cause}"))
            .without_effect()
            .hint("this machine does not trust the certificate: check its name, its dates and its issuer")
    } else if problem.is_connect() {
        PortError::unreachable(format!("cannot connect to {host}: {cause}")).without_effect()
    } else {
        PortError::unreachable(format!("the connection to {host} broke: {cause}"))
    };
    error.caused_by(problem)
}

/// An error while the answer's body was read.
pub(crate) fn from_body(problem: Box<dyn Error + Send + Sync>) -> PortError {
    if problem.is::<http_body_util::LengthLimitError>() {
        return PortError::too_large("the answer", BODY_BYTES_MAX);
    }
    let cause = root_cause(problem.as_ref());
    PortError::unreachable(format!("the answer broke off: {cause}")).caused_by(std::io::Error::other(problem))
}

/// The innermost error, which is the one that says something: the outer ones say "error sending request".
pub(crate) fn root_cause(problem: &dyn Error) -> String {
    let mut innermost = problem;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn is_too_large(problem: &dyn Error) -> bool {
    let mut cause = problem.source();
    while let Some(problem) = cause {
        if problem.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return true;
        }
        cause = problem.source();
    }
    false
}

fn is_certificate(cause: &str) -> bool {
    cause.contains("certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_credentials_query_or_fragment() {
        let url = Url::parse("https://lee:hunter2@example.com:8443/health?token=abc#x").unwrap();
        assert_eq!(shown(&url), "https://example.com:8443/health?…");
        let plain = Url::parse("http://example.com/health").unwrap();
        assert_eq!(shown(&plain), "http://example.com/health");
    }
}
