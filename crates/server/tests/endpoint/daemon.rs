//! A daemon of the tests: the real endpoints behind a real listener, the real queue on a real store in a temporary folder, and an
//! orchestrator that goes by a script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lockgate_config::Purpose;
use lockgate_engine::Clock;
use lockgate_model::{Mask, Project, RunId, StateLocation, Timestamp};
use lockgate_orchestrator::fake::Scripted;
use lockgate_orchestrator::queue::{Queue, QueueCounts, QueueParts};
use lockgate_ports::Store;
use lockgate_server::{Bounds, Endpoints};
use lockgate_store::SqlStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::call::{Answer, Call};

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
    home: TempDir,
    serving: JoinSet<()>,
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
        let scripted = Scripted::new("shop".parse().unwrap());
        let now: jiff::Timestamp = NOW.parse().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(now.as_millisecond())));
        Self::begin(tempfile::tempdir().unwrap(), scripted, clock, bounds).await
    }

    /// Killed, and another one started on the same store.
    pub async fn restarted(self) -> Self {
        let Self { home, scripted, clock, queue, store, mut serving, .. } = self;
        serving.shutdown().await;
        scripted.is_killed();
        drop((queue, store));
        Self::begin(home, scripted, clock, Bounds::default()).await
    }

    /// Looks at a run until it is not under way any more, and wants it to have this status then.
    pub async fn ends(&self, place: &str, status: u16) -> Answer {
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

    async fn begin(home: TempDir, scripted: Scripted, clock: Arc<SetClock>, bounds: Bounds) -> Self {
        let project = Arc::new(project(home.path()));
        let store: Arc<dyn Store> = Arc::new(SqlStore::new(&StateLocation::of_folder(home.path())));
        let queue = Queue::open(QueueParts {
            project: project.name.clone(),
            orchestrator: Arc::new(scripted.clone()),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            new_run: Arc::new(|| RunId(uuid::Uuid::now_v7())),
            mask: Mask::default(),
            spawn: Arc::new(|task| drop(tokio::spawn(task))),
        });
        let queue = queue.await.unwrap();
        let endpoints = Endpoints::new(project, queue.clone(), bounds).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, endpoints));
        Self { address, scripted, store, clock, queue, home, serving }
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

async fn serve(listener: TcpListener, endpoints: Endpoints) {
    // Ends with this task, and so do its connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let endpoints = endpoints.clone();
        connections.spawn(async move {
            let from = peer.ip().to_string();
            let service = service_fn(|request| {
                let (endpoints, from) = (endpoints.clone(), from.clone());
                async move { Ok::<_, std::convert::Infallible>(endpoints.answer(request, &from).await) }
            });
            let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new());
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
