//! The connections that a router's process holds to a slot, where the router does not count its requests itself.

use std::net::{IpAddr, SocketAddr};

use lockgate_model::Millis;
use lockgate_ports::{Command, Endpoint, Host, PortError};

const CONNECTIONS: &str = include_str!("sh/connections.sh");
/// Longest wait for the count.
const COUNT_SECONDS_MAX: u64 = 5;

/// What is dialled as an address; for a name where the slot answers as seen from the host, `endpoint`. `None`: neither is one.
#[must_use]
pub fn address_of(dial: &str, endpoint: Option<&Endpoint>) -> Option<SocketAddr> {
    let of_runtime = || match endpoint? {
        Endpoint::Tcp(address) => address.parse().ok(),
        Endpoint::Unix(_) => None,
    };
    dial.parse().ok().or_else(of_runtime)
}

/// How many connections to the address are open in the networks of the host's processes called `program`; idle ones are among
/// them. `None`: no such process is seen there.
///
/// # Errors
/// The host's.
pub async fn connections(
    host: &dyn Host,
    program: &str,
    address: SocketAddr,
) -> Result<Option<u64>, PortError> {
    let argv = ["sh", "-c", CONNECTIONS, "connections.sh", program].map(str::to_owned);
    let command = Command::new(argv.into_iter().chain(written(address)));
    let output = host.exec(&command.timeout(Millis::from_secs(COUNT_SECONDS_MAX))).await?;
    let text = output.stdout_text();
    Ok(text.lines().find_map(|line| line.strip_prefix("open ")?.trim().parse().ok()))
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

    #[test]
    fn addresses_are_written_as_the_kernel_writes_them() {
        assert_eq!(
            written("127.0.0.1:5000".parse().unwrap()),
            ["0100007F:1388", "0000000000000000FFFF00000100007F:1388"]
        );
        assert_eq!(written("[::1]:80".parse().unwrap()), ["00000000000000000000000001000000:0050"]);
    }
}
