//! A delivery of a webhook: what makes one sender's message have one effect, however often it is sent (P9).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AuditEntry, DeployCall, Digest, ProjectName, RunId, Timestamp};

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
    /// What it asks for, so that whoever comes back can do it. `None` of one that an older program kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<DeployCall>,
}

/// A message that has just come, and what makes it the same as an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// As it is kept when it is the first. Of one without a name the id is its run's.
    pub delivery: WebhookDelivery,
    /// It has no name: one of the same body at the same endpoint, that came at this time or later, is the same. `None`: it
    /// is known by its id alone.
    pub same_since: Option<Timestamp>,
    /// It is only asked whether it is known: if it is not, it is not let in.
    pub only_known: bool,
    /// Kept in the audit together with the delivery, when it is let in. `None`: nothing is. Of one that is taken up again
    /// its run is put right.
    pub entry: Option<AuditEntry>,
}

/// What a delivery that comes again is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// What the first one was answered.
    #[default]
    First,
    /// What the first one was answered, where it comes with the same id. The same body without an id is a new one: it was
    /// answered that another try may come to something else, and a run has begun for it.
    FirstIfNamed,
    /// Nothing was begun for it, so it is taken up again, under its run.
    Anew,
}

impl WebhookDelivery {
    /// Its call says when its commit was made.
    #[must_use]
    pub fn says_when_committed(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.committed_at.is_some())
    }
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
    /// What the delivery is told when it comes again.
    #[serde(default)]
    pub repeat: Repeat,
    /// The bytes that are live by it. `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Digest>,
    /// It has had its turn: a run has begun for it, or what it asked for was live. What came before it and has not begun is
    /// too late then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
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
    /// It is known and has been answered, but nothing had begun for it ([`Repeat::Anew`]): from now on it is as one that has
    /// just come, without an answer.
    Anew {
        /// As it is kept now: with the run that it had, and all else as it has come this time.
        first: WebhookDelivery,
    },
    /// Its id is known with another body: it is not the same message, and nothing is done.
    Differs {
        /// The delivery that came first.
        first: WebhookDelivery,
    },
    /// The same body has come before without a name and was answered, and another delivery for the same service in the same
    /// environment was let in since then: what was answered does not hold any more, and nothing is done.
    Overtaken {
        /// The delivery that came first.
        first: WebhookDelivery,
    },
    /// It is not known, and was not let in ([`Incoming::only_known`]).
    Unknown,
}

/// What is kept of an earlier delivery.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// As it came.
    pub delivery: &'a WebhookDelivery,
    /// `None`: it has none yet.
    pub answer: Option<&'a DeliveryAnswer>,
    /// Another one for the same service in the same environment was let in after it.
    pub is_overtaken: bool,
}

impl Received {
    /// The delivery that came first, where it is another one.
    #[must_use]
    pub fn first(&self) -> Option<&WebhookDelivery> {
        match self {
            Received::Again { first, .. }
            | Received::Anew { first }
            | Received::Differs { first }
            | Received::Overtaken { first } => Some(first),
            Received::First | Received::Unknown => None,
        }
    }

    /// What a message is, by what is kept: of its id, and the latest of its body at its endpoint, whenever that came. Where it
    /// is `First` or `Anew`, it is let in.
    #[must_use]
    pub fn judge(incoming: &Incoming, by_id: Option<Earlier<'_>>, by_body: Option<Earlier<'_>>) -> Self {
        let Incoming { delivery, same_since, only_known, .. } = incoming;
        if let Some(Earlier { delivery: first, answer, .. }) = by_id {
            return match answer {
                _ if first.body != delivery.body => Received::Differs { first: first.clone() },
                // An earlier try of this very call, whose answer was lost.
                None if first.run == delivery.run => Received::First,
                Some(answer) if answer.repeat == Repeat::Anew && !only_known => {
                    Received::Anew { first: WebhookDelivery { run: first.run, ..delivery.clone() } }
                }
                answer => Received::Again { first: first.clone(), answer: answer.cloned() },
            };
        }
        let same = by_body.filter(|same| same_since.is_some_and(|since| same.delivery.at >= since));
        match same {
            Some(Earlier { delivery: first, answer: None, .. }) => {
                Received::Again { first: first.clone(), answer: None }
            }
            Some(Earlier { delivery: first, answer: Some(answer), is_overtaken })
                if answer.repeat == Repeat::First || *only_known =>
            {
                match is_overtaken {
                    true => Received::Overtaken { first: first.clone() },
                    false => Received::Again { first: first.clone(), answer: Some(answer.clone()) },
                }
            }
            _ if *only_known => Received::Unknown,
            _ => Received::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp(minute * 60_000)
    }

    fn delivery(id: &str, body: &str, run: u128, minute: i64) -> WebhookDelivery {
        WebhookDelivery {
            project: ProjectName::new("shop").unwrap(),
            endpoint: "/deploy".into(),
            id: DeliveryId::new(id),
            body: Digest::of(body.as_bytes()),
            at: at(minute),
            run: RunId(uuid::Uuid::from_u128(run)),
            call: None,
        }
    }

    fn incoming(delivery: WebhookDelivery) -> Incoming {
        let entry = AuditEntry {
            project: delivery.project.clone(),
            at: delivery.at,
            by: "ci".into(),
            via: "webhook".into(),
            action: "deploy".into(),
            service: None,
            environment: None,
            digest: None,
            run: None,
            detail: String::new(),
            from: None,
            result: None,
            count: None,
        };
        Incoming { delivery, same_since: None, only_known: false, entry: Some(entry) }
    }

    fn answer(repeat: Repeat) -> DeliveryAnswer {
        DeliveryAnswer { status: 200, body: "{}".into(), at: at(1), repeat, live: None, settled: true }
    }

    #[test]
    fn a_delivery_with_a_name_is_known_by_it_however_long_ago_it_came() {
        let first = delivery("a", "x", 1, 0);
        let again = incoming(delivery("a", "x", 2, 9_999));
        let judge = |incoming: &Incoming, answer: Option<&DeliveryAnswer>| {
            Received::judge(incoming, Some(Earlier { delivery: &first, answer, is_overtaken: true }), None)
        };
        let same = |answer: Option<DeliveryAnswer>| Received::Again { first: first.clone(), answer };
        assert_eq!(judge(&again, None), same(None));
        assert_eq!(judge(&incoming(first.clone()), None), Received::First, "its answer was lost");
        for repeat in [Repeat::First, Repeat::FirstIfNamed] {
            assert_eq!(judge(&again, Some(&answer(repeat))), same(Some(answer(repeat))));
        }
        let anew = WebhookDelivery { run: first.run, ..again.delivery.clone() };
        assert_eq!(judge(&again, Some(&answer(Repeat::Anew))), Received::Anew { first: anew });
        // Somebody who has caught it may send it at any time.
        let stale = Incoming { only_known: true, ..again };
        assert_eq!(judge(&stale, Some(&answer(Repeat::Anew))), same(Some(answer(Repeat::Anew))));
        let other_body = incoming(delivery("a", "y", 3, 1));
        assert_eq!(judge(&other_body, None), Received::Differs { first: first.clone() });
        let unknown = Incoming { only_known: true, ..incoming(delivery("b", "x", 3, 1)) };
        assert_eq!(Received::judge(&unknown, None, None), Received::Unknown);
        assert_eq!(Received::judge(&incoming(delivery("b", "x", 3, 1)), None, None), Received::First);
    }

    #[test]
    fn a_delivery_without_a_name_is_known_by_its_body_for_a_while() {
        let first = delivery("run 1", "x", 1, 10);
        let judge = |since: i64, answer: Option<&DeliveryAnswer>, is_overtaken: bool| {
            let again = Incoming { same_since: Some(at(since)), ..incoming(delivery("run 2", "x", 2, 15)) };
            Received::judge(&again, None, Some(Earlier { delivery: &first, answer, is_overtaken }))
        };
        let same = |answer: Option<DeliveryAnswer>| Received::Again { first: first.clone(), answer };
        let done = answer(Repeat::First);
        assert_eq!(judge(10, Some(&done), false), same(Some(done.clone())));
        assert_eq!(judge(11, Some(&done), false), Received::First, "it is long ago");
        assert_eq!(judge(10, Some(&done), true), Received::Overtaken { first: first.clone() });
        assert_eq!(judge(10, None, true), same(None), "it is still under way");
        for repeat in [Repeat::FirstIfNamed, Repeat::Anew] {
            assert_eq!(judge(10, Some(&answer(repeat)), false), Received::First, "it was told to try again");
        }
        // One that has a name is not known by its body.
        let named = incoming(delivery("b", "x", 2, 10));
        let earlier = Earlier { delivery: &first, answer: Some(&done), is_overtaken: false };
        assert_eq!(Received::judge(&named, None, Some(earlier)), Received::First);
        let stale = Incoming { only_known: true, same_since: Some(at(10)), ..named };
        assert_eq!(Received::judge(&stale, None, Some(earlier)), same(Some(done.clone())));
        assert_eq!(Received::judge(&stale, None, None), Received::Unknown);
    }

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
