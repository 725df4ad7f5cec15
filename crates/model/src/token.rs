//! Secrets that are known by their form, whoever made them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Each form, and what is put in its place: `***`, with what stood around the secret.
static FORMS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let forms = [
        // `ghp_`, `gho_`, `ghs_` … of GitHub.
        (r"(?-u:\b)gh[a-z]_[A-Za-z0-9._-]{36,}", "***"),
        (r"(?-u:\b)github_pat_[A-Za-z0-9_]{22,}", "***"),
        (r"(?-u:\b)gl[a-z]{2,8}-[A-Za-z0-9_.-]{20,}", "***"),
        (r"(?-u:\b)xox[a-z]-[A-Za-z0-9-]{10,}", "***"),
        (r"(hooks\.slack\.com/(?:services|workflows)/)[A-Za-z0-9/_-]+", "${1}***"),
        // JSON web tokens: the first part is the base64 of an object.
        (r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*", "***"),
        // Headers. Words such as `authorization: denied` stay: a value has a scheme before it, or is long.
        (
            r#"(?i)(authorization["']?[ \t]*[:=][ \t]*["']?)(?:(?:basic|bearer|token|digest|negotiate|apikey|aws4-hmac-sha256)[ \t]+[^"'\r\n]+|[A-Za-z0-9._~+/=-]{16,})"#,
            "${1}***",
        ),
        (r"(?i)(?-u:\b)(bearer[ \t]+)[A-Za-z0-9._~+/=-]{16,}", "${1}***"),
        (
            r#"(?i)((?:x-api-key|x-auth-token|private-token)["']?[ \t]*:[ \t]*["']?)[^ \t"'\r\n]{8,}"#,
            "${1}***",
        ),
        // `scheme://user:password@host`; the last `@` before the path is the one that counts.
        (r#"([A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/:@"'<>]*:)[^ \t\r\n/"'<>]+@"#, "${1}***@"),
        // `?token=…`, `&X-Amz-Signature=…`.
        (
            r#"(?i)([?&][a-z0-9_.-]*(?:token|secret|passw|key|signature|credential|auth|sig)[a-z0-9_.-]*=)[^&# \t\r\n"'<>]+"#,
            "${1}***",
        ),
    ];
    // The patterns are this file's own, and its tests use every one.
    forms.into_iter().filter_map(|(form, instead)| Some((Regex::new(form).ok()?, instead))).collect()
});

pub(crate) fn hide(mut text: String) -> String {
    for (form, instead) in FORMS.iter() {
        if let Cow::Owned(hidden) = form.replace_all(&text, *instead) {
            text = hidden;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_form() {
        let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
        for (text, shown) in [
            (format!("push with ghp_{long} failed"), "push with *** failed"),
            (format!("github_pat_{long}_x."), "***."),
            (format!("(glpat-{long})"), "(***)"),
            ("xoxb-123456789012-abcdef!".to_owned(), "***!"),
            (
                "https://hooks.slack.com/services/T0/B0/abc: 404".to_owned(),
                "https://hooks.slack.com/services/***: 404",
            ),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is old".to_owned(), "*** is old"),
            ("> Authorization: Basic c2hvcDpodW50ZXIy".to_owned(), "> Authorization: ***"),
            ("{\"authorization\":\"Bearer abc\",\"x\":1}".to_owned(), "{\"authorization\":\"***\",\"x\":1}"),
            ("proxy-authorization=0123456789abcdef".to_owned(), "proxy-authorization=***"),
            (format!("bearer {long}"), "bearer ***"),
            ("X-Api-Key: hunter2hunter2".to_owned(), "X-Api-Key: ***"),
            (
                "cannot reach postgres://shop:hun@ter2@db:5432/x".to_owned(),
                "cannot reach postgres://shop:***@db:5432/x",
            ),
            ("redis://:hunter2@cache".to_owned(), "redis://:***@cache"),
            ("GET /v2?a=1&X-Amz-Signature=abc&b=2 403".to_owned(), "GET /v2?a=1&X-Amz-Signature=***&b=2 403"),
        ] {
            assert_eq!(hide(text), shown);
        }
        assert_eq!(FORMS.len(), 11, "every form is valid");
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in [
            "authorization: denied for user shop",
            "the bearer of bad news",
            "http://127.0.0.1:8080/health answers 500",
            "git@github.com:acme/web.git",
            "https://example.com:443/a@b",
            "ghost_writer, gh_short, eyJust",
            "/health?page=2&sort=up",
            "unauthorized: authentication required",
        ] {
            assert_eq!(hide(text.to_owned()), text);
        }
    }
}
