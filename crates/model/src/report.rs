//! What a deployment or a rollback would do, and what one came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, EnvironmentName, Exit, HostId, Millis, Observed, Outcome, Plan, Rejected, Release, RunId,
    ServiceName,
};

/// What a run would do, and what was seen. It is also what `plan --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Planned {
    /// False when there is nothing to do.
    pub changes: bool,
    /// Of the whole plan, queries of URLs included: what [`crate::Want::exactly`] asks for. `None` where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Without queries of URLs, which are a place for secrets.
    pub plan: Plan,
    /// What the plan was made from.
    pub observed: Observed,
}

/// What a deployment or a rollback came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `None` when there was nothing to do.
    pub run: Option<RunId>,
    /// What was to be done.
    pub plan: Plan,
    /// How it ended; a run that had nothing to do has succeeded.
    pub outcome: Outcome,
    /// How long nothing was live, of hosts on which the run stopped what was before it started what is: see
    /// [`crate::dark_times`].
    pub dark: BTreeMap<HostId, Millis>,
    /// How an unfinished run that was found first ended.
    pub recovered: Option<(RunId, Outcome)>,
    /// What was said against the release when it was asked for.
    pub rejected: Option<Rejected>,
}

/// As `--format json` prints it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReportLine {
    /// Always `result`.
    pub event: String,
    /// `None` when there was nothing to do.
    pub run: Option<RunId>,
    /// What was deployed.
    pub service: ServiceName,
    /// Where it was deployed.
    pub environment: EnvironmentName,
    /// What was to be live.
    pub release: Release,
    /// Hosts that were left out by name.
    pub without: Vec<HostId>,
    /// How it ended.
    pub result: Outcome,
    /// The exit code.
    pub exit: u8,
    /// What was said against the release when it was asked for. `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_rejected: Option<Rejected>,
    /// [`Report::dark`], in milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dark_ms: BTreeMap<HostId, Millis>,
}

impl Planned {
    /// `plan` is shown without the queries of its URLs.
    #[must_use]
    pub fn new(plan: &Plan, observed: Observed) -> Self {
        Self { changes: !plan.is_empty(), digest: None, plan: plan.without_queries(), observed }
    }

    /// With the [digest](Self::digest) of the plan.
    #[must_use]
    pub fn with_digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }
}

impl Report {
    /// With which code a program ends that came to this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::from(&self.outcome)
    }

    /// As `--format json` prints it.
    #[must_use]
    pub fn line(&self) -> ReportLine {
        let Plan { service, environment, release, without, .. } = self.plan.clone();
        ReportLine {
            event: "result".to_owned(),
            run: self.run,
            service,
            environment,
            release,
            without,
            result: self.outcome.clone(),
            exit: self.exit().code(),
            was_rejected: self.rejected.clone(),
            dark_ms: self.dark.clone(),
        }
    }
}
