//! What the router is told, and where what it is told leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_model::Millis;
use lockgate_ports::Host;

/// One service's route in the proxy of one host.
pub struct BuiltinOptions {
    pub host: Arc<dyn Host>,
    /// Absolute folder of the proxy's socket and state on the host.
    pub dir: String,
    /// Names the route among all of that proxy: `project-service-environment`, of `A-Z a-z 0-9 . _ -`. A longer one
    /// than the proxy takes is shortened, with a hash so that it stays one of a kind.
    pub route_id: String,
    /// Where the proxy listens, as `lockgate.yaml` says: `127.0.0.1:8080`.
    pub listen: String,
    /// Host names that lead to the service; empty: any.
    pub hosts: Vec<String>,
    /// Path prefix that leads to the service. It is not taken off: the service sees whole paths.
    pub path: Option<String>,
    /// How long a slot may take to begin its response; absent: as the proxy does by itself.
    pub response_timeout: Option<Millis>,
    /// How long a request's or a response's body may stand still; absent: as the proxy does by itself.
    pub stall_timeout: Option<Millis>,
    /// Networks of the proxies in front whose `X-Forwarded-*` is passed on.
    pub trusted_proxies: Vec<IpNet>,
    /// Program and arguments that run the proxy on the host, in the foreground: `lockgate proxy --dir D --listen L`.
    /// `None`: somebody else sees to it that it runs.
    pub launch: Option<Vec<String>>,
}

/// An address to connect to, for one that means all addresses of the host.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_is_asked_at_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(reachable("10.0.0.1:80".parse().unwrap()).to_string(), "10.0.0.1:80");
    }
}
