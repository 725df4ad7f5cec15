//! A compare-and-swap that is over soon, whoever is stopped meanwhile.
//!
//! A process that is stopped (SIGSTOP, Ctrl-Z, a debugger) keeps its locks. So `flock(2)` is never held by this process,
//! nor by any of its process group: a child in a session of its own takes it, for a comparison and a renaming alone. What
//! is renamed lies on the disk before, and that the renaming does is seen to after. Whether this process is stopped, killed
//! or forgotten then, the child comes to its end by itself; it does nothing for one that is gone. A process that is stopped
//! before holds nothing, and its old comparison is made under the lock when it goes on.
//!
//! The child of a program with threads may only make system calls, on memory that was prepared before: nothing in
//! [`Swap::happen`] allocates, locks or panics (signal-safety(7)). On Linux it has this process's memory itself, as a program
//! that is spawned has until it is there (clone(2), `CLONE_VM`): a fork copies page tables and costs milliseconds.

use std::ffi::{CStr, CString, c_int};
use std::io::{Error, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lockgate_ports::LockHolder;
use rustix::event::Timespec;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// Longest wait for somebody else's swap of the same file, which takes milliseconds.
pub(crate) const LOCK_SECONDS_MAX: u64 = 10;
/// Attempts to lock within that, a pause apart.
const LOCK_ATTEMPTS_MAX: u64 = LOCK_SECONDS_MAX * 1_000;
const LOCK_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// The child's stack, which holds a piece of the file and little more.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 64 * 1024;
/// As much of the file as is read at once.
const PIECE_BYTES: usize = 4096;
/// Files are opened without waiting and without following links.
const NO_DETOUR: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How the child ends. Above [`ERRNO`] it is an error of the system.
const SWAPPED: i32 = 0;
const OTHER_CONTENT: i32 = 1;
const LOCKED: i32 = 2;
const ABANDONED: i32 = 3;
const ERRNO: i32 = 100;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Swapped,
    /// The file held something else.
    OtherContent,
    /// Somebody else had the lock for [`LOCK_SECONDS_MAX`].
    Locked,
}

/// Prepared before the fork.
pub(crate) struct Swap<'a> {
    path: CString,
    lock: CString,
    /// What is to be there instead, on the disk already.
    new: CString,
    expected: Option<&'a [u8]>,
    /// For whom it is done.
    parent: Pid,
    /// For tests: told when the lock is held, which is kept until it says something.
    pub hook: Option<(OwnedFd, OwnedFd)>,
}

impl<'a> Swap<'a> {
    /// # Errors
    /// A path that holds a NUL.
    pub fn new(path: &Path, lock: &Path, new: &Path, expected: Option<&'a [u8]>) -> std::io::Result<Self> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(Error::from);
        let (path, lock, new) = (text(path)?, text(lock)?, text(new)?);
        Ok(Self { path, lock, new, expected, parent: rustix::process::getpid(), hook: None })
    }

    /// Waits for the child.
    ///
    /// # Errors
    /// The child's; `Interrupted` when it was killed: whether it has swapped is then unknown.
    pub fn run(&self) -> std::io::Result<Came> {
        let child = self.start()?;
        let status = loop {
            match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ended) => break ended.and_then(|(_, status)| WaitStatus::exit_status(status)),
            }
        };
        match status {
            Some(SWAPPED) => Ok(Came::Swapped),
            Some(OTHER_CONTENT) => Ok(Came::OtherContent),
            Some(LOCKED) => Ok(Came::Locked),
            Some(errno) if errno > ERRNO => Err(Error::from_raw_os_error(errno - ERRNO)),
            Some(_) | None => Err(Error::new(ErrorKind::Interrupted, "the process that swaps it was killed")),
        }
    }

    fn start(&self) -> std::io::Result<Pid> {
        // SAFETY: `sigset_t` is plain data that `sigfillset` fills. The child does what `be_child` says.
        #[allow(unsafe_code)] // There is no other way to do something in a child without another program.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            // Neither Ctrl-C nor Ctrl-Z reaches the child before it has its session, nor this program's handlers in it.
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let child = self.bear();
            let failed = Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            Pid::from_raw(child).filter(|_| child > 0).ok_or(failed)
        }
    }

    /// The child's id, or -1 with the error in `errno`.
    ///
    /// # Safety
    /// With all signals blocked.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    unsafe fn bear(&self) -> c_int {
        /// # Safety
        /// `swap` is a [`Swap`] that lives as long as the child.
        extern "C" fn run(swap: *mut libc::c_void) -> c_int {
            // SAFETY: as above, and only the child comes here.
            unsafe { (*swap.cast::<Swap<'static>>()).be_child() }
        }
        let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
        // SAFETY: this thread stands still until the child has ended (`CLONE_VFORK`), so the stack, which grows downwards from
        // its end, and `self` are there for as long. Another process is killed and stopped by itself (no `CLONE_THREAD`).
        unsafe {
            let top = stack.as_mut_ptr_range().end.cast();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(run, top, flags, std::ptr::from_ref(self).cast_mut().cast())
        }
    }

    /// As there.
    #[cfg(not(target_os = "linux"))]
    #[allow(unsafe_code)]
    unsafe fn bear(&self) -> c_int {
        // SAFETY: the child does what `be_child` says.
        unsafe {
            match libc::fork() {
                0 => self.be_child(),
                child => child,
            }
        }
    }

    /// Keeps to what `happen` may do, and leaves by `_exit`, without anything of this process's being unwound or written.
    ///
    /// # Safety
    /// Only in a child.
    #[allow(unsafe_code)]
    unsafe fn be_child(&self) -> ! {
        // SAFETY: as the caller says.
        unsafe {
            libc::setsid();
            if self.hook.is_none() {
                close_all();
            }
            libc::_exit(self.happen().unwrap_or_else(|error| ERRNO + error.raw_os_error()))
        }
    }

    fn happen(&self) -> Result<i32, Errno> {
        let lock = rustix::fs::open(&*self.lock, OFlags::WRONLY | NO_DETOUR, Mode::empty())?;
        if !locks(&lock)? {
            return Ok(LOCKED);
        }
        if let Some((told, goes_on)) = &self.hook {
            rustix::io::write(told, b"x")?;
            rustix::io::read(goes_on, &mut [0; 1])?;
        } else if rustix::process::getppid() != Some(self.parent) {
            return Ok(ABANDONED);
        }
        if !self.holds_expected()? {
            return Ok(OTHER_CONTENT);
        }
        rustix::fs::rename(&*self.new, &*self.path)?;
        Ok(SWAPPED)
    }

    fn holds_expected(&self) -> Result<bool, Errno> {
        let file = match (open(&self.path), self.expected) {
            (Err(Errno::NOENT), expected) => return Ok(expected.is_none()),
            (Err(error), _) => return Err(error),
            (Ok(_), None) => return Ok(false),
            (Ok(file), Some(_)) => file,
        };
        let mut rest = self.expected.unwrap_or_default();
        let mut piece = [0; PIECE_BYTES];
        loop {
            let length = rustix::io::read(&file, &mut piece)?;
            match (piece.get(..length), rest.split_at_checked(length)) {
                (Some([]), _) => return Ok(rest.is_empty()),
                (Some(seen), Some((wanted, behind))) if seen == wanted => rest = behind,
                _ => return Ok(false),
            }
        }
    }
}

/// False when somebody else has it all the time.
fn locks(file: &OwnedFd) -> Result<bool, Errno> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR | Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error),
        }
        // Nothing is waited for but the time.
        rustix::event::poll(&mut [], Some(&LOCK_PAUSE))?;
    }
    Ok(false)
}

fn open(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | NO_DETOUR, Mode::empty())
}

/// Nobody waits for the other end of what this process has open, while the child waits for the lock. Where the system has
/// no such call they stay open for as long.
///
/// # Safety
/// Only in a child that leaves by `_exit`: every descriptor is closed, whoever owns it.
#[allow(unsafe_code)]
unsafe fn close_all() {
    #[cfg(target_os = "linux")]
    // SAFETY: as the caller says.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
    }
}

/// Who holds a lock, by `/proc/locks`. `None` where that is not known.
pub(crate) fn holder_of(lock: BorrowedFd<'_>) -> Option<LockHolder> {
    let seen = rustix::fs::fstat(lock).ok()?;
    let (major, minor) = (rustix::fs::major(seen.st_dev), rustix::fs::minor(seen.st_dev));
    let place = format!("{major:02x}:{minor:02x}:{}", seen.st_ino);
    let pid = holder_among(&std::fs::read_to_string("/proc/locks").ok()?, &place)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().next());
    Some(LockHolder { pid, name, is_stopped: matches!(state, Some("T" | "t")) })
}

/// A line that waits has `->` as its second word.
fn holder_among(locks: &str, place: &str) -> Option<u32> {
    let words = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    locks.lines().map(words).find_map(|words| match words.as_slice() {
        [_, kind, _, _, pid, at, ..] if kind == "FLOCK" && at == place => {
            pid.parse().ok().filter(|pid| *pid != 0)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
