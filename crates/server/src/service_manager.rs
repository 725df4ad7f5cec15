//! What systemd is told (`sd_notify(3)`): a datagram to the socket that it names. Where it names none, nobody is told.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Set by systemd for services of `Type=notify`.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever started this process and wants to know how it is.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    socket: Option<OsString>,
}

impl ServiceManager {
    /// Variables that are about this process alone: what it starts must not have them.
    pub const VARIABLES: [&str; 4] = [VARIABLE, "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID"];

    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        Self { socket: std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) }
    }

    /// What a successor needs to be told of it.
    pub(crate) fn passed_on(&self) -> Option<(&'static str, &OsStr)> {
        Some((VARIABLE, self.socket.as_deref()?))
    }

    /// This process serves.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace(char::is_control, " ")));
    }

    /// Another process is the service from here on.
    pub(crate) fn replaced_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\nREADY=1"));
    }

    /// This process ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, message: &str) {
        let Some(name) = &self.socket else { return };
        if let Err(error) = send(name, message) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

fn send(name: &OsStr, message: &str) -> std::io::Result<usize> {
    let address = match name.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // What does not fit into its queue is not waited for.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_by_a_file_or_an_abstract_name_and_nobody_by_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_file = UnixDatagram::bind(&path).unwrap();
        let name = format!("lockgate-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, listener) in [(path.into_os_string(), by_file), (format!("@{name}").into(), by_name)] {
            let manager = ServiceManager { socket: Some(socket) };
            manager.ready("listening\nMAINPID=1");
            manager.replaced_by(7);
            let mut message = [0; 100];
            let mut heard = || {
                let length = listener.recv(&mut message).unwrap();
                String::from_utf8_lossy(&message[..length]).into_owned()
            };
            assert_eq!(heard(), "READY=1\nSTATUS=listening MAINPID=1");
            assert_eq!(heard(), "MAINPID=7\nREADY=1");
        }
        ServiceManager::default().stopping();
        // One that has gone is no reason not to serve.
        ServiceManager { socket: Some(dir.path().join("gone").into()) }.stopping();
    }
}
