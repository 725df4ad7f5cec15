//! What a service's process does on this machine between fork(2) and exec(2): all that `sh/launcher.sh` does elsewhere.
//!
//! It writes its own number and start time before it becomes the service, and both stay: no instant exists in which the
//! service runs unknown, wherever the orchestrator is killed. It then looks whether it is still wanted; whoever
//! supersedes it writes the record first and looks for its run after, so one of the two sees the other.
//!
//! The child of a program with threads may only make system calls there, on memory that was prepared before the fork:
//! nothing in [`PreExec::happen`] allocates, locks or panics (signal-safety(7)).

use std::ffi::{CStr, CString};
use std::io::{self, IoSlice};

use lockgate_ports::PortError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::proc_files;

/// Room for `/proc/self/stat`: 52 numbers and a name.
const STAT_BYTES_MAX: usize = 2048;
/// Room for as much of the record as names its token.
const TOKEN_BYTES_MAX: usize = 256;
/// Files are opened without waiting and without following links. The service does not inherit them.
const NO_DETOUR: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What the child ends with when it is no longer wanted.
const SUPERSEDED: Errno = Errno::CANCELED;

/// Prepared before the fork.
pub(crate) struct PreExec {
    pid_file: CString,
    record: CString,
    /// How the record begins while this start is wanted.
    wanted: Vec<u8>,
    boot_id: String,
}

impl PreExec {
    /// # Errors
    /// `Other` for a path that holds a NUL, else those of reading the boot's id.
    pub fn prepare(prefix: &str, token: &str) -> Result<Self, PortError> {
        let path = |text: String| CString::new(text).map_err(|error| PortError::from(io::Error::from(error)));
        Ok(Self {
            pid_file: path(format!("{prefix}.{token}.pid"))?,
            record: path(format!("{prefix}.json"))?,
            wanted: format!("{{\"token\":\"{token}\"").into_bytes(),
            boot_id: proc_files::boot_id()?,
        })
    }

    /// Makes it part of starting `command`. The process is in a session of its own before it is anything else.
    pub fn arrange(self, command: &mut tokio::process::Command) {
        let happen = move || self.happen().map_err(io::Error::from);
        // SAFETY: `happen` keeps to what a child of a program with threads may do; see the module's text.
        #[allow(unsafe_code)] // There is no other way to do something between fork and exec.
        unsafe {
            command.pre_exec(happen);
        }
    }

    fn happen(&self) -> Result<(), Errno> {
        rustix::process::setsid()?;
        let mut buffer = [0; STAT_BYTES_MAX];
        let (pid, began) = who(read(c"/proc/self/stat", &mut buffer)?).ok_or(Errno::PROTO)?;
        self.sign(pid, began)?;
        let mut buffer = [0; TOKEN_BYTES_MAX];
        if read(&self.record, &mut buffer).is_ok_and(|record| record.starts_with(&self.wanted)) {
            return Ok(());
        }
        rustix::fs::unlink(&*self.pid_file)?;
        Err(SUPERSEDED)
    }

    /// `pid began boot_id`, by one call, so that a reader sees all of it or none.
    fn sign(&self, pid: &[u8], began: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | NO_DETOUR;
        let file = rustix::fs::open(&*self.pid_file, flags, Mode::from_raw_mode(0o600))?;
        let line = [pid, b" ", began, b" ", self.boot_id.as_bytes(), b"\n"];
        let length: usize = line.iter().map(|part| part.len()).sum();
        match rustix::io::writev(&file, &line.map(IoSlice::new))? {
            written if written == length => Ok(()),
            _ => Err(Errno::NOSPC),
        }
    }
}

/// True for a start that did not happen because another start or stop of the slot came in between.
pub(crate) fn was_superseded(error: &io::Error) -> bool {
    error.raw_os_error() == Some(SUPERSEDED.raw_os_error())
}

fn read<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | NO_DETOUR, Mode::empty())?;
    let length = rustix::io::read(&file, &mut *buffer)?;
    buffer.get(..length).ok_or(Errno::PROTO)
}

/// Fields 1 and 22 of a `stat` file of proc(5), the latter counted from behind the name, which may hold anything.
fn who(stat: &[u8]) -> Option<(&[u8], &[u8])> {
    let pid = stat.split(|byte| *byte == b' ').next()?;
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    // What follows the bracket is a blank, so the third field has the number 1.
    let began = stat.get(behind..)?.split(|byte| *byte == b' ').nth(20)?;
    Some((pid, began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_start_time_are_found_behind_any_name() {
        let stat =
            b"42 (a) R 1 (b c) S 1 42 42 0 -1 4194304 98 454 0 6 0 0 0 1 20 0 1 0 249920 2654208 365\n";
        assert_eq!(who(stat), Some((&b"42"[..], &b"249920"[..])));
        assert_eq!(who(b"42 (a"), None);
        assert_eq!(who(b""), None);
    }

    /// What a start does that somebody else has superseded, however late it comes to life.
    #[tokio::test]
    async fn a_start_that_is_no_longer_wanted_never_becomes_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("blue").display().to_string();
        std::fs::write(format!("{prefix}.json"), "{\"token\":\"new\",\"port\":1}\n").unwrap();
        let start = |token: &str| {
            let mut command = tokio::process::Command::new("true");
            PreExec::prepare(&prefix, token).unwrap().arrange(&mut command);
            command.spawn()
        };
        assert!(was_superseded(&start("old").unwrap_err()));
        assert!(!std::fs::exists(format!("{prefix}.old.pid")).unwrap());
        let mut child = start("new").unwrap();
        let written = std::fs::read_to_string(format!("{prefix}.new.pid")).unwrap();
        assert_eq!(crate::record::Run::parse(&written).unwrap().pid, child.id().unwrap());
        assert!(child.wait().await.unwrap().success());
    }
}
