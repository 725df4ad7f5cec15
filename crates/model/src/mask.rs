//! Hiding secrets in what apps and programs wrote.

use std::cmp::Reverse;

use crate::Secret;

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
const MASKED: &str = "***";

/// Puts `***` in place of secrets, wherever they stand in a text.
///
/// Hidden is every value of at least four bytes, but for whole numbers of fewer than eight digits and the values of
/// everyday switches (`true`, `debug`, `production` …). A value of several lines is hidden line by line, as a log has
/// it. What an app makes of a secret (parts of it, or its base64) is not known here.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// The longest first: one may be a part of another.
    values: Vec<Secret>,
}

impl Mask {
    #[must_use]
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let lines = secrets.into_iter().flat_map(|secret| secret.reveal().lines()).map(str::trim);
        let mut values: Vec<Secret> = lines.filter(|line| worth_hiding(line)).map(Secret::new).collect();
        values.sort_by_key(|value| Reverse(value.reveal().len()));
        Self { values }
    }

    #[must_use]
    pub fn hide(&self, text: String) -> String {
        self.values.iter().fold(text, |text, value| match text.contains(value.reveal()) {
            true => text.replace(value.reveal(), MASKED),
            false => text,
        })
    }

    #[must_use]
    pub fn hide_all(&self, lines: Vec<String>) -> Vec<String> {
        lines.into_iter().map(|line| self.hide(line)).collect()
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
    fn a_mask_does_not_show_what_it_hides() {
        assert!(!format!("{:?}", mask(&["hunter2"])).contains("hunter2"));
    }
}
