//! What goes on beside an action: looks at the lease, the journal, an interrupt. On a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{
    Engine, Interrupt, Journal, JournalError, LeaseStore, Leases, Performer, RunError, RunFilter, RunSummary,
};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, Headway, HostId, Identity, Lane, Millis, Outcome, Phase,
    Plan, RunId, Seen, Slot, Step, StepId, WhoIsLive,
};
use tokio::time::Instant;

use crate::common::{self, Forgets, Record};

/// Each of an action's naps, whose lengths it measures.
const NAP: Duration = Duration::from_millis(100);
const TTL: Millis = Millis::from_secs(15);

/// One host, on which an action naps until its time is over.
struct World {
    record: Arc<Record>,
    began: Instant,
    /// The longest that an action measured of its naps.
    longest_nap: Mutex<Duration>,
    /// When an action last did anything.
    last_done: Mutex<Duration>,
    /// Actions that came to their end.
    ended: Mutex<Vec<Action>>,
    written: Mutex<Vec<(Duration, Event)>>,
}

impl World {
    fn new() -> Self {
        Self {
            record: Record::of("web1"),
            began: Instant::now(),
            longest_nap: Mutex::default(),
            last_done: Mutex::default(),
            ended: Mutex::default(),
            written: Mutex::default(),
        }
    }

    async fn run(&self, plan: Plan, interrupt: Interrupt) -> Result<Outcome, RunError> {
        let stores = vec![self.record.clone() as Arc<dyn LeaseStore>];
        let identity = Identity {
            owner: "me".into(),
            boot_id: "boot".into(),
            pid: 1,
            started: 1,
            session: "one".into(),
        };
        let leases = Leases { stores, identity, surely_dead: Arc::new(|_| false), ttl: TTL };
        let fence = leases.acquire().await.unwrap().fence;
        let owner = "me".to_owned();
        let engine = Engine {
            journal: self,
            performer: self,
            fence,
            clock: &Forgets,
            sink: &Forgets,
            interrupt,
            owner,
            requester: None,
        };
        engine.run(RunId(uuid::Uuid::from_u128(1)), plan).await
    }

    /// When the first event of this kind was in the journal.
    fn written_at(&self, is: impl Fn(&EventKind) -> bool) -> Duration {
        let written = self.written.lock().unwrap();
        written.iter().find(|(_, event)| is(&event.kind)).map(|(at, _)| *at).expect("it was written")
    }
}

/// How long an action takes.
fn length(action: &Action) -> Duration {
    match action {
        Action::Drain { deadline, .. } => deadline.duration(),
        Action::Stop { grace, .. } => grace.unwrap_or(Millis(0)).duration(),
        Action::Fetch { .. } => Duration::from_secs(3600),
        _ => Duration::from_millis(1),
    }
}

#[async_trait]
impl Performer for World {
    async fn perform(
        &self,
        _host: Option<&HostId>,
        action: &Action,
        _: &(dyn Fn(Headway) + Send + Sync),
    ) -> Result<Seen, Failure> {
        let end = Instant::now() + length(action);
        while Instant::now() < end {
            let nap = NAP.min(end - Instant::now());
            let asleep = Instant::now();
            tokio::time::sleep(nap).await;
            let mut longest = self.longest_nap.lock().unwrap();
            *longest = longest.max(asleep.elapsed());
            *self.last_done.lock().unwrap() = self.began.elapsed();
        }
        self.ended.lock().unwrap().push(action.clone());
        Ok(Seen::new())
    }

    async fn who_is_live(&self, _hosts: &[HostId]) -> WhoIsLive {
        WhoIsLive::default()
    }
}

#[async_trait]
impl Journal for World {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.written.lock().unwrap().push((self.began.elapsed(), event.clone()));
        Ok(())
    }

    async fn load(&self, _run: RunId) -> Result<Vec<Event>, JournalError> {
        Ok(Vec::new())
    }

    async fn runs(&self, _filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        Ok(Vec::new())
    }
}

/// Looks for `millis`.
fn look(millis: u64) -> Action {
    Action::Drain { slot: Slot::Green, deadline: Millis(millis), heir: None }
}

/// Changes something for `millis`.
fn change(millis: u64) -> Action {
    Action::Stop { slot: Slot::Green, grace: Some(Millis(millis)), heir: None, holding: None }
}

/// Phases of lanes of one action each.
fn plan(phases: &[&[Action]]) -> Plan {
    let host = HostId::new("web1").unwrap();
    let mut next = 0;
    let mut lane = |action: &Action| {
        let step = Step { id: StepId(next), action: action.clone(), undo: Vec::new() };
        next += 1;
        Lane { host: Some(host.clone()), steps: vec![step] }
    };
    let mut phase = |actions: &[Action]| {
        let lanes = actions.iter().map(&mut lane).collect();
        Phase { title: "go on".into(), committed: false, lanes }
    };
    let phases = phases.iter().map(|actions| phase(actions)).collect();
    common::plan(vec![host], phases)
}

fn slack() -> Duration {
    Duration::from_millis(5)
}

/// A gate that measures latency must not measure how long the host takes to say whose the lease is.
#[tokio::test(start_paused = true)]
async fn the_time_that_a_look_at_the_lease_takes_is_in_no_actions_measure() {
    for action in [look(60_000), change(60_000)] {
        let world = World::new();
        *world.record.every_look.lock().unwrap() = Duration::from_secs(2);
        let outcome = world.run(plan(&[std::slice::from_ref(&action)]), Interrupt::default()).await.unwrap();
        assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
        let longest = *world.longest_nap.lock().unwrap();
        assert!(longest <= NAP + slack(), "{action:?} took a nap of {longest:?}");
    }
}

/// Beyond the lease's life only what changes something has to wait.
#[tokio::test(start_paused = true)]
async fn what_only_looks_goes_on_while_it_is_not_known_whose_the_lease_is() {
    let world = World::new();
    let slow = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        *world.record.every_look.lock().unwrap() = Duration::from_secs(14);
    };
    let interrupt = Interrupt::default();
    let plan = plan(&[&[look(40_000)]]);
    let (outcome, ()) = tokio::join!(world.run(plan, interrupt), slow);
    assert!(matches!(outcome, Ok(Outcome::Succeeded { .. })), "{outcome:?}");
    let longest = *world.longest_nap.lock().unwrap();
    assert!(longest <= NAP + slack(), "a nap of {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_action_does_nothing_more_once_somebody_else_can_hold_the_lease() {
    for action in [look(60_000), change(60_000)] {
        let world = World::new();
        let sleep = async {
            tokio::time::sleep(Duration::from_millis(1_050)).await;
            world.record.take_over();
            // As one that was stopped: nothing was polled meanwhile.
            tokio::time::advance(TTL.duration() * 2).await;
        };
        let interrupt = Interrupt::default();
        let plan = plan(&[std::slice::from_ref(&action)]);
        let (outcome, ()) = tokio::join!(world.run(plan, interrupt), sleep);
        assert!(matches!(outcome, Err(RunError::LeaseLost(_))), "{outcome:?}");
        assert!(world.ended.lock().unwrap().is_empty(), "{action:?}");
        if !action.properties().only_looks {
            let last = *world.last_done.lock().unwrap();
            assert!(last < TTL.duration(), "it went on at {last:?}");
        }
    }
}

/// A host that does not answer for a moment says nothing about whose the lease is.
#[tokio::test(start_paused = true)]
async fn a_look_at_the_lease_that_fails_is_made_again_while_the_lease_is_safe() {
    let world = World::new();
    let silence = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        *world.record.is_silent.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(7)).await;
        *world.record.is_silent.lock().unwrap() = false;
    };
    let (outcome, ()) = tokio::join!(world.run(plan(&[&[change(30_000)]]), Interrupt::default()), silence);
    assert!(matches!(outcome, Ok(Outcome::Succeeded { .. })), "{outcome:?}");
}

/// Steps that end one soon after the other, as health checks of a fleet do, put nothing off.
#[tokio::test(start_paused = true)]
async fn what_happened_is_written_within_its_time_although_something_else_happens_all_the_while() {
    let world = World::new();
    let looks: Vec<Action> = (1..=20).map(|index| look(index * 20)).collect();
    world.run(plan(&[&looks]), Interrupt::default()).await.unwrap();
    let written = world.written_at(|kind| matches!(kind, EventKind::StepSucceeded { .. }));
    assert!(written <= Duration::from_millis(20 + 50) + slack(), "{written:?}");
}

/// Nothing is changed by it, and nobody who wants to stop waits for a registry.
#[tokio::test(start_paused = true)]
async fn an_interrupt_breaks_off_what_is_being_fetched() {
    let world = World::new();
    let interrupt = Interrupt::default();
    let press = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        interrupt.request();
    };
    let fetch = Action::Fetch { release: common::release() };
    let (outcome, ()) = tokio::join!(world.run(plan(&[&[fetch], &[change(1)]]), interrupt.clone()), press);
    let Ok(Outcome::Failed { failure }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert!(world.began.elapsed() < Duration::from_secs(6), "{:?}", world.began.elapsed());
    assert!(world.ended.lock().unwrap().is_empty());
}
