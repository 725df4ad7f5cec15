//! Starting the proxy again when it dies.
//!
//! The supervisor is a process without a runtime that sleeps in `flock` on `proxy.lock`, which is free only while no proxy
//! serves, whoever started the one that did: a successor after an upgrade has inherited it. What the lock file says tells how
//! the last one ended: one that was asked to stop has taken its id out, one that died has not.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lockgate_sockets::{Program, open_lock, signature};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::config::{ProxyConfig, ProxyError};

/// What the lock file says once a proxy has ended as it was asked to.
pub(crate) const STOPPED: &str = "stopped";
/// One that has served for so long is started again at once.
const SETTLED_SECONDS: u64 = 10;
/// How often a lock that is held is tried, and how far apart.
const LOOKS_MAX: u32 = 5;
const LOOK_MILLIS: u64 = 10;
/// Pause before the second start in a row, and the longest: they double.
const PAUSE_MILLIS_FIRST: u64 = 100;
const PAUSE_SECONDS_MAX: u64 = 30;

/// How supervising ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervised {
    /// The proxy was asked to stop, or its folder is gone.
    Stopped,
    /// It did not even start; it has said why itself.
    NeverServed,
    /// Somebody else supervises this folder's proxy already: whoever calls serves without.
    ByAnother,
}

/// Runs `arguments` of this program, which serve the proxy of `config.dir`, and again whenever it dies, until it is asked to
/// stop. Blocks. Its own end ends no proxy.
///
/// # Errors
/// The folder or a lock file in it cannot be used, or this program cannot be started (again).
pub fn supervise(config: &ProxyConfig, arguments: &[OsString]) -> Result<Supervised, ProxyError> {
    let dir = &config.dir;
    let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(|error| ProxyError::io("create", dir, error))?;
    lockgate_own::own_folder(dir).map_err(|error| ProxyError::own("look at", dir, error))?;
    let own_path = supervisor_lock(dir);
    let own = open(&own_path)?;
    if !take(&own, &own_path)? {
        return Ok(Supervised::ByAnother);
    }
    let program =
        Program { exe: Program::current().map_err(ProxyError::sockets)?.exe, args: arguments.to_vec() };
    let mut pause = Duration::ZERO;
    let mut has_served = false;
    loop {
        std::thread::sleep(pause);
        let begun = Instant::now();
        // Whose id is in there was said when that one ended.
        clear_unless_held(config)?;
        let status = run(&program)?;
        match ended(config)? {
            End::Stopped => return Ok(Supervised::Stopped),
            End::Died => has_served = true,
            End::Unserved if has_served => {}
            End::Unserved => return Ok(unserved(status)),
        }
        pause = match begun.elapsed() >= Duration::from_secs(SETTLED_SECONDS) {
            true => Duration::ZERO,
            false => next(pause),
        };
        tracing::error!(%status, "the proxy died and is started again");
    }
}

/// Whether somebody starts the proxy of this folder again when it dies: its supervisor, or systemd.
pub(crate) fn is_supervised(dir: &Path) -> bool {
    let path = supervisor_lock(dir);
    let held = || -> Result<bool, ProxyError> {
        if !path.exists() {
            return Ok(false);
        }
        Ok(!try_lock(&open(&path)?, &path)?)
    };
    // Set by systemd for what it started (systemd.exec(5)).
    std::env::var_os("INVOCATION_ID").is_some() || held().unwrap_or(false)
}

fn supervisor_lock(dir: &Path) -> PathBuf {
    dir.join("supervisor.lock")
}

/// How the last proxy of the folder ended.
enum End {
    Stopped,
    Died,
    /// Its process ended before it served.
    Unserved,
}

/// A lock file of ours, which is made where it is missing.
fn open(path: &Path) -> Result<File, ProxyError> {
    open_lock(path).map_err(ProxyError::sockets)
}

/// False while somebody else holds it.
fn try_lock(file: &File, path: &Path) -> Result<bool, ProxyError> {
    lockgate_sockets::try_lock(file, path).map_err(ProxyError::sockets)
}

/// Waits until no proxy serves in the folder any more.
fn ended(config: &ProxyConfig) -> Result<End, ProxyError> {
    let path = config.lock_file();
    let mut lock = open(&path)?;
    wait(&lock, &path)?;
    let metadata = lock.metadata().map_err(|error| ProxyError::io("look at", &path, error))?;
    if metadata.nlink() == 0 {
        return Ok(End::Stopped);
    }
    let text = signature(&mut lock).map_err(|error| ProxyError::io("read", &path, error))?;
    Ok(match text.as_str() {
        "" => End::Unserved,
        STOPPED => End::Stopped,
        _ => End::Died,
    })
}

/// So that what is read there later was written by a proxy that has served since.
fn clear_unless_held(config: &ProxyConfig) -> Result<(), ProxyError> {
    let path = config.lock_file();
    let lock = open(&path)?;
    if try_lock(&lock, &path)? {
        lock.set_len(0).map_err(|error| ProxyError::io("write", &path, error))?;
    }
    Ok(())
}

fn run(program: &Program) -> Result<ExitStatus, ProxyError> {
    let mut command = Command::new(&program.exe);
    command.args(&program.args).stdin(Stdio::null());
    command.status().map_err(|error| ProxyError::io("start", &program.exe, error))
}

fn unserved(status: ExitStatus) -> Supervised {
    match status.success() {
        // It was asked to stop before it served.
        true => Supervised::Stopped,
        false => Supervised::NeverServed,
    }
}

fn next(pause: Duration) -> Duration {
    match pause.is_zero() {
        true => Duration::from_millis(PAUSE_MILLIS_FIRST),
        false => (pause * 2).min(Duration::from_secs(PAUSE_SECONDS_MAX)),
    }
}

/// As [`try_lock`], and again while somebody may only look whether it is held.
fn take(file: &File, path: &Path) -> Result<bool, ProxyError> {
    for _ in 1..LOOKS_MAX {
        if try_lock(file, path)? {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
    }
    try_lock(file, path)
}

fn wait(file: &File, path: &Path) -> Result<(), ProxyError> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ProxyError::io("lock", path, error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_none_and_are_bounded() {
        let mut pauses = std::iter::successors(Some(Duration::ZERO), |pause| Some(next(*pause)));
        let millis: Vec<u128> = pauses.by_ref().take(5).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [0, 100, 200, 400, 800]);
        assert_eq!(pauses.nth(20), Some(Duration::from_secs(PAUSE_SECONDS_MAX)));
    }

    #[test]
    fn what_the_lock_file_says_tells_how_the_last_one_ended() {
        let dir = tempfile::tempdir().unwrap();
        let config = ProxyConfig::new(dir.path());
        for (text, stopped, died) in [("", false, false), ("4711\n", false, true), ("stopped\n", true, false)]
        {
            std::fs::write(config.lock_file(), text).unwrap();
            let end = ended(&config).unwrap();
            assert_eq!((matches!(end, End::Stopped), matches!(end, End::Died)), (stopped, died), "{text:?}");
        }
        clear_unless_held(&config).unwrap();
        assert!(matches!(ended(&config), Ok(End::Unserved)));
    }

    #[test]
    fn one_folder_has_one_supervisor() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_supervised(dir.path()));
        let path = supervisor_lock(dir.path());
        let other = open(&path).unwrap();
        assert!(try_lock(&other, &path).unwrap());
        assert!(is_supervised(dir.path()));
        let refused = supervise(&ProxyConfig::new(dir.path()), &[]).unwrap();
        assert_eq!(refused, Supervised::ByAnother);
    }
}
