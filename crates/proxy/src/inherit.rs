//! Descriptors that a previous proxy or systemd passed on.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::config::ProxyError;

/// Holds [`Passed`] as JSON, in the environment of a process started by an upgrade.
const HANDOVER: &str = "LOCKGATE_PROXY_HANDOVER";
/// The first descriptor that systemd passes (`sd_listen_fds(3)`).
const SYSTEMD_FIRST: RawFd = 3;
const SYSTEMD_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
const LISTENERS_MAX: usize = 64;

/// The numbers of the descriptors that an upgrade passes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    listeners: Vec<RawFd>,
    lock: RawFd,
    link: RawFd,
}

/// What this process was given.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) listeners: Vec<TcpListener>,
    /// The lock and the connection to the predecessor, in an upgrade.
    pub(crate) upgrade: Option<(OwnedFd, UnixStream)>,
}

impl Inherited {
    /// Reads the environment. To be called once in a process, before other descriptors are opened.
    pub(crate) fn from_environment() -> Result<Self, ProxyError> {
        let refuse = |reason: String| ProxyError::Inherited { reason };
        if let Ok(text) = std::env::var(HANDOVER) {
            let passed: Passed =
                serde_json::from_str(&text).map_err(|error| refuse(format!("{HANDOVER}: {error}")))?;
            let listeners =
                passed.listeners.iter().map(|number| listener(*number)).collect::<Result<_, _>>()?;
            let link = UnixStream::from(adopt(passed.link)?);
            return Ok(Self { listeners, upgrade: Some((adopt(passed.lock)?, link)) });
        }
        let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
        let (Some(pid), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
            return Ok(Self::default());
        };
        if pid != std::process::id() as usize {
            return Ok(Self::default()); // Meant for a parent of ours.
        }
        if count > LISTENERS_MAX {
            return Err(refuse(format!("{count} sockets are more than {LISTENERS_MAX}")));
        }
        let listeners = (SYSTEMD_FIRST..).take(count).map(listener).collect::<Result<_, _>>()?;
        Ok(Self { listeners, upgrade: None })
    }
}

fn listener(number: RawFd) -> Result<TcpListener, ProxyError> {
    let descriptor = adopt(number)?;
    let listens = rustix::net::sockopt::socket_acceptconn(&descriptor);
    if !listens.unwrap_or(false) {
        return Err(ProxyError::Inherited {
            reason: format!("descriptor {number} is not a listening socket"),
        });
    }
    Ok(TcpListener::from(descriptor))
}

/// Takes a descriptor over and keeps it from being inherited further.
#[allow(unsafe_code)] // The only way to own a descriptor that is known by its number.
fn adopt(number: RawFd) -> Result<OwnedFd, ProxyError> {
    let refuse = |reason: String| ProxyError::Inherited { reason };
    if number < SYSTEMD_FIRST {
        return Err(refuse(format!("descriptor {number} is a standard stream")));
    }
    // SAFETY: whoever started this process passed the number for this purpose, and nothing else in this process
    // knows it. If it isn't open, it is let go again below without being closed.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) =
        fcntl_getfd(&descriptor).and_then(|flags| fcntl_setfd(&descriptor, flags | FdFlags::CLOEXEC))
    {
        let number = descriptor.into_raw_fd();
        return Err(refuse(format!("descriptor {number}: {error}")));
    }
    Ok(descriptor)
}

/// Inheritable copies of descriptors, for one child. They close when this is dropped, which should be soon: whatever
/// else is started meanwhile inherits them too.
pub(crate) struct Copies {
    passed: Passed,
    _open: Vec<OwnedFd>,
}

impl Copies {
    pub(crate) fn new<'a>(
        listeners: impl Iterator<Item = BorrowedFd<'a>>,
        lock: BorrowedFd<'_>,
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
        let passed = Passed { listeners, lock: copy(lock)?, link: copy(link.as_fd())? };
        Ok(Self { passed, _open: open })
    }

    /// Tells the child the numbers.
    pub(crate) fn announce(&self, command: &mut tokio::process::Command) -> std::io::Result<()> {
        for name in SYSTEMD_VARIABLES {
            command.env_remove(name);
        }
        command.env(HANDOVER, serde_json::to_string(&self.passed)?);
        Ok(())
    }
}
