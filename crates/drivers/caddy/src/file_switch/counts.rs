//! Requests in flight: as Caddy counts them, else the connections that it holds to the slot.

use std::net::{IpAddr, SocketAddr};

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Command, Endpoint, InFlight, PortError};
use serde_json::Value;

use super::switch::FileSwitch;

const CONNECTIONS: &str = include_str!("../sh/connections.sh");
/// Longest wait for the count.
const COUNT_SECONDS_MAX: u64 = 5;

pub(super) fn said(error: &PortError) -> String {
    format!(
        "Caddy's counts cannot be asked ({}): the old slot is drained until Caddy holds no connection to it, and it keeps \
         idle ones for two minutes, so this takes until the deadline unless the `reverse_proxy` has `transport http {{ keepalive off }}`",
        error.message
    )
}

/// `endpoint`: where the slot answers as seen from the host, for a dial that is a name.
pub(super) async fn in_flight(
    switch: &FileSwitch,
    slot: Slot,
    endpoint: Option<&Endpoint>,
) -> Result<InFlight, PortError> {
    let dial = switch.dial(slot)?;
    match of_caddy(switch, dial).await {
        Ok(Some(requests)) => Ok(InFlight { requests, upgraded: 0 }),
        Ok(None) => Err(unknown(slot, &format!("Caddy does not list {dial} in /reverse_proxy/upstreams"))),
        Err(error) if error.is_silence() => by_connections(switch, slot, endpoint).await,
        Err(error) => Err(error),
    }
}

/// What Caddy counts on an address; `None` when it is not on the list.
pub(super) async fn of_caddy(switch: &FileSwitch, dial: &str) -> Result<Option<u64>, PortError> {
    let counts = switch.caddy.admin.get("/reverse_proxy/upstreams").await?.value;
    let counts = counts.as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |count: &&Value| count.get("address").and_then(Value::as_str) == Some(dial);
    // From 2.11 on one that drains may be listed beside the other.
    Ok(counts.iter().filter(of).filter_map(|count| count.get("num_requests").and_then(Value::as_u64)).max())
}

fn unknown(slot: Slot, why: &str) -> PortError {
    PortError::other(format!("the requests in flight on {slot} cannot be counted: {why}")).hint(
        "let Caddy's admin API be asked (`router.caddy.admin`); until then draining takes until its deadline",
    )
}

/// Idle ones are among them: too high, never too low.
async fn by_connections(
    switch: &FileSwitch,
    slot: Slot,
    endpoint: Option<&Endpoint>,
) -> Result<InFlight, PortError> {
    let dialled = switch.dial(slot)?;
    let of_runtime = || match endpoint? {
        Endpoint::Tcp(address) => address.parse().ok(),
        Endpoint::Unix(_) => None,
    };
    let address = dialled.replace("localhost:", "127.0.0.1:").parse().ok().or_else(of_runtime);
    let address: SocketAddr =
        address.ok_or_else(|| unknown(slot, &format!("no address of {dialled} is known on the host")))?;
    let argv =
        ["sh", "-c", CONNECTIONS, "connections.sh"].map(str::to_owned).into_iter().chain(written(address));
    let command = Command::new(argv).timeout(Millis::from_secs(COUNT_SECONDS_MAX));
    let output = switch.host().exec(&command).await?;
    let text = output.stdout_text();
    let open = text.lines().find_map(|line| line.strip_prefix("open ")?.trim().parse().ok());
    open.map(|requests| InFlight { requests, upgraded: 0 }).ok_or_else(|| {
        unknown(slot, "no process called caddy is seen on the host, whose connections could be counted")
    })
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
