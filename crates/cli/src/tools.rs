//! What every session is handed: journal, clock, identity, ids, notifiers.

use std::path::Path;
use std::sync::Arc;

use lockgate_engine::{Clock, EventSink, Interrupt, Journal, TTL_SECONDS};
use lockgate_model::{Millis, Notify, Project, RunId, Timestamp};
use lockgate_orchestrator::{Teller, Tools};
use lockgate_ports::{Check, Notifier};
use lockgate_store::SqlStore;

use crate::secrets;

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

/// Why the store would not be used; `None` when it would. Makes and changes nothing.
pub async fn store_check(project: &Project) -> Option<Check> {
    let store = store(project);
    match store.look().await {
        Ok(()) if store.path().is_some() => None,
        Ok(()) => Some(Check::ok("store", format!("{} answers", project.state))),
        Err(error) => Some(Check::bad("journal", error.to_string(), error.hint())),
    }
}

/// What a session needs that changes something: its store is being opened while leases are taken and hosts looked at.
/// A file that is not there yet is made when there is something to write down.
pub fn writing(project: &Project, sink: Arc<dyn EventSink>, interrupt: Interrupt) -> Tools {
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
    tools(project, store, sink, interrupt)
}

/// What a session needs that only looks.
pub fn looking(project: &Project, sink: Arc<dyn EventSink>) -> Tools {
    tools(project, store(project), sink, Interrupt::default())
}

fn tools(
    project: &Project,
    journal: Arc<dyn Journal>,
    sink: Arc<dyn EventSink>,
    interrupt: Interrupt,
) -> Tools {
    Tools {
        journal,
        clock: Arc::new(WallClock),
        sink,
        identity: lockgate_local::holder_identity(),
        surely_dead: Arc::new(lockgate_local::surely_dead),
        new_run: Arc::new(|| RunId(uuid::Uuid::now_v7())),
        lease_ttl: lease_ttl(),
        interrupt,
        teller: Teller::new(notifiers(project), secrets::mask(project)),
    }
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
