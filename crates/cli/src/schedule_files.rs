//! Files of the schedule beside lockgate.yaml: the lock that lets one `run-schedule` work at a time, and the log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::alone::{self, Kind, MODE, folder, unusable};
use crate::error::CliError;

/// A log that is longer when a run begins is put aside first. Two are kept.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// Holds the lock until it is dropped, or its process ends in whatever way.
///
/// # Errors
/// Exit code 6 at once while another process holds it.
pub fn alone(root: &Path) -> Result<File, CliError> {
    let hint = "wait for it; a tick that comes meanwhile is made up for by the next call";
    alone::take(root, &Kind { file: "schedule.lock", command: "lockgate run-schedule", hint })
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
