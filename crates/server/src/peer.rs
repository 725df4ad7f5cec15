//! Who calls, as the socket says it; what a header says of it is not looked at.

use std::fmt;
use std::net::IpAddr;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By TCP, from this address; IPv4 as IPv4, however the socket has it.
    Address(IpAddr),
    /// By a Unix socket, which has no address.
    Unix,
}

impl Peer {
    pub(crate) fn of(address: IpAddr) -> Self {
        Peer::Address(address.to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}
