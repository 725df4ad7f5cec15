//! Looking at the world: the input of planning.

use std::collections::BTreeMap;
use std::future::ready;

use futures_util::future::FutureExt;
use lockgate_model::{
    Failure, FailureKind, HostId, HostObserved, Observed, Recorded, Rejection, Releases, ReplicaObserved,
    RouterObserved, Slot, SlotObserved, SlotState, live_without_router,
};
use lockgate_ports::{HostPorts, PortError, Replica, RuntimeSlot, all_dials};

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
    let looks: Vec<_> = hosts.into_iter().map(|ports| named(ports, depth).boxed()).collect();
    let seen = futures_util::future::try_join_all(looks).await?;
    Ok(Observed { hosts: seen.into_iter().collect() })
}

async fn named(ports: &HostPorts, depth: Depth) -> Result<(HostId, HostObserved), Failure> {
    let seen = observe_host(ports, depth).await.map_err(|failure| failure.at(&ports.id))?;
    Ok((ports.id.clone(), seen))
}

async fn observe_host(ports: &HostPorts, depth: Depth) -> Result<HostObserved, Failure> {
    let conflicts = async {
        match depth {
            Depth::Status => Ok(Vec::new()),
            Depth::Plan => Ok(ports.runtime.conflicts().await?),
        }
    };
    let launchable = async {
        match depth {
            Depth::Status => Ok(None),
            Depth::Plan => match ports.router.launchable().await {
                Err(error) if error.is_silence() => Err(Failure::from(error)),
                launchable => Ok(launchable.err()),
            },
        }
    };
    let ((mut seen, missing), conflicts, unlaunchable) =
        tokio::try_join!(glimpse(ports), conflicts, launchable)?;
    seen.conflicts = conflicts;
    if let Some(error) = unlaunchable {
        seen.router = RouterObserved { unreachable: Some(reason(&error)), answers: true, ..seen.router };
    }
    missing.map_or(Ok(seen), Err)
}

/// Looks at a host for people, who want to see what is live although something beside it cannot be read: what is
/// recorded there then counts as absent, and why is told as well. Nothing may be planned from such a look.
///
/// # Errors
/// The runtime's, and a host's that does not answer.
pub async fn glimpse(ports: &HostPorts) -> Result<(HostObserved, Option<Failure>), Failure> {
    let (slots, router, (recorded, releases)) = tokio::try_join!(
        async { Ok(ports.runtime.slots().await?) },
        async { Ok(observe_router(ports).await) },
        async {
            let (recorded, releases) = files::read_both(ports).await;
            Ok::<_, Failure>((unless_silent(ready(recorded)).await?, unless_silent(ready(releases)).await?))
        },
    )?;
    let stale = ports.router.dials_slots() && dials_elsewhere(&router, &slots);
    let mut missing = None;
    let releases = releases.unwrap_or_else(|failure| {
        missing.get_or_insert(failure);
        Releases::default()
    });
    let slots: BTreeMap<Slot, SlotObserved> =
        slots.into_iter().map(|slot| (slot.slot, observed(slot))).collect();
    let recorded = recorded.unwrap_or_else(|failure| {
        missing.get_or_insert(failure);
        Recorded::default()
    });
    let router = match ports.router.sends_traffic() {
        true => RouterObserved { stale, ..router },
        false => {
            let runs = slots.iter().filter(|(_, seen)| seen.state == SlotState::Running);
            let running = runs.map(|(slot, seen)| (*slot, seen.started_at));
            let target = live_without_router(recorded.active, running);
            RouterObserved { absent: true, target, ..RouterObserved::default() }
        }
    };
    let seen = HostObserved {
        slots,
        router,
        recorded,
        releases: releases.live,
        rejected: releases.rejected.into_iter().map(Rejection::told).collect(),
        conflicts: Vec::new(),
        own_environment: None,
    };
    Ok((seen, missing))
}

/// The slot with the traffic runs, and the router sends requests elsewhere than where all that runs in it answers.
fn dials_elsewhere(router: &RouterObserved, slots: &[RuntimeSlot]) -> bool {
    let slot = router.target.and_then(|target| slots.iter().find(|seen| seen.slot == target));
    let Some(slot) = slot.filter(|slot| slot.state == SlotState::Running) else { return false };
    let running = slot.replicas.iter().filter(|one| one.runs());
    let endpoints: Vec<String> = running.filter_map(|one| Some(one.endpoint.as_ref()?.to_string())).collect();
    all_dials(endpoints.iter().map(String::as_str)) != router.dial
}

/// For looking at several things beside each other: the outer error ends it all, for a host that does not answer would
/// be waited for by every other question again; the inner one is only of this thing.
///
/// # Errors
/// `Unreachable` and `TimedOut`.
pub async fn unless_silent<T, E>(
    look: impl Future<Output = Result<T, E>>,
) -> Result<Result<T, Failure>, Failure>
where
    Failure: From<E>,
{
    match look.await.map_err(Failure::from) {
        Err(failure) if failure.is_silence() => Err(failure),
        looked => Ok(looked),
    }
}

async fn observe_router(ports: &HostPorts) -> RouterObserved {
    match ports.router.route().await {
        Ok(route) => RouterObserved {
            target: route.most(),
            shared: route.split.filter(|split| split.only().is_none()),
            dial: route.dial,
            ..RouterObserved::default()
        },
        Err(error) => {
            let reason = reason(&error);
            let answers = !error.is_silence();
            RouterObserved { unreachable: Some(reason), answers, ..RouterObserved::default() }
        }
    }
}

fn reason(error: &PortError) -> String {
    let hint = error.hints().joined().map(|hints| format!(" ({hints})")).unwrap_or_default();
    match error.kind {
        FailureKind::Unreachable => format!("{}{hint}", error.message),
        _ => format!("{error}{hint}"),
    }
}

fn observed(slot: RuntimeSlot) -> SlotObserved {
    SlotObserved {
        release: slot.release,
        state: slot.state,
        started_at: slot.started_at,
        restarts: slot.restarts,
        endpoint: slot.endpoint.map(|endpoint| endpoint.to_string()),
        replicas: match slot.replicas.as_slice() {
            [_] => Vec::new(),
            several => several.iter().map(replica).collect(),
        },
    }
}

fn replica(seen: &Replica) -> ReplicaObserved {
    ReplicaObserved {
        name: seen.name.clone().unwrap_or_default(),
        state: seen.state,
        endpoint: seen.endpoint.as_ref().map(ToString::to_string),
    }
}
