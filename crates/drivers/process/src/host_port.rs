//! The service's own port of the host, where it has one: who has it now, and who is to have it.

use std::net::SocketAddr;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;

use crate::look::look;
use crate::options::ProcessOptions;
use crate::port;

/// Why what is in the only slot could not be started anew: somebody else has the port, so the old release, which gets it as well,
/// could not come back either. And why the router could not listen: a slot has its place.
///
/// # Errors
/// The host's.
pub(crate) async fn conflicts(options: &ProcessOptions) -> Result<Vec<String>, PortError> {
    let ProcessOptions { host, service, slots, dir, proxied, occupants, .. } = options;
    let Some(configured) = service.port else { return Ok(Vec::new()) };
    for slot in slots.iter().copied() {
        let wanted = port::fixed(configured, slot)?;
        if let Some(listen) = proxied.filter(|listen| listen.port() == wanted) {
            return Ok(vec![format!(
                "{} listens on port {wanted} itself (`services.{}.port`), where its router is to listen \
                 (`router.builtin.listen`, {listen}): take `port` out, for without it each slot gets a port that is free",
                service.name, service.name
            )]);
        }
    }
    // Of two slots one runs on when the other cannot be started.
    let [slot] = slots else { return Ok(Vec::new()) };
    let wanted = port::fixed(configured, *slot)?;
    let seen = look(&**host, dir, slots).await?.remove(slot).filter(|seen| seen.alive);
    if seen.as_ref().is_some_and(|seen| seen.record.port == wanted) {
        return Ok(Vec::new());
    }
    let taken = match port::require_free(&**host, wanted).await {
        Ok(()) => return Ok(Vec::new()),
        Err(error) if error.kind == FailureKind::Conflict => error,
        Err(error) => return Err(error),
    };
    let ours = match occupants {
        Some(occupants) => occupants.on(wanted).await,
        None => None,
    };
    Ok(match ours {
        Some(ours) => {
            vec![format!("{} listens on port {wanted}, which {} has: {}", service.name, ours.who, ours.mend)]
        }
        // What is left of the slot's own last run, a start ends.
        None if seen.is_none() => Vec::new(),
        None => {
            let mend = taken.hints().joined().unwrap_or_default();
            vec![format!("{}: {}: {mend}", service.name, taken.message)]
        }
    })
}

/// The slot that listens on this address of the host.
///
/// # Errors
/// The host's.
pub(crate) async fn publishes(
    options: &ProcessOptions,
    address: SocketAddr,
) -> Result<Option<Slot>, PortError> {
    let seen = look(&*options.host, &options.dir, options.slots).await?;
    Ok(seen
        .into_iter()
        .find(|(_, seen)| seen.alive && seen.record.port == address.port())
        .map(|(slot, _)| slot))
}
