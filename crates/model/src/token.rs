//! Secrets that are known by their form, whoever made them.

use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;

/// How a secret looks. The patterns are the `regex` crate's: they take time that grows with the text and never with its
/// powers, whatever it says.
struct Form {
    /// All of them stand in every text that holds such a secret, in lower case. Most texts hold none, and making a pattern
    /// costs more than a deployment's whole look at its app.
    needs: &'static [&'static str],
    /// Its first group is the secret; what stands around that is shown.
    pattern: &'static str,
    made: OnceLock<Option<Regex>>,
}

const fn form(needs: &'static [&'static str], pattern: &'static str) -> Form {
    Form { needs, pattern, made: OnceLock::new() }
}

static FORMS: [Form; 17] = [
    // `ghp_`, `gho_`, `ghs_` … of GitHub.
    form(&["gh", "_"], r"(?-u:\b)(gh[a-z]_[A-Za-z0-9._-]{36,})"),
    form(&["github_pat_"], r"(?-u:\b)(github_pat_[A-Za-z0-9_]{22,})"),
    // `glpat-`, `gldt-`, `glrt-` … of GitLab; its words one by one, for a container may be called `global-…`.
    form(
        &["gl", "-"],
        r"(?-u:\b)(gl(?:pat|oas|dt|rtr?|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[A-Za-z0-9_.-]{20,})",
    ),
    form(&["xox"], r"(?-u:\b)(xox[a-z]-[A-Za-z0-9-]{10,})"),
    form(&["xapp-"], r"(?-u:\b)(xapp-[A-Za-z0-9-]{10,})"),
    form(&["hooks.slack.com/"], r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]+)"),
    form(&["dckr_"], r"(?-u:\b)(dckr_[a-z]{3}_[A-Za-z0-9_-]{20,})"),
    // Secrets of Standard Webhooks (and Stripe's), and their private keys.
    form(&["whs", "_"], r"(?-u:\b)(whs(?:ec|k)_[A-Za-z0-9+/_-]{16,}=*)"),
    // JSON web tokens: the first part is the base64 of an object.
    form(&["eyj", "."], r"(?-u:\b)(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*)"),
    // Headers, `Proxy-Authorization` among them. Words such as `authorization: denied` stay: a value has a scheme before it,
    // or is long. Digest's own parts are in quotes, so it ends with the line.
    form(
        &["authorization"],
        r#"(?i)authorization["']?[ \t]*[:=][ \t]*["']?((?:basic|bearer|token|negotiate|apikey|aws4-hmac-sha256)[ \t]+[^"'\r\n]+|digest[ \t]+[^\r\n]+|[A-Za-z0-9._~+/=-]{16,})"#,
    ),
    form(&["bearer"], r"(?i)(?-u:\b)bearer[ \t]+([A-Za-z0-9._~+/=-]{16,})"),
    form(&["x-api-key"], r#"(?i)x-api-key["']?[ \t]*:[ \t]*["']?([^ \t"'\r\n]{8,})"#),
    form(&["x-auth-token"], r#"(?i)x-auth-token["']?[ \t]*:[ \t]*["']?([^ \t"'\r\n]{8,})"#),
    form(&["private-token"], r#"(?i)private-token["']?[ \t]*:[ \t]*["']?([^ \t"'\r\n]{8,})"#),
    form(&["job-token"], r#"(?i)job-token["']?[ \t]*:[ \t]*["']?([^ \t"'\r\n]{8,})"#),
    // `scheme://user:password@host`; the last `@` before the path is the one that counts, and a user may be a mail address.
    form(&["://", "@"], r#"[A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/:"'<>]*:([^ \t\r\n/"'<>]+)@"#),
    // `?token=…`, `&X-Amz-Signature=…`.
    form(
        &["="],
        r#"(?i)[?&][a-z0-9_.-]*(?:token|secret|passw|key|signature|credential|auth|sig)[a-z0-9_.-]*=([^&# \t\r\n"'<>]+)"#,
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

/// Where secrets stand in the text, in bytes; form by form, so in no order, and some may overlap.
pub(crate) fn find(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let patterns = FORMS.iter().filter_map(|form| form.in_text(&lower));
    let secrets = |pattern: &Regex| -> Vec<Range<usize>> {
        pattern.captures_iter(text).filter_map(|found| found.get(1)).map(|secret| secret.range()).collect()
    };
    patterns.flat_map(secrets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mask;

    fn hide(text: String) -> String {
        Mask::default().hide(text)
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
        for (text, shown) in [
            (format!("push with ghp_{long} failed"), "push with *** failed"),
            (format!("github_pat_{long}_x."), "***."),
            (format!("ghs_123456_{}", "eyJh.bG-ci_".repeat(45)), "***"),
            (format!("(glpat-{long})"), "(***)"),
            ("xapp-1-A0123-4567-abcdef.".to_owned(), "***."),
            (format!("docker login -p dckr_pat_{long}"), "docker login -p ***"),
            ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw= is wrong".to_owned(), "secret *** is wrong"),
            ("xoxb-123456789012-abcdef!".to_owned(), "***!"),
            (
                "https://hooks.slack.com/services/T0/B0/abc: 404".to_owned(),
                "https://hooks.slack.com/services/***: 404",
            ),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is old".to_owned(), "*** is old"),
            ("> Authorization: Basic c2hvcDpodW50ZXIy".to_owned(), "> Authorization: ***"),
            ("{\"authorization\":\"Bearer abc\",\"x\":1}".to_owned(), "{\"authorization\":\"***\",\"x\":1}"),
            ("proxy-authorization=0123456789abcdef".to_owned(), "proxy-authorization=***"),
            ("Proxy-Authorization: Basic Og==\r\nHost: a".to_owned(), "Proxy-Authorization: ***\r\nHost: a"),
            (
                "Authorization: Digest username=\"shop\", response=\"6629fae4\"\nAccept: */*".to_owned(),
                "Authorization: ***\nAccept: */*",
            ),
            (format!("bearer {long}"), "bearer ***"),
            ("JOB-TOKEN: hunter2hunter2".to_owned(), "JOB-TOKEN: ***"),
            (
                "https://kim@shop.example:hunter2@git.example/x".to_owned(),
                "https://kim@shop.example:***@git.example/x",
            ),
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
            "ssh://deploy@web1.shop.example:2222/srv",
            "https://shop.example:8443/deploy?service=web&sha=5f646e6a0b1c2d3e4f5061728394a5b6c7d8e9f0#top",
            "ghcr.io/acme/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "5f646e6a0b1c2d3e4f5061728394a5b6c7d8e9f0 0190a8a2-7d3c-7cc0-98c5-2a4c5b6d7e8f",
            "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "whsec_short and whsec, eyJhbGci.eyJ.x",
            "container global-production-payments-service-blue-1",
            "https://example.com:443/a@b",
            "ghost_writer, gh_short, eyJust",
            "/health?page=2&sort=up",
            "unauthorized: authentication required",
        ] {
            assert_eq!(hide(text.to_owned()), text);
        }
    }
}
