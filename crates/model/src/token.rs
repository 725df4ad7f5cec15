//! Secrets that are known by their form, whoever made them.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::Regex;

/// How a secret looks.
struct Form {
    /// All of them stand in every text that holds such a secret, in lower case. Most texts hold none, and making a pattern
    /// costs more than a deployment's whole look at its app.
    needs: &'static [&'static str],
    pattern: &'static str,
    /// What is put in its place: `***`, with what stood around the secret.
    instead: &'static str,
    made: OnceLock<Option<Regex>>,
}

const fn form(needs: &'static [&'static str], pattern: &'static str, instead: &'static str) -> Form {
    Form { needs, pattern, instead, made: OnceLock::new() }
}

static FORMS: [Form; 13] = [
    // `ghp_`, `gho_`, `ghs_` … of GitHub.
    form(&["gh", "_"], r"(?-u:\b)gh[a-z]_[A-Za-z0-9._-]{36,}", "***"),
    form(&["github_pat_"], r"(?-u:\b)github_pat_[A-Za-z0-9_]{22,}", "***"),
    form(&["gl", "-"], r"(?-u:\b)gl[a-z]{2,8}-[A-Za-z0-9_.-]{20,}", "***"),
    form(&["xox"], r"(?-u:\b)xox[a-z]-[A-Za-z0-9-]{10,}", "***"),
    form(&["hooks.slack.com/"], r"(hooks\.slack\.com/(?:services|workflows)/)[A-Za-z0-9/_-]+", "${1}***"),
    // JSON web tokens: the first part is the base64 of an object.
    form(&["eyj", "."], r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*", "***"),
    // Headers. Words such as `authorization: denied` stay: a value has a scheme before it, or is long.
    form(
        &["authorization"],
        r#"(?i)(authorization["']?[ \t]*[:=][ \t]*["']?)(?:(?:basic|bearer|token|digest|negotiate|apikey|aws4-hmac-sha256)[ \t]+[^"'\r\n]+|[A-Za-z0-9._~+/=-]{16,})"#,
        "${1}***",
    ),
    form(&["bearer"], r"(?i)(?-u:\b)(bearer[ \t]+)[A-Za-z0-9._~+/=-]{16,}", "${1}***"),
    form(&["x-api-key"], r#"(?i)(x-api-key["']?[ \t]*:[ \t]*["']?)[^ \t"'\r\n]{8,}"#, "${1}***"),
    form(&["x-auth-token"], r#"(?i)(x-auth-token["']?[ \t]*:[ \t]*["']?)[^ \t"'\r\n]{8,}"#, "${1}***"),
    form(&["private-token"], r#"(?i)(private-token["']?[ \t]*:[ \t]*["']?)[^ \t"'\r\n]{8,}"#, "${1}***"),
    // `scheme://user:password@host`; the last `@` before the path is the one that counts.
    form(&["://", "@"], r#"([A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/:@"'<>]*:)[^ \t\r\n/"'<>]+@"#, "${1}***@"),
    // `?token=…`, `&X-Amz-Signature=…`.
    form(
        &["="],
        r#"(?i)([?&][a-z0-9_.-]*(?:token|secret|passw|key|signature|credential|auth|sig)[a-z0-9_.-]*=)[^&# \t\r\n"'<>]+"#,
        "${1}***",
    ),
];

impl Form {
    /// `None` for a text that holds no such secret, most often found without the pattern.
    fn in_text(&self, lower: &str) -> Option<&Regex> {
        if !self.needs.iter().all(|need| lower.contains(need)) {
            return None;
        }
        // The patterns are this file's own, and its tests use every one.
        self.made.get_or_init(|| Regex::new(self.pattern).ok()).as_ref()
    }
}

pub(crate) fn hide(mut text: String) -> String {
    let lower = text.to_ascii_lowercase();
    for form in &FORMS {
        if let Some(pattern) = form.in_text(&lower)
            && let Cow::Owned(hidden) = pattern.replace_all(&text, form.instead)
        {
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
            ("\"x-auth-token\": \"hunter2hunter2\"".to_owned(), "\"x-auth-token\": \"***\""),
            ("PRIVATE-TOKEN: hunter2hunter2".to_owned(), "PRIVATE-TOKEN: ***"),
            (
                "cannot reach postgres://shop:hun@ter2@db:5432/x".to_owned(),
                "cannot reach postgres://shop:***@db:5432/x",
            ),
            ("redis://:hunter2@cache".to_owned(), "redis://:***@cache"),
            ("GET /v2?a=1&X-Amz-Signature=abc&b=2 403".to_owned(), "GET /v2?a=1&X-Amz-Signature=***&b=2 403"),
        ] {
            assert_eq!(hide(text), shown);
        }
        assert!(FORMS.iter().all(|form| Regex::new(form.pattern).is_ok()), "every form is valid");
        let unused: Vec<_> =
            FORMS.iter().filter(|form| form.made.get().is_none()).map(|form| form.pattern).collect();
        assert_eq!(unused, Vec::<&str>::new(), "the texts above have one of each");
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
