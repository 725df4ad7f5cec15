//! Looking more closely than a plan needs: both slots, how each ended, and its health as seen from the host.

use std::collections::BTreeMap;

use futures_util::future::{FutureExt, join_all};
use lockgate_model::{
    Health, HostClosely, HostObserved, HttpHealth, Millis, Probed, Slot, SlotClosely, SlotObserved,
    SlotState, Timestamp,
};
use lockgate_ports::{Endpoint, HostPorts, Request, http};
use tokio::time::Instant;

use crate::health::{PROBE_SECONDS_MAX, mismatch, own, run};

/// How much of an answer's body is shown where it was no pass, in characters and lines.
const BODY_CHARS_MAX: usize = 400;
const BODY_LINES_MAX: usize = 5;

/// Looks at every slot in `slots` on one host, after `seen`; `now` is the host's clock. The ports are masked already: see
/// [`crate::masked`]. `failed` says of a slot why what it holds is known to have failed. Changes nothing.
pub async fn look_closely(
    ports: &HostPorts,
    seen: &HostObserved,
    slots: &[Slot],
    health: &Health,
    now: Option<Timestamp>,
    failed: impl Fn(Slot) -> Option<String>,
) -> HostClosely {
    let looks = slots.iter().map(|slot| {
        let held = seen.slots.get(slot).cloned();
        async move { (*slot, look(ports, *slot, held, health).await) }.boxed()
    });
    let live = seen.should_be_live().filter(|_| !seen.is_new());
    let looked: BTreeMap<Slot, SlotClosely> = join_all(looks.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(|(slot, closely)| (slot, closely.judged(Some(slot) == live, failed(slot), now)))
        .collect();
    HostClosely::of(seen, looked)
}

async fn look(ports: &HostPorts, slot: Slot, held: Option<SlotObserved>, health: &Health) -> SlotClosely {
    let (mut ended, mut probed) = (None, None);
    match held.as_ref().map(|held| held.state) {
        Some(SlotState::Stopped) => {
            ended = ports.runtime.end_of(slot).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "how {slot} ended cannot be said");
                None
            });
        }
        Some(SlotState::Running) => {
            let endpoint = held.as_ref().and_then(|held| held.endpoint.as_deref());
            probed = Some(probe(ports, slot, endpoint, health).await);
        }
        None => {}
    }
    SlotClosely { holds: held, ended, health: probed, trouble: None }
}

/// Asks the slot's health check once, from its host.
async fn probe(ports: &HostPorts, slot: Slot, endpoint: Option<&str>, health: &Health) -> Probed {
    let start = Instant::now();
    let (place, answer) = match health {
        Health::Http(http) => {
            let place = endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
            let answer = match endpoint {
                Some(endpoint) => ask(ports, endpoint, http).await,
                None => Err(("it has no address".to_owned(), Vec::new())),
            };
            (place, answer)
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

async fn ask(
    ports: &HostPorts,
    endpoint: &str,
    health: &HttpHealth,
) -> Result<String, (String, Vec<String>)> {
    let request = Request::get(&health.path, Millis::from_secs(PROBE_SECONDS_MAX));
    match http::send(ports.host.as_ref(), &Endpoint::from(endpoint), request).await {
        Ok(answer) => match mismatch(&answer, health) {
            None => Ok(answer.status.to_string()),
            Some(seen) => Err((seen, beginning(&answer.text()))),
        },
        Err(error) => Err((error.message, Vec::new())),
    }
}

fn beginning(body: &str) -> Vec<String> {
    let mut chars_left = BODY_CHARS_MAX;
    let mut lines = Vec::new();
    for line in body.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(BODY_LINES_MAX) {
        let shown: String = line.chars().take(chars_left).collect();
        chars_left -= shown.chars().count();
        lines.push(shown);
        if chars_left == 0 {
            break;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_by_its_beginning_only() {
        assert_eq!(beginning("db: refused\n\n  cache: ok  \n"), ["db: refused", "  cache: ok"]);
        assert_eq!(beginning(&"x\n".repeat(100)).len(), BODY_LINES_MAX);
        let long = beginning(&"ä".repeat(5_000));
        assert_eq!((long.len(), long[0].chars().count()), (1, BODY_CHARS_MAX));
    }
}
