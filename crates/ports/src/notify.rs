//! Telling people.

use async_trait::async_trait;
pub use lockgate_model::MessageKind;
use lockgate_model::{
    Changes, Commit, EnvironmentName, Failure, HostId, Job, Link, Millis, ProjectName, Release, Requester,
    RunId, ServiceName, Timestamp,
};
use serde::Serialize;

use crate::{Check, PortError};

/// Where a message is that was delivered, in its notifier's own words; only that notifier can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted(String);

impl Posted {
    /// `words` are for the notifier that made them alone.
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// As the notifier gave them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One message. Invariant: holds no secret.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// What has happened.
    pub kind: MessageKind,
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// The service that it is about.
    pub service: ServiceName,
    /// The environment that it is about.
    pub environment: EnvironmentName,
    /// Absent where it was not known yet when the command failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// What was typed, a tag or a digest, in place of `release`; absent for a rollback to the previous one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Absent where the command failed before its run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When, by the clock of the machine that runs it.
    pub at: Timestamp,
    /// `user@machine` that runs it.
    pub owner: String,
    /// Who asked for it, with the page of the CI system's run where there is one; absent where that is plainly `owner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// From the run's start to its end; absent before that, and where another process has started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<Millis>,
    /// Where users reach the service in the environment; absent where the configuration does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Link>,
    /// The commit that was to be shipped, in place of `release`; absent where that is not known either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// What lies between what was live and the release; absent where there is nothing to compare with, as without a clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// Those that the run concerns, in the configuration's order.
    pub hosts: Vec<HostId>,
    /// The job before the deployment that failed; absent where there was none, or none failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Why it did not succeed; absent where it did, and at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What went wrong beside it, at the end: a test that may fail, tidying up that was not done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
    /// What to type, for `Critical` and `Unknown`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// Somebody who is told of runs: a channel, a URL.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// For people, without secrets: `slack`, `webhook hooks.example.com`.
    fn name(&self) -> String;

    /// Delivers within its own bound, a minute at most; whoever has no time for that drops the future, and the message may
    /// have arrived all the same. A failing notifier never fails a run.
    ///
    /// `earlier` is what this notifier answered to the run's message before this one; `None` where there was none or it did
    /// not arrive. A notifier that can changes that message in place of sending another.
    ///
    /// Answers where the message is; `None` when it cannot be changed later.
    ///
    /// # Errors
    /// `Unauthorized`, `Unreachable`, `TimedOut`, `NotFound`; without the URL and the token, which are secrets.
    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError>;

    /// Whether people can be told, for `doctor`, as far as that can be found out without telling anybody anything.
    async fn check(&self) -> Check;
}
