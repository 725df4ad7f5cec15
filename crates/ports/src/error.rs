//! One error for every port.

use lockgate_model::{Failure, FailureKind};

const MEBIBYTE: usize = 1024 * 1024;

/// What went wrong at a port, told by what the caller may do about it.
///
/// `Unreachable` and `TimedOut` leave the outcome *unknown*: look at the world, never blindly repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.as_str())]
pub struct PortError {
    pub kind: FailureKind,
    pub message: String,
    pub hint: Option<String>,
    /// What an app wrote, oldest line first. It goes to whoever may read logs, never into a message, which people are
    /// sent.
    pub logs: Vec<String>,
}

impl PortError {
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, logs: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn logs(mut self, logs: Vec<String>) -> Self {
        self.logs = logs;
        self
    }

    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, message)
    }

    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, message)
    }

    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(FailureKind::TimedOut, message)
    }

    /// `what` is more than `bytes_max` bytes, which is all that is read.
    #[must_use]
    pub fn too_large(what: impl std::fmt::Display, bytes_max: usize) -> Self {
        let limit = match bytes_max / MEBIBYTE {
            0 => format!("{bytes_max} bytes"),
            mebibytes => format!("{mebibytes} MiB"),
        };
        Self::new(FailureKind::TooLarge, format!("{what} is larger than {limit}"))
    }

    #[must_use]
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Other, message)
    }

    /// Says what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// True when what was asked may have happened all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self.kind, FailureKind::Unreachable | FailureKind::TimedOut)
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Failure {
        let mut failure = Failure::new(error.kind, error.message).logs(error.logs);
        failure.hint = error.hint;
        failure
    }
}

impl From<std::io::Error> for PortError {
    fn from(error: std::io::Error) -> PortError {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => FailureKind::NotFound,
            Io::PermissionDenied => FailureKind::Unauthorized,
            Io::TimedOut => FailureKind::TimedOut,
            Io::StorageFull | Io::QuotaExceeded => FailureKind::DiskFull,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::BrokenPipe
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::UnexpectedEof => FailureKind::Unreachable,
            _ => FailureKind::Other,
        };
        PortError::new(kind, error.to_string())
    }
}

/// What is not ours is `Refused`, with what to type.
impl From<lockgate_own::Foreign> for PortError {
    fn from(foreign: lockgate_own::Foreign) -> PortError {
        PortError::new(FailureKind::Refused, foreign.message).hint(foreign.hint)
    }
}

impl From<lockgate_own::OwnError> for PortError {
    fn from(error: lockgate_own::OwnError) -> PortError {
        match error {
            lockgate_own::OwnError::Foreign(foreign) => foreign.into(),
            lockgate_own::OwnError::Io(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_wrote_stays_beside_the_message() {
        let error =
            PortError::other("it did not start").logs(vec!["TOKEN=hunter2".into()]).context("start v1");
        let failure = Failure::from(error);
        assert_eq!(failure.message, "start v1: it did not start");
        assert_eq!(failure.logs, ["TOKEN=hunter2"]);
    }
}
