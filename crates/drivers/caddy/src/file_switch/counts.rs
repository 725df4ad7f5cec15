//! Requests in flight: as Caddy counts them, else the connections that it holds to the slot.

use lockgate_asking::{address_of, connections};
use lockgate_model::Slot;
use lockgate_ports::{Endpoint, InFlight, PortError};
use serde_json::Value;

use super::switch::FileSwitch;

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
    let address = address_of(&dialled.replace("localhost:", "127.0.0.1:"), endpoint)
        .ok_or_else(|| unknown(slot, &format!("no address of {dialled} is known on the host")))?;
    let open = connections(switch.host(), "caddy", address).await?;
    open.map(|requests| InFlight { requests, upgraded: 0 }).ok_or_else(|| {
        unknown(slot, "no process called caddy is seen on the host, whose connections could be counted")
    })
}
