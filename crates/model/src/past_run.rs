//! A run as history tells it.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, EnvironmentName, LeftOut, Outcome, ProjectName, Release, Requester, RunId, ServiceName, Timestamp,
};

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFilter {
    /// `None`: of any.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// `None`: in any.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    /// `None`: of any bytes.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Only those that are older than this one, which need not be there: the last of a page gives the next one. `None`: from
    /// the newest on.
    #[serde(default)]
    pub before: Option<RunId>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// It is also what `history --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PastRun {
    /// Its id, by which `history` and `events_of` find it.
    pub run: RunId,
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// The service that it is about.
    pub service: ServiceName,
    /// The environment that it is about.
    pub environment: EnvironmentName,
    /// What it was to make live.
    pub release: Release,
    /// `deploy`, `rollback` or `tidy up`.
    pub intent: String,
    /// `user@machine` of the process that ran it.
    pub owner: String,
    /// Who asked for it, where that is not plainly the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// When it began, by the clock of the machine that ran it.
    pub started_at: Timestamp,
    /// When it ended, by the same clock. `None` while it runs, or when it was left unfinished.
    pub ended_at: Option<Timestamp>,
    /// `None` while it runs, or when it was left unfinished.
    pub outcome: Option<Outcome>,
    /// Its end says that the release is bad.
    pub rejected: bool,
    /// Whom it went without, who left them out, and when: those who began it, and those who took it over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}
