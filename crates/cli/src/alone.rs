//! One command of a kind at a time on this machine: a lock beside lockgate.yaml.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lockgate_model::{Failure, FailureKind, Refusal};
use lockgate_own::{Foreign, OwnError};
use lockgate_ports::PortError;

use crate::error::CliError;

/// A process id and what is round it.
const HOLDER_BYTES_MAX: u64 = 32;
/// Only who runs it reads what was done and what failed.
pub const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Who wants to be alone.
pub struct Kind<'a> {
    /// The lock's file in `.lockgate`.
    pub file: &'a str,
    /// The command, as people type it.
    pub command: &'a str,
    /// What to do where it is held.
    pub hint: &'a str,
}

/// Holds the lock until it is dropped, or its process ends in whatever way.
///
/// # Errors
/// Exit code 6 at once while another process holds it.
pub fn take(root: &Path, kind: &Kind<'_>) -> Result<File, CliError> {
    let path = folder(root)?.join(kind.file);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let mut file = lockgate_own::open_own(&path, &mut options).map_err(|error| unusable(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(&mut file, kind)),
        Err(TryLockError::Error(error)) => return Err(unusable(&path, error.into())),
    }
    // Whoever is kept out wants to know by whom.
    let signed =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    signed.map_err(|error| unusable(&path, error.into()))?;
    Ok(file)
}

fn held(file: &mut File, kind: &Kind<'_>) -> CliError {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let message = format!("another `{}` is at work here{holder}", kind.command);
    let failure = Failure::new(FailureKind::Conflict, message).hint(kind.hint);
    Refusal::Busy { failure }.into()
}

/// `.lockgate` in the folder of lockgate.yaml.
pub fn folder(root: &Path) -> Result<PathBuf, CliError> {
    let folder = root.join(".lockgate");
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
    made.map_err(|error| unusable(&folder, error.into()))?;
    lockgate_own::own_folder(&folder).map_err(|error| unusable(&folder, error))?;
    Ok(folder)
}

/// Nothing of the folder is ever added to a commit by `git add -A`.
pub fn keep_out_of_git(root: &Path) -> Result<(), CliError> {
    let path = folder(root)?.join(".gitignore");
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(MODE).open(&path);
    match file.and_then(|mut file| file.write_all(b"*\n")) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unusable(&path, error.into())),
    }
}

pub fn unusable(path: &Path, error: OwnError) -> CliError {
    match error {
        OwnError::Foreign(Foreign { message, hint }) => {
            Failure::new(FailureKind::Refused, message).hint(hint).into()
        }
        OwnError::Io(error) => PortError::from(error).context(path.display()).into(),
    }
}
