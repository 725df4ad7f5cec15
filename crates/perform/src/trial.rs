//! The slot asked through the router before any user is sent there: a router that does not find it by name, or is on
//! another network, is found out while the old release serves.

use std::time::Duration;

use lockgate_model::{Evidence, Failure, FailureKind, Millis, Probe, Slot, without_query};
use lockgate_ports::{HostPorts, Tried, Upstream};
use tokio::time::Instant;

use crate::asking::request;

/// How long the router may say that it does not reach the slot; one that has just learnt of it may need a moment.
const UNREACHED_MILLIS_MAX: u64 = 1_000;
const PAUSE_MILLIS: u64 = 100;
const ASK_SECONDS_MAX: u64 = 5;

/// `None` where the router could not be asked: that says nothing about the slot, and who asks after the switch will see.
///
/// # Errors
/// `Unhealthy` when the router does not reach a slot that answered whoever asked it directly.
pub(crate) async fn try_out(
    ports: &HostPorts,
    to: &Upstream,
    probe: &Probe,
) -> Result<Option<Evidence>, Failure> {
    let (start, path) = (Instant::now(), probe.health.path());
    let (router, slot) = (ports.router.name(), to.slot);
    loop {
        let request = request(path, Millis::from_secs(ASK_SECONDS_MAX), probe);
        match ports.router.try_out(to, &request).await {
            Ok(Tried::Answered { dial, status }) => {
                let how =
                    status.map_or_else(|| "connected".to_owned(), |status| format!("answered {status}"));
                return Ok(Some(Evidence {
                    check: format!("{router} reaches {slot} before any user is sent there"),
                    wanted: format!("an answer to GET {}", without_query(path)),
                    seen: format!("{how} at {dial}"),
                    ok: true,
                }));
            }
            Ok(Tried::NotReached { dial, why }) => {
                if start.elapsed() >= Duration::from_millis(UNREACHED_MILLIS_MAX) {
                    return Err(unreached(router, slot, &to.endpoint.to_string(), &dial, path, &why)
                        .hint("no user was sent there"));
                }
            }
            Ok(Tried::NotAsked(why)) => {
                tracing::debug!(why, "the slot is not asked through the router before the switch");
                return Ok(None);
            }
            Err(error) => {
                tracing::debug!(%error, "the slot is not asked through the router before the switch");
                return Ok(None);
            }
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS)).await;
    }
}

/// The slot answers at `endpoint`, and not through the router, which dials `dialled`.
pub(crate) fn unreached(
    router: &str,
    slot: Slot,
    endpoint: &str,
    dialled: &str,
    path: &str,
    seen: &str,
) -> Failure {
    let path = without_query(path);
    let message = format!(
        "{slot} answers at {endpoint}, but {router}, which dials {dialled}, does not reach it: GET {path}: {seen}"
    );
    Failure::new(FailureKind::Unhealthy, message).slot(slot).hint(format!(
        "{router} must find the slot by what it dials: give the container that name (`container_name` or a network alias) on a network that both are on"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockgate_model::Split;
    use lockgate_ports::Endpoint;
    use lockgate_ports::fake::Machine;

    use super::*;
    use crate::scene::{Odd, probe, release, serving, switched};
    use crate::traffic;

    fn tried(ports: &mut HostPorts, answer: impl Fn() -> Tried + Send + Sync + 'static) {
        let mut odd = Odd::new(ports.router.clone());
        odd.tried = Some(Box::new(answer));
        ports.router = Arc::new(odd);
    }

    /// One second of 502 for everybody.
    #[tokio::test(start_paused = true)]
    async fn a_slot_that_the_router_does_not_reach_gets_no_user() {
        let (machine, mut ports) = serving(Slot::Blue, "v1");
        machine.lock().unwrap().place(Slot::Green, &release("v2").tag, true);
        tried(&mut ports, || Tried::NotReached {
            dial: "web-green:5000".into(),
            why: "it answers 502 in its place".into(),
        });
        let failure = traffic::switch(&ports, Slot::Green, &release("v2"), &probe()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unhealthy);
        assert!(
            failure
                .message
                .contains("odd, which dials web-green:5000, does not reach it: GET /health: it answers 502"),
            "{failure}"
        );
        assert!(failure.hints.to_string().contains("network alias"), "{}", failure.hints);
        assert_eq!(ports.router.route().await.unwrap().split, Some(Split::all_to(Slot::Blue)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_tried_is_shown_and_what_could_not_be_is_no_green_word() {
        for (answer, shown) in [
            (Tried::Answered { dial: "web-green:5000".into(), status: Some(200) }, 2),
            (Tried::NotAsked("it cannot".into()), 1),
        ] {
            let (machine, mut ports) = serving(Slot::Blue, "v1");
            machine.lock().unwrap().place(Slot::Green, &release("v2").tag, true);
            tried(&mut ports, move || answer.clone());
            let seen = traffic::switch(&ports, Slot::Green, &release("v2"), &probe()).await.unwrap();
            assert_eq!(seen.len(), shown, "{seen:?}");
            assert_eq!(seen[0].check.contains("reaches green before"), shown == 2, "{seen:?}");
            assert_eq!(ports.router.route().await.unwrap().split, Some(Split::all_to(Slot::Green)));
        }
    }

    /// What has the traffic is not asked about: whether it is reached is seen every moment.
    #[tokio::test(start_paused = true)]
    async fn a_slot_that_has_the_traffic_is_not_tried() {
        let (_machine, mut ports) = switched();
        tried(&mut ports, || panic!("it is not asked"));
        traffic::switch(&ports, Slot::Green, &release("v2"), &probe()).await.unwrap();
        assert_eq!(
            Endpoint::Tcp(Machine::address(Slot::Green)).to_string(),
            ports.router.route().await.unwrap().dial.unwrap()
        );
    }
}
