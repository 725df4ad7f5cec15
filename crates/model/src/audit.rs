//! Who did what, when; each entry chained to the one before it. See [`crate::AuditChain`] for how that is checked.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, EnvironmentName, OWNER_CHARS_MAX, ProjectName, RunId, ServiceName, TOLD_CHARS_MAX, Timestamp,
    quoted,
};

/// Longest name of an action or a way in an entry, in characters.
const WORD_CHARS_MAX: usize = 40;

/// Something that somebody asked for, and what became of it. Entries are added, never changed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// When it was asked for, by the clock of who wrote the entry down.
    pub at: Timestamp,
    /// `user@machine`, or who the way knows; at most [`OWNER_CHARS_MAX`] characters.
    pub by: String,
    /// How they came (`cli`, `webhook`, `mcp`, `schedule`), at most 40 characters.
    pub via: String,
    /// What they asked for (`deploy`, `approve`, `freeze`), at most 40 characters.
    pub action: String,
    /// What it was about. `None`: all, or none in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// As `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Of which bytes, where it was about a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The run that came of it. `None` when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// In words, without secrets; at most [`TOLD_CHARS_MAX`] characters.
    pub detail: String,
    /// From where: a peer's address, or a socket's name; at most [`OWNER_CHARS_MAX`] characters. `None` of who was at this
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it came to, in one word (`accepted`, `deployed`, `unauthorized`), at most 40 characters. `None` where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// It stands for so many, alike and within one second. `None`: for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl AuditEntry {
    /// Within its bounds and with texts on one line.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.via = quoted(&self.via, WORD_CHARS_MAX);
        self.action = quoted(&self.action, WORD_CHARS_MAX);
        self.detail = quoted(&self.detail, TOLD_CHARS_MAX);
        self.from = self.from.map(|from| quoted(&from, OWNER_CHARS_MAX));
        self.result = self.result.map(|result| quoted(&result, WORD_CHARS_MAX));
        self
    }
}

/// An entry with its number in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Rises by one with each entry of the store, of whatever project, from 0.
    pub seq: u64,
    /// Its place in the chain: see [`AuditLink`].
    pub hash: String,
    /// What was asked for.
    #[serde(flatten)]
    pub entry: AuditEntry,
}
