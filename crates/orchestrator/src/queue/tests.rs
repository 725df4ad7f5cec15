//! The queue over an orchestrator that goes by a script and a store in memory, on a paused clock.

mod answers;
mod audit;
mod replaced;
mod restarts;
mod stores;
mod turns;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lockgate_engine::Clock;
use lockgate_model::{
    AuditRecord, By, CommitSha, DeliveryId, DeployAnswer, DeployCall, DeployStatus, Digest, EnvironmentName,
    Mask, Millis, ProjectName, Requester, RunId, Secret, ServiceName, Tag, Timestamp, Told,
};
use lockgate_ports::fake::{FakeStore, StoreDay};
use lockgate_ports::{AuditFilter, Store};
use tokio::task::JoinHandle;

use super::{Queue, QueueParts, Ticket};
use crate::fake::{Ending, Scripted};

/// Virtual time within which everything that is waited for here has happened.
const WAIT_SECONDS_MAX: u64 = 3_600;
const NOON: i64 = 1_900_000_000_000;

struct At(AtomicI64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// What outlives a daemon, and one after another of them.
struct World {
    scripted: Scripted,
    store: Arc<FakeStore>,
    clock: Arc<At>,
    runs: Arc<AtomicU64>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl World {
    fn new() -> Self {
        Self {
            scripted: Scripted::new(project()),
            store: Arc::default(),
            clock: Arc::new(At(AtomicI64::new(NOON))),
            runs: Arc::new(AtomicU64::new(1)),
            tasks: Arc::default(),
        }
    }

    fn parts(&self) -> QueueParts {
        let (runs, tasks) = (self.runs.clone(), self.tasks.clone());
        QueueParts {
            project: project(),
            orchestrator: Arc::new(self.scripted.clone()),
            store: self.store.clone(),
            clock: self.clock.clone(),
            new_run: Arc::new(move || run(u128::from(runs.fetch_add(1, Ordering::SeqCst)))),
            mask: Mask::of([&Secret::new("hunter2")]),
            spawn: Arc::new(move |task| tasks.lock().unwrap().push(tokio::spawn(task))),
        }
    }

    async fn daemon(&self) -> Queue {
        Queue::open(self.parts()).await.unwrap()
    }

    /// As `kill -9`: nothing of it goes on.
    async fn kill(&self, queue: Queue) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
        self.scripted.is_killed();
        drop(queue);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn later(&self, by: Millis) {
        self.clock.0.fetch_add(i64::try_from(by.0).unwrap(), Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn audit(&self) -> Vec<AuditRecord> {
        let filter = AuditFilter { project: project(), before: None, limit: 10_000 };
        let mut records = self.store.audit(&filter).await.unwrap();
        records.reverse();
        records
    }
}

fn project() -> ProjectName {
    ProjectName::new("shop").unwrap()
}

fn run(number: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number))
}

/// A call for a tag of `web`, without an id, whose body is its tag.
fn call(tag: &str) -> DeployCall {
    DeployCall {
        endpoint: "/deploy".into(),
        id: None,
        body: Digest::of(tag.as_bytes()),
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        tag: Tag::new(tag).unwrap(),
        sha: CommitSha::new("abcdef01".repeat(5)).unwrap(),
        committed_at: None,
        sent_at: None,
        force: false,
        requester: Requester::new(By::Ci, "acme/shop#17"),
        from: "192.0.2.7".into(),
        timeout: Millis::from_secs(600),
        repeated: Millis::from_secs(600),
    }
}

fn named(tag: &str, id: &str) -> DeployCall {
    DeployCall { id: Some(DeliveryId::new(id)), ..call(tag) }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), what).await.expect("it comes about")
}

async fn accepted(queue: &Queue, call: DeployCall) -> Ticket {
    soon(queue.submit(call)).await.unwrap_or_else(|answer| panic!("{answer:?}"))
}

async fn refused(queue: &Queue, call: DeployCall) -> DeployAnswer {
    match soon(queue.submit(call)).await {
        Ok(ticket) => panic!("accepted as {}", ticket.run),
        Err(answer) => answer,
    }
}

async fn answer(ticket: &Ticket) -> DeployAnswer {
    soon(ticket.answer()).await
}

async fn status(ticket: &Ticket) -> DeployStatus {
    answer(ticket).await.status
}

/// What it comes to, submitted and waited for.
async fn comes_to(queue: &Queue, call: DeployCall) -> DeployStatus {
    status(&accepted(queue, call).await).await
}

async fn heard(ticket: &Ticket, after: Option<u64>) -> Vec<(u64, Told)> {
    soon(ticket.told(after).collect()).await
}

/// The tags that were asked for, in order.
fn started(world: &World) -> Vec<String> {
    world.scripted.started().iter().map(|want| want.aim.asked().unwrap()).collect()
}
