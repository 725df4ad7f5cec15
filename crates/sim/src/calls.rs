//! Calls to a daemon: sent twice, while it dies anywhere and comes back, and while its store is slow, full or gone.
//!
//! What must hold (P9): a delivery makes at most one run, one that was superseded none; runs begin in the order in which their
//! calls arrived; and every call that was accepted has an answer once the world is well, which is what became of its run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_model::{
    By, CommitSha, DeliveryAnswer, DeliveryId, DeployAnswer, DeployCall, DeployStatus, Digest,
    EnvironmentName, Event, EventKind, Millis, Outcome, Requester, RunId, WebhookDelivery,
};
use lockgate_orchestrator::queue::Queue;
use lockgate_ports::Store;
use lockgate_ports::fake::{FakeStore, Lie, StoreDay};
use tokio::sync::watch;

use crate::Random;
use crate::daemon::Daemon;
use crate::scene::{service_name, tag};
use crate::story::{Command, Story, scene};
use crate::telling::{Stage, Told};
use crate::world::Tally;

/// Within which calls are sent first.
const CALLS_MILLIS_MAX: u64 = 60_000;
/// After which a daemon that lives is killed, or stops, at the latest.
const LIFE_MILLIS_MAX: u64 = 40_000;
/// After which the next daemon begins.
const DARK_MILLIS_MAX: u64 = 5_000;
/// Virtual time after which a call that has no answer never gets one.
const ANSWER_SECONDS_MAX: u64 = 7_200;
/// Before a call that was told to try again is sent again.
const AGAIN_MILLIS: u64 = 500;

/// Counts of what happened, to see that the days were as bad as they were meant to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallsTally {
    pub calls: u64,
    pub lives: u64,
    pub deaths: u64,
    pub stops: u64,
    pub deployed: u64,
    pub superseded: u64,
    pub turned_away: u64,
    pub repeated: u64,
    pub store_failures: u64,
    pub resumed: u64,
}

impl CallsTally {
    pub fn add(&mut self, other: &CallsTally) {
        self.calls += other.calls;
        self.lives += other.lives;
        self.deaths += other.deaths;
        self.stops += other.stops;
        self.deployed += other.deployed;
        self.superseded += other.superseded;
        self.turned_away += other.turned_away;
        self.repeated += other.repeated;
        self.store_failures += other.store_failures;
        self.resumed += other.resumed;
    }
}

/// What came of a story.
#[derive(Debug, Clone, Default)]
pub struct CallsTold {
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub calls: CallsTally,
    pub tally: Tally,
}

/// Plays the story of a seed on its own runtime. `tracing` keeps what happened, for people.
#[must_use]
pub fn tell_of_calls(seed: u64, tracing: bool) -> CallsTold {
    told_of(|| Calls::new(seed, tracing))
}

/// As [`tell_of_calls`], with a store that is broken.
#[must_use]
pub fn tell_of_calls_and_a_lie(seed: u64, lie: Lie) -> CallsTold {
    told_of(|| {
        let calls = Calls::new(seed, false);
        calls.store.lies(lie);
        calls
    })
}

fn told_of(calls: impl FnOnce() -> Calls) -> CallsTold {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime cannot be made: {error}"));
    runtime.block_on(async { calls().play().await })
}

struct Calls {
    stage: Arc<Stage>,
    store: Arc<FakeStore>,
    runs: Arc<AtomicU64>,
    random: Random,
    /// The queue that can be reached now.
    up: watch::Sender<Option<Queue>>,
    told: Arc<Mutex<BTreeMap<usize, Vec<DeployAnswer>>>>,
    tally: Arc<Mutex<CallsTally>>,
}

impl Calls {
    fn new(seed: u64, tracing: bool) -> Self {
        let mut random = Random::new(seed ^ 0x000c_a115);
        let mut scene = scene(&mut random);
        scene.hosts.truncate(2);
        let stage = Arc::new(Stage::new(&Story { seed, ..Story::plain(scene, Command::Resume) }, tracing));
        Self {
            stage,
            store: Arc::default(),
            runs: Arc::new(AtomicU64::new(1)),
            random,
            up: watch::Sender::new(None),
            told: Arc::default(),
            tally: Arc::default(),
        }
    }

    async fn play(mut self) -> CallsTold {
        let callers = self.callers();
        self.count(|tally| tally.calls = callers.len() as u64);
        let weather = tokio::spawn(weather(self.store.clone(), Random::new(self.random.draw())));
        let lives = 1 + self.random.below(5);
        for life in 0..lives {
            self.live(u32::try_from(2 * life + 1).unwrap_or(1), true).await;
            tokio::time::sleep(Millis(self.random.below(DARK_MILLIS_MAX)).duration()).await;
        }
        weather.abort();
        self.store.has(StoreDay::Good);
        self.stage.world.heal();
        self.live(501, false).await;
        let bound = Millis::from_secs(ANSWER_SECONDS_MAX).duration();
        let all = async {
            for caller in callers {
                if caller.await.is_err() {
                    self.violated("a caller has failed".to_owned());
                }
            }
            while !self.unanswered().await.is_empty() {
                tokio::time::sleep(Millis(AGAIN_MILLIS).duration()).await;
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            let left = self.unanswered().await;
            self.violated(format!("P9: the world is well, and these have no answer: {left:?}"));
        }
        self.check().await;
        let mut told = Told::default();
        self.stage.resume_at_last(&mut told).await;
        let world = &self.stage.world;
        let tally = *self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        CallsTold { violations: world.violations(), trace: world.trace(), calls: tally, tally: world.tally() }
    }

    fn count(&self, change: impl FnOnce(&mut CallsTally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn violated(&self, what: String) {
        self.stage.world.violated(what);
    }

    async fn unanswered(&self) -> Vec<WebhookDelivery> {
        let (project, ..) = self.stage.story.scene.project();
        self.store.unanswered(&project.name, 10_000).await.unwrap_or_default()
    }

    /// One daemon from its beginning to its death, or to its stop. The last one has good luck and lives on.
    async fn live(&mut self, pid: u32, is_bad: bool) {
        self.count(|tally| tally.lives += 1);
        let luck = is_bad.then(|| Random::new(self.random.draw()));
        let daemon = Daemon::new(self.stage.clone(), pid, luck);
        self.may_die_at_a_write(&daemon, is_bad);
        let parts = daemon.parts(self.store.clone(), self.runs.clone());
        let opened = async {
            loop {
                match daemon.process.live(Queue::open(parts.clone())).await {
                    crate::actor::Ended::Died => return None,
                    crate::actor::Ended::Returned(Ok(queue)) => return Some(queue),
                    crate::actor::Ended::Returned(Err(_)) => {
                        tokio::time::sleep(Millis(AGAIN_MILLIS).duration()).await;
                    }
                }
            }
        };
        let life = Millis(self.random.below(LIFE_MILLIS_MAX));
        let stops = self.random.chance(300);
        let until = tokio::time::Instant::now() + life.duration();
        let queue = match is_bad {
            false => opened.await,
            true => tokio::time::timeout_at(until, opened).await.ok().flatten(),
        };
        self.stage.world.say(|| format!("daemon {pid} is up: {}", queue.is_some()));
        self.up.send_replace(queue.clone());
        if !is_bad {
            return;
        }
        while tokio::time::Instant::now() < until && !daemon.process.is_dead() {
            tokio::time::sleep(Millis(20).duration()).await;
        }
        if let Some(queue) = queue {
            let failures = queue.counts().store_failures;
            self.count(|tally| tally.store_failures += failures);
            if stops && !daemon.process.is_dead() {
                self.count(|tally| tally.stops += 1);
                // It is killed at last, where it cannot stop.
                drop(tokio::time::timeout(Millis(20_000).duration(), queue.leave()).await);
            }
        }
        self.up.send_replace(None);
        self.count(|tally| tally.deaths += 1);
        daemon.process.dies("as it was asked to");
    }

    fn may_die_at_a_write(&mut self, daemon: &Arc<Daemon>, is_bad: bool) {
        let at = self.random.maybe(if is_bad { 400 } else { 0 }, 30);
        let (process, writes) = (daemon.process.clone(), AtomicU64::new(0));
        self.store.kills(Arc::new(move |_| {
            if process.is_dead() {
                return true;
            }
            let dies = at == Some(writes.fetch_add(1, Ordering::SeqCst));
            if dies {
                process.dies("at a write to the store");
            }
            dies
        }));
    }

    /// Each call is sent by one to three callers, at their own times.
    fn callers(&mut self) -> Vec<tokio::task::JoinHandle<()>> {
        let mut callers = Vec::new();
        for number in 0..3 + self.random.below(8) {
            let number = usize::try_from(number).unwrap_or(0);
            let version = self.random.below(4);
            let call = call(number, &format!("v{version}"), self.random.chance(500));
            let first = self.random.below(CALLS_MILLIS_MAX);
            for copy in 0..1 + self.random.below(3) {
                let later = if copy == 0 || self.random.chance(400) { 0 } else { self.random.below(30_000) };
                let caller = Caller {
                    number,
                    call: call.clone(),
                    up: self.up.subscribe(),
                    told: self.told.clone(),
                    tally: self.tally.clone(),
                };
                callers.push(tokio::spawn(caller.ask(Millis(first + later))));
            }
        }
        callers
    }

    async fn check(&self) {
        let (project, ..) = self.stage.story.scene.project();
        let mut rows = self.store.deliveries(&project.name, 10_000).await.unwrap_or_default();
        // Not by their times: a call that is taken up anew keeps its run's id, and many come within one millisecond.
        let arrivals = self.store.arrivals();
        rows.sort_by_key(|(delivery, _)| arrivals.iter().position(|run| *run == delivery.run));
        let mut begun_before: Option<(RunId, i64)> = None;
        let mut by_body: BTreeMap<Digest, u64> = BTreeMap::new();
        for (delivery, answer) in &rows {
            let events = self.stage.memories[0].of(delivery.run);
            self.check_answer(delivery, answer.as_ref(), &events);
            let began = events.iter().find(|event| matches!(event.kind, EventKind::RunStarted { .. }));
            let Some(began) = began else { continue };
            *by_body.entry(delivery.body.clone()).or_default() += 1;
            if let Some((run, at)) = begun_before.filter(|(_, at)| *at > began.at.0) {
                self.violated(format!(
                    "P9: {} came after {run}, which began at {at}, and began at {}",
                    delivery.run, began.at.0
                ));
            }
            begun_before = Some((delivery.run, began.at.0));
        }
        for (body, runs) in by_body.into_iter().filter(|(_, runs)| *runs > 1) {
            self.violated(format!("P9: the delivery with the body {body} made {runs} runs"));
        }
        let named = |run: &RunId| run.0.as_u128() >> 76 == 8;
        for run in self.stage.memories[0].runs().into_iter().filter(named) {
            if !rows.iter().any(|(delivery, _)| delivery.run == run) {
                self.violated(format!("P9: the run {run} is of no delivery"));
            }
        }
        self.check_callers();
    }

    fn check_answer(&self, delivery: &WebhookDelivery, answer: Option<&DeliveryAnswer>, events: &[Event]) {
        let run = delivery.run;
        let Some(answer) = answer else {
            return self.violated(format!("P9: {run} was accepted and has no answer"));
        };
        let Ok(told) = serde_json::from_str::<DeployAnswer>(&answer.body) else {
            return self.violated(format!("the answer to {run} cannot be read"));
        };
        let starts = events.iter().filter_map(|event| match &event.kind {
            EventKind::RunStarted { plan, .. } => Some(plan),
            _ => None,
        });
        let starts: Vec<_> = starts.collect();
        if starts.len() > 1 {
            self.violated(format!("P9: {run} began {} times", starts.len()));
        }
        let asked = delivery.call.as_ref().map(|call| &call.tag);
        if starts.iter().any(|plan| Some(&plan.release.tag) != asked) {
            self.violated(format!("{run} was asked for {asked:?} and began with {starts:?}"));
        }
        let ended = events.iter().find_map(|event| match &event.kind {
            EventKind::RunEnded { outcome } => Some(outcome),
            _ => None,
        });
        let fits = match (told.status, ended) {
            (DeployStatus::Superseded | DeployStatus::Older, _) => events.is_empty(),
            (DeployStatus::Deployed, ended) => matches!(ended, Some(Outcome::Succeeded { .. })),
            (DeployStatus::RolledBack, ended) => matches!(ended, Some(Outcome::RolledBack { .. })),
            (DeployStatus::Stuck, ended) => !matches!(ended, Some(Outcome::Succeeded { .. })),
            (DeployStatus::Unknown, ended) => ended.is_none(),
            (_, ended) => matches!(ended, None | Some(Outcome::Failed { .. })),
        };
        if !fits {
            self.violated(format!("{run} was answered {:?}, and came to {ended:?}", told.status));
        }
        self.count(|tally| match told.status {
            DeployStatus::Deployed => tally.deployed += 1,
            DeployStatus::Superseded => tally.superseded += 1,
            _ => {}
        });
        let adopted = events.iter().filter(|event| matches!(event.kind, EventKind::Adopted { .. })).count();
        self.count(|tally| tally.resumed += adopted as u64);
    }

    /// Of a call with a name all who have sent it are told the same; whose image is missing is heard again, and from when it is
    /// there no more.
    fn check_callers(&self) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, answers) in told.iter().filter(|(number, _)| is_named(**number)) {
            let statuses: Vec<_> = answers.iter().map(|answer| (answer.status, answer.run)).collect();
            let differs = |two: &[(DeployStatus, Option<RunId>)]| {
                two[0] != two[1] && two[0].0 != DeployStatus::ImageNotPulled
            };
            if statuses.windows(2).any(differs) {
                self.violated(format!("P9: call {number} was told {statuses:?}"));
            }
        }
    }
}

/// Every other call has an id.
fn is_named(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn call(number: usize, version: &str, is_patient: bool) -> DeployCall {
    let environment = EnvironmentName::new("prod").unwrap_or_else(|error| panic!("{error}"));
    let sha = CommitSha::new("a".repeat(40)).unwrap_or_else(|error| panic!("{error}"));
    DeployCall {
        endpoint: "/deploy".to_owned(),
        id: is_named(number).then(|| DeliveryId::new(&format!("call {number}"))),
        body: Digest::of(format!("call {number}").as_bytes()),
        service: service_name(),
        environment,
        tag: tag(version),
        sha,
        committed_at: None,
        sent_at: None,
        force: false,
        requester: Requester::new(By::Ci, &format!("call {number}")),
        from: "192.0.2.7".to_owned(),
        timeout: Millis::from_secs(if is_patient { 600 } else { 10 }),
        repeated: Millis::from_secs(2 * ANSWER_SECONDS_MAX),
    }
}

/// The store has a new day now and then.
async fn weather(store: Arc<FakeStore>, mut random: Random) {
    loop {
        let day = match random.below(10) {
            0..5 => StoreDay::Good,
            5 | 6 => StoreDay::Slow(Millis(random.below(3_000))),
            7 => StoreDay::Gone,
            8 => StoreDay::AnswerLost,
            _ => StoreDay::Full,
        };
        store.has(day);
        tokio::time::sleep(Millis(random.below(10_000)).duration()).await;
    }
}

/// Somebody who sends a call until it has an answer.
struct Caller {
    number: usize,
    call: DeployCall,
    up: watch::Receiver<Option<Queue>>,
    told: Arc<Mutex<BTreeMap<usize, Vec<DeployAnswer>>>>,
    tally: Arc<Mutex<CallsTally>>,
}

impl Caller {
    async fn ask(mut self, after: Millis) {
        tokio::time::sleep(after.duration()).await;
        loop {
            let queue = self.up.borrow_and_update().clone();
            let Some(queue) = queue else {
                if self.up.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let told = tokio::select! {
                biased;
                changed = self.up.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                told = answered(&queue, &self.call, &self.tally) => told,
            };
            if !told.status.is_worth_another_try() {
                let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                return all.entry(self.number).or_default().push(told);
            }
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).turned_away += 1;
            tokio::time::sleep(Millis(AGAIN_MILLIS).duration()).await;
        }
    }
}

async fn answered(queue: &Queue, call: &DeployCall, tally: &Mutex<CallsTally>) -> DeployAnswer {
    match queue.submit(call.clone()).await {
        Ok(ticket) => {
            let repeated = u64::from(ticket.repeated);
            tally.lock().unwrap_or_else(PoisonError::into_inner).repeated += repeated;
            ticket.answer().await
        }
        Err(answer) => answer,
    }
}
