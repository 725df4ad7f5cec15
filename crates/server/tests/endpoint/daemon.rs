//! A daemon of the tests: the real endpoints behind a real listener, the real queue on a real store in a temporary folder, and an
//! orchestrator that goes by a script.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lockgate_config::Purpose;
use lockgate_engine::Clock;
use lockgate_model::{AuditEntry, ListenAt, Mask, Project, RunId, StateLocation, Timestamp};
use lockgate_orchestrator::fake::Scripted;
use lockgate_orchestrator::queue::{Queue, QueueCounts, QueueParts};
use lockgate_ports::{AuditFilter, Store};
use lockgate_server::{
    Answer, AppParts, Bounds, Endpoints, Folder, Limits, Listeners, Metrics, Parts, Peer, Served,
    ServiceManager, serve,
};
use lockgate_sockets::Program;
use lockgate_store::SqlStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tracing::Dispatch;

use crate::call::{Answer as Answered, Call};

/// The secret in use at `/deploy`, and the one that it takes the place of.
pub const SECRET: &str = "the secret of these tests";
pub const OLD_SECRET: &str = "the secret of last month";
/// The one at `/all`, as Standard Webhooks writes them.
pub const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What the daemon's clock says at its start.
pub const NOW: &str = "2026-11-27T06:40:00Z";

/// Longest wait for something that is to come about, and the pause between two looks.
const WAIT: Duration = Duration::from_secs(20);
const LOOK_PAUSE: Duration = Duration::from_millis(5);

const CONFIG: &str = r#"
project: shop
services:
  web: { image: registry.example.com/acme/web, port: 8000, health: /health }
  api: { image: registry.example.com/acme/api, port: 8001, health: docker }
environments:
  prod: { url: "https://shop.example.com", strategy: recreate, runtime: { compose: { file: /srv/shop/compose.yaml } }, router: none }
  test: { strategy: recreate, runtime: { compose: { file: /srv/test/compose.yaml } }, router: none }
serve:
  listen: 127.0.0.1:0
  endpoints:
    /deploy:
      environment: prod
      services: [web]
      secrets: ["${SECRET}", "${OLD_SECRET}"]
      tag: "sha-{image_sha:.8}"
      container_name: "shop-{service}"
    /all: { environment: test, secrets: ["${WHSEC}"], timeout: 1s, branches: [main, release] }
"#;

pub struct Daemon {
    pub address: SocketAddr,
    pub scripted: Scripted,
    pub store: Arc<dyn Store>,
    pub clock: Arc<SetClock>,
    queue: Queue,
    home: Arc<TempDir>,
    /// The daemon's process, as it were: when this is gone, so are its tasks and connections, wherever they are.
    process: Process,
}

/// Threads of its own, which end with it.
struct Process(Option<Runtime>);

impl Process {
    fn new(log: Option<Dispatch>) -> Self {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.worker_threads(2).enable_all();
        if let Some(log) = log {
            // For as long as the thread is there.
            threads.on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&log)));
        }
        Self(Some(threads.build().unwrap()))
    }

    async fn runs<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.0.as_ref().unwrap().spawn(work).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

/// A clock that stands until it is moved.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn goes_on(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

impl Daemon {
    pub async fn start() -> Self {
        Self::bounded(Bounds::default()).await
    }

    pub async fn bounded(bounds: Bounds) -> Self {
        Self::first(bounds, None).await
    }

    /// With what it logs.
    pub async fn logging(log: Dispatch) -> Self {
        Self::first(Bounds::default(), Some(log)).await
    }

    async fn first(bounds: Bounds, log: Option<Dispatch>) -> Self {
        let scripted = Scripted::new("shop".parse().unwrap());
        let now: jiff::Timestamp = NOW.parse().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(now.as_millisecond())));
        let home = Arc::new(tempfile::tempdir().unwrap());
        Self::begin(home, scripted, clock, bounds, Process::new(log)).await
    }

    /// Killed, and another one started on the same store.
    pub async fn restarted(self) -> Self {
        let Self { home, scripted, clock, process, .. } = self;
        drop(process);
        scripted.is_killed();
        Self::begin(home, scripted, clock, Bounds::default(), Process::new(None)).await
    }

    /// Looks at a run until it is not under way any more, and wants it to have this status then.
    pub async fn ends(&self, place: &str, status: u16) -> Answered {
        let look = async {
            loop {
                let answer = Call::new("GET", place).send(self).await;
                if answer.status != 202 {
                    return answer;
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        let answer = tokio::time::timeout(WAIT, look).await.expect("the run ends");
        assert_eq!(answer.status, status, "{answer:?}");
        answer
    }

    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// As at its stop: runs are left as they are.
    pub async fn leaves(&self) {
        self.queue.leave().await;
    }

    /// All entries of the audit, once there are so many.
    pub async fn audited(&self, count: usize) -> Vec<AuditEntry> {
        let filter = AuditFilter { project: "shop".parse().unwrap(), before: None, limit: 1_000 };
        let look = async {
            loop {
                let records = self.store.audit(&filter).await.unwrap();
                if records.len() >= count {
                    return records.into_iter().map(|record| record.entry).collect();
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        tokio::time::timeout(WAIT, look).await.expect("there are so many")
    }

    /// Returns when so many calls were the same as an earlier one.
    pub async fn has_repeated(&self, count: u64) {
        self.until(|counts| counts.repeated >= count).await;
    }

    /// Returns when so many calls wait, and so many were answered.
    pub async fn has_waiting(&self, waiting: u64, answered: u64) {
        self.until(|counts| counts.waiting == waiting && counts.ended.values().sum::<u64>() >= answered)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&QueueCounts) -> bool) {
        let look = async {
            while !is_so(&self.queue.counts()) {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        let in_time = tokio::time::timeout(WAIT, look).await;
        assert!(in_time.is_ok(), "it does not come about: {:?}", self.queue.counts());
    }

    async fn begin(
        home: Arc<TempDir>,
        scripted: Scripted,
        clock: Arc<SetClock>,
        bounds: Bounds,
        process: Process,
    ) -> Self {
        let (folder, orchestrator, time) = (Arc::clone(&home), scripted.clone(), Arc::clone(&clock));
        let (address, queue, store) =
            process.runs(async move { serving(folder.path(), orchestrator, time, bounds).await }).await;
        Self { address, scripted, store, clock, queue, home, process }
    }
}

/// All of a daemon but its orchestrator. Returns when it listens.
async fn serving(
    home: &Path,
    scripted: Scripted,
    clock: Arc<SetClock>,
    bounds: Bounds,
) -> (SocketAddr, Queue, Arc<dyn Store>) {
    let project = Arc::new(project(home));
    let store: Arc<dyn Store> = Arc::new(SqlStore::new(&StateLocation::of_folder(home)));
    let queue = Queue::open(QueueParts {
        project: project.name.clone(),
        orchestrator: Arc::new(scripted),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        new_run: Arc::new(|| RunId(uuid::Uuid::now_v7())),
        mask: Mask::default(),
        spawn: Arc::new(|task| drop(tokio::spawn(task))),
    });
    let queue = queue.await.unwrap();
    let endpoints = Endpoints::new(Arc::clone(&project), queue.clone(), Mask::default(), bounds).unwrap();
    let calls: Answer = Arc::new(move |request, peer: Peer| {
        let endpoints = endpoints.clone();
        Box::pin(async move { endpoints.answer(request, &peer.to_string()).await })
    });
    // Killed, the daemon before this one has left its lock.
    let folder = Folder::open(home.join("serve")).unwrap();
    let served = tokio::time::timeout(WAIT, async {
        loop {
            match folder.serve().unwrap() {
                Served::Free(lock) => return lock,
                Served::By(_) => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    });
    let (counted, wishes) = (queue.clone(), mpsc::channel(1));
    let parts = Parts {
        listeners: Listeners::open(project.serve.as_ref().unwrap(), Vec::new(), false).unwrap(),
        tls: None,
        lock: served.await.expect("the lock is given back"),
        link: None,
        program: Program { exe: "/bin/false".into(), args: Vec::new() },
        manager: ServiceManager::default(),
        folder,
        limits: Limits::default(),
        app: AppParts {
            calls,
            metrics: Metrics::default(),
            queue: Arc::new(move || counted.counts()),
            store: Arc::new(|| Box::pin(async { Ok(()) })),
            now: Arc::new(move || clock.now()),
            instance: "1f3a5b7c9d0e".to_owned(),
        },
        wishes: wishes.1,
        leave: Box::pin(async {}),
        turn: Arc::new(|over| Box::pin(async move { over.cancelled().await })),
    };
    let (told, places) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        // As long as somebody could wish something, it serves.
        let _wishes = wishes.0;
        drop(serve(parts, |places| told.send(places.to_vec()).unwrap()).await);
    });
    match places.await.unwrap()[0] {
        ListenAt::Tcp(address) => (address, queue, store),
        ListenAt::Unix(_) => panic!("it is a Unix socket"),
    }
}

pub fn project(root: &std::path::Path) -> Project {
    let env = |name: &str| {
        let secrets = [("SECRET", SECRET), ("OLD_SECRET", OLD_SECRET), ("WHSEC", WHSEC)];
        secrets.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let parsed = lockgate_config::parse_for(Purpose::Serve, CONFIG, "lockgate.yaml", root, &env);
    parsed.unwrap_or_else(|error| panic!("{}", error.plain()))
}
