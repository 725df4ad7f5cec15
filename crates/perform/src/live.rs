//! Who is live now, for whoever has to mend a stuck run by hand.

use std::time::Duration;

use futures_util::future::join_all;
use lockgate_model::{HostId, Slot, SlotState, WhoIsLive, live_without_router};
use lockgate_ports::{HostPorts, PortError};

use crate::files;

/// How long each host is asked, and asked again about what runs where its router does not answer.
const LOOK_SECONDS_MAX: u64 = 10;

/// Looks at all hosts beside each other. `None` for a host that the configuration does not have any more: it counts as
/// one that cannot be asked.
pub(crate) async fn look<'a>(hosts: impl Iterator<Item = (&'a HostId, Option<&'a HostPorts>)>) -> WhoIsLive {
    let looks = hosts.map(|(host, ports)| async move {
        let Some(ports) = ports else { return (host, None, true) };
        let target = async {
            match ports.router.sends_traffic() {
                true => Ok(ports.router.route().await?.most()),
                false => what_runs(ports).await,
            }
        };
        match bounded(target).await {
            Ok(target) => (host, target, false),
            Err(error) => {
                tracing::debug!(%error, %host, "the router cannot say who is live");
                (host, recorded_and_running(ports).await, true)
            }
        }
    });
    let mut seen = WhoIsLive::default();
    for (host, slot, silent) in join_all(looks).await {
        seen.live.extend(slot.map(|slot| (host.clone(), slot)));
        if silent {
            seen.silent.insert(host.clone());
        }
    }
    seen
}

/// The slot that is live where there is no router; `None` where none runs.
async fn what_runs(ports: &HostPorts) -> Result<Option<Slot>, PortError> {
    let (recorded, slots) = tokio::try_join!(files::read_recorded(ports), ports.runtime.slots())?;
    let running: Vec<_> = slots.iter().filter(|seen| seen.state == SlotState::Running).collect();
    let live = live_without_router(recorded.active, running.iter().map(|seen| (seen.slot, seen.started_at)));
    Ok(live.filter(|live| running.iter().any(|seen| seen.slot == *live)))
}

/// The slot that should have the traffic, if it runs.
async fn recorded_and_running(ports: &HostPorts) -> Option<Slot> {
    let (recorded, slots) =
        tokio::join!(files::read_recorded(ports), bounded(async { ports.runtime.slots().await }));
    let active = recorded.ok()?.active?;
    let runs = |slots: Vec<lockgate_ports::RuntimeSlot>| {
        slots.iter().any(|seen| seen.slot == active && seen.state == SlotState::Running)
    };
    slots.is_ok_and(runs).then_some(active)
}

async fn bounded<T>(look: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    let bound = Duration::from_secs(LOOK_SECONDS_MAX);
    tokio::time::timeout(bound, look)
        .await
        .unwrap_or_else(|_| Err(PortError::timed_out("it does not answer")))
}
