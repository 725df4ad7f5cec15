//! Requests in flight: the connections that nginx holds to the slot, for it does not count them itself.

use std::net::{IpAddr, SocketAddr};

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Command, Endpoint, Host, InFlight, PortError};

use crate::follows::Routes;
use crate::version::{GROUPS_KEEP_ALIVE, Version};

const CONNECTIONS: &str = include_str!("sh/connections.sh");
/// Longest wait for the count.
const COUNT_SECONDS_MAX: u64 = 5;

/// `dial`: what nginx dials for the slot. `endpoint`: where the slot answers as seen from the host, for a dial that is a name.
pub(crate) async fn in_flight(
    host: &dyn Host,
    slot: Slot,
    dial: &str,
    endpoint: Option<&Endpoint>,
) -> Result<InFlight, PortError> {
    let of_runtime = || match endpoint? {
        Endpoint::Tcp(address) => address.parse().ok(),
        Endpoint::Unix(_) => None,
    };
    let address: SocketAddr = dial.parse().ok().or_else(of_runtime).ok_or_else(|| {
        unknown(slot, &format!("no address of {dial} is known on the host"))
            .hint("dial an address (`router.nginx.dial`); until then draining takes until its deadline")
    })?;
    let argv = ["sh", "-c", CONNECTIONS, "connections.sh"].map(str::to_owned);
    let command = Command::new(argv.into_iter().chain(written(address)));
    let output = host.exec(&command.timeout(Millis::from_secs(COUNT_SECONDS_MAX))).await?;
    let text = output.stdout_text();
    let open = text.lines().find_map(|line| line.strip_prefix("open ")?.trim().parse().ok());
    open.map(|requests| InFlight { requests, upgraded: 0 }).ok_or_else(|| {
        unknown(slot, "no process called nginx is seen on the host, whose connections could be counted")
            .hint("see that nginx runs there; until then draining takes until its deadline")
    })
}

fn unknown(slot: Slot, why: &str) -> PortError {
    PortError::other(format!("the requests in flight on {slot} cannot be counted: {why}")).without_effect()
}

/// Why a count may be another one than that of the requests, a sentence each. Empty where it is exact.
pub(crate) fn inexact(routes: &Routes, version: Option<Version>) -> Vec<String> {
    let keeps = |keepalive: Option<u64>| match keepalive {
        Some(connections) => connections > 0,
        // Unknown is the newest.
        None => version.is_none_or(|version| version >= GROUPS_KEEP_ALIVE),
    };
    let mut sentences = Vec::new();
    let kept: Vec<&str> = routes
        .groups
        .iter()
        .filter(|(_, group)| keeps(group.keepalive))
        .map(|(name, _)| name.as_str())
        .collect();
    if !kept.is_empty() {
        sentences.push(format!(
            "the upstream group {} keeps connections that carry no request (`keepalive`), and a slot is drained until nginx holds none to \
             it, so this takes until they idle out or until the deadline: `keepalive 0` there, or dial the addresses without a group",
            kept.join(" and ")
        ));
    }
    if let Some(place) = routes.places().find(|place| place.buffers) {
        sentences.push(format!(
            "a request whose body nginx is still reading is not counted, and is lost if the old slot stops meanwhile: \
             `proxy_request_buffering off;` beside the `proxy_pass` ({}) has nginx connect first",
            place.at
        ));
    }
    sentences
}

/// As `/proc/net/tcp` and `/proc/net/tcp6` write a remote address: words of four bytes in the machine's order, little-endian on
/// every machine that Lockgate knows.
fn written(address: SocketAddr) -> Vec<String> {
    let word = |bytes: &[u8]| bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect::<String>();
    let port = address.port();
    let v6 = |octets: [u8; 16]| {
        let words: String = octets.chunks(4).map(word).collect();
        format!("{words}:{port:04X}")
    };
    match address.ip() {
        IpAddr::V4(ip) => {
            vec![format!("{}:{port:04X}", word(&ip.octets())), v6(ip.to_ipv6_mapped().octets())]
        }
        IpAddr::V6(ip) => vec![v6(ip.octets())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dials::Group;

    #[test]
    fn addresses_are_written_as_the_kernel_writes_them() {
        assert_eq!(
            written("127.0.0.1:5000".parse().unwrap()),
            ["0100007F:1388", "0000000000000000FFFF00000100007F:1388"]
        );
        assert_eq!(written("[::1]:80".parse().unwrap()), ["00000000000000000000000001000000:0050"]);
    }

    #[test]
    fn groups_that_keep_connections_are_told_as_each_version_has_them() {
        let with = |keepalive| Routes {
            groups: [("web_blue".to_owned(), Group { keepalive, ..Group::default() })].into(),
            ..Routes::default()
        };
        let (old, new) = (Some(Version(1, 22, 1)), Some(Version(1, 30, 0)));
        assert!(inexact(&Routes::default(), new).is_empty());
        assert!(inexact(&with(None), old).is_empty() && inexact(&with(Some(0)), new).is_empty());
        for (routes, version) in [(with(None), new), (with(None), None), (with(Some(8)), old)] {
            assert!(inexact(&routes, version)[0].contains("group web_blue keeps connections"));
        }
    }
}
