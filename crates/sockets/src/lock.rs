//! One process for a file: `flock`.
//!
//! The lock belongs to the open file, not to the process, so a successor that inherits the descriptor holds it
//! without a moment in which nobody does. It is never unlocked explicitly; closing the last descriptor does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::SocketsError;

/// Who can open it can hold it.
const MODE: u32 = 0o600;
/// More of a lock file is not read.
const SIGNATURE_BYTES_MAX: u64 = 64;

/// A lock file of ours, which is made where it is missing.
///
/// # Errors
/// It cannot be opened, or is somebody else's.
pub fn open_lock(path: &Path) -> Result<File, SocketsError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    lockgate_own::open_own(path, &mut options).map_err(|error| SocketsError::own("open", path, error))
}

/// False while somebody else holds it.
///
/// # Errors
/// Its file system has no locks.
pub fn try_lock(file: &File, path: &Path) -> Result<bool, SocketsError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(SocketsError::io("lock", path, error.into())),
    }
}

/// What whoever holds the lock, or held it last, has written there; empty where nothing was.
///
/// # Errors
/// The file cannot be read, or holds no text.
pub fn signature(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(SIGNATURE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// A lock that this process holds.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// `Err` in `Ok`: somebody else holds it, with the process id that stands there.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn acquire(path: &Path) -> Result<Result<Self, Option<u32>>, SocketsError> {
        let mut file = open_lock(path)?;
        if try_lock(&file, path)? {
            return Ok(Ok(Self { file }));
        }
        Ok(Err(signature(&mut file).ok().and_then(|text| text.parse().ok())))
    }

    /// One that a predecessor passed on.
    #[must_use]
    pub fn inherited(descriptor: OwnedFd) -> Self {
        Self { file: File::from(descriptor) }
    }

    /// Writes this process's id, for the message of a second start, and for a supervisor: who dies leaves it there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sign(&mut self) -> io::Result<()> {
        self.write(&std::process::id().to_string())
    }

    /// Writes a word in its place.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{text}")
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it_and_says_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let mut first = Lock::acquire(&path).unwrap().unwrap();
        assert_eq!(Lock::acquire(&path).unwrap().unwrap_err(), None, "it has not signed");
        first.sign().unwrap();
        assert_eq!(Lock::acquire(&path).unwrap().unwrap_err(), Some(std::process::id()));
        // A descriptor of the same open file keeps it.
        let heir = Lock::inherited(rustix::io::dup(first.as_fd()).unwrap());
        drop(first);
        assert!(Lock::acquire(&path).unwrap().is_err());
        drop(heir);
        assert!(Lock::acquire(&path).unwrap().is_ok());
    }
}
