//! Names and identifiers, valid by construction: whoever holds one need not check it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// Longest name accepted for services, environments and projects; leaves room for `<project>-<service>-<slot>` in a DNS label.
const NAME_LENGTH_MAX: usize = 40;
/// Longest image tag, from the OCI distribution specification's `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
const TAG_LENGTH_MAX: usize = 128;
/// Hex digits of a checksum.
const CHECKSUM_LENGTH: usize = 16;

/// A name that may not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is not valid: {reason}")]
pub struct InvalidName {
    /// What it should have been: `service`, `tag`, `digest`.
    pub kind: &'static str,
    /// As it was given.
    pub name: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(inline)]
        pub struct $type(String);

        impl $type {
            /// # Errors
            /// [`InvalidName`] says which rule the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(reason) => Err(InvalidName { kind: $kind, name: text, reason }),
                }
            }

            /// As it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// The project's name: lower-case letters, digits, `-`, `_`, starting with a letter.
    ProjectName, "project name", check_name
);
name!(
    /// A service's name, usable as a folder name and in a container's name.
    ServiceName, "service name", check_name
);
name!(
    /// An environment's name (`test`, `prod`).
    EnvironmentName, "environment name", check_name
);
name!(
    /// An image tag as the OCI distribution specification allows it: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    Tag, "tag", check_tag
);
name!(
    /// A content digest, `sha256:` and 64 lower-case hex digits.
    Digest, "digest", check_digest
);
name!(
    /// The beginning of a content's SHA-256, 16 lower-case hex digits: tells a content from another one, and from one that
    /// was cut off. No proof against who wants two contents to be taken for one.
    Checksum, "checksum", check_checksum
);
name!(
    /// A host: `local` for this machine, else an SSH destination (`user@name`, an alias, or `ssh://user@name:port`).
    HostId, "host", check_host
);

impl HostId {
    /// This machine.
    #[must_use]
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// Whether it is the machine on which this program runs.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0 == "local"
    }
}

impl Checksum {
    /// Of all bytes of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let hash = sha2::Sha256::digest(content);
        Self(hash.iter().take(CHECKSUM_LENGTH / 2).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Digest {
    /// The SHA-256 of all bytes of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let hex: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
    }

    /// The first twelve hex digits, as Docker shortens them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > NAME_LENGTH_MAX {
        return Err("a name has 1 to 40 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("a name starts with a lower-case letter");
    }
    if !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
        return Err("a name has only lower-case letters, digits, '-' and '_'");
    }
    Ok(())
}

fn check_tag(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > TAG_LENGTH_MAX {
        return Err("a tag has 1 to 128 characters");
    }
    if text.starts_with(['-', '.']) {
        return Err("a tag starts with a letter, a digit or '_'");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return Err("a tag has only letters, digits, '_', '.' and '-'");
    }
    Ok(())
}

fn check_digest(text: &str) -> Result<(), &'static str> {
    match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => Ok(()),
        _ => Err("a digest is 'sha256:' and 64 lower-case hex digits"),
    }
}

fn check_checksum(text: &str) -> Result<(), &'static str> {
    match text.len() == CHECKSUM_LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(()),
        false => Err("a checksum is 16 lower-case hex digits"),
    }
}

/// A leading `-` would reach `ssh` as an option (CVE-2017-1000117 and its kin).
fn check_host(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 255 {
        return Err("a host has 1 to 255 characters");
    }
    if text.starts_with('-') {
        return Err("a host does not start with '-'");
    }
    if !text.chars().all(|c| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '/' | '[' | ']' | '%')
    }) {
        return Err("a host is an SSH destination: letters, digits and . - _ @ : / [ ] %");
    }
    // ssh would take `web1:2222` for a name.
    if !text.contains("://") && text.matches(':').count() == 1 {
        return Err("a port is written so: ssh://user@host:2222");
    }
    Ok(())
}

/// A place in which a release runs on a host: `blue` and `green` beside each other, `main` where there is only one. Which
/// of them an environment has, its strategy says: [`crate::Strategy::slots`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// One of two beside each other.
    Blue,
    /// The other of two beside each other.
    Green,
    /// The only one.
    Main,
}

impl Slot {
    /// In lower case, as in files and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Slot::Blue => "blue",
            Slot::Green => "green",
            Slot::Main => "main",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Slot {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "blue" => Ok(Slot::Blue),
            "green" => Ok(Slot::Green),
            "main" => Ok(Slot::Main),
            _ => Err(InvalidName {
                kind: "slot",
                name: text.to_owned(),
                reason: "a slot is 'blue', 'green' or 'main'",
            }),
        }
    }
}

/// One execution of a plan: a UUIDv7, so that ids sort by time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(#[schemars(with = "String")] pub uuid::Uuid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::parse_str(text).map(RunId)
    }
}

/// A step's place in its plan, counted from 0 over all phases and lanes in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct StepId(pub u32);

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point in time `span` later; the last one there is where that is beyond it.
    #[must_use]
    pub fn plus(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(span.0))
    }

    /// So long before.
    #[must_use]
    pub fn minus(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(span.0))
    }

    /// How long after `earlier` this is; zero when it is before.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A length of time in milliseconds.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Millis {
        Millis(secs * 1000)
    }

    /// For people who want to know about how long something took: to a tenth of a second from one second on, to a second
    /// from one minute on, to a minute from one hour on.
    #[must_use]
    pub const fn rounded(self) -> Millis {
        let to: u64 = match self.0 {
            0..1_000 => 1,
            1_000..60_000 => 100,
            60_000..3_600_000 => 1_000,
            _ => 60_000,
        };
        Millis(self.0.saturating_add(to / 2) / to * to)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl From<std::time::Duration> for Millis {
    fn from(span: std::time::Duration) -> Millis {
        Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

/// `250ms`, `1.5s`, `1m30s`, `3h0m`: exact, and read back as the same length by `lockgate.yaml`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, millis) = (self.0 / 3_600_000, self.0 % 3_600_000 / 60_000, self.0 % 60_000);
        if hours > 0 {
            write!(f, "{hours}h{minutes}m")?;
        } else if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match (millis / 1000, millis % 1000) {
            (0, 0) if self.0 > 0 => Ok(()),
            (0, millis) => write!(f, "{millis}ms"),
            (seconds, 0) => write!(f, "{seconds}s"),
            (seconds, millis) => {
                let fraction = format!("{millis:03}");
                write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_reach_a_shell_or_a_path_as_something_else_are_refused() {
        for bad in ["", "-rf", "../x", "a b", "a;b", "a\nb", "$(x)", "A", "1a", "--flag"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-x", ".x", "a/b", "v1\n", "v1;rm", "--all"] {
            assert!(Tag::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["-oProxyCommand=x", "", "a b", "h\n", "h;x"] {
            assert!(HostId::new(bad).is_err(), "{bad:?}");
        }
        assert!(Digest::new(format!("sha256:{}", "a".repeat(64))).is_ok());
        assert!(Digest::new(format!("sha256:{}", "A".repeat(64))).is_err());
    }

    #[test]
    fn millis_read_as_people_write_them() {
        let shown: Vec<String> =
            [5, 1000, 1500, 60_000, 61_000, 3_600_000].map(|ms| Millis(ms).to_string()).into();
        assert_eq!(shown, ["5ms", "1s", "1.5s", "1m", "1m1s", "1h0m"]);
        let rounded: Vec<String> = [999, 1_049, 1_050, 59_949, 59_990, 61_400, 3_661_001]
            .map(|ms| Millis(ms).rounded().to_string())
            .into();
        assert_eq!(rounded, ["999ms", "1s", "1.1s", "59.9s", "1m", "1m1s", "1h1m"]);
        let exact: Vec<String> = [0, 1_234, 1_050, 59_999, 60_007, 90_500, 5_400_000, 3_661_001]
            .map(|ms| Millis(ms).to_string())
            .into();
        assert_eq!(exact, ["0ms", "1.234s", "1.05s", "59.999s", "1m7ms", "1m30.5s", "1h30m", "1h1m1.001s"]);
    }
}
