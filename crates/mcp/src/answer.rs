//! What a tool answers, and the shapes of all answers.

use lockgate_model::{
    AbandonedLine, Digest, GateAnswer, LogLine, Mask, PastRun, Refusal, RefusalLine, ReportLine, StatusLine,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What a tool answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// An object, of the tool's output schema.
    pub value: Value,
    /// What was asked for did not come about.
    pub is_error: bool,
}

impl Answer {
    pub(crate) fn new(value: &impl Serialize, is_error: bool) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => Self { value, is_error },
            Err(error) => Self::refused(
                Refusal::from(lockgate_model::Failure::new(
                    lockgate_model::FailureKind::Other,
                    format!("the answer could not be written: {error}"),
                )),
                &Mask::default(),
            ),
        }
    }

    /// As `--format json` prints it.
    pub(crate) fn refused(refusal: Refusal, mask: &Mask) -> Self {
        match refusal.masked(mask) {
            Refusal::Abandoned { abandoned } => Self::new(&abandoned.line(), true),
            refusal => Self::new(&refusal.line(), true),
        }
    }
}

/// Nothing was done, for nobody has agreed to it yet: this client cannot ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Unconfirmed {
    /// Always `unconfirmed`.
    pub event: String,
    pub message: String,
    pub hint: String,
    /// By which the plan is agreed to.
    pub digest: Digest,
    /// As a person reads it; the tool `plan` has it as an object.
    pub plan: String,
    /// Always 5: it waits for somebody.
    pub exit: u8,
}

/// The configuration is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Misconfigured {
    /// Always `error`.
    pub event: String,
    pub error: ConfigProblem,
    /// Always 2.
    pub exit: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ConfigProblem {
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Counted from 1.
    pub column: Option<u64>,
}

/// Why a tool has nothing to say.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "it is its schema: what is answered are the lines of `model`"
)]
#[serde(untagged)]
pub(crate) enum Error {
    Refused(RefusalLine),
    Misconfigured(Misconfigured),
}

/// Of `deploy.full`, `deploy.promote` and `deploy.rollback`.
#[derive(JsonSchema)]
#[expect(dead_code, clippy::large_enum_variant, reason = "as `Error`")]
#[serde(untagged)]
pub(crate) enum Changed {
    Report(ReportLine),
    Unconfirmed(Unconfirmed),
    /// It was left as it is, for the client went away and the undo took too long.
    Abandoned(AbandonedLine),
    Error(Error),
}

/// Of `deploy.regression` and `deploy.smoke`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Checked {
    pub gates: Vec<GateAnswer>,
    /// 0 where all pass, 1 where one fails, 5 where one says *not yet*.
    pub exit: u8,
}

/// Of `deploy.status`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Statuses {
    pub services: Vec<StatusLine>,
    /// 0 where all is well.
    pub exit: u8,
}

/// Of `history`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Runs {
    /// Newest first.
    pub runs: Vec<PastRun>,
    /// What `before` takes for older ones; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<lockgate_model::RunId>,
}

/// Of `logs`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Logs {
    /// Oldest first on each host; secrets that Lockgate knows are `***`.
    pub lines: Vec<LogLine>,
    /// Which slot it is and why, and what is not there.
    pub notes: Vec<String>,
    /// Of hosts that could not be read.
    pub failures: Vec<lockgate_model::Failure>,
    /// 0, or 1 where a host could not be read.
    pub exit: u8,
}

/// What a tool answers, or why it does not.
#[derive(JsonSchema)]
#[expect(dead_code, clippy::large_enum_variant, reason = "as `Error`")]
#[serde(untagged)]
pub(crate) enum Or<T> {
    Answer(T),
    Error(Error),
}
