//! Whole files: read, replaced and swapped. Everything here blocks; [`crate::Local`] says where it runs.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use lockgate_model::FailureKind;
use lockgate_own::OwnError;
use lockgate_ports::{FILE_BYTES_MAX, NAMES_MAX, PortError, Swapped, readable};

use crate::temporary::{self, Temporary};

/// Longest wait for somebody else's swap of the same file, which takes milliseconds.
const LOCK_SECONDS_MAX: u64 = 10;
/// Pause between two attempts to lock.
const LOCK_POLL_MILLIS: u64 = 1;
/// Permission bits of a swapped file: every user of the host may read it, so no secret is written there.
const SWAP_MODE: u32 = 0o644;
/// Those of a lock: whoever can open it can hold it.
const LOCK_MODE: u32 = 0o600;

pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PortError> {
    content(path, lockgate_own::open(path))
}

pub(crate) fn read_own(path: &Path) -> Result<Option<Vec<u8>>, PortError> {
    let opened = lockgate_own::own_folder(folder(path))
        .and_then(|()| lockgate_own::open_own(path, OpenOptions::new().read(true)));
    content(path, opened)
}

fn content(path: &Path, opened: Result<File, OwnError>) -> Result<Option<Vec<u8>>, PortError> {
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    // With one byte of room the end is found without another read.
    let length = file.metadata().map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
    let mut content = Vec::with_capacity(length.min(FILE_BYTES_MAX) + 1);
    let bound = FILE_BYTES_MAX as u64 + 1;
    file.take(bound).read_to_end(&mut content).map_err(|error| failed("read", path, error.into()))?;
    if content.len() > FILE_BYTES_MAX {
        return Err(PortError::too_large(path.display(), FILE_BYTES_MAX));
    }
    Ok(Some(content))
}

pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), PortError> {
    readable(&path.to_string_lossy(), content)?;
    make_folder(path)?;
    replace(path, content, mode).map_err(|error| failed("write", path, error.into()))
}

pub(crate) fn write_own(path: &Path, content: &[u8], mode: u32) -> Result<(), PortError> {
    readable(&path.to_string_lossy(), content)?;
    make_folder(path)?;
    require_own(path)?;
    replace(path, content, mode).map_err(|error| failed("write", path, error.into()))
}

/// The folder, what stands in it, and what is to be replaced.
fn require_own(path: &Path) -> Result<(), PortError> {
    lockgate_own::own_records(folder(path))
        .and_then(|()| lockgate_own::own_file(path))
        .map_err(|error| failed("write", path, error))
}

pub(crate) fn names(folder: &Path, prefix: &str) -> Result<Vec<String>, PortError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("look into", folder, error.into())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("look into", folder, error.into()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && name.starts_with(prefix) && !name.chars().any(char::is_control) {
            names.push(name);
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

pub(crate) fn remove(path: &Path) -> Result<(), PortError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_folder(path).map_err(|error| failed("remove", path, error.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, error.into())),
    }
}

pub(crate) fn swap(path: &Path, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
    readable(&path.to_string_lossy(), content)?;
    make_folder(path)?;
    require_own(path)?;
    // The lock is a file of its own, never removed: the file itself is replaced, and a lock on it would go with it.
    let _lock = lock(path)?;
    if read(path)?.as_deref() != expected {
        return Ok(Swapped::No);
    }
    replace(path, content, SWAP_MODE).map_err(|error| failed("write", path, error.into()))?;
    Ok(Swapped::Yes)
}

/// Takes `flock(2)` on `<path>.lock`; closing the file lets it go, and so does the end of this process.
fn lock(path: &Path) -> Result<File, PortError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = lockgate_own::open_own(
        Path::new(&name),
        OpenOptions::new().append(true).create(true).mode(LOCK_MODE),
    )
    .map_err(|error| failed("lock", Path::new(&name), error))?;
    let bound = Instant::now() + Duration::from_secs(LOCK_SECONDS_MAX);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed("lock", Path::new(&name), error.into())),
            Err(TryLockError::WouldBlock) if Instant::now() >= bound => {
                let shown = Path::new(&name).display();
                return Err(PortError::timed_out(format!(
                    "{shown} was locked for {LOCK_SECONDS_MAX} s; nothing changed"
                ))
                .hint(format!("see who holds it: lsof {shown}")));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(LOCK_POLL_MILLIS)),
        }
    }
}

pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn make_folder(path: &Path) -> Result<(), PortError> {
    lockgate_own::make_folder(folder(path)).map_err(|error| failed("make the folder of", path, error.into()))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Temporary file beside it, fsync, rename, fsync of the folder.
fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    temporary::remove_left(path);
    let mut temporary = Temporary::beside(path)?;
    fill(&mut temporary.file, content, mode)?;
    temporary.rename(path)?;
    sync_folder(path)
}

fn fill(file: &mut File, content: &[u8], mode: u32) -> std::io::Result<()> {
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn failed(what: &str, path: &Path, error: OwnError) -> PortError {
    let shown = path.display();
    let error = PortError::from(error).context(format!("cannot {what} {shown}"));
    match error.kind {
        FailureKind::DiskFull => {
            error.hint(format!("make room on the file system of {shown}: df -h {shown}"))
        }
        FailureKind::Unauthorized => error.hint(format!("see who may: ls -ld {}", folder(path).display())),
        _ => error,
    }
}
