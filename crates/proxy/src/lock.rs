//! One live proxy per state folder: `flock` on `proxy.lock`.
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

use crate::config::{ProxyConfig, ProxyError};

/// Who can open it can hold it.
const MODE: u32 = 0o600;

/// What the lock file says once a proxy has ended as it was asked to.
pub(crate) const STOPPED: &str = "stopped";

/// A lock file of ours, which is made where it is missing.
pub(crate) fn open(path: &Path) -> Result<File, ProxyError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    lockgate_own::open_own(path, &mut options).map_err(|error| ProxyError::own("open", path, error))
}

/// False while somebody else holds it.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool, ProxyError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(ProxyError::io("lock", path, error.into())),
    }
}

#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    pub(crate) fn acquire(config: &ProxyConfig) -> Result<Self, ProxyError> {
        let path = config.lock_file();
        let mut file = open(&path)?;
        if try_lock(&file, &path)? {
            return Ok(Self { file });
        }
        let mut text = String::new();
        let read = file.read_to_string(&mut text);
        let pid = read.ok().and_then(|_| text.trim().parse().ok());
        Err(ProxyError::AlreadyRunning { dir: config.dir.clone(), pid })
    }

    pub(crate) fn inherited(descriptor: OwnedFd) -> Self {
        Self { file: File::from(descriptor) }
    }

    /// Writes this process's id, for the message of a second start, and for the supervisor: who dies leaves it there.
    pub(crate) fn sign(&mut self) -> io::Result<()> {
        self.write(&std::process::id().to_string())
    }

    /// Writes that nobody is to start it again.
    pub(crate) fn sign_off(&mut self) -> io::Result<()> {
        self.write(STOPPED)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
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
