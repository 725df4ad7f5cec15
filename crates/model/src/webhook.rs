//! A delivery of a webhook: what makes one sender's message have one effect, however often it is sent (P9).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, ProjectName, RunId, Timestamp};

/// Longest id that is kept as it is, in bytes.
const ID_BYTES_MAX: usize = 200;
/// Longest answer that is kept, in bytes.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A sender's name for one message (`X-GitHub-Delivery`, `webhook-id`). One that is long or not visible ASCII stands as its
/// SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct DeliveryId(String);

impl DeliveryId {
    /// Any text makes one: see the type.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.len() {
            1..=ID_BYTES_MAX if text.bytes().all(|b| b.is_ascii_graphic()) => Self(text.to_owned()),
            _ => Self(Digest::of(text.as_bytes()).as_str().to_owned()),
        }
    }

    /// For a sender that names none: two messages of the same bytes are then one.
    #[must_use]
    pub fn of_body(body: &[u8]) -> Self {
        Self(Digest::of(body).as_str().to_owned())
    }

    /// As it is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for DeliveryId {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDelivery {
    /// Whose endpoint it came to.
    pub project: ProjectName,
    /// The path that it came to (`/deploy`), as it is configured.
    pub endpoint: String,
    /// What the sender calls it.
    pub id: DeliveryId,
    /// SHA-256 of the body's bytes.
    pub body: Digest,
    /// When it came, by the clock of who received it.
    pub at: Timestamp,
    /// The run that it asks for, named before it begins: whoever comes back after a crash looks for it.
    pub run: RunId,
}

/// What the sender was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAnswer {
    /// The HTTP status.
    pub status: u16,
    /// At most [`ANSWER_BYTES_MAX`] bytes.
    pub body: String,
    /// When, by the same clock as the delivery's.
    pub at: Timestamp,
}

/// What a delivery is, when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "received")]
pub enum Received {
    /// Nobody has seen it before, and from now on it is known.
    First,
    /// It is known, with the same body. `answer` is what was answered first; `None` while that is not known: `first.run` is
    /// under way, or whoever made it was ended before it began.
    Again {
        /// The delivery that came first.
        first: WebhookDelivery,
        /// What was answered then; `None` while that is not known.
        answer: Option<DeliveryAnswer>,
    },
    /// Its id is known with another body: it is not the same message, and nothing is done.
    Differs {
        /// The delivery that came first.
        first: WebhookDelivery,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_cannot_stand_as_it_is_stands_as_its_checksum() {
        assert_eq!(DeliveryId::new("72d3162e-cc78").as_str(), "72d3162e-cc78");
        for odd in ["", "a b", "é", "a\0", &"x".repeat(201)] {
            let id = DeliveryId::new(odd);
            assert!(id.as_str().starts_with("sha256:"), "{odd:?}: {id}");
            assert_ne!(id, DeliveryId::new("other one"));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<DeliveryId>(&json).unwrap(), id);
        }
        assert_eq!(DeliveryId::of_body(b"{}"), DeliveryId::new(Digest::of(b"{}").as_str()));
    }
}
