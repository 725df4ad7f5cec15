//! The orchestrator in this process, with what it is handed: journal, clock, identity, ids, notifiers.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::{Clock, Journal, JournalError, RunFilter, RunSummary, TTL_SECONDS};
use lockgate_model::{Event, Millis, Notify, Project, RunId, Timestamp};
use lockgate_orchestrator::{InProcess, Parts, Teller};
use lockgate_ports::{Check, Notifier};
use lockgate_sqlite::SqliteJournal;
use tokio::sync::OnceCell;

use crate::secrets;
use crate::wiring::Wires;

/// A shorter lease would run out between two heartbeats on a busy machine.
const LEASE_TTL_MILLIS_MIN: u64 = 300;

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        lockgate_local::now()
    }
}

/// Opens the journal when it is first needed: `status` looks at hosts only and should not wait for it.
struct LazyJournal {
    path: PathBuf,
    journal: OnceCell<SqliteJournal>,
}

impl LazyJournal {
    async fn open(&self) -> Result<&SqliteJournal, JournalError> {
        self.journal.get_or_try_init(|| SqliteJournal::open(&self.path)).await
    }
}

#[async_trait]
impl Journal for LazyJournal {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.open().await?.append(event).await
    }

    async fn append_all(&self, events: &[Event]) -> Result<(), JournalError> {
        self.open().await?.append_all(events).await
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        self.open().await?.load(run).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.open().await?.runs(filter).await
    }
}

fn journal(project: &Project) -> Arc<LazyJournal> {
    Arc::new(LazyJournal { path: journal_path(project), journal: OnceCell::new() })
}

/// Why the journal would not be opened; `None` when it would. Makes and changes nothing.
pub fn journal_check(project: &Project) -> Option<Check> {
    let error = SqliteJournal::look(&journal_path(project)).err()?;
    Some(Check::bad("journal", error.to_string(), error.hint()))
}

fn journal_path(project: &Project) -> PathBuf {
    project.root.join(".lockgate/journal.db")
}

/// The orchestrator of commands that change something: its journal is being opened while leases are taken and hosts looked
/// at. One that is not there yet is made when there is something to write down.
pub fn working(project: &Arc<Project>, wires: Arc<Wires>) -> InProcess {
    let journal = journal(project);
    if journal.path.exists() {
        let journal = journal.clone();
        tokio::spawn(async move {
            if let Err(error) = journal.open().await {
                // Whoever needs it tries again, and says so.
                tracing::debug!(%error, "the journal cannot be opened yet");
            }
        });
    }
    orchestrator(project, wires, journal)
}

/// The orchestrator of commands that only look.
pub fn looking(project: &Arc<Project>, wires: Arc<Wires>) -> InProcess {
    orchestrator(project, wires, journal(project))
}

fn orchestrator(project: &Arc<Project>, wires: Arc<Wires>, journal: Arc<LazyJournal>) -> InProcess {
    InProcess::new(Parts {
        project: project.clone(),
        wiring: wires,
        journal,
        clock: Arc::new(WallClock),
        identity: lockgate_local::holder_identity(),
        surely_dead: Arc::new(lockgate_local::surely_dead),
        new_run: Arc::new(|| RunId(uuid::Uuid::now_v7())),
        lease_ttl: lease_ttl(),
        teller: Teller::new(notifiers(project), secrets::mask(project)),
        watcher: None,
        spawn: Arc::new(|session| drop(tokio::spawn(session))),
    })
}

/// Fifteen seconds; `LOCKGATE_LEASE_TTL_MS` shortens it in tests, which cannot wait that long for one to run out.
fn lease_ttl() -> Millis {
    let asked = std::env::var("LOCKGATE_LEASE_TTL_MS").ok().and_then(|text| text.parse().ok());
    asked.map_or(Millis::from_secs(TTL_SECONDS), |millis: u64| {
        Millis(millis.clamp(LEASE_TTL_MILLIS_MIN, TTL_SECONDS * 1000))
    })
}

fn notifiers(project: &Project) -> Vec<Arc<dyn Notifier>> {
    project
        .notify
        .iter()
        .map(|notify| -> Arc<dyn Notifier> {
            match notify {
                Notify::Slack { webhook, channel } => {
                    Arc::new(lockgate_notify::Slack::new(webhook.clone(), channel.clone()))
                }
                Notify::Webhook { url, headers } => {
                    Arc::new(lockgate_notify::Webhook::new(url.clone(), headers.clone()))
                }
            }
        })
        .collect()
}
