//! The file of a store, before SQLite sees it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use lockgate_engine::JournalError;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::error::{from_io, from_own};

/// Longest wait for another process that is writing; one event takes a millisecond or two.
pub(crate) const BUSY_SECONDS_MAX: u64 = 5;
/// SQLite's smallest page; every file of its has at least one.
const PAGE_BYTES_MIN: u64 = 512;

/// Makes the folder (0700) and an empty file (0600), and takes a wider file's permissions back. SQLite gives the
/// files beside it (`-wal`, `-shm`) the same permissions.
pub(crate) fn prepare(path: &Path) -> Result<(), JournalError> {
    let folder = folder(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|problem| from_io(folder, "the folder cannot be made", &problem))?;
    require_own(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // SQLite syncs the folder for the files that it makes itself, and this is not one of them.
        Ok(_) => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|problem| from_io(folder, "the folder cannot be synced", &problem)),
        Err(problem) if problem.kind() == ErrorKind::AlreadyExists => check(path),
        Err(problem) => Err(from_io(path, "the file cannot be made", &problem)),
    }
}

/// Looks at the folder, if it is there, and at what SQLite would open in it: it follows links, and waits for the other
/// end of a FIFO.
pub(crate) fn require_own(path: &Path) -> Result<(), JournalError> {
    let folder = folder(path);
    match lockgate_own::own_folder(folder) {
        Err(problem) if problem.is_missing() => return Ok(()),
        looked => looked.map_err(|problem| from_own(folder, problem))?,
    }
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let name = Path::new(&name);
        lockgate_own::own_file(name).map_err(|problem| from_own(name, problem))?;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Looks at a file of ours that is there already.
fn check(path: &Path) -> Result<(), JournalError> {
    let file = lockgate_own::open_own(path, OpenOptions::new().read(true))
        .map_err(|problem| from_own(path, problem))?;
    let metadata =
        file.metadata().map_err(|problem| from_io(path, "the file cannot be looked at", &problem))?;
    // SQLite would take a file of one byte for a new one.
    if (1..PAGE_BYTES_MIN).contains(&metadata.len()) {
        let message = format!("{}: it was cut off after {} bytes", path.display(), metadata.len());
        return Err(JournalError::Damaged { message });
    }
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|problem| from_io(path, "others may read the file, and that cannot be changed", &problem))
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
        .foreign_keys(false)
        .disable_statement_logging()
}
