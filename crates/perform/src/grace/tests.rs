use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::HostId;
use lockgate_ports::fake::{FakePorts, Machine, NoFaults, shared};

use super::*;
use crate::scene::OneSlot;

/// One slot whose definition wants `wants`, and whose app ends `ends_after` it was asked to, if it is let.
fn stubborn(wants: Option<Millis>, ends_after: Millis) -> (Arc<OneSlot>, HostPorts) {
    let runtime = Arc::new(OneSlot { stop_grace: wants, ends_after, ..OneSlot::default() });
    let machine = shared(Machine::new(HostId::new("web1").unwrap(), Arc::new(BTreeMap::new())));
    let mut ports = FakePorts::new(machine, Arc::new(NoFaults)).host_ports("/srv/web");
    ports.runtime = runtime.clone();
    (runtime, ports)
}

#[tokio::test]
async fn what_is_configured_comes_before_what_the_slot_wants_and_that_before_the_default() {
    let (day, hour) = (Millis::from_secs(86_400), Millis::from_secs(OWN_GRACE_SECONDS_MAX));
    for (configured, wants, given) in [
        (Some(Millis(500)), Some(Millis::from_secs(60)), Millis(500)),
        (Some(day), None, day),
        (None, Some(Millis::from_secs(60)), Millis::from_secs(60)),
        (None, Some(Millis(0)), Millis(0)),
        (None, Some(day), hour),
        (None, None, Millis::from_secs(10)),
    ] {
        let (_, ports) = stubborn(wants, Millis(0));
        let seen = ports.runtime.slots().await.unwrap();
        assert_eq!(of(configured, seen.first()), given, "{configured:?} {wants:?}");
    }
    assert_eq!(of(None, None), STOP_GRACE_DEFAULT);
}

#[tokio::test(start_paused = true)]
async fn that_an_app_was_killed_is_said_and_that_it_ended_by_itself_is_not() {
    for (grace, ends_after, killed) in [(10, 60, true), (60, 10, false), (10, 10, false), (0, 60, false)] {
        let (runtime, ports) = stubborn(None, Millis::from_secs(ends_after));
        let seen = stop(&ports, Slot::Blue, Millis::from_secs(grace)).await.unwrap();
        assert_eq!(*runtime.given.lock().unwrap(), Some(Millis::from_secs(grace)));
        let said: Vec<String> =
            seen.iter().map(|one| format!("{}: {}, wanted {}", one.check, one.seen, one.wanted)).collect();
        let wanted = "end of blue: killed, with what it was still doing, wanted by itself within 10s";
        assert_eq!(said, if killed { vec![wanted] } else { vec![] }, "{grace} {ends_after}");
        assert!(seen.iter().all(|one| !one.ok));
    }
}

#[tokio::test]
async fn requests_are_held_for_as_much_longer_as_what_is_stopped_wants_beyond_the_default() {
    let bounds = HoldBounds { time: Millis::from_secs(105), requests_max: 1_000 };
    for (wants, time) in [(Some(Millis::from_secs(60)), 155), (Some(Millis::from_secs(5)), 105), (None, 105)]
    {
        let (_, ports) = stubborn(wants, Millis(0));
        let held = longer(&ports, bounds).await.unwrap();
        assert_eq!(held, HoldBounds { time: Millis::from_secs(time), ..bounds }, "{wants:?}");
    }
}
