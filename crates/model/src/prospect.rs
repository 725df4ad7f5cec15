//! How far a service's release is from one environment to the next.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Exit, Failure, Holds, Millis, Promotable, Release, ServiceName, StatusWord};

/// One step of a service's promotion as it was looked at: from one environment to the one that has it as its `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prospect {
    /// What would be promoted.
    pub service: ServiceName,
    /// Where it is live.
    pub from: EnvironmentName,
    /// Where it would go.
    pub to: EnvironmentName,
    /// What is live there now. `None`: nothing is, or it could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Release>,
    /// Whether it may go, and what holds it.
    #[serde(flatten)]
    pub promotable: Promotable,
    /// For people: what they should know beside it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// As `promote --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProspectLine {
    /// Always `promotion`.
    pub event: String,
    /// What was seen. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub prospect: Prospect,
    /// The exit code of a command that goes no further than this.
    pub exit: u8,
}

impl Prospect {
    /// With which code a command ends that goes no further than this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.promotable {
            Promotable::Nothing | Promotable::Same { .. } | Promotable::Ready { .. } => Exit::Succeeded,
            // Waiting does not help.
            Promotable::Held { by, .. }
                if by.iter().any(|obstacle| matches!(obstacle.what, Holds::Rejected { .. })) =>
            {
                Exit::Failed
            }
            Promotable::Held { .. } => Exit::NotYet,
        }
    }

    /// For programs.
    #[must_use]
    pub fn line(&self) -> ProspectLine {
        ProspectLine { event: "promotion".to_owned(), prospect: self.clone(), exit: self.exit().code() }
    }
}

/// What is live of a service in an environment, and how far the release of the one before is from it, as `tags --format json`
/// prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagLine {
    /// Which service.
    pub service: ServiceName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// One word for the whole, as `status` has it.
    pub status: StatusWord,
    /// What is live on all hosts. `None`: nothing is, hosts differ, or one cannot be seen.
    pub release: Option<Release>,
    /// For how long, by the hosts' own clocks. `None`: that is not known.
    #[serde(rename = "live_for_ms")]
    pub live_for: Option<Millis>,
    /// Why it is not known what is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How far the release of `from` is. `None`: promotions come from nowhere, or what is there is not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Prospect>,
}

impl TagLine {
    /// Of a command that shows these.
    #[must_use]
    pub fn exit<'l>(lines: impl IntoIterator<Item = &'l TagLine>) -> Exit {
        let of = |line: &TagLine| match line.failure {
            Some(_) => Exit::Failed,
            None => Exit::of_look(line.status),
        };
        lines.into_iter().map(of).fold(Exit::Succeeded, Exit::or_worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Millis, Obstacle, Tag, Timestamp};

    fn release() -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new("v2").unwrap(),
            digest: Digest::new(format!("sha256:{}", "2".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn prospect(promotable: Promotable) -> Prospect {
        Prospect {
            service: ServiceName::new("web").unwrap(),
            from: EnvironmentName::new("green").unwrap(),
            to: EnvironmentName::new("blue").unwrap(),
            replaces: None,
            promotable,
            notes: Vec::new(),
        }
    }

    fn held(what: Holds) -> Promotable {
        Promotable::Held { release: release(), by: vec![Obstacle { what, until: None }], until: None }
    }

    #[test]
    fn what_waiting_helps_against_is_not_yet_and_a_rejection_is_a_failure() {
        let soaking =
            Holds::Soaking { since: Timestamp(0), wanted: Millis::from_secs(60), after_failure_of: None };
        let rejected = Holds::Rejected { at: Timestamp(0), by: "kim@desk".into(), why: "x".into() };
        for (promotable, wanted) in [
            (Promotable::Nothing, Exit::Succeeded),
            (Promotable::Same { release: release() }, Exit::Succeeded),
            (Promotable::Ready { release: release(), passed: vec![], until: None }, Exit::Succeeded),
            (held(soaking), Exit::NotYet),
            (held(rejected), Exit::Failed),
        ] {
            assert_eq!(prospect(promotable.clone()).exit(), wanted, "{promotable:?}");
        }
    }

    #[test]
    fn a_line_is_flat() {
        let soaking =
            Holds::Soaking { since: Timestamp(7), wanted: Millis::from_secs(60), after_failure_of: None };
        let line = serde_json::to_string(&prospect(held(soaking)).line()).unwrap();
        let digest = "2".repeat(64);
        assert_eq!(
            line,
            format!(
                concat!(
                    r#"{{"event":"promotion","service":"web","from":"green","to":"blue","promotable":"held","#,
                    r#""release":{{"service":"web","tag":"v2","digest":"sha256:{}"}},"#,
                    r#""by":[{{"holds":"soaking","since":7,"wanted":60000,"after_failure_of":null,"until":null}}],"#,
                    r#""until":null,"exit":5}}"#
                ),
                digest
            )
        );
    }
}
