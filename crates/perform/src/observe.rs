//! Looking at the world: the input of planning.

use lockgate_model::{Failure, FailureKind, HostObserved, Observed, RouterObserved, SlotObserved};
use lockgate_ports::{HostPorts, PortError, RuntimeSlot};

use crate::files;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is live.
    Status,
    /// Also whether the slots can run beside each other, which reads their definitions.
    Plan,
}

/// Looks at all hosts at once.
///
/// # Errors
/// The first host that cannot be looked at; a router that cannot be asked is part of what is seen.
pub async fn observe(hosts: impl IntoIterator<Item = &HostPorts>, depth: Depth) -> Result<Observed, Failure> {
    let looks = hosts.into_iter().map(|ports| async move {
        let seen = observe_host(ports, depth).await.map_err(|error| Failure::from(error).at(&ports.id))?;
        Ok::<_, Failure>((ports.id.clone(), seen))
    });
    let seen = futures_util::future::try_join_all(looks).await?;
    Ok(Observed { hosts: seen.into_iter().collect() })
}

/// # Errors
/// The host's or the runtime's.
pub async fn observe_host(ports: &HostPorts, depth: Depth) -> Result<HostObserved, PortError> {
    let conflicts = async {
        match depth {
            Depth::Status => Ok(Vec::new()),
            Depth::Plan => ports.runtime.conflicts().await,
        }
    };
    let router = async { Ok(observe_router(ports).await) };
    let (slots, router, recorded, releases, conflicts) = tokio::try_join!(
        ports.runtime.slots(),
        router,
        files::read_recorded(ports),
        files::read_releases(ports),
        conflicts,
    )?;
    Ok(HostObserved {
        slots: slots.into_iter().map(|slot| (slot.slot, observed(slot))).collect(),
        router,
        recorded,
        releases,
        conflicts,
    })
}

async fn observe_router(ports: &HostPorts) -> RouterObserved {
    match ports.router.route().await {
        Ok(route) => RouterObserved { target: route.target, dial: route.dial, unreachable: None },
        Err(error) => {
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let reason = match error.kind {
                FailureKind::Unreachable => format!("{}{hint}", error.message),
                _ => format!("{error}{hint}"),
            };
            RouterObserved { target: None, dial: None, unreachable: Some(reason) }
        }
    }
}

fn observed(slot: RuntimeSlot) -> SlotObserved {
    SlotObserved {
        release: slot.release,
        state: slot.state,
        started_at: slot.started_at,
        endpoint: slot.endpoint.map(|endpoint| endpoint.to_string()),
    }
}
