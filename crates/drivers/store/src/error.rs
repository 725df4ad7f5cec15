//! The databases' errors by what the caller may do.

use std::io::ErrorKind;
use std::path::Path;

use lockgate_engine::JournalError;
use lockgate_model::{Failure, FailureKind, PostgresUrl};
use lockgate_own::{Foreign, OwnError};
use lockgate_ports::PortError;

use crate::database::Database;

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

/// What went wrong within a call.
#[derive(Debug)]
pub(crate) enum Trouble {
    Sql(sqlx::Error),
    Told(JournalError),
}

impl From<sqlx::Error> for Trouble {
    fn from(problem: sqlx::Error) -> Self {
        Trouble::Sql(problem)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Trouble::Told(error)
    }
}

impl Trouble {
    pub(crate) fn told(self, database: &Database) -> JournalError {
        match self {
            Trouble::Told(error) => error,
            Trouble::Sql(problem) => from_sqlx(database, &problem),
        }
    }
}

pub(crate) fn from_sqlx(database: &Database, problem: &sqlx::Error) -> JournalError {
    match database {
        Database::File { path, .. } => from_sqlite(path, problem),
        Database::Server { url, .. } => from_postgres(url, problem),
    }
}

fn from_sqlite(path: &Path, problem: &sqlx::Error) -> JournalError {
    let message = format!("{}: {}", path.display(), shown(problem));
    match problem {
        sqlx::Error::Database(_) => {
            match (code_of(problem).unwrap_or(0), code_of(problem).unwrap_or(0) & 0xff) {
                (code::IOERR_SHMSIZE, _) | (_, code::FULL) => JournalError::Full { message },
                (code::IOERR_SHORT_READ, _) | (_, code::CORRUPT | code::NOTADB) => {
                    JournalError::Damaged { message }
                }
                (_, code::BUSY) => JournalError::Unusable {
                    kind: FailureKind::TimedOut,
                    message: format!("{}: another process holds it", path.display()),
                    hint: format!("see who: `lsof {}`; nothing changed", path.display()),
                },
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

/// By SQLSTATE, from <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn from_postgres(url: &PostgresUrl, problem: &sqlx::Error) -> JournalError {
    let message = format!("{url}: {}", shown(problem));
    let unusable =
        |kind, hint: &str| JournalError::Unusable { kind, message: message.clone(), hint: hint.to_owned() };
    let state = state_of(problem).unwrap_or_default();
    match (state.as_str(), state.get(..2).unwrap_or_default()) {
        ("53100", _) => JournalError::Full { message },
        ("53300", _) => unusable(
            FailureKind::Unreachable,
            "it has no connection to spare: try again, or raise `max_connections` there",
        ),
        ("57P01" | "57P02" | "57P03", _) | (_, "08") => unusable(FailureKind::Unreachable, UP),
        ("57014" | "55P03" | "40001" | "40P01", _) => {
            unusable(FailureKind::TimedOut, "it is slow, or others hold what is needed: try again")
        }
        ("3D000", _) => unusable(
            FailureKind::NotFound,
            "make the database (`createdb DATABASE`), or put its name right in `state` of lockgate.yaml",
        ),
        ("28P01" | "28000", _) => unusable(
            FailureKind::Unauthorized,
            "put user and password right in `state` of lockgate.yaml, or let the user in by pg_hba.conf there",
        ),
        ("42501", _) => unusable(
            FailureKind::Unauthorized,
            "let the user of `state` make its schema: `GRANT CREATE ON DATABASE … TO …`, or `ALTER SCHEMA lockgate OWNER TO …`",
        ),
        ("25006", _) => unusable(
            FailureKind::Refused,
            "this server only reads: name the one that writes in `state` of lockgate.yaml",
        ),
        // All SQL here is fixed and was right when the tables were made: then the tables are not as they were.
        ("42P01" | "42703" | "XX001" | "XX002", _) => JournalError::Damaged { message },
        _ if is_distrust(problem, url.names_certificates()) => unusable(
            FailureKind::Unreachable,
            "name the authority of its certificate by `?sslrootcert=FILE` in `state` of lockgate.yaml, or choose another `sslmode`",
        ),
        _ if broke(problem) => unusable(FailureKind::Unreachable, UP),
        _ => match problem {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                JournalError::Damaged { message }
            }
            _ => unusable(FailureKind::Other, "look at the log of PostgreSQL there, then try again"),
        },
    }
}

/// For a server that does not answer.
pub(crate) const UP: &str = "see that PostgreSQL runs there and lets this machine in, then run the same command again; `lockgate status` asks the hosts, which are the truth";

fn broke(problem: &sqlx::Error) -> bool {
    match problem {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(_) => state_of(problem).is_some_and(|state| {
            matches!(state.as_str(), "57P01" | "57P02" | "57P03") || state.starts_with("08")
        }),
        _ => false,
    }
}

/// The server has no TLS, or shows a certificate that is not believed.
fn is_distrust(problem: &sqlx::Error, names_certificates: bool) -> bool {
    match problem {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(io) => match io.kind() {
            // What rustls says of the server's.
            ErrorKind::InvalidData => true,
            // A file of certificates is not there; else it is the server's socket.
            ErrorKind::NotFound => names_certificates,
            _ => false,
        },
        _ => false,
    }
}

/// True when another process holds the file, so that trying again helps.
pub(crate) fn is_busy(problem: &sqlx::Error) -> bool {
    code_of(problem).is_some_and(|code| code & 0xff == code::BUSY)
}

/// True when a table or a schema is not there.
pub(crate) fn is_missing(problem: &sqlx::Error) -> bool {
    state_of(problem).is_some_and(|state| matches!(state.as_str(), "42P01" | "3F000"))
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
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => JournalError::Full { message },
        _ => JournalError::Other { message },
    }
}

/// A schema of a later version than this program's.
pub(crate) fn newer(place: &str, found: i64, known: i64) -> JournalError {
    JournalError::Unusable {
        kind: FailureKind::Refused,
        message: format!(
            "{place}: it was written by a newer lockgate (its schema has version {found}, this one knows {known})"
        ),
        hint: "install the newest lockgate on this machine, too; `lockgate --version` says which is here"
            .to_owned(),
    }
}

/// The whole of it, for who asks for a lease.
pub(crate) fn to_failure(error: JournalError) -> Failure {
    let (kind, message, hint) = parts(error);
    Failure::new(kind, message).hint(hint)
}

pub(crate) fn to_port_error(error: JournalError) -> PortError {
    let (kind, message, hint) = parts(error);
    PortError::new(kind, message).hint(hint)
}

fn parts(error: JournalError) -> (FailureKind, String, String) {
    let hint = error.hint().to_owned();
    match error {
        JournalError::NotOurs { message, .. } => (FailureKind::Refused, message, hint),
        JournalError::Unusable { kind, message, .. } => (kind, message, hint),
        JournalError::Full { message } => {
            (FailureKind::DiskFull, message, "make room: `df -h` shows how much there is".to_owned())
        }
        JournalError::Damaged { message } | JournalError::Other { message } => {
            (FailureKind::Other, message, hint)
        }
    }
}

fn code_of(problem: &sqlx::Error) -> Option<u32> {
    problem.as_database_error()?.code()?.parse().ok()
}

fn state_of(problem: &sqlx::Error) -> Option<String> {
    Some(problem.as_database_error()?.code()?.into_owned())
}

fn shown(problem: &sqlx::Error) -> String {
    match problem {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        other => other.to_string(),
    }
}
