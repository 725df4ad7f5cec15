//! Whole files: read, replaced and swapped. Everything here blocks; [`crate::Local`] says where it runs.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lockgate_model::{FailureKind, HostId};
use lockgate_own::OwnError;
use lockgate_ports::{FILE_BYTES_MAX, LockHolder, NAMES_MAX, PortError, Swapped, readable};

use crate::swap::{self, Came, LOCK_SECONDS_MAX, Swap};
use crate::temporary::{self, Temporary};

/// Largest file that is read where we are; see [`is_small`].
const IN_PLACE_BYTES_MAX: u64 = 64 * 1024;
/// Permission bits of a swapped file: every user of the host may read it, so no secret is written there.
const SWAP_MODE: u32 = 0o644;
/// Those of a lock: whoever can open it can hold it.
const LOCK_MODE: u32 = 0o600;

/// A file that is read in a moment, or none.
pub(crate) fn is_small(path: &Path) -> bool {
    path.metadata().map_or(true, |seen| seen.is_file() && seen.len() <= IN_PLACE_BYTES_MAX)
}

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
    replace(path, content, mode)
}

pub(crate) fn write_own(path: &Path, content: &[u8], mode: u32) -> Result<(), PortError> {
    readable(&path.to_string_lossy(), content)?;
    make_folder(path)?;
    require_own(path)?;
    replace(path, content, mode)
}

/// The folder, what stands in it, and what is to be replaced.
pub(crate) fn require_own(path: &Path) -> Result<(), PortError> {
    lockgate_own::own_records(folder(path))
        .and_then(|()| lockgate_own::own_file(path))
        .map_err(|error| failed("write", path, error).without_effect())
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
        // It has gone, but may be back after a loss of power.
        Ok(()) => {
            sync_folder(path).map_err(|error| failed("remove", path, error.into()).with_unknown_effect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, error.into()).without_effect()),
    }
}

pub(crate) fn swap(path: &Path, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
    readable(&path.to_string_lossy(), content)?;
    make_folder(path)?;
    require_own(path)?;
    // Most often that is seen without the lock.
    if read(path).map_err(PortError::without_effect)?.as_deref() != expected {
        return Ok(Swapped::No);
    }
    // The lock is a file of its own, never removed: the file itself is replaced, and a lock on it would go with it.
    let (lock_path, lock) = lock_file(path)?;
    let unwritten = |error: std::io::Error| failed("write", path, error.into()).without_effect();
    let mut new = prepared(path, content, SWAP_MODE).map_err(unwritten)?;
    let swap =
        new.path().map(|new| Swap::new(path, &lock_path, new, expected)).transpose().map_err(unwritten)?;
    match swap.map(|swap| swap.run()).transpose().map_err(|error| swap_failed(path, error))? {
        Some(Came::Swapped) => {
            new.has_been_renamed();
            settle(path)?;
            Ok(Swapped::Yes)
        }
        Some(Came::OtherContent) | None => Ok(Swapped::No),
        Some(Came::Locked) => {
            let (holder, shown) = (swap::holder_of(lock.as_fd()), lock_path.to_string_lossy());
            Err(LockHolder::refusal(holder.as_ref(), &shown, LOCK_SECONDS_MAX, &HostId::local()))
        }
    }
}

/// Whether a child that was killed had swapped is not known, as with a host that does not answer any more.
fn swap_failed(path: &Path, error: std::io::Error) -> PortError {
    match error.kind() {
        ErrorKind::Interrupted => PortError::unreachable(format!("cannot swap {}: {error}", path.display())),
        _ => failed("swap", path, error.into()).without_effect(),
    }
}

/// `<path>.lock`, made where it is missing. Nothing is locked by opening it.
fn lock_file(path: &Path) -> Result<(PathBuf, File), PortError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let mut options = OpenOptions::new();
    let opened = lockgate_own::open_own(&name, options.append(true).create(true).mode(LOCK_MODE));
    let file = opened.map_err(|error| failed("lock", &name, error).without_effect())?;
    Ok((name, file))
}

pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(crate) fn make_folder(path: &Path) -> Result<(), PortError> {
    lockgate_own::make_folder(folder(path))
        .map_err(|error| failed("make the folder of", path, error.into()).without_effect())
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Temporary file beside it, fsync, rename, fsync of the folder.
fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), PortError> {
    let unwritten = |error: std::io::Error| failed("write", path, error.into()).without_effect();
    let mut temporary = prepared(path, content, mode).map_err(unwritten)?;
    temporary.rename(path).map_err(unwritten)?;
    settle(path)
}

/// What was renamed is seen by everybody; that it stays so after a loss of power is known only after this.
pub(crate) fn settle(path: &Path) -> Result<(), PortError> {
    sync_folder(path).map_err(|error| failed("write", path, error.into()).with_unknown_effect())
}

/// The temporary file, as it is to be, and on the disk.
fn prepared(path: &Path, content: &[u8], mode: u32) -> std::io::Result<Temporary> {
    temporary::remove_left(path);
    let mut temporary = Temporary::beside(path)?;
    fill(&mut temporary.file, content, mode)?;
    Ok(temporary)
}

fn fill(file: &mut File, content: &[u8], mode: u32) -> std::io::Result<()> {
    file.write_all(content)?;
    finish(file, mode)
}

/// The permissions asked for, and all of it on the disk.
pub(crate) fn finish(file: &File, mode: u32) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

pub(crate) fn failed(what: &str, path: &Path, error: OwnError) -> PortError {
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
