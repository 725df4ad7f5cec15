//! `.lockgate/serve`: who serves this project here, and whose turn it is to run what was accepted.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_model::Digest;
use lockgate_sockets::{Lock, SocketsError, signature};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::ServeError;

const FOLDER_MODE: u32 = 0o700;
const SERVE_LOCK: &str = "serve.lock";
/// How often a lock that is held is tried, and how far apart.
const LOOKS_MAX: u32 = 5;
const LOOK_MS: u64 = 10;
/// How often a turn that another process has is asked for.
const TURN_LOOK_MS: u64 = 100;
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 2000;

/// The folder of the daemon's own files.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Who serves.
#[derive(Debug)]
pub enum Served {
    /// Nobody did: the lock is this process's from now on.
    Free(Lock),
    /// Another process, with the id that it has written down.
    By(Option<u32>),
}

impl Folder {
    /// Makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made, or is somebody else's.
    pub fn open(path: PathBuf) -> Result<Self, ServeError> {
        let failed = |action, source| ServeError::Io { action, path: path.clone(), source };
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path);
        made.map_err(|source| failed("create", source))?;
        lockgate_own::own_folder(&path).map_err(|error| match error {
            lockgate_own::OwnError::Io(source) => failed("look at", source),
            lockgate_own::OwnError::Foreign(foreign) => {
                SocketsError::NotOurs { message: foreign.message, hint: foreign.hint }.into()
            }
        })?;
        Ok(Self(path))
    }

    /// Tells the daemon of this folder from every other one: twelve hex digits, the same for a successor. The folder's path cannot
    /// be read from them.
    #[must_use]
    pub fn instance(path: &Path) -> String {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Digest::of(real.as_os_str().as_encoded_bytes()).short().to_owned()
    }

    /// Takes the right to serve. It is passed on in a handover, so it is never free while somebody serves. Blocks
    /// for some milliseconds where it is not: for the start of a process.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub fn serve(&self) -> Result<Served, ServeError> {
        let path = self.0.join(SERVE_LOCK);
        for _ in 1..LOOKS_MAX {
            // Whoever only looks holds it for a moment.
            if let Ok(lock) = Lock::acquire(&path)? {
                return Ok(Served::Free(lock));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(match Lock::acquire(&path)? {
            Ok(lock) => Served::Free(lock),
            Err(pid) => Served::By(pid),
        })
    }

    /// Whether somebody serves, without making or changing anything; with the process id, where it is written down already.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn server(path: &Path) -> Result<Option<Option<u32>>, ServeError> {
        let path = path.join(SERVE_LOCK);
        let failed = |action, source| ServeError::Io { action, path: path.clone(), source };
        let mut file = match lockgate_own::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_missing() => return Ok(None),
            Err(lockgate_own::OwnError::Io(source)) => return Err(failed("open", source)),
            Err(lockgate_own::OwnError::Foreign(foreign)) => {
                let lockgate_own::Foreign { message, hint } = foreign;
                return Err(SocketsError::NotOurs { message, hint }.into());
            }
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => {
                let text = signature(&mut file).map_err(|source| failed("read", source))?;
                Ok(Some(text.parse().ok()))
            }
            Err(error) => Err(failed("lock", error.into())),
        }
    }

    /// Waits for the turn to run: it is the predecessor's until that has brought to its end what it accepted. Whoever dies loses
    /// it at once.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub async fn turn(&self) -> Result<Lock, ServeError> {
        let path = self.0.join("run.lock");
        let mut is_told = false;
        loop {
            match Lock::acquire(&path)? {
                Ok(mut lock) => {
                    lock.sign().map_err(|source| ServeError::Io { action: "write", path, source })?;
                    return Ok(lock);
                }
                Err(pid) if !is_told => {
                    is_told = true;
                    tracing::info!(pid, "the process before brings what it accepted to its end first");
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(TURN_LOOK_MS)).await;
        }
    }

    /// Why the last upgrade failed; `None` where none has since it was forgotten.
    #[must_use]
    pub fn failed_upgrade(&self) -> Option<String> {
        std::fs::read_to_string(self.refused()).ok().map(|text| text.trim_end().to_owned())
    }

    /// # Errors
    /// It cannot be removed.
    pub fn forget_failed_upgrade(&self) -> Result<(), ServeError> {
        let path = self.refused();
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ServeError::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note_failed_upgrade(&self, reason: &str) {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        if let Err(error) = write(&self.refused(), &reason) {
            tracing::warn!(%error, "why the upgrade failed cannot be written down");
        }
    }

    fn refused(&self) -> PathBuf {
        self.0.join("upgrade-failed")
    }
}

/// Whole or not at all: whoever asked for the upgrade reads it as soon as it is there.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let opened = lockgate_own::open_own(&beside, &mut options);
    let mut file = opened.map_err(|error| std::io::Error::other(error.to_string()))?;
    writeln!(file, "{text}")?;
    std::fs::rename(&beside, path)
}
