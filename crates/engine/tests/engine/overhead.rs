//! What leases cost on each host of a fleet, on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{Engine, Interrupt, LeaseStore, Leases, Performer, RunFile};
use lockgate_model::{
    Action, Failure, FailureKind, Headway, HostId, Identity, Lane, Millis, Outcome, Phase, Plan, Progress,
    RECORD_BYTES_MAX, RunId, Seen, Slot, Step, StepId, WhoIsLive,
};

use crate::common::{self, Counts, Forgets, Record};

const TTL: Millis = Millis::from_secs(15);
/// How long a step takes: some heartbeats, and its end beside none of them.
const STEP: Duration = Duration::from_secs(18);

struct World {
    records: Vec<Arc<Record>>,
    /// Steps that fail.
    failing: Mutex<bool>,
}

impl World {
    fn new(hosts: usize) -> Self {
        let record = |number| Record::of(&format!("web{number:03}"));
        Self { records: (0..hosts).map(record).collect(), failing: Mutex::new(false) }
    }

    fn leases(&self, pid: u32) -> Leases {
        let stores = self.records.iter().map(|record| record.clone() as Arc<dyn LeaseStore>).collect();
        let (owner, boot_id) = ("kim@desk".into(), format!("boot{pid}"));
        let identity = Identity { owner, boot_id, pid, started: 1, session: "one".into() };
        Leases { stores, identity, surely_dead: Arc::new(|_| false), ttl: TTL }
    }

    fn plan(&self) -> Plan {
        let hosts: Vec<HostId> = self.records.iter().map(|record| record.host.clone()).collect();
        let lane = |(index, host): (u32, &HostId)| {
            let action =
                Action::Start { slot: Slot::Green, release: common::release(), own_environment: false };
            let undo =
                vec![Action::Stop { slot: Slot::Green, grace: Some(Millis(0)), heir: None, holding: None }];
            Lane { host: Some(host.clone()), steps: vec![Step { id: StepId(index), action, undo }] }
        };
        let lanes = (0..).zip(&hosts).map(lane).collect();
        common::plan(hosts, vec![Phase { title: "go live".into(), committed: false, lanes }])
    }

    async fn run(&self) -> Outcome {
        let fence = self.leases(1).acquire().await.unwrap().fence;
        let (interrupt, owner) = (Interrupt::default(), "kim@desk".to_owned());
        let engine = Engine {
            journal: &Forgets,
            performer: self,
            fence,
            clock: &Forgets,
            sink: &Forgets,
            interrupt,
            owner,
            requester: None,
        };
        engine.run(RunId(uuid::Uuid::from_u128(1)), self.plan()).await.unwrap()
    }
}

#[async_trait]
impl Performer for World {
    async fn perform(
        &self,
        host: Option<&HostId>,
        action: &Action,
        _: &(dyn Fn(Headway) + Send + Sync),
    ) -> Result<Seen, Failure> {
        tokio::time::sleep(STEP).await;
        let first = host == Some(&self.records[0].host);
        if *self.failing.lock().unwrap() && first && matches!(action, Action::Start { .. }) {
            return Err(Failure::new(FailureKind::Refused, "it will not"));
        }
        Ok(Seen::new())
    }

    async fn who_is_live(&self, _hosts: &[HostId]) -> WhoIsLive {
        WhoIsLive::default()
    }
}

/// With 200 hosts a host is asked as often as alone, and its record is as large. The fleet's plan is written to it once.
#[tokio::test(start_paused = true)]
async fn what_a_host_is_asked_for_does_not_grow_with_the_fleet() {
    for failing in [false, true] {
        let mut first: Option<Counts> = None;
        for hosts in [1, 50, 200] {
            let world = World::new(hosts);
            *world.failing.lock().unwrap() = failing;
            let outcome = world.run().await;
            assert_eq!(outcome.as_str(), if failing { "failed" } else { "succeeded" });
            let file = RunFile::of(RunId(uuid::Uuid::from_u128(1)), &world.plan()).unwrap();
            let counts = *world.records[0].counts.lock().unwrap();
            eprintln!("{hosts} hosts, failing {failing}: {counts:?}, a plan of {} bytes", file.content.len());
            for record in &world.records {
                let file_bytes = record.counts.lock().unwrap().file_bytes;
                assert_eq!(file_bytes, file.content.len() as u64, "the plan is written once, and not read");
                assert!(record.files.lock().unwrap().is_empty(), "and removed");
            }
            // One host alone is not looked at before its lease is taken.
            let first = *first.get_or_insert(Counts { operations: counts.operations + 1, ..counts });
            assert_eq!(counts.operations + u64::from(hosts == 1), first.operations, "{hosts} hosts");
            assert_eq!(counts.record_bytes, first.record_bytes, "{hosts} hosts");
        }
    }
}

fn file_of(world: &World) -> RunFile {
    RunFile::of(RunId(uuid::Uuid::from_u128(1)), &world.plan()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_the_plan_is_written() {
    let world = World::new(1);
    let record = &world.records[0];
    let held = world.leases(1).acquire().await.unwrap();
    *record.writing.lock().unwrap() = TTL.duration() * 4;
    let (file, fence) = (file_of(&world), held.fence.clone());
    let marking = tokio::spawn(async move { fence.mark(&file, Progress::Forward, None).await });
    tokio::time::sleep(TTL.duration() * 3).await;
    let seen = record.record();
    assert!(seen.unfinished.is_none(), "no record names a plan that is not there");
    assert!(!seen.holder.unwrap().has_expired(record.now()), "its heart beats on");
    marking.await.unwrap().unwrap();
    let name = record.record().unfinished.unwrap().file().unwrap();
    assert!(record.files.lock().unwrap().contains_key(&name));
    held.fence.check(None).await.unwrap();
}

/// It may have died between the plan and the record, or between the record and the removal.
#[tokio::test(start_paused = true)]
async fn what_a_dead_holder_left_beside_a_record_is_swept_by_the_next_run() {
    let world = World::new(2);
    let record = &world.records[0];
    let orphan = RunFile::of(RunId(uuid::Uuid::from_u128(7)), &world.plan()).unwrap();
    record.keep(&orphan).await.unwrap();
    assert!(matches!(world.run().await, Outcome::Succeeded { .. }));
    assert!(record.files.lock().unwrap().is_empty());
    assert!(record.content.lock().unwrap().as_ref().unwrap().len() <= RECORD_BYTES_MAX);
}

/// Found by the simulation, seed 2445.
#[tokio::test(start_paused = true)]
async fn who_was_overtaken_while_it_slept_sweeps_nothing() {
    let world = World::new(1);
    let record = &world.records[0];
    let first = world.leases(1).acquire().await.unwrap();
    first.fence.fall_silent();
    let second = world.leases(2).acquire().await.unwrap();
    let theirs = RunFile::of(RunId(uuid::Uuid::from_u128(2)), &world.plan()).unwrap();
    second.fence.mark(&theirs, Progress::Forward, None).await.unwrap();
    let lost = first.fence.mark(&file_of(&world), Progress::Forward, None).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::LeaseLost);
    let named = record.record().unfinished.unwrap().file().unwrap();
    assert_eq!(named, theirs.name);
    assert!(record.files.lock().unwrap().contains_key(&named));
    second.fence.unmark().await.unwrap();
    second.fence.mark(&theirs, Progress::Forward, None).await.unwrap();
    let left: Vec<_> = record.files.lock().unwrap().keys().cloned().collect();
    assert_eq!(left, [theirs.name], "what came late is swept");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_gone_or_another_one_is_not_read_and_the_lease_says_so() {
    for damage in ["gone", "cut"] {
        let world = World::new(2);
        let held = world.leases(1).acquire().await.unwrap();
        held.fence.mark(&file_of(&world), Progress::Committed, None).await.unwrap();
        held.fence.release().await.unwrap();
        let name = world.records[1].record().unfinished.unwrap().file().unwrap();
        let mut files = world.records[1].files.lock().unwrap().clone();
        match damage {
            "gone" => drop(files.remove(&name)),
            _ => files.get_mut(&name).unwrap().truncate(100),
        }
        *world.records[1].files.lock().unwrap() = files;
        let found = world.leases(2).acquire().await.unwrap();
        let hosts = |at: &[usize]| at.iter().map(|at| world.records[*at].host.clone()).collect::<Vec<_>>();
        assert_eq!(found.unfinished.keys().cloned().collect::<Vec<_>>(), hosts(&[0]));
        assert_eq!(found.unread.keys().cloned().collect::<Vec<_>>(), hosts(&[1]));
        assert!(!found.is_at_rest());
        let unread = &found.unread[&world.records[1].host];
        assert_eq!((unread.run, unread.progress), (name.run, Progress::Committed));
        found.fence.release().await.unwrap();
        assert!(world.records[1].record().unfinished.is_some(), "it is as unfinished as it was");
    }
}
