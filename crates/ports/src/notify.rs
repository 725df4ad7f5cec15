//! Telling people.

use async_trait::async_trait;
use lockgate_model::{EnvironmentName, Failure, HostId, ProjectName, Release, RunId, ServiceName, Timestamp};
use serde::Serialize;

use crate::PortError;

/// System A's five messages, and one for what it did not know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    Starting,
    Success,
    /// The previous release is live again.
    RolledBack,
    /// Nothing was changed: the run was undone before any traffic was moved, or failed before it began.
    Failed,
    /// The rollback failed too.
    Critical,
    /// The run was left in the middle: what it came to is not known.
    Unknown,
}

/// One message. Invariant: holds no secret.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    pub kind: MessageKind,
    pub project: ProjectName,
    pub service: ServiceName,
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
    pub at: Timestamp,
    /// `user@machine` that runs it.
    pub owner: String,
    pub hosts: Vec<HostId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What to type, for `Critical` and `Unknown`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

#[async_trait]
pub trait Notifier: Send + Sync {
    /// For people, without secrets: `slack`, `webhook hooks.example.com`.
    fn name(&self) -> String;

    /// Delivers within its own bound (10 s). A failing notifier never fails a run.
    ///
    /// # Errors
    /// `Unauthorized`, `Unreachable`, `TimedOut`, `NotFound`; without the URL, which is a secret.
    async fn send(&self, message: &Message) -> Result<(), PortError>;
}
