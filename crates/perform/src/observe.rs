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
            Depth::Status => Ok((Vec::new(), Vec::new())),
            Depth::Plan => {
                let (conflicts, remarks) = tokio::join!(ports.runtime.conflicts(), ports.router.remarks());
                Ok((conflicts?, remarks))
            }
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
    let ((mut seen, missing), (conflicts, remarks), unlaunchable) =
        tokio::try_join!(glimpse(ports), conflicts, launchable)?;
    seen.conflicts = conflicts;
    seen.router.remarks = remarks;
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
    let router = beside_its_router(ports, router).await?;
    let stale = ports.router.dials_slots() && router.direct.is_none() && dials_elsewhere(&router, &slots);
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
        true => RouterObserved { stale, target: target_of(&router, &slots, recorded.active), ..router },
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
        unhealthy: None,
        own_environment: None,
    };
    Ok((seen, missing))
}

/// A router that has nothing for the service yet is to listen where a slot answers by itself, so users are there: before
/// `router: builtin` was added, the slot published that port. What they see is what is live.
async fn beside_its_router(ports: &HostPorts, router: RouterObserved) -> Result<RouterObserved, Failure> {
    let is_down = router.unreachable.is_some() && !router.answers;
    let has_nothing = router.target.is_none() && router.dial.is_none() && router.unreachable.is_none();
    let Some(public) = ports.router.public().filter(|_| has_nothing || is_down) else { return Ok(router) };
    let Some(slot) = ports.runtime.publishes(public).await? else { return Ok(router) };
    if has_nothing {
        return Ok(RouterObserved { target: Some(slot), direct: Some(public.to_string()), ..router });
    }
    let kept = ports
        .router
        .kept_in()
        .map(|path| format!(" in {path}: remove it (`rm {}`)", shell_words::quote(&path)));
    let reason = format!(
        "{slot} publishes {public} itself, where the router is to listen; the router does not run and has kept a route from \
         before{}, then run the command again",
        kept.unwrap_or_default()
    );
    Ok(RouterObserved { unreachable: Some(reason), answers: true, ..router })
}

/// The slot that counts as the one with the traffic. Of a router that is torn between them it is the one that serves: the
/// one that is recorded, if it runs, else the one that does. A router may also dial a slot by its own address, as the host
/// sees it, and not as it is configured to.
fn target_of(
    router: &RouterObserved,
    slots: &BTreeMap<Slot, SlotObserved>,
    recorded: Option<Slot>,
) -> Option<Slot> {
    if router.torn.is_some() {
        let runs = |slot: &Slot| slots.get(slot).is_some_and(|seen| seen.state == SlotState::Running);
        let running: Vec<Slot> = slots.keys().copied().filter(runs).collect();
        let serves =
            recorded.filter(runs).or(if running.len() == 1 { running.first().copied() } else { None });
        return serves.or(router.target);
    }
    let dialled = || {
        let dial = router.dial.as_deref()?;
        let is_there = |seen: &SlotObserved| seen.endpoint.as_deref() == Some(dial);
        slots.iter().find(|(_, seen)| is_there(seen)).map(|(slot, _)| *slot)
    };
    router.target.or_else(dialled)
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
            torn: route.torn,
            cuts: route.cuts,
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

#[cfg(test)]
mod tests {
    use lockgate_model::Split;

    use super::*;

    fn slot(state: SlotState, endpoint: &str) -> SlotObserved {
        SlotObserved {
            release: None,
            state,
            started_at: None,
            restarts: 0,
            endpoint: Some(endpoint.to_owned()),
            replicas: Vec::new(),
        }
    }

    /// Which of the two serves is what the host says, and not which the router names first.
    #[test]
    fn of_a_router_that_is_torn_the_slot_that_serves_counts_as_the_one_with_the_traffic() {
        use SlotState::{Running, Stopped};
        let torn = RouterObserved {
            target: Some(Slot::Blue),
            shared: Split::new([(Slot::Blue, 50), (Slot::Green, 50)]).ok(),
            torn: Some("/api dials web-green:80".into()),
            ..RouterObserved::default()
        };
        for (blue, green, recorded, target) in [
            (Running, Running, Some(Slot::Green), Slot::Green),
            (Running, Stopped, Some(Slot::Green), Slot::Blue),
            (Stopped, Running, Some(Slot::Blue), Slot::Green),
            (Stopped, Running, None, Slot::Green),
            (Running, Running, None, Slot::Blue),
        ] {
            let slots = BTreeMap::from([
                (Slot::Blue, slot(blue, "10.0.0.1:80")),
                (Slot::Green, slot(green, "10.0.0.2:80")),
            ]);
            assert_eq!(target_of(&torn, &slots, recorded), Some(target), "{blue:?} {green:?} {recorded:?}");
        }
    }

    /// What is dialled is never started anew, by whatever name it is dialled.
    #[test]
    fn a_slot_that_is_dialled_where_the_host_sees_it_has_the_traffic() {
        let slots = BTreeMap::from([(Slot::Green, slot(SlotState::Running, "172.18.0.3:5000"))]);
        let dialling =
            |dial: &str| RouterObserved { dial: Some(dial.to_owned()), ..RouterObserved::default() };
        assert_eq!(target_of(&dialling("172.18.0.3:5000"), &slots, None), Some(Slot::Green));
        assert_eq!(target_of(&dialling("172.18.0.9:5000"), &slots, None), None);
    }
}
