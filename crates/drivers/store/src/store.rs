//! A store, and the one connection that its calls share.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate_engine::JournalError;
use lockgate_model::{FailureKind, StateLocation};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::database::Database;
use crate::error::Trouble;
use crate::journal::Away;
use crate::lease::StoreLease;
use crate::record::RunRow;

/// For one call, waiting for other processes and for a new connection included. sqlx 0.9 can wait for ever for a
/// worker thread of SQLite's that panicked between two commands.
pub(crate) const CALL_SECONDS_MAX: u64 = 20;
/// A server's connection that was idle for longer is asked whether it lives before it is used.
const IDLE_SECONDS_MAX: u64 = 1;
/// For its answer.
const PING_SECONDS_MAX: u64 = 2;

/// The store of a project: journal, verdicts, presence, observations, deliveries and audit, in one SQLite file or one
/// PostgreSQL database. It is connected to when it is first used.
pub struct SqlStore {
    pub(crate) database: Arc<Database>,
    pub(crate) open: SharedConnection,
    pub(crate) away: Away,
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlStore({})", self.database.place())
    }
}

/// A connection and what is known through it.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    /// The summary of the run that was appended to last, as written.
    pub(crate) last: Option<RunRow>,
    used_at: Instant,
}

/// A connection is taken out while in use, and put back only after success: one whose transaction failed, or whose caller
/// went away in the middle, is dropped (which rolls back) and the next call makes another one.
#[derive(Default)]
pub(crate) struct SharedConnection(Mutex<Option<Open>>);

impl SharedConnection {
    /// Does `work` on a connection to `database`.
    pub(crate) async fn with<T>(
        &self,
        database: &Database,
        work: impl AsyncFnOnce(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, JournalError> {
        let call = async {
            let mut guard = self.0.lock().await;
            let mut open = match guard.take() {
                Some(open) => alive(database, open).await?,
                None => fresh(database).await?,
            };
            // On an error the connection is dropped, not closed: closing waits for the worker thread.
            let value = work(&mut open).await.map_err(|trouble| trouble.told(database))?;
            open.used_at = Instant::now();
            *guard = Some(open);
            Ok(value)
        };
        let bound = Duration::from_secs(CALL_SECONDS_MAX);
        tokio::time::timeout(bound, call).await.unwrap_or_else(|_| {
            Err(JournalError::Unusable {
                kind: FailureKind::TimedOut,
                message: format!("{}: no answer within {CALL_SECONDS_MAX} s", database.place()),
                hint: "see what holds it up, then run the same command again; `lockgate status` asks the hosts, which are the truth".to_owned(),
            })
        })
    }
}

/// The connection, or a new one: a server may have been restarted, and a network forgets those that are silent.
async fn alive(database: &Database, mut open: Open) -> Result<Open, JournalError> {
    if open.used_at.elapsed() < Duration::from_secs(IDLE_SECONDS_MAX) {
        return Ok(open);
    }
    let bound = Duration::from_secs(PING_SECONDS_MAX);
    match tokio::time::timeout(bound, open.connection.ping()).await {
        Ok(Ok(())) => Ok(open),
        Ok(Err(_)) | Err(_) => fresh(database).await,
    }
}

async fn fresh(database: &Database) -> Result<Open, JournalError> {
    let connection = database.connect().await?;
    Ok(Open { connection, last: None, used_at: Instant::now() })
}

impl SqlStore {
    /// A store that is not connected to yet.
    #[must_use]
    pub fn new(location: &StateLocation) -> Self {
        Self {
            database: Arc::new(Database::new(location)),
            open: SharedConnection::default(),
            away: Away::default(),
        }
    }

    /// Connects to it, if that has not been done: makes folder (0700), file (0600), or a PostgreSQL database's schema, and
    /// brings an older schema up to this program's.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when the file is no store, [`JournalError::Full`], [`JournalError::NotOurs`] as for
    /// [`SqlStore::look`], [`JournalError::Unusable`] when another process holds it for 5 s, a newer lockgate wrote it, or the
    /// server does not answer or lets nobody in, else [`JournalError::Other`].
    pub async fn connect(&self) -> Result<(), JournalError> {
        self.with(async |_| Ok(())).await
    }

    /// Whether what is there may be used, as far as that can be seen without making or changing anything. A file that is
    /// missing, or a database without our schema, is fine where it can be made.
    ///
    /// # Errors
    /// [`JournalError::NotOurs`] when the file, one beside it or its folder is not [ours](lockgate_own), or no file; of a
    /// server as for [`SqlStore::connect`].
    pub async fn look(&self) -> Result<(), JournalError> {
        self.database.look().await
    }

    /// The file; `None` for a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self.database.as_ref() {
            Database::File { path, .. } => Some(path),
            Database::Server { .. } => None,
        }
    }

    /// The lease in it that is called `name`: its project, service and environment. It has a connection of its own, so that
    /// whether it is held never waits for something else.
    #[must_use]
    pub fn lease(&self, name: impl Into<String>) -> StoreLease {
        StoreLease::new(self.database.clone(), name.into())
    }

    /// Puts what is in SQLite's write-ahead log into the file, and ends the connection. Dropping the store, or being killed,
    /// loses nothing: the next one to open it reads the log.
    ///
    /// # Errors
    /// As the database's: nothing is lost then either.
    pub async fn close(self) -> Result<(), JournalError> {
        match self.open.0.into_inner() {
            Some(open) => {
                let closed = open.connection.close().await;
                closed.map_err(|problem| Trouble::Sql(problem).told(&self.database))
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, JournalError> {
        self.open.with(&self.database, work).await
    }
}
