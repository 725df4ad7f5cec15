//! Variables as a `.env` that every Compose reads alike, for `${NAME}` in its files as for `env_file`.
//!
//! Version 1 (python-dotenv) and version 2 (compose-go) have different grammars. What is here was found by asking both, 1.29.2 and
//! 2.26.1, for some hundred values in each way of quoting:
//!
//! - Within single quotes neither reads `$NAME`, and both read `\'` as a quote. Two backslashes, and one before a quote or at
//!   the end, are read differently; a carriage return becomes a line feed in version 1.
//! - Within double quotes both read `\\`, `\"`, `\n` and `\r`; but version 2 fills `$NAME` in, and version 1 keeps the
//!   backslash of `\$`.
//! - Version 1 fills `${NAME}` in wherever it stands, so no quoting keeps it.

use std::fmt;
use std::fmt::Write;

use lockgate_model::{Digest, EnvironmentName, ProjectName, Secret};

/// Names that a summary has, at most.
const SUMMARY_NAMES_MAX: usize = 8;
/// Characters that mean nothing to either, so that they need no quotes.
const PLAIN: &str = "_./:@%+,=-";

/// A `.env` and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DotEnv {
    marker: String,
    text: Secret,
    names: Vec<String>,
}

/// A value that no quoting brings through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// The variable's name.
    pub name: String,
    why: &'static str,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the value of {} cannot be written to .env: {}, and no quoting is read alike by Compose v1 and v2",
            self.name, self.why
        )
    }
}

impl std::error::Error for Unwritable {}

impl Unwritable {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "give {} another value, or one in base64 that the app decodes; a file that is mounted (`upload`) holds any",
            self.name
        )
    }
}

impl DotEnv {
    /// Of one environment, in the order of `values`, whose names are variables' names.
    ///
    /// # Errors
    /// The first value that cannot be written.
    pub fn new<'a>(
        project: &ProjectName,
        environment: &EnvironmentName,
        values: impl IntoIterator<Item = (&'a str, &'a Secret)>,
    ) -> Result<DotEnv, Unwritable> {
        let marker = format!("# Written by lockgate for {project}/{environment}");
        let mut text = format!("{marker}: what is changed here is lost, see `env` in lockgate.yaml\n");
        let mut names = Vec::new();
        for (name, value) in values {
            let quoted = quoted(value.reveal()).map_err(|why| Unwritable { name: name.to_owned(), why })?;
            let _ = writeln!(text, "{name}={quoted}");
            names.push(name.to_owned());
        }
        Ok(DotEnv { marker, text: Secret::new(text), names })
    }

    /// How the first line of this environment's begins.
    #[must_use]
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// The whole file, with its values.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.text.reveal()
    }

    /// Of the whole file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.reveal().as_bytes())
    }

    /// It has no variable: nothing but the line that says whose it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names in it, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let some = self.names.iter().take(SUMMARY_NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(SUMMARY_NAMES_MAX) {
            0 => some,
            more => format!("{some} and {more} more"),
        }
    }
}

/// As it stands behind `NAME=`; or why it cannot.
fn quoted(value: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return Ok(value.to_owned());
    }
    if value.find("${").is_some_and(|at| value[at..].contains('}')) {
        return Err("it has `${…}`");
    }
    let is_read_alike_in_single =
        !(value.contains("\\\\") || value.contains("\\'") || value.ends_with('\\') || value.contains('\r'));
    if is_read_alike_in_single {
        return Ok(format!("'{}'", value.replace('\'', "\\'")));
    }
    match value.contains('$') {
        false => {
            let escaped =
                value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
            Ok(format!("\"{escaped}\""))
        }
        true if value.contains('\r') => Err("it has a `$` and a carriage return"),
        true => Err("it has a `$`, and backslashes in a row, at its end or before a quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_quoted_in_the_one_way_that_both_read() {
        for (value, wanted) in [
            ("valkey.internal", "valkey.internal"),
            ("6379", "6379"),
            ("redis://u:p@h:6379/0", "redis://u:p@h:6379/0"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it\'s'"),
            ("a #b", "'a #b'"),
            ("$HOME $$ ${", "'$HOME $$ ${'"),
            (r"back\slash $x", r"'back\slash $x'"),
            ("a\nb\n", "'a\nb\n'"),
            (r"end\", r#""end\\""#),
            (r"a\\b", r#""a\\\\b""#),
            (r#"\' and ""#, r#""\\' and \"""#),
            ("a\r\nb", r#""a\r\nb""#),
        ] {
            assert_eq!(quoted(value).as_deref(), Ok(wanted), "{value:?}");
        }
        for value in ["${HOME}", "a${X:-y}", r"$x\", r"$x\\y", r"\'$x", "$x\r"] {
            assert!(quoted(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn the_file_says_whose_it_is_and_a_refusal_has_no_value() {
        let (project, environment) =
            (ProjectName::new("shop").unwrap(), EnvironmentName::new("prod").unwrap());
        let secrets = [("A", Secret::new("hunter2 x")), ("B", Secret::new("2"))];
        let values = || secrets.iter().map(|(name, value)| (*name, value));
        let file = DotEnv::new(&project, &environment, values()).unwrap();
        let lines: Vec<&str> = file.reveal().lines().collect();
        assert!(lines[0].starts_with(file.marker()), "{lines:?}");
        assert_eq!(lines[1..], ["A='hunter2 x'", "B=2"]);
        assert_eq!(file.summary(), "A, B");
        assert!(!format!("{file:?}").contains("hunter2"));
        let empty = DotEnv::new(&project, &environment, []).unwrap();
        assert!(empty.is_empty() && !file.is_empty());
        assert_eq!((empty.marker(), empty.reveal().lines().count()), (file.marker(), 1));
        let bad = [("TOKEN", Secret::new("hunter2 ${X}"))];
        let values = bad.iter().map(|(name, value)| (*name, value));
        let refused = DotEnv::new(&project, &environment, values).unwrap_err();
        let said = format!("{refused} {} {refused:?}", refused.hint());
        assert!(said.contains("TOKEN") && said.contains("`${…}`") && !said.contains("hunter2"), "{said}");
    }
}
