//! A call that asks for a deployment, as a daemon has understood it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    DeliveryId, Digest, EnvironmentName, InvalidName, Millis, Requester, ServiceName, Tag, Timestamp,
};

/// Hex digits of a commit's name, as Git's SHA-1 has it.
const SHA_LENGTH: usize = 40;
/// Hex digits of it that people are told.
pub(crate) const COMMIT_DIGITS_SHOWN: usize = 7;

/// A Git commit: 40 lower-case hex digits, not all of them zero (by which Git says that there is none).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct CommitSha(#[schemars(regex(pattern = r"^[0-9a-f]{40}$"))] String);

impl CommitSha {
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        match check(&text) {
            Ok(()) => Ok(Self(text)),
            Err(reason) => Err(InvalidName { kind: "commit", name: text, reason }),
        }
    }

    /// All 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For people: the first seven.
    #[must_use]
    pub fn short(&self) -> &str {
        self.first(COMMIT_DIGITS_SHOWN)
    }

    /// The first `digits` of them, at most all.
    #[must_use]
    pub fn first(&self, digits: usize) -> &str {
        &self.0[..digits.min(SHA_LENGTH)]
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() != SHA_LENGTH || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("a commit is 40 lower-case hex digits");
    }
    match text.bytes().all(|b| b == b'0') {
        true => Err("40 zeros stand for no commit"),
        false => Ok(()),
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitSha {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for CommitSha {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<CommitSha> for String {
    fn from(sha: CommitSha) -> String {
        sha.0
    }
}

/// A signed call, understood and checked against the configuration. Nothing in it is fetched or run. It is kept with its
/// delivery, so that a daemon that was killed can take it up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployCall {
    /// The path that it came to (`/deploy`), as it is configured.
    pub endpoint: String,
    /// What the sender calls this delivery. `None`: it has no name, and is known by its body for [`DeployCall::repeated`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeliveryId>,
    /// SHA-256 of the body's bytes.
    pub body: Digest,
    /// What is to be deployed.
    pub service: ServiceName,
    /// Where it is to go live.
    pub environment: EnvironmentName,
    /// The image's tag, by the endpoint's template.
    pub tag: Tag,
    /// The commit that was asked for.
    pub sha: CommitSha,
    /// When the commit was made, as the sender has signed it. `None`: it did not say, and nothing is called older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// When the call was sent, as the sender has signed it. `None`: it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Although it was asked for before, or is older than what is live. Only of a call that says when it was sent, so that
    /// nobody can send it again later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Who asks, for people; a CI.
    pub requester: Requester,
    /// The peer's address, or the socket's name; never what a header says.
    pub from: String,
    /// How long its caller is kept waiting; the run goes on.
    pub timeout: Millis,
    /// How long the same body without an id is the same delivery.
    pub repeated: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_40_lower_case_hex_digits_that_are_not_all_zero() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        let sha = CommitSha::new(good).unwrap();
        assert_eq!((sha.as_str(), sha.first(8), sha.first(99)), (good, "01234567", good));
        let zeros = "0".repeat(40);
        let long = format!("{good}0");
        let upper = good.to_uppercase();
        let line = format!("{}\n", &good[..39]);
        let cyrillic = good.replacen('a', "а", 1);
        for bad in ["", "--help", "v1", &good[..6], &good[..39], &long, &upper, &line, &cyrillic, &zeros] {
            assert!(CommitSha::new(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<CommitSha>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_call_reads_back_as_it_was_kept() {
        let call = DeployCall {
            endpoint: "/deploy".into(),
            id: Some(DeliveryId::new("72d3162e")),
            body: Digest::of(b"{}"),
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            tag: Tag::new("v2").unwrap(),
            sha: CommitSha::new("a".repeat(40)).unwrap(),
            committed_at: Some(Timestamp(5)),
            sent_at: None,
            force: true,
            requester: Requester::new(crate::By::Ci, "acme/shop#17"),
            from: "192.0.2.7".into(),
            timeout: Millis::from_secs(600),
            repeated: Millis::from_secs(60),
        };
        let text = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<DeployCall>(&text).unwrap(), call);
    }
}
