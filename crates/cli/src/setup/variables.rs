//! The variables that lockgate.yaml reads, for a daemon that has no shell: a file that only root reads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Read;

use lockgate_own::OwnError;

use crate::error::CliError;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What was asked for by a configuration, and what is known of it.
#[derive(Debug, Default)]
pub struct Variables {
    /// Of the file that is there.
    kept: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// With the values of a file that is there already; none where it is not.
    ///
    /// # Errors
    /// It cannot be read, or is somebody else's.
    pub fn kept_in(path: &str) -> Result<Self, CliError> {
        let text = match lockgate_own::open_own(path.as_ref(), OpenOptions::new().read(true)) {
            Ok(file) => {
                let mut text = String::new();
                file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
                text
            }
            Err(OwnError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(OwnError::Io(error)) => {
                let message = format!("{path} cannot be read: {error}");
                return Err(CliError::usage(
                    message,
                    "only root may set a daemon up: run the same command with sudo",
                ));
            }
            Err(OwnError::Foreign(foreign)) => {
                return Err(CliError::usage(
                    format!("{path} is not used: {}", foreign.message),
                    foreign.hint,
                ));
            }
        };
        Ok(Self { kept: read(&text), asked: RefCell::default() })
    }

    /// This process's own value, else that of the file.
    pub fn get(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        std::env::var(name).ok().or_else(|| self.kept.get(name).cloned())
    }

    /// Those that the text of a configuration names and that were asked for, in the order of the alphabet.
    pub fn named_in(&self, text: &str) -> Vec<String> {
        let asked = self.asked.borrow();
        let is_named =
            |name: &&String| text.contains(&format!("${{{name}}}")) || text.contains(&format!("${{{name}:"));
        asked.iter().filter(is_named).cloned().collect()
    }

    /// Those that have no value in the file.
    pub fn missing<'n>(&self, names: &'n [String]) -> Vec<&'n str> {
        names.iter().filter(|name| !self.kept.contains_key(*name)).map(String::as_str).collect()
    }

    /// A new file's text: each name with its value, or waiting for one. `shown`: without values.
    pub fn file(&self, names: &[String], unit: &str, shown: bool) -> String {
        let mut text = format!(
            "# Variables that lockgate.yaml reads, for {unit}.service. After a change: `systemctl restart {unit}`\n"
        );
        for name in names {
            let _ = match self.get(name) {
                Some(_) if shown => writeln!(text, "{name}=***"),
                Some(value) => writeln!(text, "{name}={}", quoted(&value)),
                None => writeln!(text, "#{name}="),
            };
        }
        text
    }
}

/// As systemd.exec(5) reads it: within double quotes a backslash takes the meaning from the next character.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        if "\"\\`$".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// The assignments of a file that this wrote or that a person edits: `NAME=value`, with or without quotes. What is in it beyond
/// that is systemd's to understand.
fn read(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()))).collect()
}

fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for value in ["plain", "", "with blanks and 'quotes'", "a\"b\\c`d$e", "ümlaut"] {
            let known = read(&format!("# X=1\nSECRET={}\n", quoted(value)));
            assert_eq!(known, BTreeMap::from([("SECRET".to_owned(), value.to_owned())]));
        }
        let by_hand = read("A=1\n B = two words \nC='$x'\n;D=4\nnothing\n");
        let wanted = [("A", "1"), ("B", "two words"), ("C", "$x")];
        assert_eq!(by_hand, wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
    }

    #[test]
    fn a_new_file_has_the_names_and_shows_no_value() {
        let variables = Variables {
            kept: BTreeMap::from([("LOCKGATE_T_KEPT".to_owned(), "its $value".to_owned())]),
            asked: RefCell::default(),
        };
        for name in ["LOCKGATE_T_KEPT", "LOCKGATE_T_UNSET", "LOCKGATE_T_OTHER"] {
            variables.get(name);
        }
        let names = variables.named_in("a: ${LOCKGATE_T_UNSET:-}\nb: [\"${LOCKGATE_T_KEPT}\"]\n");
        assert_eq!(names, ["LOCKGATE_T_KEPT", "LOCKGATE_T_UNSET"]);
        insta::assert_snapshot!(variables.file(&names, "lockgate-kelvin", false), @r##"
        # Variables that lockgate.yaml reads, for lockgate-kelvin.service. After a change: `systemctl restart lockgate-kelvin`
        LOCKGATE_T_KEPT="its \$value"
        #LOCKGATE_T_UNSET=
        "##);
        assert!(!variables.file(&names, "lockgate-kelvin", true).contains("value"));
        assert_eq!(variables.missing(&names), ["LOCKGATE_T_UNSET"]);
    }
}
