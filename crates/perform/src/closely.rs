//! Looking more closely than a plan needs: both slots, how each ended, and its health as seen from the host.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use lockgate_model::{
    Health, HostClosely, HostObserved, Millis, Probe, Probed, Slot, SlotClosely, SlotObserved, SlotState,
    Timestamp, Unhealthy,
};
use lockgate_ports::{Endpoint, HostPorts, OwnHealthState};
use tokio::time::Instant;

use crate::grace;
use crate::health::{own, run};
use crate::replicas::ask_each;

/// Longest wait for a health check that is asked beside what is live.
const GLANCE_SECONDS_MAX: u64 = 1;

/// Looks at every slot in `slots` on one host, after `seen`; `now` is the host's clock. The ports are masked already: see
/// [`crate::masked`]. `failed` says of a slot why what it holds is known to have failed. Changes nothing.
pub async fn look_closely(
    ports: &HostPorts,
    seen: &HostObserved,
    slots: &[Slot],
    probe: &Probe,
    now: Option<Timestamp>,
    failed: impl Fn(Slot) -> Option<String>,
) -> HostClosely {
    let looks = slots.iter().map(|slot| {
        let held = seen.slots.get(slot).cloned();
        async move { (*slot, look(ports, *slot, held, probe).await) }.boxed()
    });
    let live = seen.should_be_live().filter(|_| !seen.is_new());
    let looked: BTreeMap<Slot, SlotClosely> = join_all(looks.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(|(slot, closely)| (slot, closely.judged(Some(slot) == live, failed(slot), now)))
        .collect();
    HostClosely::of(seen, looked)
}

/// Whether what has the traffic passes its health check, asked once and waited for a second at most; `None` where it does, and
/// where nothing has it. `now` is the host's clock: what has been started longer ago than its health check may take is not
/// starting any more. Of a check that is looked up with the engine, `None` also where that does not answer.
pub async fn unhealthy(
    ports: &HostPorts,
    seen: &HostObserved,
    wanted: &Probe,
    now: Option<Timestamp>,
) -> Option<Unhealthy> {
    let (slot, live) = seen.live()?;
    if let Health::Docker(_) = &wanted.health {
        let own = ports.runtime.health(slot).await.ok()?;
        let starting = match own.state {
            OwnHealthState::Starting => true,
            OwnHealthState::Unhealthy => false,
            OwnHealthState::Healthy | OwnHealthState::Missing => return None,
        };
        let seen = if starting { "it is starting" } else { "it is unhealthy" };
        return Some(Unhealthy { starting, seen: seen.to_owned() });
    }
    let limit = Duration::from_secs(GLANCE_SECONDS_MAX);
    let missed = match tokio::time::timeout(limit, probe(ports, slot, &endpoints(live), wanted)).await {
        Ok(probed) if probed.ok => return None,
        Ok(probed) => probed.seen,
        Err(_) => format!("no answer within {GLANCE_SECONDS_MAX} s"),
    };
    let young = |since: Timestamp| now.is_none_or(|now| now.since(since) < wanted.health.timeout());
    Some(Unhealthy { starting: live.started_at.is_none_or(young), seen: missed })
}

async fn look(ports: &HostPorts, slot: Slot, held: Option<SlotObserved>, wanted: &Probe) -> SlotClosely {
    let (mut ended, mut probed) = (None, None);
    match held.as_ref().map(|held| held.state) {
        Some(SlotState::Stopped) => {
            ended = grace::end_of(ports, slot).await;
        }
        Some(SlotState::Running) => {
            let endpoints = held.as_ref().map(endpoints).unwrap_or_default();
            probed = Some(probe(ports, slot, &endpoints, wanted).await);
        }
        None => {}
    }
    SlotClosely { holds: held, ended, health: probed, trouble: None }
}

/// Where all that runs in the slot answers.
fn endpoints(held: &SlotObserved) -> Vec<&str> {
    match held.replicas.is_empty() {
        true => held.endpoint.as_deref().into_iter().collect(),
        false => held.replicas.iter().filter_map(|one| one.endpoint.as_deref()).collect(),
    }
}

/// Asks the slot's health check once, from its host.
async fn probe(ports: &HostPorts, slot: Slot, endpoints: &[&str], wanted: &Probe) -> Probed {
    let health = &wanted.health;
    let start = Instant::now();
    let (place, answer) = match health {
        Health::Http(http) => {
            if endpoints.is_empty() {
                (String::new(), Err(("it has no address".to_owned(), Vec::new())))
            } else {
                let places: Vec<Endpoint> =
                    endpoints.iter().map(|endpoint| Endpoint::from(*endpoint)).collect();
                let answer = ask_each(ports, &places.iter().collect::<Vec<_>>(), http, wanted).await;
                let place = format!(" at {}", endpoints.join(", "));
                (place, answer.map_err(|miss| (miss.seen, miss.said)))
            }
        }
        Health::Docker(docker) => {
            let answer = match own(ports, slot, docker).await {
                Ok((answer, _)) => answer.map_err(|miss| (miss.seen, miss.said)),
                Err(failure) => Err((failure.message, Vec::new())),
            };
            (String::new(), answer)
        }
        Health::Command(command) => {
            let answer = run(&*ports.runtime, slot, command).await.map_err(|miss| (miss.seen, miss.said));
            (String::new(), answer)
        }
    };
    let took = Millis::from(start.elapsed()).rounded();
    let asked = format!("{health}{place}");
    match answer {
        Ok(seen) => Probed { asked, ok: true, seen, took, said: Vec::new() },
        Err((seen, said)) => Probed { asked, ok: false, seen, took, said },
    }
}
