//! What a release has printed.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Failure, HostId, ServiceName, Slot};

/// Whose last lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsWant {
    /// Whose lines.
    pub service: ServiceName,
    /// `None`: the only one that is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// `None`: the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// At most so many of each host, the last ones.
    pub lines: u32,
}

/// A slot's last lines on one host, as the release has printed them: nothing in them is masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLog {
    /// Where they were printed.
    pub host: HostId,
    /// `None` where none is live, and none was named.
    pub slot: Option<Slot>,
    /// Why it is this slot, where the router does not say which is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Oldest first.
    pub lines: Vec<String>,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One line, as `logs --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LogLine {
    /// Where it was printed.
    pub host: HostId,
    /// Of which slot.
    pub slot: Slot,
    /// As the release has printed it: nothing in it is masked.
    pub line: String,
}

impl HostLog {
    /// Each line by itself, oldest first; none where no slot is known.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        let Some(slot) = self.slot else { return Vec::new() };
        let line = |line: &String| LogLine { host: self.host.clone(), slot, line: line.clone() };
        self.lines.iter().map(line).collect()
    }
}
