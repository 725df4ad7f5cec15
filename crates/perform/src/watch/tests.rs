//! Thirty seconds of draining, in which something dies after two.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use lockgate_model::{Millis, Seen};
use lockgate_ports::fake::{Call, FakePorts, Fate, Faults, Machine, SharedMachine, What};
use lockgate_ports::{NoRouter, PortError};

use super::*;
use crate::conductor::stop;
use crate::drain::drain;
use crate::prune::prune;
use crate::scene::{Odd, probed, service, switched};

const DRAIN: Millis = Millis::from_secs(30);
const DIES: Duration = Duration::from_secs(2);

/// `v1` in blue has a request that never ends; `v2` in green has the traffic.
fn draining() -> (SharedMachine, HostPorts) {
    let (machine, ports) = switched();
    {
        let mut machine = machine.lock().unwrap();
        machine.point_at(Some(Machine::address(Slot::Blue)), None);
        machine.request(None).unwrap();
        machine.point_at(Some(Machine::address(Slot::Green)), None);
    }
    (machine, ports)
}

/// Drains blue, and has `happens` happen after two seconds. With how long it took.
async fn drained(
    ports: &HostPorts,
    heir: Option<Slot>,
    happens: impl FnOnce(),
) -> (Result<Seen, Failure>, Duration) {
    let start = Instant::now();
    let watch = heir.map(|heir| Watch { ports, heir, service: service(), probe: probed() });
    let later = async {
        tokio::time::sleep(DIES).await;
        happens();
        std::future::pending::<()>().await
    };
    let settled = before(drain(ports, Slot::Blue, DRAIN, watch), later).await;
    (settled, start.elapsed())
}

async fn before<T>(first: impl Future<Output = T>, beside: impl Future<Output = ()>) -> T {
    tokio::select! {
        biased;
        done = first => done,
        () = beside => unreachable!("it never ends"),
    }
}

fn kill(machine: &SharedMachine, slot: Slot) {
    machine.lock().unwrap().slots.get_mut(&slot).unwrap().running_since = None;
}

fn make_sick(machine: &SharedMachine, slot: Slot) {
    machine.lock().unwrap().slots.get_mut(&slot).unwrap().behaviour.healthy_after = None;
}

#[track_caller]
fn went_on(drained: (Result<Seen, Failure>, Duration)) {
    let (settled, elapsed) = drained;
    assert!(settled.unwrap()[0].seen.contains("1 requests"), "to the deadline");
    assert!(elapsed >= DRAIN.duration(), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_heir_whose_process_is_gone_ends_the_drain_with_the_next_look() {
    let (machine, ports) = draining();
    let (settled, elapsed) = drained(&ports, Some(Slot::Green), || kill(&machine, Slot::Green)).await;
    let failure = settled.unwrap_err();
    assert_eq!((failure.kind, failure.slot), (FailureKind::Unhealthy, Some(Slot::Green)));
    assert!(failure.message.contains("green is not healthy after"), "{failure}");
    assert!(elapsed <= DIES + Duration::from_millis(LOOK_MILLIS + 10), "{elapsed:?}");
}

/// The watch looked a moment before the heir died, and would look again only after the old slot has answered its last request.
#[tokio::test(start_paused = true)]
async fn an_heir_that_died_right_before_the_last_request_was_answered_ends_the_drain_at_once() {
    let (machine, ports) = draining();
    let dies_and_ends = async {
        tokio::time::sleep(DIES + Duration::from_millis(10)).await;
        kill(&machine, Slot::Green);
        machine.lock().unwrap().slots.get_mut(&Slot::Blue).unwrap().requests.clear();
        std::future::pending::<()>().await
    };
    let (settled, elapsed) = before(drained(&ports, Some(Slot::Green), || {}), dies_and_ends).await;
    let failure = settled.unwrap_err();
    assert_eq!((failure.kind, failure.slot), (FailureKind::Unhealthy, Some(Slot::Green)));
    assert!(failure.message.contains("it does not run"), "{failure}");
    assert!(elapsed < DIES + Duration::from_millis(100), "{elapsed:?}");
}

/// Its restart policy has started it again, and it does not answer yet.
#[tokio::test(start_paused = true)]
async fn an_heir_that_runs_and_does_not_answer_when_the_drain_is_over_is_given_no_more_than_three_looks() {
    let (machine, ports) = draining();
    let fails_and_ends = async {
        tokio::time::sleep(DIES + Duration::from_millis(10)).await;
        make_sick(&machine, Slot::Green);
        machine.lock().unwrap().slots.get_mut(&Slot::Blue).unwrap().requests.clear();
        std::future::pending::<()>().await
    };
    let (settled, elapsed) = before(drained(&ports, Some(Slot::Green), || {}), fails_and_ends).await;
    let failure = settled.unwrap_err();
    assert_eq!((failure.kind, failure.slot), (FailureKind::Unhealthy, Some(Slot::Green)));
    assert!(elapsed < DIES + Duration::from_millis(4 * MISSES_PAUSE_MILLIS), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_heir_that_fails_its_health_check_three_times_ends_the_drain() {
    let (machine, ports) = draining();
    let (settled, elapsed) = drained(&ports, Some(Slot::Green), || make_sick(&machine, Slot::Green)).await;
    let failure = settled.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unhealthy);
    assert!(failure.message.contains("it answered 503, wanted 2xx"), "{failure}");
    let misses = Duration::from_millis(2 * MISSES_PAUSE_MILLIS);
    assert!(elapsed >= DIES + misses && elapsed < DIES + Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_heir_that_has_lost_the_traffic_ends_the_drain() {
    for dial in [None, Some("127.0.0.1:9".to_owned()), Some(Machine::address(Slot::Blue))] {
        let (machine, ports) = draining();
        let changes = || machine.lock().unwrap().point_at(dial.clone(), None);
        let (settled, elapsed) = drained(&ports, Some(Slot::Green), changes).await;
        let failure = settled.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Conflict, "{failure}");
        assert!(failure.message.starts_with("green has lost the traffic: fake dials "), "{failure}");
        assert!(elapsed < DIES + Duration::from_secs(1), "{elapsed:?}");
    }
}

/// A router of ours that died is there again with the next look; a router of somebody else's is waited for.
#[tokio::test(start_paused = true)]
async fn a_router_that_died_is_revived_and_the_drain_goes_on() {
    for revives in [true, false] {
        let (_, mut ports) = draining();
        let start = Instant::now();
        let revived = odd(&mut ports, move |revived| start.elapsed() < DIES || (revives && revived > 0));
        let counted = revived.clone();
        let soon = async {
            tokio::time::sleep(DIES + Duration::from_millis(500)).await;
            assert!(counted.load(Ordering::Relaxed) >= 1, "it is revived within half a second");
            std::future::pending::<()>().await
        };
        went_on(before(drained(&ports, Some(Slot::Green), || {}), soon).await);
        assert_eq!(revived.load(Ordering::Relaxed) == 1, revives, "{revived:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_to_be_gone_back_to_nobody_watches() {
    let (machine, ports) = draining();
    went_on(drained(&ports, None, || kill(&machine, Slot::Green)).await);
}

#[tokio::test(start_paused = true)]
async fn while_all_is_well_the_drain_goes_on() {
    let (_, ports) = draining();
    went_on(drained(&ports, Some(Slot::Green), || {}).await);
}

/// Some probes, or all that is asked of the host, fail for a while.
struct Fails {
    /// The first probe that fails, and how many do.
    probes: Option<(u64, u64)>,
    /// The whole host does not answer from then on.
    silent_after: Option<(Instant, Duration)>,
    probed: AtomicU64,
}

#[async_trait]
impl Faults for Fails {
    async fn before(&self, call: &Call) -> Fate {
        let silent = self.silent_after.is_some_and(|(start, after)| start.elapsed() >= after);
        let number = match call.what {
            What::Connect => self.probed.fetch_add(1, Ordering::Relaxed),
            _ => u64::MAX,
        };
        let hiccup = self.probes.is_some_and(|(first, many)| (first..first + many).contains(&number));
        match silent || hiccup {
            true => Fate::Fails(PortError::unreachable("it did not answer")),
            false => Fate::Happens,
        }
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}

#[tokio::test(start_paused = true)]
async fn two_probes_that_fail_undo_nothing_and_three_do() {
    for (many, ends) in [(1, false), (2, false), (3, true)] {
        let (machine, _) = draining();
        let faults = Fails { probes: Some((5, many)), silent_after: None, probed: AtomicU64::new(0) };
        let ports = FakePorts::new(machine, Arc::new(faults)).host_ports("/srv/web");
        let (settled, elapsed) = drained(&ports, Some(Slot::Green), || {}).await;
        assert_eq!(settled.is_err(), ends, "{many}: {settled:?}");
        assert_eq!(elapsed < DRAIN.duration(), ends, "{many}: {elapsed:?}");
    }
}

/// The orchestrator's way to the host is cut: that says nothing of the heir.
#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_says_nothing_of_the_heir() {
    let (machine, _) = draining();
    let silent_after = Some((Instant::now(), DIES));
    let faults = Fails { probes: None, silent_after, probed: AtomicU64::new(0) };
    let ports = FakePorts::new(machine, Arc::new(faults)).host_ports("/srv/web");
    let (settled, elapsed) = drained(&ports, Some(Slot::Green), || {}).await;
    assert!(settled.unwrap()[0].seen.starts_with("unknown: "), "{elapsed:?}");
    assert!(elapsed >= DRAIN.duration(), "{elapsed:?}");
}

/// Some calls take a while, and then something happens.
struct Slow<T> {
    what: fn(&What) -> bool,
    takes: Duration,
    then: T,
}

#[async_trait]
impl<T: Fn(&mut Machine) + Send + Sync> Faults for Slow<T> {
    async fn before(&self, call: &Call) -> Fate {
        if (self.what)(&call.what) {
            tokio::time::sleep(self.takes).await;
        }
        Fate::Happens
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, call: &Call, machine: &mut Machine) {
        if (self.what)(&call.what) {
            (self.then)(machine);
        }
    }
}

const GRACE: Duration = Duration::from_secs(5);

fn stopping(then: impl Fn(&mut Machine) + Send + Sync + 'static) -> (SharedMachine, HostPorts) {
    let (machine, _) = switched();
    let faults = Arc::new(Slow { what: |what| matches!(what, What::Stop(_)), takes: GRACE, then });
    let ports = FakePorts::new(machine.clone(), faults).host_ports("/srv/web");
    (machine, ports)
}

async fn stopped(ports: &HostPorts) -> (Result<Seen, Failure>, Duration) {
    let start = Instant::now();
    let watch = Watch { ports, heir: Slot::Green, service: service(), probe: probed() };
    let settled = stop(ports, Slot::Blue, Some(GRACE.into()), Some(watch), None).await;
    (settled, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_stop_behind_which_the_heir_serves_is_done() {
    let (machine, ports) = stopping(|_| {});
    let (settled, elapsed) = stopped(&ports).await;
    assert_eq!(settled, Ok(Seen::new()));
    assert!(elapsed < GRACE + Duration::from_millis(100), "{elapsed:?}");
    assert!(machine.lock().unwrap().slots[&Slot::Blue].running_since.is_none());
}

/// The old slot is gone by then, so it is not done and not tried again: it is said that nobody is served.
#[tokio::test(start_paused = true)]
async fn a_stop_behind_which_nobody_is_served_has_failed() {
    type Happens = fn(&mut Machine);
    let dies: Happens = |machine| machine.slots.get_mut(&Slot::Green).unwrap().running_since = None;
    let sickens: Happens =
        |machine| machine.slots.get_mut(&Slot::Green).unwrap().behaviour.healthy_after = None;
    let leaves: Happens = |machine| machine.point_at(None, None);
    for (happens, said) in [
        (dies, "it does not run"),
        (sickens, "it answered 503"),
        (leaves, "green has lost the traffic: fake dials nothing"),
    ] {
        let (_, ports) = stopping(happens);
        let (settled, elapsed) = stopped(&ports).await;
        let failure = settled.unwrap_err();
        assert_eq!((failure.kind, failure.slot), (FailureKind::Unhealthy, Some(Slot::Green)), "{failure}");
        assert!(
            failure.message.starts_with("blue was stopped, and by then nobody was served: "),
            "{failure}"
        );
        assert!(failure.message.contains(said), "{failure}");
        assert!(elapsed < GRACE + Duration::from_secs(1), "{elapsed:?}");
    }
}

/// The router's route can be read as `routed` says.
fn odd(ports: &mut HostPorts, routed: impl Fn(u32) -> bool + Send + Sync + 'static) -> Arc<AtomicU32> {
    let mut odd = Odd::new(ports.router.clone());
    odd.routed = Some(Box::new(move |revived| match routed(revived) {
        true => Ok(()),
        false => Err(PortError::unreachable("it does not answer")),
    }));
    let revived = odd.revived.clone();
    ports.router = Arc::new(odd);
    revived
}

/// It died while blue drained, or before: blue is kept, and that is not called a success.
#[tokio::test(start_paused = true)]
async fn behind_a_router_of_somebody_elses_that_is_gone_nothing_is_drained_or_stopped() {
    let (machine, mut ports) = draining();
    odd(&mut ports, |_| false);
    for settled in [stopped(&ports).await.0, drained(&ports, Some(Slot::Green), || {}).await.0] {
        let failure = settled.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unhealthy, "{failure}");
        assert!(failure.message.contains("odd does not answer any more"), "{failure}");
    }
    assert!(machine.lock().unwrap().slots[&Slot::Blue].running_since.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_is_live_is_looked_at_while_old_images_are_removed_for_long() {
    for (dies, well) in [(false, true), (true, false)] {
        let (machine, _) = switched();
        let happens = move |machine: &mut Machine| {
            if dies {
                machine.slots.get_mut(&Slot::Green).unwrap().running_since = None;
            }
        };
        let faults = Arc::new(Slow { what: |what| matches!(what, What::Prune), takes: GRACE, then: happens });
        let ports = FakePorts::new(machine, faults).host_ports("/srv/web");
        let watch = |heir| Watch { ports: &ports, heir, service: service(), probe: probed() };
        let settled = prune(&ports, 3, watch).await;
        assert_eq!(settled.is_ok(), well, "{settled:?}");
        if let Err(failure) = settled {
            assert_eq!((failure.kind, failure.slot), (FailureKind::Unhealthy, Some(Slot::Green)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_of_ours_that_dies_while_a_slot_stops_is_revived_meanwhile() {
    let (_, mut ports) = stopping(|_| {});
    let start = Instant::now();
    let revived = odd(&mut ports, move |revived| start.elapsed() < DIES || revived > 0);
    let soon = async {
        tokio::time::sleep(DIES + Duration::from_millis(500)).await;
        assert_eq!(revived.load(Ordering::Relaxed), 1);
        std::future::pending::<()>().await
    };
    before(stopped(&ports), soon).await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_router_of_somebody_elses_that_is_gone_is_told_unless_it_is_the_whole_host() {
    let (_, mut ports) = stopping(|_| {});
    let start = Instant::now();
    odd(&mut ports, move |_| start.elapsed() < DIES);
    let failure = stopped(&ports).await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unhealthy);
    assert!(failure.message.contains("odd does not answer any more"), "{failure}");

    let (machine, _) = switched();
    let silent_after = Some((Instant::now(), DIES));
    let faults = Fails { probes: None, silent_after, probed: AtomicU64::new(0) };
    let ports = FakePorts::new(machine, Arc::new(faults)).host_ports("/srv/web");
    let watch = Watch { ports: &ports, heir: Slot::Green, service: service(), probe: probed() };
    tokio::time::advance(DIES).await;
    assert_eq!(watch.last_look().await, Ok(()), "nothing is known of it");
}

#[tokio::test(start_paused = true)]
async fn without_a_router_an_heir_has_to_run_at_the_end() {
    for (dies, well) in [(true, false), (false, true)] {
        let (_, mut ports) = stopping(move |machine| {
            if dies {
                machine.slots.get_mut(&Slot::Green).unwrap().running_since = None;
            }
        });
        ports.router = Arc::new(NoRouter);
        assert_eq!(stopped(&ports).await.0.is_ok(), well);
    }
}
