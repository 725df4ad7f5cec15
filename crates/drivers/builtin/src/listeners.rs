//! Whether the proxy that runs listens where `lockgate.yaml` says.
//!
//! One that listens elsewhere takes every change and answers every question there, while nobody answers on the address
//! that users have. An upgrade keeps the sockets it inherits, so only stopping the proxy changes them.

use std::net::{IpAddr, SocketAddr};

use lockgate_model::FailureKind;
use lockgate_ports::PortError;
use lockgate_proxy::StatusView;

use crate::options::{BuiltinOptions, reachable};

/// Where the running proxy answers on the configured address, as seen from its host. A configured port of 0 is any
/// listener's.
///
/// # Errors
/// `Refused`, with what to do about it.
pub(crate) fn public(status: &StatusView, options: &BuiltinOptions) -> Result<SocketAddr, PortError> {
    let Ok(wanted) = options.listen.parse::<SocketAddr>() else {
        let message = format!("{:?} is not an address to listen on", options.listen);
        return Err(
            PortError::new(FailureKind::Refused, message).hint("write it as 127.0.0.1:8080 or [::]:8080")
        );
    };
    let found = match wanted.port() {
        0 => status.listeners.first().copied(),
        _ => status.listeners.iter().any(|bound| covers(*bound, wanted)).then_some(wanted),
    };
    found.map(reachable).ok_or_else(|| elsewhere(status, options))
}

/// Whether who connects to `wanted` reaches a socket bound to `bound`.
fn covers(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let every_address = match bound.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && wanted.is_ipv4(),
        // Linux lets it take IPv4 too (`net.ipv6.bindv6only` is 0 unless somebody changed it).
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    bound.port() == wanted.port() && (every_address || bound.ip() == wanted.ip())
}

/// All that the running proxy listens on, for people.
pub(crate) fn bound(status: &StatusView) -> String {
    status.listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn elsewhere(status: &StatusView, options: &BuiltinOptions) -> PortError {
    let (dir, listen, pid) = (&options.dir, &options.listen, status.pid);
    let message = format!("the proxy in {dir} listens on {}, not on {listen}", bound(status));
    PortError::new(FailureKind::Refused, message).hint(format!(
        "stop it on the host (kill {pid}) and start it again (lockgate proxy --dir {dir} --listen {listen}; an upgrade \
         keeps the old address), or set router.builtin.listen to where it listens, or another router.builtin.dir"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_covers_its_own_address_and_one_for_all_covers_every_address_of_its_port() {
        for (bound, wanted, covered) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", false),
            ("0.0.0.0:80", "10.0.0.1:80", true),
            ("0.0.0.0:80", "10.0.0.1:81", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "10.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::1]:80", "[::]:80", false),
        ] {
            assert_eq!(covers(bound.parse().unwrap(), wanted.parse().unwrap()), covered, "{bound} {wanted}");
        }
    }
}
