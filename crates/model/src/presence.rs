//! What was live where, from when to when.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Millis, ProjectName, Release, RunId, Timestamp};

/// A time in which a release was live in an environment, as far as somebody looked. The hosts (or Git, or Argo CD) are the
/// truth about now; this is what is left of what they said before.
///
/// Presences of one service in one environment do not overlap, and at most one is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whose environment it was.
    pub project: ProjectName,
    /// Where it was live.
    pub environment: EnvironmentName,
    /// Its service is what was live.
    pub release: Release,
    /// When it was first seen live. It may have been live before.
    pub since: Timestamp,
    /// When it was last seen live; never before `since`.
    pub seen_at: Timestamp,
    /// When something else, or nothing, was seen in its place. `None`: nobody has seen that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The run that brought it. `None` when it was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

impl Presence {
    /// Whether nobody has seen anything else in its place.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// How long it was live as far as was seen: up to its end, else up to when it was last seen.
    #[must_use]
    pub fn lasted(&self) -> Millis {
        self.until.unwrap_or(self.seen_at).since(self.since)
    }
}

/// Somebody saw a release live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLive {
    /// Whose environment it is.
    pub project: ProjectName,
    /// Where it is live.
    pub environment: EnvironmentName,
    /// What is live; its service is in it.
    pub release: Release,
    /// When it was seen, by the clock of who looked.
    pub at: Timestamp,
    /// The run that brought it. `None` for who only looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, ServiceName, Tag};

    #[test]
    fn it_lasted_until_its_end_else_until_it_was_last_seen() {
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new("v1").unwrap(),
            digest: Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        };
        let open = Presence {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            release,
            since: Timestamp(1_000),
            seen_at: Timestamp(4_000),
            until: None,
            run: None,
        };
        assert_eq!((open.is_open(), open.lasted()), (true, Millis(3_000)));
        let over = Presence { until: Some(Timestamp(6_000)), ..open };
        assert_eq!((over.is_open(), over.lasted()), (false, Millis(5_000)));
    }
}
