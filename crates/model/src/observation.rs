//! What our own prober saw, and what many of its looks add up to.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, EnvironmentName, Millis, OWNER_CHARS_MAX, ProjectName, ServiceName, TOLD_CHARS_MAX, Timestamp,
    quoted,
};

/// Longest name of a probe in an observation, in characters.
const PROBE_CHARS_MAX: usize = 200;

/// One look at a service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// The service that it is about.
    pub service: ServiceName,
    /// The environment that it is about.
    pub environment: EnvironmentName,
    /// Which release answered. `None` where that could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What was asked (`GET /health`), at most 200 characters.
    pub probe: String,
    /// When the answer was there, or the wait for it was over.
    pub at: Timestamp,
    /// Who looked (`user@machine`), at most [`OWNER_CHARS_MAX`] characters.
    pub by: String,
    /// Whether what was seen is what was wanted.
    pub ok: bool,
    /// How long the answer took. `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Millis>,
    /// What was seen, at most [`TOLD_CHARS_MAX`] characters.
    pub seen: String,
}

impl Observation {
    /// Within its bounds and with texts on one line.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.probe = quoted(&self.probe, PROBE_CHARS_MAX);
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.seen = quoted(&self.seen, TOLD_CHARS_MAX);
        self
    }
}

/// What the observations of a time add up to. A soak gate asks for it: none at all, or a long gap, is no pass (P6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many there are.
    pub looks: u64,
    /// Of these, how many were not ok.
    pub failures: u64,
    /// `None` when there is none, as for `last`.
    pub first: Option<Timestamp>,
    /// When the latest was made.
    pub last: Option<Timestamp>,
    /// The longest time between two that follow each other, whatever they asked. Zero where there are fewer than two.
    pub longest_gap: Millis,
}
