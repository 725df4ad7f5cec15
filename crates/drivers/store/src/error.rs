//! SQLite's errors by what the caller may do.

use std::path::Path;

use lockgate_engine::JournalError;
use lockgate_own::{Foreign, OwnError};

/// SQLite's result codes, from <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
mod code {
    pub(super) const ERROR: u32 = 1;
    pub(super) const BUSY: u32 = 5;
    pub(super) const IOERR: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const NOTADB: u32 = 26;
    pub(super) const IOERR_SHORT_READ: u32 = 522;
    /// The shared-memory file could not grow.
    pub(super) const IOERR_SHMSIZE: u32 = 4874;
}

pub(crate) fn from_sqlx(path: &Path, problem: &sqlx::Error) -> JournalError {
    let message = format!("{}: {}", path.display(), shown(problem));
    match problem {
        sqlx::Error::Database(_) => {
            match (code_of(problem).unwrap_or(0), code_of(problem).unwrap_or(0) & 0xff) {
                (code::IOERR_SHMSIZE, _) | (_, code::FULL) => JournalError::Full { message },
                (code::IOERR_SHORT_READ, _) | (_, code::CORRUPT | code::NOTADB) => {
                    JournalError::Damaged { message }
                }
                // All SQL here is fixed and was right when the tables were made: then the tables are not as they were.
                (_, code::ERROR) => JournalError::Damaged { message },
                (_, code::IOERR) => {
                    JournalError::Other { message: format!("{message} (the disk or file system fails)") }
                }
                _ => JournalError::Other { message },
            }
        }
        // A value is not of the type that was written.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            JournalError::Damaged { message }
        }
        // SQLite's driver panics over files that are not as files should be.
        sqlx::Error::WorkerCrashed => JournalError::Damaged { message },
        _ => JournalError::Other { message },
    }
}

/// True when another process holds the file, so that trying again helps.
pub(crate) fn is_busy(problem: &sqlx::Error) -> bool {
    code_of(problem).is_some_and(|code| code & 0xff == code::BUSY)
}

pub(crate) fn from_own(path: &Path, problem: OwnError) -> JournalError {
    match problem {
        OwnError::Foreign(Foreign { message, hint }) => JournalError::NotOurs { message, hint },
        OwnError::Io(problem) => from_io(path, "it cannot be looked at", &problem),
    }
}

pub(crate) fn from_io(path: &Path, what: &str, problem: &std::io::Error) -> JournalError {
    let message = format!("{}: {what}: {problem}", path.display());
    match problem.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => JournalError::Full { message },
        _ => JournalError::Other { message },
    }
}

fn code_of(problem: &sqlx::Error) -> Option<u32> {
    problem.as_database_error()?.code()?.parse().ok()
}

fn shown(problem: &sqlx::Error) -> String {
    match problem {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        other => other.to_string(),
    }
}
