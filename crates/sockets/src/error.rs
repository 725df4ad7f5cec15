//! What can go wrong with what is handed over.

use std::path::PathBuf;

use lockgate_own::{Foreign, OwnError};

/// Why sockets or a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// What the environment says of descriptors, or one of these, is not usable.
    #[error("inherited sockets are not usable: {reason}")]
    Inherited { reason: String },
    /// A file cannot be used.
    #[error("can't {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// A file is somebody else's, or others may write it, or it is no file.
    #[error("{message}")]
    NotOurs { message: String, hint: String },
}

impl SocketsError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn own(action: &'static str, path: impl Into<PathBuf>, error: OwnError) -> Self {
        match error {
            OwnError::Foreign(Foreign { message, hint }) => Self::NotOurs { message, hint },
            OwnError::Io(source) => Self::io(action, path, source),
        }
    }
}
