//! Hiding secrets in what apps and programs wrote.

use std::cmp::Reverse;

use crate::variable::password;
use crate::{Evidence, Failure, Secret, token};

/// A shorter value says too little to be a secret, and would make holes in words.
const BYTES_MIN: usize = 4;
/// A whole number with fewer digits is a port, a count or a time.
const DIGITS_MIN: usize = 8;
/// Values of everyday switches, in lower case.
const EVERYDAY: &[&str] = &[
    "true",
    "false",
    "none",
    "null",
    "auto",
    "enabled",
    "disabled",
    "always",
    "never",
    "default",
    "trace",
    "debug",
    "info",
    "warn",
    "warning",
    "error",
    "json",
    "text",
    "production",
    "staging",
    "development",
    "test",
    "local",
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
];
pub(crate) const MASKED: &str = "***";

/// Puts `***` in place of secrets, wherever they stand in a text.
///
/// Hidden is every value of at least four bytes, but for whole numbers of fewer than eight digits and the values of
/// everyday switches (`true`, `debug`, `production` …). A value of several lines is hidden line by line, as a log has
/// it, and of a URL also the password alone. Whatever the values, tokens are hidden that are known by their form: those
/// of GitHub, GitLab and Slack, JSON web tokens, `Authorization` headers, passwords and keys in URLs. What an app makes
/// of a secret (parts of it, or its base64) is not known here.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// The longest first: one may be a part of another.
    values: Vec<Secret>,
}

impl Mask {
    /// Hides these values; short and common ones are left out, for hiding them would hide half of every text.
    #[must_use]
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let lines = secrets.into_iter().flat_map(|secret| secret.reveal().lines()).map(str::trim);
        let parts = lines.flat_map(|line| std::iter::once(line).chain(password(line)));
        let mut values: Vec<Secret> = parts.filter(|part| worth_hiding(part)).map(Secret::new).collect();
        values.sort_by_key(|value| Reverse(value.reveal().len()));
        Self { values }
    }

    /// The text with each secret, and each token known by its form, replaced by a mark.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        let text = self.values.iter().fold(text, |text, value| match text.contains(value.reveal()) {
            true => text.replace(value.reveal(), MASKED),
            false => text,
        });
        token::hide(text)
    }

    /// Each line by itself: a secret of several lines is known line by line.
    #[must_use]
    pub fn hide_all(&self, lines: Vec<String>) -> Vec<String> {
        lines.into_iter().map(|line| self.hide(line)).collect()
    }

    /// Every text of a failure.
    #[must_use]
    pub fn failure(&self, failure: Failure) -> Failure {
        Failure {
            kind: failure.kind,
            message: self.hide(failure.message),
            hints: failure.hints.map(|hint| self.hide(hint)),
            host: failure.host,
            slot: failure.slot,
            logs: self.hide_all(failure.logs),
            evidence: self.evidence(failure.evidence),
        }
    }

    /// Every text of it.
    #[must_use]
    pub fn evidence(&self, evidence: Vec<Evidence>) -> Vec<Evidence> {
        let one = |one: Evidence| Evidence {
            check: self.hide(one.check),
            wanted: self.hide(one.wanted),
            seen: self.hide(one.seen),
            ok: one.ok,
        };
        evidence.into_iter().map(one).collect()
    }
}

fn worth_hiding(value: &str) -> bool {
    let number = value.len() < DIGITS_MIN && value.bytes().all(|byte| byte.is_ascii_digit());
    value.len() >= BYTES_MIN && !number && !EVERYDAY.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let secrets: Vec<Secret> = values.iter().copied().map(Secret::new).collect();
        Mask::of(&secrets)
    }

    fn hidden(values: &[&str], text: &str) -> String {
        mask(values).hide(text.to_owned())
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_the_longest_first() {
        assert_eq!(hidden(&["hunter2"], "TOKEN=hunter2 and \"hunter2\""), "TOKEN=*** and \"***\"");
        assert_eq!(hidden(&["hunter2", "hunter2-and-more"], "a hunter2-and-more b hunter2"), "a *** b ***");
        assert_eq!(hidden(&["pässwörd"], "xpässwördx"), "x***x");
        assert_eq!(hidden(&["one\n  two and three  \n"], "two and three"), "***");
        assert_eq!(hidden(&[], "as it is"), "as it is");
    }

    #[test]
    fn what_is_no_secret_makes_no_holes() {
        let everyday = ["", "a", "abc", "8080", "1234567", "True", "debug", "production"];
        let text = "abc in Production: True debug on 8080, 1234567 a";
        assert_eq!(hidden(&everyday, text), text);
        assert_eq!(hidden(&["12345678", "abcd"], "12345678 abcd"), "*** ***");
    }

    #[test]
    fn of_a_url_the_password_alone_is_hidden_too() {
        let url = "postgres://shop:hunter2@db.example/shop";
        assert_eq!(hidden(&[url], &format!("{url}; password hunter2 refused")), "***; password *** refused");
    }

    #[test]
    fn every_text_of_a_failure_is_masked() {
        let seen =
            Evidence { check: "hunter2".into(), wanted: "hunter2".into(), seen: "hunter2".into(), ok: false };
        let failure = Failure::new(crate::FailureKind::Other, "a hunter2")
            .hint("b hunter2")
            .hint("d hunter2")
            .logs(vec!["c hunter2".into()])
            .evidence(vec![seen]);
        let masked = mask(&["hunter2"]).failure(failure);
        assert!(!format!("{masked:?}").contains("hunter2"), "{masked:?}");
        assert_eq!(
            (masked.message.as_str(), masked.logs.as_slice()),
            ("a ***", ["c ***".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_mask_does_not_show_what_it_hides() {
        assert!(!format!("{:?}", mask(&["hunter2"])).contains("hunter2"));
    }
}
