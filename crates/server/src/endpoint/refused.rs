//! Why a signed call comes to nothing before it is kept.

use lockgate_model::{DeployAnswer, DeployStatus, FailureKind, quoted};

/// Longest part of a call that is shown again, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What its caller is told. Texts from the call stand in it [shown].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: DeployStatus,
    /// One sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Refused {
    /// The body, a header or a time in it makes no sense here.
    pub fn bad(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: DeployStatus::BadRequest, message: message.into(), hint: hint.into() }
    }

    pub fn answer(self) -> DeployAnswer {
        let kind = match self.status {
            DeployStatus::NotFound => FailureKind::NotFound,
            DeployStatus::TooLarge => FailureKind::TooLarge,
            DeployStatus::RequestTimeout => FailureKind::TimedOut,
            DeployStatus::Unauthorized => FailureKind::Unauthorized,
            _ => FailureKind::Refused,
        };
        DeployAnswer::refused(self.status, kind, self.message).hint(self.hint)
    }
}

/// A text from a call within a message: on one line, between quotes, and bounded.
pub fn shown(text: &str) -> String {
    format!("'{}'", quoted(text, SHOWN_CHARS_MAX))
}
