//! Draining by looking: the slot's requests in flight, not a sleep (P2).

use std::time::Duration;

use lockgate_model::{Evidence, Failure, FailureKind, Millis, Seen, Slot, SlotState};
use lockgate_ports::HostPorts;
use tokio::time::Instant;

use crate::conductor::find;
use crate::traffic;

const PAUSE_MILLIS_FIRST: u64 = 1;
const PAUSE_MILLIS_MAX: u64 = 50;

/// Returns when nothing is in flight, or at the deadline: WebSockets never end by themselves.
///
/// # Errors
/// `Refused` for the slot that has the traffic, unless requests are held: it would never drain.
pub(crate) async fn drain(ports: &HostPorts, slot: Slot, deadline: Millis) -> Result<Seen, Failure> {
    let (seen, routed, mut counted) =
        tokio::join!(find(ports, slot), traffic::route(ports), ports.router.in_flight(slot));
    if seen?.is_none_or(|seen| seen.state != SlotState::Running) {
        return Ok(Seen::new());
    }
    let route = routed?;
    if route.sends_to(slot) && !route.held {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("{slot} has the traffic, so it does not drain"),
        )
        .slot(slot));
    }
    let start = Instant::now();
    let mut pause = Duration::from_millis(PAUSE_MILLIS_FIRST);
    loop {
        let left = match counted {
            Ok(count) if count.requests + count.upgraded == 0 => {
                return Ok(vec![drained(
                    slot,
                    format!("none after {}", Millis::from(start.elapsed()).rounded()),
                    true,
                )]);
            }
            Ok(count) => format!("{} requests and {} upgraded connections", count.requests, count.upgraded),
            // Not knowing is no reason to stop early: the deadline is what ends it.
            Err(error) => format!("unknown: {error}"),
        };
        if start.elapsed() >= deadline.duration() {
            return Ok(vec![drained(slot, format!("{left} at the deadline of {deadline}"), false)]);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
        counted = ports.router.in_flight(slot).await;
    }
}

fn drained(slot: Slot, seen: String, ok: bool) -> Evidence {
    Evidence { check: format!("requests in flight on {slot}"), wanted: "none".into(), seen, ok }
}
