//! What `lockgate trigger` prints as JSON.

use serde::{Deserialize, Serialize};

use crate::{DeployAnswer, Exit};

/// A daemon's answer, as the caller got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TriggerLine {
    /// Always `answer`.
    pub event: String,
    /// The response's status code, or the one in the last event of its stream.
    pub http: u16,
    /// Beside the others.
    #[serde(flatten)]
    pub answer: DeployAnswer,
    /// The exit code.
    pub exit: u8,
}

impl TriggerLine {
    /// Ends as [`crate::DeployStatus::exit`] says.
    #[must_use]
    pub fn new(http: u16, answer: DeployAnswer) -> Self {
        let exit = answer.status.exit().code();
        Self { event: "answer".to_owned(), http, answer, exit }
    }

    /// As the process ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.answer.status.exit()
    }
}
