//! An orchestrator that stood still while somebody else took its lease over, and does not know it yet. What its journal then
//! says of the run must not be what it had in mind: the other one goes on with it. On a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{
    Engine, Interrupt, Journal, JournalError, LeaseStore, Leases, Performer, RunError, RunFilter, RunSummary,
};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, HostId, Identity, Lane, Millis, Outcome, Phase, Plan,
    Progress, RunId, Seen, Slot, Step, StepId, WhoIsLive,
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

/// One host, with one step that ends at once, and a journal.
struct World {
    record: Arc<Record>,
    stall: Mutex<Option<Stall>>,
    fails: bool,
    written: Mutex<Vec<Event>>,
}

impl World {
    fn new(stall: Option<Stall>, fails: bool) -> Self {
        Self { record: Record::of("web1"), stall: Mutex::new(stall), fails, written: Mutex::default() }
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
    async fn perform(&self, _host: Option<&HostId>, _action: &Action) -> Result<Seen, Failure> {
        // What was started is written by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if !self.fails {
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
            tokio::time::sleep(STANDS_STILL).await;
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

/// One step that only looks, so that there is nothing to undo; behind a commit another one.
fn plan(commits: bool) -> Plan {
    let host = HostId::new("web1").unwrap();
    let phase = |committed, id| {
        let action = Action::Drain { slot: Slot::Green, deadline: Millis(0), heir: None };
        let steps = vec![Step { id: StepId(id), action, undo: Vec::new() }];
        let lanes = vec![Lane { host: Some(host.clone()), steps }];
        Phase { title: "look".into(), committed, lanes }
    };
    let phases = (0..=u32::from(commits)).map(|id| phase(id == 1, id)).collect();
    common::plan(vec![host.clone()], phases)
}

fn is_the_runs(kind: &EventKind) -> bool {
    matches!(kind, EventKind::UnwindStarted { .. } | EventKind::Committed | EventKind::RunEnded { .. })
}

/// Found by the simulation, kind `lock`, seeds 930, 2008 and 2662.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_after_it_had_told_the_hosts_to_turn_back_tells_no_end() {
    let world = World::new(Some(Stall::Turning), true);
    let (ended, written) = world.replaced(plan(false)).await;
    assert_eq!(world.record.record().unfinished.unwrap().progress, Progress::Unwinding, "it was told");
    assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{ended:?}");
    assert!(!written.iter().any(|kind| matches!(kind, EventKind::RunEnded { .. })), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_while_its_journal_stood_still_tells_nothing_of_where_the_run_goes() {
    for (what, plan, fails) in
        [("turns back", plan(false), true), ("commits", plan(true), false), ("succeeds", plan(false), false)]
    {
        let world = World::new(Some(Stall::Journal), fails);
        let (ended, written) = world.replaced(plan).await;
        assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{what}: {ended:?}");
        assert!(!written.iter().any(is_the_runs), "{what}: {written:?}");
    }
}

/// Somebody who is in nobody's way goes on although it stood still for longer than its lease lives.
#[tokio::test(start_paused = true)]
async fn who_stood_still_and_was_not_replaced_goes_on() {
    for (what, plan, fails, end) in [
        ("turns back", plan(false), true, "failed"),
        ("commits", plan(true), false, "succeeded"),
        ("succeeds", plan(false), false, "succeeded"),
    ] {
        let world = World::new(Some(Stall::Journal), fails);
        let outcome = world.run(plan, Interrupt::default()).await.unwrap();
        assert_eq!(outcome.as_str(), end, "{what}");
        assert!(world.written().iter().any(|kind| matches!(kind, EventKind::RunEnded { .. })), "{what}");
        assert!(world.record.record().holder.is_none(), "{what}: it gave the lease up");
    }
}
