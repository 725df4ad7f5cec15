//! Descriptors that a predecessor or systemd passed on.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::AddressFamily;
use serde::{Deserialize, Serialize};

use crate::SocketsError;

/// The first descriptor that systemd passes (`sd_listen_fds(3)`).
const SYSTEMD_FIRST: RawFd = 3;
const SYSTEMD_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
const LISTENERS_MAX: usize = 64;

/// The numbers of the descriptors that an upgrade passes: JSON in a variable of the successor's environment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    listeners: Vec<RawFd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock: Option<RawFd>,
    link: RawFd,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What this process was given.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Empty: none, so the process binds its own.
    pub listeners: Vec<Listener>,
    /// The predecessor's lock, where it passes one on.
    pub lock: Option<OwnedFd>,
    /// The connection to the predecessor. `None`: this is no upgrade.
    pub link: Option<UnixStream>,
}

impl Inherited {
    /// Reads the environment; `variable` is what [`Copies::announce`] of the same server sets. To be called once in a process,
    /// before other descriptors are opened.
    ///
    /// # Errors
    /// [`SocketsError::Inherited`].
    pub fn from_environment(variable: &str) -> Result<Self, SocketsError> {
        if let Ok(text) = std::env::var(variable) {
            let passed: Passed =
                serde_json::from_str(&text).map_err(|error| refused(format!("{variable}: {error}")))?;
            let listeners =
                passed.listeners.iter().map(|number| listener(*number)).collect::<Result<_, _>>()?;
            let link = UnixStream::from(adopt(passed.link)?);
            let lock = passed.lock.map(adopt).transpose()?;
            return Ok(Self { listeners, lock, link: Some(link) });
        }
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
        let (Some(pid), Some(count)) = (number("LISTEN_PID"), number("LISTEN_FDS")) else {
            return Ok(Self::default());
        };
        if pid != std::process::id() as usize {
            return Ok(Self::default()); // Meant for a parent of ours.
        }
        if count > LISTENERS_MAX {
            return Err(refused(format!("{count} sockets are more than {LISTENERS_MAX}")));
        }
        let listeners = (SYSTEMD_FIRST..).take(count).map(listener).collect::<Result<_, _>>()?;
        Ok(Self { listeners, ..Self::default() })
    }
}

/// Removes variables from this process's environment, with those by which systemd passes sockets: what it starts later must not
/// take them for its own. To be called while it has one thread; later it does nothing and says so.
///
/// # Errors
/// [`SocketsError::Inherited`]: there are several threads, any of which may be reading the environment.
#[allow(unsafe_code)] // The standard library has no other way.
pub fn forget_variables(names: &[&str]) -> Result<(), SocketsError> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return Err(refused(
            "the environment cannot be changed any more: there are several threads".to_owned(),
        ));
    }
    for name in SYSTEMD_VARIABLES.iter().chain(names) {
        // SAFETY: there is one thread, this one, which reads no variable meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Ok(())
}

fn refused(reason: String) -> SocketsError {
    SocketsError::Inherited { reason }
}

fn listener(number: RawFd) -> Result<Listener, SocketsError> {
    let descriptor = adopt(number)?;
    let listens = rustix::net::sockopt::socket_acceptconn(&descriptor);
    if !listens.unwrap_or(false) {
        return Err(refused(format!("descriptor {number} is not a listening socket")));
    }
    match rustix::net::sockopt::socket_domain(&descriptor) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(Listener::Tcp(descriptor.into())),
        Ok(AddressFamily::UNIX) => Ok(Listener::Unix(descriptor.into())),
        Ok(_) => Err(refused(format!("descriptor {number} listens neither by TCP nor as a Unix socket"))),
        Err(error) => Err(refused(format!("descriptor {number}: {error}"))),
    }
}

/// Takes a descriptor over and keeps it from being inherited further.
#[allow(unsafe_code)] // The only way to own a descriptor that is known by its number.
fn adopt(number: RawFd) -> Result<OwnedFd, SocketsError> {
    if number < SYSTEMD_FIRST {
        return Err(refused(format!("descriptor {number} is a standard stream")));
    }
    // SAFETY: whoever started this process passed the number for this purpose, and nothing else in this process
    // knows it. If it isn't open, it is let go again below without being closed.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) =
        fcntl_getfd(&descriptor).and_then(|flags| fcntl_setfd(&descriptor, flags | FdFlags::CLOEXEC))
    {
        let number = descriptor.into_raw_fd();
        return Err(refused(format!("descriptor {number}: {error}")));
    }
    Ok(descriptor)
}

/// Inheritable copies of descriptors, for one child. They close when this is dropped, which should be soon: whatever
/// else is started meanwhile inherits them too.
pub struct Copies {
    passed: Passed,
    _open: Vec<OwnedFd>,
}

impl Copies {
    /// # Errors
    /// There are too many open descriptors.
    pub fn new<'a>(
        listeners: impl Iterator<Item = BorrowedFd<'a>>,
        lock: Option<BorrowedFd<'_>>,
        link: &UnixStream,
    ) -> std::io::Result<Self> {
        let mut open = Vec::new();
        let mut copy = |descriptor: BorrowedFd<'_>| {
            let copy = rustix::io::dup(descriptor)?; // `dup` clears close-on-exec.
            let number = copy.as_raw_fd();
            open.push(copy);
            Ok::<RawFd, rustix::io::Errno>(number)
        };
        let listeners = listeners.map(&mut copy).collect::<Result<_, _>>()?;
        let lock = lock.map(&mut copy).transpose()?;
        let passed = Passed { listeners, lock, link: copy(link.as_fd())? };
        Ok(Self { passed, _open: open })
    }

    /// Tells the child the numbers, by the variable that it reads them from.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    pub fn announce(&self, variable: &str, command: &mut tokio::process::Command) -> std::io::Result<()> {
        for name in SYSTEMD_VARIABLES {
            command.env_remove(name);
        }
        command.env(variable, serde_json::to_string(&self.passed)?);
        Ok(())
    }
}
