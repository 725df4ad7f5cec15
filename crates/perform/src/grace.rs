//! How long what is in a slot is given to end by itself, and what is said where that was not enough.

use lockgate_model::{
    Evidence, Failure, HoldBounds, Millis, OwnEnd, STOP_GRACE_DEFAULT, Seen, Slot, SlotState,
};
use lockgate_ports::{HostPorts, OWN_GRACE_SECONDS_MAX, RuntimeSlot};
use tokio::time::Instant;

/// 128 + SIGKILL.
pub(crate) const KILLED: i64 = 137;

/// What is configured, else what the slot's own definition says, else the default.
pub(crate) fn of(configured: Option<Millis>, seen: Option<&RuntimeSlot>) -> Millis {
    configured.or_else(|| seen.and_then(own)).unwrap_or(STOP_GRACE_DEFAULT)
}

fn own(seen: &RuntimeSlot) -> Option<Millis> {
    seen.stop_grace.map(|grace| grace.min(Millis::from_secs(OWN_GRACE_SECONDS_MAX)))
}

/// `bounds` count with the default; what runs may want more.
///
/// # Errors
/// The runtime's.
pub(crate) async fn longer(ports: &HostPorts, bounds: HoldBounds) -> Result<HoldBounds, Failure> {
    let seen = ports.runtime.slots().await?;
    let running = seen.iter().filter(|seen| seen.state == SlotState::Running);
    let longest = running.filter_map(own).max().unwrap_or(STOP_GRACE_DEFAULT);
    let more = longest.0.saturating_sub(STOP_GRACE_DEFAULT.0);
    Ok(HoldBounds { time: Millis(bounds.time.0 + more), ..bounds })
}

/// Stops the slot. That it was ended by force is part of what was seen, where the runtime is told how it ended.
///
/// # Errors
/// The runtime's.
pub(crate) async fn stop(ports: &HostPorts, slot: Slot, grace: Millis) -> Result<Seen, Failure> {
    let start = Instant::now();
    ports.runtime.stop(slot, grace).await.map_err(|error| Failure::from(error).slot(slot))?;
    let took = Millis::from(start.elapsed());
    // One that ended sooner ended by itself, whatever its code.
    if grace == Millis(0) || took < grace {
        return Ok(Seen::new());
    }
    let killed = end_of(ports, slot).await.is_some_and(|end| end.exit_code == KILLED && !end.out_of_memory);
    Ok(killed.then(|| forced(slot, grace)).into_iter().collect())
}

/// How what the slot held has ended; `None` also where that cannot be said.
pub(crate) async fn end_of(ports: &HostPorts, slot: Slot) -> Option<OwnEnd> {
    ports.runtime.end_of(slot).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "how {slot} ended cannot be said");
        None
    })
}

fn forced(slot: Slot, grace: Millis) -> Evidence {
    Evidence {
        check: format!("end of {slot}"),
        wanted: format!("by itself within {grace}"),
        seen: "killed, with what it was still doing".to_owned(),
        ok: false,
    }
}

#[cfg(test)]
mod tests;
