//! The orchestrator in this process, with what it is handed: journal, clock, identity, ids, notifiers.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use lockgate_engine::{Clock, EventSink, TTL_SECONDS};
use lockgate_local::Local;
use lockgate_model::{EnvironmentName, HostId, Millis, NotifyTo, Project, RunId, Timestamp};
use lockgate_orchestrator::{Beside, InProcess, Parts, Spawn, StateFiles, Teller};
use lockgate_ports::{Check, Notifier};
use lockgate_render::rfc3339;
use lockgate_store::SqlStore;

use crate::wiring::Wires;
use crate::{secrets, setup, ship, wiring};

/// A shorter lease would run out between two heartbeats on a busy machine.
const LEASE_TTL_MILLIS_MIN: u64 = 300;

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        lockgate_local::now()
    }
}

/// The store of a project. It is opened when it is first needed: `status` looks at hosts only and should not wait for it.
pub fn store(project: &Project) -> Arc<SqlStore> {
    Arc::new(SqlStore::new(&project.state))
}

/// What the project has beside its hosts.
struct BesideHosts {
    project: Arc<Project>,
    wires: Arc<Wires>,
}

#[async_trait]
impl Beside for BesideHosts {
    async fn store(&self) -> Option<Check> {
        let store = store(&self.project);
        match store.look().await {
            Ok(()) if store.path().is_some() => None,
            Ok(()) => Some(Check::ok("store", format!("{} answers", self.project.state))),
            Err(error) => Some(Check::bad("journal", error.to_string(), error.hint())),
        }
    }

    async fn registries(&self) -> Vec<Check> {
        let registry = wiring::registry(&self.project);
        join_all(self.project.registries.keys().map(|host| registry.check(host))).await
    }

    async fn set_up(&self, environment: &EnvironmentName, host: &HostId) -> Vec<Check> {
        setup::checks(&self.project, &self.wires, environment, host).await
    }
}

/// The orchestrator of commands that change something: its store is being opened while leases are taken and hosts looked at.
/// A file that is not there yet is made when there is something to write down.
pub fn working(project: &Arc<Project>, wires: Arc<Wires>) -> InProcess {
    let store = store(project);
    if store.path().is_none_or(Path::exists) {
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.connect().await {
                // Whoever needs it tries again, and says so.
                tracing::debug!(%error, "the store cannot be opened yet");
            }
        });
    }
    orchestrator(project, wires, store)
}

/// This machine's.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(WallClock)
}

/// The orchestrator of commands that only look.
pub fn looking(project: &Arc<Project>, wires: Arc<Wires>) -> InProcess {
    orchestrator(project, wires, store(project))
}

/// The daemon's: `watcher` hears of every run, and `heed` gets each notifier before it is used.
pub fn serving(
    project: &Arc<Project>,
    wires: Arc<Wires>,
    store: Arc<SqlStore>,
    watcher: Arc<dyn EventSink>,
    heed: impl Fn(Arc<dyn Notifier>) -> Arc<dyn Notifier>,
) -> InProcess {
    let heeded = notifiers(project).into_iter().map(heed).collect();
    let teller = teller(project, heeded);
    InProcess::new(Parts { watcher: Some(watcher), teller, ..parts(project, wires, store) })
}

/// A run's id, or a session's, used once.
pub fn new_run() -> RunId {
    RunId(uuid::Uuid::now_v7())
}

fn orchestrator(project: &Arc<Project>, wires: Arc<Wires>, store: Arc<SqlStore>) -> InProcess {
    InProcess::new(parts(project, wires, store))
}

fn parts(project: &Arc<Project>, wires: Arc<Wires>, store: Arc<SqlStore>) -> Parts {
    Parts {
        project: project.clone(),
        wiring: wires.clone(),
        journal: store,
        clock: clock(),
        identity: lockgate_local::holder_identity(),
        surely_dead: Arc::new(lockgate_local::surely_dead),
        new_run: Arc::new(new_run),
        lease_ttl: lease_ttl(),
        teller: teller(project, notifiers(project)),
        state_files: StateFiles::of(project, Arc::new(Local::new()), rfc3339),
        beside: Some(Arc::new(BesideHosts { project: project.clone(), wires })),
        watcher: None,
        spawn: spawn(),
    }
}

/// Begins a task in this process.
pub fn spawn() -> Spawn {
    Arc::new(|session| drop(tokio::spawn(session)))
}

/// Fifteen seconds; `LOCKGATE_LEASE_TTL_MS` shortens it in tests, which cannot wait that long for one to run out.
fn lease_ttl() -> Millis {
    let asked = std::env::var("LOCKGATE_LEASE_TTL_MS").ok().and_then(|text| text.parse().ok());
    asked.map_or(Millis::from_secs(TTL_SECONDS), |millis: u64| {
        Millis(millis.clamp(LEASE_TTL_MILLIS_MIN, TTL_SECONDS * 1000))
    })
}

/// Tells `notifiers`, and looks into the clone that the project lies in for what a run changes.
fn teller(project: &Project, notifiers: Vec<Arc<dyn Notifier>>) -> Teller {
    Teller::new(notifiers, secrets::mask(project)).looking_into(Arc::new(ship::git(project)))
}

/// Whom the configuration names.
fn notifiers(project: &Project) -> Vec<Arc<dyn Notifier>> {
    project
        .notify
        .iter()
        .map(|notify| -> Arc<dyn Notifier> {
            let notifier: Arc<dyn Notifier> = match &notify.to {
                NotifyTo::Slack { webhook, channel } => {
                    Arc::new(lockgate_notify::Slack::new(webhook.clone(), channel.clone()))
                }
                NotifyTo::SlackBot { token, channel, api } => {
                    Arc::new(lockgate_notify::SlackBot::new(token.clone(), channel.clone(), api.clone()))
                }
                NotifyTo::Webhook { url, headers, secret } => {
                    let webhook = lockgate_notify::Webhook::new(url.clone(), headers.clone());
                    Arc::new(webhook.signed_with(secret.clone()))
                }
                NotifyTo::GitHub { token, repository, api } => {
                    let github = lockgate_notify::GitHub::new(token.clone(), repository.clone(), api.clone());
                    Arc::new(github.naming_services(project.services.len() > 1))
                }
                NotifyTo::Email(email) => Arc::new(lockgate_notify::Mail::new(email.clone())),
            };
            Arc::new(lockgate_notify::Routed::new(notifier, notify.about.clone()))
        })
        .collect()
}
