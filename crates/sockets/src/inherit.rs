//! Descriptors that a predecessor or systemd passed on.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
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

/// Copies of descriptors for one child, and for no other: whatever else is started meanwhile does not inherit them. They close
/// in this process when this is dropped.
pub struct Copies {
    passed: Passed,
    open: Vec<OwnedFd>,
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
            let copy = fcntl_dupfd_cloexec(descriptor, SYSTEMD_FIRST)?;
            let number = copy.as_raw_fd();
            open.push(copy);
            Ok::<RawFd, rustix::io::Errno>(number)
        };
        let listeners = listeners.map(&mut copy).collect::<Result<_, _>>()?;
        let lock = lock.map(&mut copy).transpose()?;
        let passed = Passed { listeners, lock, link: copy(link.as_fd())? };
        Ok(Self { passed, open })
    }

    /// Has the child keep them, and tells it the numbers, by the variable that it reads them from. They must be open until it
    /// was started.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    #[allow(unsafe_code)] // The standard library has no other way to give a child descriptors by their numbers.
    pub fn announce(&self, variable: &str, command: &mut tokio::process::Command) -> std::io::Result<()> {
        for name in SYSTEMD_VARIABLES {
            command.env_remove(name);
        }
        command.env(variable, serde_json::to_string(&self.passed)?);
        let numbers: Vec<RawFd> = self.open.iter().map(AsRawFd::as_raw_fd).collect();
        let keep = move || {
            for number in &numbers {
                // SAFETY: this runs in the child, between fork and exec: it has a copy of every descriptor that was open in its
                // parent, which keeps these open meanwhile.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
                fcntl_setfd(descriptor, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: it calls fcntl(2) and nothing else, which is safe after a fork of a process with several threads.
        unsafe { command.pre_exec(keep) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon starts other programs at any time, from other threads: none of them is to keep its port or its lock.
    #[tokio::test]
    async fn only_the_child_that_they_are_for_gets_copies() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (link, _theirs) = UnixStream::pair().unwrap();
        let copies = Copies::new([listener.as_fd()].into_iter(), Some(listener.as_fd()), &link).unwrap();
        let numbers: Vec<RawFd> = copies.open.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(numbers.len(), 3);
        let list =
            numbers.iter().map(|number| format!("/proc/self/fd/{number}")).collect::<Vec<_>>().join(" ");
        let look = format!("ls {list} 2>/dev/null | wc -l; echo $COPIES");
        let seen = async |command: &mut tokio::process::Command| {
            let output = command.args(["-c", &look]).output().await.unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(seen(&mut tokio::process::Command::new("sh")).await, "0\n\n");
        let mut child = tokio::process::Command::new("sh");
        copies.announce("COPIES", &mut child).unwrap();
        let told = serde_json::to_string(&copies.passed).unwrap();
        assert_eq!(seen(&mut child).await, format!("3\n{told}\n"));
    }
}
