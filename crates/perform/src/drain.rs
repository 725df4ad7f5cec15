//! Draining by looking: the slot's requests in flight, not a sleep (P2).

use std::time::Duration;

use lockgate_model::{Evidence, Failure, FailureKind, Millis, Seen, Slot, SlotState};
use lockgate_ports::{Endpoint, HostPorts, InFlight, PortError};
use tokio::time::Instant;

use crate::conductor::find;
use crate::traffic;
use crate::watch::Watch;

const PAUSE_MILLIS_FIRST: u64 = 1;
const PAUSE_MILLIS_MAX: u64 = 50;
/// Of a drain that took longer, the look at its beginning is old.
const OLD_LOOK_MILLIS: u64 = 100;

/// Returns when nothing is in flight, or at the deadline: WebSockets never end by themselves. `watch` looks meanwhile at who
/// has got the traffic; `None` where nobody has.
///
/// # Errors
/// `Refused` for the slot that has the traffic, unless requests are held: it would never drain. What the watch ends with.
pub(crate) async fn drain(
    ports: &HostPorts,
    slot: Slot,
    deadline: Millis,
    watch: Option<Watch<'_>>,
) -> Result<Seen, Failure> {
    let look = async {
        let seen = find(ports, slot).await?.filter(|seen| seen.state == SlotState::Running);
        let Some(seen) = seen else { return Ok(None) };
        let counted = ports.router.in_flight_at(slot, seen.endpoint.as_ref()).await;
        Ok::<_, PortError>(Some((seen.endpoint, counted)))
    };
    let (looked, routed) = tokio::join!(look, traffic::route(ports));
    let Some((endpoint, counted)) = looked? else { return Ok(Seen::new()) };
    let route = match watch {
        Some(watch) => watch.routed(routed).await?,
        None => routed?,
    };
    if route.sends_to(slot) && !route.held {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("{slot} has the traffic, so it does not drain"),
        )
        .slot(slot));
    }
    let start = Instant::now();
    let drained = tokio::select! {
        biased;
        drained = until_none(ports, slot, endpoint.as_ref(), deadline, counted) => drained,
        failure = until_it_fails(watch) => return Err(failure),
    };
    match watch {
        // Whoever asks through the router next waits for an answer; here the old slot is gone back to.
        Some(watch) if start.elapsed() >= Duration::from_millis(OLD_LOOK_MILLIS) => {
            watch.look_again().await?
        }
        Some(_) | None => {}
    }
    Ok(vec![drained])
}

async fn until_it_fails(watch: Option<Watch<'_>>) -> Failure {
    match watch {
        Some(watch) => watch.until_it_fails().await,
        None => std::future::pending().await,
    }
}

async fn until_none(
    ports: &HostPorts,
    slot: Slot,
    endpoint: Option<&Endpoint>,
    deadline: Millis,
    mut counted: Result<InFlight, PortError>,
) -> Evidence {
    let start = Instant::now();
    let mut pause = Duration::from_millis(PAUSE_MILLIS_FIRST);
    loop {
        let left = match counted {
            Ok(count) if count.requests + count.upgraded == 0 => {
                let after = Millis::from(start.elapsed()).rounded();
                return drained(slot, format!("none after {after}"), true);
            }
            Ok(count) => format!("{} requests and {} upgraded connections", count.requests, count.upgraded),
            // Not knowing is no reason to stop early: the deadline is what ends it.
            Err(error) => format!("unknown: {error}"),
        };
        if start.elapsed() >= deadline.duration() {
            return drained(slot, format!("{left} at the deadline of {deadline}"), false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
        counted = ports.router.in_flight_at(slot, endpoint).await;
    }
}

fn drained(slot: Slot, seen: String, ok: bool) -> Evidence {
    Evidence { check: format!("requests in flight on {slot}"), wanted: "none".into(), seen, ok }
}
