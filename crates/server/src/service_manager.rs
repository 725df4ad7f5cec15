//! What systemd is told (`sd_notify(3)`): a datagram to the socket that it names. Where it names none, nobody is told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Set by systemd for services of `Type=notify`.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// This process serves.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={}", one_line(status)));
}

/// Another process is the service from here on.
pub fn replaced_by(pid: u32) {
    tell(&format!("MAINPID={pid}\nREADY=1"));
}

/// This process ends.
pub fn stopping() {
    tell("STOPPING=1");
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn tell(message: &str) {
    let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else { return };
    let sent = (|| {
        let bytes = name.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // What does not fit into its queue is not waited for.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)
    })();
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
