//! Files of the schedule beside lockgate.yaml: the lock that lets one `run-schedule` work at a time, and the log.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lockgate_model::{Failure, FailureKind, Refusal};
use lockgate_own::{Foreign, OwnError};
use lockgate_ports::PortError;

use crate::error::CliError;

/// A log that is longer when a run begins is put aside first. Two are kept.
const LOG_BYTES_MAX: u64 = 1024 * 1024;
/// A process id and what is round it.
const HOLDER_BYTES_MAX: u64 = 32;
/// Only who runs it reads what was deployed and what failed.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Holds the lock until it is dropped, or its process ends in whatever way.
///
/// # Errors
/// Exit code 6 at once while another process holds it.
pub fn alone(root: &Path) -> Result<File, CliError> {
    let path = folder(root)?.join("schedule.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let mut file = lockgate_own::open_own(&path, &mut options).map_err(|error| unusable(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(&mut file)),
        Err(TryLockError::Error(error)) => return Err(unusable(&path, error.into())),
    }
    // Whoever is kept out wants to know by whom.
    let signed =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    signed.map_err(|error| unusable(&path, error.into()))?;
    Ok(file)
}

fn held(file: &mut File) -> CliError {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let failure = Failure::new(
        FailureKind::Conflict,
        format!("another `lockgate run-schedule` is at work here{holder}"),
    )
    .hint("wait for it; a tick that comes meanwhile is made up for by the next call");
    Refusal::Busy { failure }.into()
}

/// From now on all that this process writes to stdout and stderr goes to the end of the log beside the configuration.
///
/// # Errors
/// The log cannot be opened, or is not ours.
pub fn redirect(config: &Path) -> Result<(), CliError> {
    let config = std::path::absolute(config)?;
    let path = folder(config.parent().unwrap_or(Path::new("/")))?.join("schedule.log");
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    let mut open = || lockgate_own::open_own(&path, &mut options).map_err(|error| unusable(&path, error));
    let mut file = open()?;
    if file.metadata()?.len() > LOG_BYTES_MAX {
        let before = path.with_extension("log.1");
        std::fs::rename(&path, &before).map_err(|error| unusable(&before, error.into()))?;
        file = open()?;
    }
    rustix::stdio::dup2_stdout(&file).map_err(std::io::Error::from)?;
    rustix::stdio::dup2_stderr(&file).map_err(std::io::Error::from)?;
    Ok(())
}

/// `.lockgate` in the folder of lockgate.yaml.
fn folder(root: &Path) -> Result<PathBuf, CliError> {
    let folder = root.join(".lockgate");
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
    made.map_err(|error| unusable(&folder, error.into()))?;
    lockgate_own::own_folder(&folder).map_err(|error| unusable(&folder, error))?;
    Ok(folder)
}

fn unusable(path: &Path, error: OwnError) -> CliError {
    match error {
        OwnError::Foreign(Foreign { message, hint }) => {
            Failure::new(FailureKind::Refused, message).hint(hint).into()
        }
        OwnError::Io(error) => PortError::from(error).context(path.display()).into(),
    }
}
