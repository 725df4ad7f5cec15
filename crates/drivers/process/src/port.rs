//! Which port a slot gets, and who has it when it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Host, PortError};

use crate::script;

/// Free ports on another machine are looked for here: below the range that Linux takes for outgoing connections.
const REMOTE_PORTS: std::ops::Range<u16> = 20_000..30_000;
/// How often this machine is asked for a free port until it names one that we can take.
const PORT_TRIES_MAX: u32 = 16;

/// The port of a slot whose service has a fixed one: blue the port itself, green the next, for both slots run at once. Main
/// is alone.
///
/// # Errors
/// `Refused` for 65535 and green.
pub(crate) fn fixed(port: u16, slot: Slot) -> Result<u16, PortError> {
    match slot {
        Slot::Blue | Slot::Main => Ok(port),
        Slot::Green => port.checked_add(1).ok_or_else(|| {
            PortError::new(FailureKind::Refused, "green would need port 65536, the one after the service's")
                .hint("give the service a lower port, or none")
        }),
    }
}

/// Makes sure that nothing listens on the port.
///
/// # Errors
/// `Conflict` naming who does.
pub(crate) async fn require_free(host: &dyn Host, port: u16) -> Result<(), PortError> {
    // Binding fails for a port with old connections too, so only a refusal is looked into.
    if host.id().is_local() && can_bind(port, true) {
        return Ok(());
    }
    if Sockets::of_nobody(host).await?.who_listens(port).is_none() {
        return Ok(());
    }
    let Some(owners) = Sockets::of_everyone(host).await?.who_listens(port) else { return Ok(()) };
    let who = match owners.as_slice() {
        [] => "a process of another user".to_owned(),
        pids => pids.iter().map(|pid| format!("process {pid}")).collect::<Vec<_>>().join(", "),
    };
    Err(PortError::new(FailureKind::Conflict, format!("port {port} is taken by {who}")).hint(format!(
        "stop it (`ss -ltnp 'sport = :{port}'` shows it), or give the service another port or none"
    )))
}

/// A port on which nothing listens: `before` if possible, never one of `avoid`, which are other slots' and may be what the
/// router dials although nothing runs there now.
///
/// # Errors
/// `Conflict` when none is found.
pub(crate) async fn choose(host: &dyn Host, before: Option<u16>, avoid: &[u16]) -> Result<u16, PortError> {
    let none = || PortError::new(FailureKind::Conflict, "the host has no free port");
    let before = before.filter(|port| !avoid.contains(port));
    if host.id().is_local() {
        // Without SO_REUSEADDR: whoever gets the port may not set it, and old connections would be in its way.
        if let Some(port) = before.filter(|port| can_bind(*port, false)) {
            return Ok(port);
        }
        let free = (0..PORT_TRIES_MAX).filter_map(|_| any_free()).find(|port| !avoid.contains(port));
        return free.ok_or_else(none);
    }
    let sockets = Sockets::of_nobody(host).await?;
    let free = |port: &u16| !avoid.contains(port) && sockets.who_listens(*port).is_none();
    if let Some(port) = before.filter(free) {
        return Ok(port);
    }
    // Two orchestrators that choose at the same time should not choose the same, so each begins somewhere else.
    let start = (uuid::Uuid::now_v7().as_u128() % REMOTE_PORTS.len() as u128) as usize;
    REMOTE_PORTS.cycle().skip(start).take(REMOTE_PORTS.len()).find(free).ok_or_else(none)
}

fn can_bind(port: u16, reuse: bool) -> bool {
    let bind = || {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(reuse)?;
        socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        // Binding alone does not collide with a listener that allows reuse.
        socket.listen(1).map(drop)
    };
    bind().is_ok()
}

fn any_free() -> Option<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    listener.local_addr().ok().map(|address| address.port())
}

/// Listening TCP sockets of a host, and who holds which socket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Port to inodes.
    listening: BTreeMap<u16, BTreeSet<u64>>,
    /// Inode to processes.
    holders: BTreeMap<u64, BTreeSet<u32>>,
}

impl Sockets {
    /// Only what listens.
    pub async fn of_nobody(host: &dyn Host) -> Result<Sockets, PortError> {
        Sockets::ask(host, &[]).await
    }

    /// Looks at every process that we may look at; takes up to a second.
    pub async fn of_everyone(host: &dyn Host) -> Result<Sockets, PortError> {
        Sockets::ask(host, &["all"]).await
    }

    /// Looks only at the processes of one run.
    pub async fn of_run(host: &dyn Host, prefix: &str, token: &str) -> Result<Sockets, PortError> {
        Sockets::ask(host, &[prefix, token]).await
    }

    async fn ask(host: &dyn Host, whose: &[&str]) -> Result<Sockets, PortError> {
        let command = script::command(script::SOCKETS, whose.iter().copied());
        let output = script::run(host, "look at the ports", &command).await?;
        Ok(Sockets::parse(&output.stdout_text()))
    }

    fn parse(text: &str) -> Sockets {
        let mut sockets = Sockets::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["listen", port, inode] => {
                    if let (Ok(port), Ok(inode)) = (u16::from_str_radix(port, 16), inode.parse()) {
                        sockets.listening.entry(port).or_default().insert(inode);
                    }
                }
                ["fd", pid, inode] => {
                    if let (Ok(pid), Ok(inode)) = (pid.parse(), inode.parse()) {
                        sockets.holders.entry(inode).or_default().insert(pid);
                    }
                }
                _ => {}
            }
        }
        sockets
    }

    /// `None` when nothing listens; empty when it is not known who does.
    pub fn who_listens(&self, port: u16) -> Option<Vec<u32>> {
        let inodes = self.listening.get(&port)?;
        let pids: BTreeSet<u32> =
            inodes.iter().filter_map(|inode| self.holders.get(inode)).flatten().copied().collect();
        Some(pids.into_iter().collect())
    }

    /// Ports on which a process that was looked at listens.
    pub fn held(&self) -> Vec<u16> {
        let held = |inodes: &BTreeSet<u64>| inodes.iter().any(|inode| self.holders.contains_key(inode));
        self.listening.iter().filter(|(_, inodes)| held(inodes)).map(|(port, _)| *port).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_a_service_with_a_port_have_two() {
        assert_eq!(fixed(5000, Slot::Blue).unwrap(), 5000);
        assert_eq!(fixed(5000, Slot::Main).unwrap(), 5000);
        assert_eq!(fixed(5000, Slot::Green).unwrap(), 5001);
        assert_eq!(fixed(u16::MAX, Slot::Green).unwrap_err().kind, FailureKind::Refused);
    }

    #[test]
    fn a_listener_is_found_with_its_process_or_without() {
        let sockets = Sockets::parse("listen 1F90 11\nlisten 1F90 12\nlisten 0016 13\nfd 7 12\nfd 7 99\n");
        assert_eq!(sockets.who_listens(8080), Some(vec![7]));
        assert_eq!(sockets.who_listens(22), Some(vec![]));
        assert_eq!(sockets.who_listens(23), None);
        assert_eq!(sockets.held(), [8080]);
    }

    #[tokio::test]
    async fn a_port_that_somebody_listens_on_cannot_be_bound() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!can_bind(port, true));
        drop(taken);
        assert!(can_bind(port, true));
    }
}
