//! What is asked for, as bytes with an id.

use lockgate_model::{CommitSha, ServiceName, Timestamp};
use serde::Serialize;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `None`: the only one that the endpoint has.
    pub service: Option<ServiceName>,
    /// The commit whose image is to go live.
    pub sha: CommitSha,
    /// When the commit was made, so that an older one does not replace a newer one. `None`: nobody knows.
    pub committed_at: Option<Timestamp>,
    /// Although it was asked for before, or is older than what is live.
    pub force: bool,
}

/// One message: however often it is sent, it has one id and the same bytes, and so one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// JSON.
    pub body: Vec<u8>,
    /// As it is in the body: the daemon refuses what is sent much later for the first time.
    pub sent_at: Timestamp,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    image_sha: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<String>,
    sent_at: String,
}

impl Delivery {
    /// A new message, with an id that no other has.
    ///
    /// # Errors
    /// Where a time is beyond the calendar.
    pub fn new(asked: &Asked, now: Timestamp) -> Result<Self, String> {
        Self::named(format!("msg_{}", uuid::Uuid::now_v7().simple()), asked, now)
    }

    fn named(id: String, asked: &Asked, now: Timestamp) -> Result<Self, String> {
        let body = Body {
            service: asked.service.as_ref().map(ServiceName::as_str),
            image_sha: asked.sha.as_str(),
            force: asked.force,
            committed_at: asked.committed_at.map(rfc3339).transpose()?,
            sent_at: rfc3339(now)?,
        };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        Ok(Self { id, body, sent_at: now })
    }
}

/// In UTC: `2026-11-27T06:40:00Z`.
fn rfc3339(at: Timestamp) -> Result<String, String> {
    let time = jiff::Timestamp::from_millisecond(at.0);
    time.map(|time| time.to_string()).map_err(|error| format!("no such time: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_what_was_asked_for_and_when() {
        let asked = Asked {
            service: Some(ServiceName::new("web").unwrap()),
            sha: CommitSha::new("a".repeat(40)).unwrap(),
            committed_at: Some(Timestamp(1_763_683_201_000)),
            force: true,
        };
        let body = |asked: &Asked| {
            let delivery = Delivery::named("msg_1".to_owned(), asked, Timestamp(1_763_683_261_500)).unwrap();
            String::from_utf8(delivery.body).unwrap()
        };
        let sha = "a".repeat(40);
        assert_eq!(
            body(&asked),
            format!(
                r#"{{"service":"web","image_sha":"{sha}","force":true,"committed_at":"2025-11-21T00:00:01Z","sent_at":"2025-11-21T00:01:01.5Z"}}"#
            )
        );
        let least = Asked { service: None, committed_at: None, force: false, ..asked.clone() };
        assert_eq!(body(&least), format!(r#"{{"image_sha":"{sha}","sent_at":"2025-11-21T00:01:01.5Z"}}"#));
        assert!(Delivery::new(&asked, Timestamp(i64::MAX)).is_err());
        let ids = [(), ()].map(|()| Delivery::new(&asked, Timestamp(0)).unwrap().id);
        assert_ne!(ids[0], ids[1]);
    }
}
