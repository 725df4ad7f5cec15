//! An orchestrator that stood still while somebody else took its lease over, and does not know it yet. What its journal then
//! says of the run must not be what it had in mind: the other one goes on with it. On a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{
    Engine, Interrupt, Journal, JournalError, LeaseStore, Leases, Performer, RunError, RunFilter, RunSummary,
};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, Headway, HostId, Identity, Lane, Millis, Outcome, Phase,
    Plan, Progress, RunId, Seen, Slot, Step, StepId, WhoIsLive,
};

use crate::common::{self, Forgets, Record};

const TTL: Millis = Millis::from_secs(15);
/// When the other one takes over, and for how long the first stands still.
const TAKEN_OVER: Duration = Duration::from_secs(20);
const STANDS_STILL: Duration = Duration::from_secs(60);

/// Where it stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    /// While its journal writes that a step was started.
    Journal,
    /// In the swap that tells the host that the run turns back, behind the renaming.
    Turning,
}

/// One host, whose steps take as long as they say and fail where they are about the blue slot, and a journal.
struct World {
    record: Arc<Record>,
    stall: Mutex<Option<Stall>>,
    stands_still: Duration,
    /// No lease is renewed beside the steps.
    falls_silent: bool,
    written: Mutex<Vec<Event>>,
}

impl World {
    fn new(stall: Option<Stall>) -> Self {
        let (record, stall) = (Record::of("web1"), Mutex::new(stall));
        let (stands_still, falls_silent, written) = (STANDS_STILL, false, Mutex::default());
        Self { record, stall, stands_still, falls_silent, written }
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
        if self.falls_silent {
            fence.fall_silent();
        }
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

    /// What it came to for who was replaced while it stood still, and its journal's kinds of events.
    async fn replaced(&self, plan: Plan) -> (Result<Outcome, RunError>, Vec<EventKind>) {
        let other = async {
            tokio::time::sleep(TAKEN_OVER).await;
            self.record.take_over();
        };
        let (ended, ()) = tokio::join!(self.run(plan, Interrupt::default()), other);
        assert_eq!(*self.stall.lock().unwrap(), None, "it stood still");
        (ended, self.written())
    }

    fn written(&self) -> Vec<EventKind> {
        self.written.lock().unwrap().iter().map(|event| event.kind.clone()).collect()
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
        let (slot, takes) = match action {
            Action::Drain { slot, deadline, .. } => (*slot, *deadline),
            Action::Stop { slot, grace, .. } => (*slot, grace.unwrap_or(Millis(0))),
            other => unreachable!("{other:?}"),
        };
        tokio::time::sleep(takes.duration()).await;
        if slot != Slot::Blue {
            return Ok(Seen::new());
        }
        if self.stall.lock().unwrap().take_if(|stall| *stall == Stall::Turning).is_some() {
            *self.record.answer.lock().unwrap() = STANDS_STILL;
        }
        Err(Failure::new(FailureKind::GateFailed, "it is not well"))
    }

    async fn who_is_live(&self, _hosts: &[HostId]) -> WhoIsLive {
        WhoIsLive::default()
    }
}

#[async_trait]
impl Journal for World {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        let is_start = matches!(event.kind, EventKind::StepStarted { .. });
        let stall = self.stall.lock().unwrap().take_if(|stall| is_start && *stall == Stall::Journal);
        if stall.is_some() {
            tokio::time::sleep(self.stands_still).await;
        }
        self.written.lock().unwrap().push(event.clone());
        Ok(())
    }

    async fn load(&self, _run: RunId) -> Result<Vec<Event>, JournalError> {
        Ok(Vec::new())
    }

    async fn runs(&self, _filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        Ok(Vec::new())
    }
}

/// Looks, for longer than it takes to write that it was started. There is nothing to undo.
fn look(slot: Slot) -> Action {
    Action::Drain { slot, deadline: Millis(200), heir: None }
}

/// A phase of these lanes, and where `tidies_up` one behind the commit.
fn plan(lanes: Vec<Vec<Action>>, tidies_up: bool) -> Plan {
    let host = HostId::new("web1").unwrap();
    let mut ids = (0..).map(StepId);
    let mut lane = |actions: Vec<Action>| Lane {
        host: Some(host.clone()),
        steps: actions
            .into_iter()
            .zip(&mut ids)
            .map(|(action, id)| Step { id, action, undo: Vec::new() })
            .collect(),
    };
    let mut phase = |committed, lanes: Vec<Vec<Action>>| Phase {
        title: "go on".into(),
        committed,
        lanes: lanes.into_iter().map(&mut lane).collect(),
    };
    let mut phases = vec![phase(false, lanes)];
    if tidies_up {
        phases.push(phase(true, vec![vec![look(Slot::Green)]]));
    }
    common::plan(vec![host.clone()], phases)
}

/// What the run does, its plan, and its end when nobody is in its way.
fn runs() -> [(&'static str, Plan, &'static str); 3] {
    [
        ("turns back", plan(vec![vec![look(Slot::Blue)]], false), "failed"),
        ("commits", plan(vec![vec![look(Slot::Green)]], true), "succeeded"),
        ("succeeds", plan(vec![vec![look(Slot::Green)]], false), "succeeded"),
    ]
}

fn is_the_runs(kind: &EventKind) -> bool {
    matches!(kind, EventKind::UnwindStarted { .. } | EventKind::Committed | EventKind::RunEnded { .. })
}

/// Found by the simulation, kind `lock`, seeds 930, 2008 and 2662.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_after_it_had_told_the_hosts_to_turn_back_tells_no_end() {
    let world = World::new(Some(Stall::Turning));
    let (ended, written) = world.replaced(plan(vec![vec![look(Slot::Blue)]], false)).await;
    assert_eq!(world.record.record().unfinished.unwrap().progress, Progress::Unwinding, "it was told");
    assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{ended:?}");
    assert!(!written.iter().any(|kind| matches!(kind, EventKind::RunEnded { .. })), "{written:?}");
}

/// Found by the simulation, kind `lock`, seed 9816: when it wakes up the host does not answer for a moment.
#[tokio::test(start_paused = true)]
async fn who_cannot_ask_whether_it_was_replaced_asks_again_before_it_tells_an_end() {
    let world = World::new(Some(Stall::Turning));
    let silence = async {
        tokio::time::sleep(STANDS_STILL - Duration::from_secs(5)).await;
        *world.record.is_silent.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(8)).await;
        *world.record.is_silent.lock().unwrap() = false;
    };
    let plan = plan(vec![vec![look(Slot::Blue)]], false);
    let ((ended, written), ()) = tokio::join!(world.replaced(plan), silence);
    assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{ended:?}");
    assert!(!written.iter().any(|kind| matches!(kind, EventKind::RunEnded { .. })), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_while_its_journal_stood_still_tells_nothing_of_where_the_run_goes() {
    for (what, plan, _) in runs() {
        let world = World::new(Some(Stall::Journal));
        let (ended, written) = world.replaced(plan).await;
        assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{what}: {ended:?}");
        assert!(!written.iter().any(is_the_runs), "{what}: {written:?}");
    }
}

/// Somebody who is in nobody's way goes on although it stood still for longer than its lease lives.
#[tokio::test(start_paused = true)]
async fn who_stood_still_and_was_not_replaced_goes_on() {
    for (what, plan, end) in runs() {
        let world = World::new(Some(Stall::Journal));
        let outcome = world.run(plan, Interrupt::default()).await.unwrap();
        assert_eq!(outcome.as_str(), end, "{what}");
        assert!(world.written().iter().any(|kind| matches!(kind, EventKind::RunEnded { .. })), "{what}");
        assert!(world.record.record().holder.is_none(), "{what}: it gave the lease up");
    }
}

/// Found by the simulation, kind `lock`, seed 4062. One lane is renewing the lease when the other one fails, and the lease
/// is overdue when the journal answers.
#[tokio::test(start_paused = true)]
async fn a_run_that_turns_back_does_not_wait_for_a_step_that_waits_for_it() {
    let world =
        World { stands_still: STANDS_STILL / 3, falls_silent: true, ..World::new(Some(Stall::Journal)) };
    let grace = Some(Millis::from_secs(40));
    let stop = Action::Stop { slot: Slot::Green, grace, heir: None, holding: None };
    let first = Action::Drain { slot: Slot::Green, deadline: Millis::from_secs(1), heir: None };
    let fails = Action::Drain { slot: Slot::Blue, deadline: Millis::from_secs(11), heir: None };
    let slow = async {
        // The swap that renews the lease beside the stop.
        tokio::time::sleep(Duration::from_secs(10)).await;
        *world.record.answer.lock().unwrap() = STANDS_STILL / 3;
    };
    let run = world.run(plan(vec![vec![stop], vec![first, fails]], false), Interrupt::default());
    let bounded = tokio::time::timeout(STANDS_STILL * 10, run);
    let (ended, ()) = tokio::join!(bounded, slow);
    assert_eq!(ended.expect("it ends").unwrap().as_str(), "failed");
    assert_eq!(*world.record.answer.lock().unwrap(), Duration::ZERO, "the lease was being renewed");
}
