//! A run that turns back while something is still under way, on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{self, Forgets, Record};
use async_trait::async_trait;
use lockgate_engine::{Engine, Interrupt, LeaseStore, Leases, Performer};
use lockgate_model::{
    Action, Failure, FailureKind, Headway, HostId, Identity, Lane, Millis, Outcome, Phase, Plan, Progress,
    RunId, Seen, Slot, Step, StepId, WhoIsLive,
};
use tokio::time::Instant;

/// What a host that has just died takes to be given up.
const DEAD: Duration = Duration::from_secs(30);

/// Three hosts: starting is done at once on `first`, refused on `second`, and takes [`DEAD`] on `dead`.
struct World {
    records: Vec<Arc<Record>>,
    began: Instant,
    /// Host, what was done there and when it had been done.
    done: Mutex<Vec<(String, &'static str, Duration)>>,
}

impl World {
    fn new() -> Self {
        let records = ["first", "second", "dead"].map(Record::of).into();
        Self { records, began: Instant::now(), done: Mutex::default() }
    }

    fn progress(&self, host: &str) -> Option<Progress> {
        let record = self.records.iter().find(|record| record.host.as_str() == host).unwrap();
        record.record().unfinished.map(|unfinished| unfinished.progress)
    }

    /// When `what` had been done on `host`.
    fn when(&self, host: &str, what: &str) -> Option<Duration> {
        let done = self.done.lock().unwrap();
        done.iter().find(|one| (one.0.as_str(), one.1) == (host, what)).map(|one| one.2)
    }

    async fn run(&self, interrupt: Interrupt) -> Outcome {
        let stores = self.records.iter().map(|record| record.clone() as Arc<dyn LeaseStore>).collect();
        let identity = Identity {
            owner: "me".into(),
            boot_id: "boot".into(),
            pid: 1,
            started: 1,
            session: "one".into(),
        };
        let leases =
            Leases { stores, identity, surely_dead: Arc::new(|_| false), ttl: Millis::from_secs(15) };
        let fence = leases.acquire().await.unwrap().fence;
        let owner = "me".to_owned();
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
        engine.run(RunId(uuid::Uuid::from_u128(1)), plan()).await.unwrap()
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
        let host = host.unwrap().as_str();
        let (what, took, result) = match (host, action) {
            ("dead", Action::Start { .. }) => ("start", DEAD, Ok(())),
            ("second", Action::Start { .. }) => ("start", Duration::from_millis(10), Err(())),
            (_, Action::Start { .. }) => ("start", Duration::from_millis(1), Ok(())),
            _ => {
                assert_eq!(
                    self.progress(host),
                    Some(Progress::Unwinding),
                    "{host} knows before it is undone"
                );
                ("stop", Duration::from_millis(1), Ok(()))
            }
        };
        tokio::time::sleep(took).await;
        self.done.lock().unwrap().push((host.to_owned(), what, self.began.elapsed()));
        result.map(|()| Seen::new()).map_err(|()| Failure::new(FailureKind::Refused, "it will not"))
    }

    async fn who_is_live(&self, _hosts: &[HostId]) -> WhoIsLive {
        WhoIsLive::default()
    }
}

/// `first` in a wave of its own, then the others.
fn plan() -> Plan {
    let slot = Slot::Green;
    let hosts = ["first", "second", "dead"].map(|host| HostId::new(host).unwrap());
    let lane = |index: u32| {
        let action = Action::Start { slot, release: common::release(), own_environment: false };
        let undo = vec![Action::Stop { slot, grace: Some(Millis(0)), heir: None, holding: None }];
        Lane {
            host: Some(hosts[index as usize].clone()),
            steps: vec![Step { id: StepId(index), action, undo }],
        }
    };
    let phase = |lanes| Phase { title: "go live".into(), committed: false, lanes };
    common::plan(hosts.to_vec(), vec![phase(vec![lane(0)]), phase(vec![lane(1), lane(2)])])
}

#[tokio::test(start_paused = true)]
async fn hosts_are_put_back_while_another_one_is_waited_for() {
    let world = World::new();
    let outcome = world.run(Interrupt::default()).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    for host in ["first", "second"] {
        let stopped = world.when(host, "stop").unwrap();
        assert!(stopped < Duration::from_secs(1), "{host} was put back after {stopped:?}");
    }
    let (started, stopped) = (world.when("dead", "start").unwrap(), world.when("dead", "stop").unwrap());
    assert!(started >= DEAD && stopped > started, "an undo does not race what is under way");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_told_does_not_keep_the_others_waiting() {
    let world = World::new();
    let look = async {
        // Between what the engine reads before the effect and what it reads to turn back.
        tokio::time::sleep(Duration::from_millis(5)).await;
        *world.records[2].look.lock().unwrap() = DEAD * 2;
    };
    let (outcome, ()) = tokio::join!(world.run(Interrupt::default()), look);
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(world.when("first", "stop").unwrap() < Duration::from_secs(1));
    assert!(world.when("dead", "stop").unwrap() >= DEAD * 2);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_is_written_down_on_the_hosts_at_once() {
    let world = World::new();
    let interrupt = Interrupt::default();
    let press = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(world.progress("dead"), Some(Progress::Forward));
        interrupt.request();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.progress("dead"), Some(Progress::Unwinding));
        assert_eq!(world.when("dead", "start"), None, "it is still under way");
    };
    let (outcome, ()) = tokio::join!(world.run(interrupt.clone()), press);
    let Outcome::Failed { failure } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::Cancelled);
}

/// What is under way on a host that is noticed to have fallen silent is not waited for.
#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_is_given_up_at_once() {
    let world = World::new();
    let falls_silent = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        *world.records[2].is_silent.lock().unwrap() = true;
        world.records[2].noticed.notify_waiters();
    };
    let (outcome, ()) = tokio::join!(world.run(Interrupt::default()), falls_silent);
    let Outcome::Stuck(stuck) = outcome else { panic!("{outcome:?}") };
    assert_eq!(stuck.undo_failures.len(), 1, "{stuck:?}");
    assert_eq!(world.when("dead", "start"), None, "it was broken off");
    assert!(world.began.elapsed() < DEAD / 2, "it took {:?}", world.began.elapsed());
    for host in ["first", "second"] {
        assert!(world.when(host, "stop").unwrap() < Duration::from_secs(1), "{host} was put back late");
    }
}
