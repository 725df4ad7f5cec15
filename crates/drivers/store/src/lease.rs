//! A lease in the store, for what has no host to keep it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{JournalError, LeaseStore, RunFile};
use lockgate_model::{
    Failure, FailureKind, LeaseRecord, Place, Plan, RunFileName, TOLD_CHARS_MAX, Timestamp, quoted,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Mutex;

use crate::error::{from_sqlx, is_busy};
use crate::file::{self, Schema};

/// For one call, waiting for other processes included.
const CALL_SECONDS_MAX: u64 = 20;
/// Most names of plans that are asked for at once.
const FILES_MAX: i64 = 1_000;
/// Largest plan that is written and read back.
const PLAN_BYTES_MAX: usize = 4 * 1024 * 1024;
const SCHEMA: Schema = Schema { version: 1, sql: include_str!("leases.sql") };

/// The store's clock, in milliseconds since 1970.
macro_rules! now {
    () => {
        "CAST((julianday('now') - 2440587.5) * 86400000.0 AS BIGINT)"
    };
}

/// [`LeaseStore`] in one SQLite file, which has a lease for every name. A compare-and-swap is one statement, so one
/// transaction, and several processes may use one file. Who is stopped in the middle of one holds the file's lock, which
/// others wait for no longer than 5 s, and then say so.
#[derive(Debug)]
pub struct SqliteLease {
    path: PathBuf,
    /// Of the lease within the file.
    name: String,
    options: SqliteConnectOptions,
    /// Taken out while in use, and put back only after success.
    open: Mutex<Option<SqliteConnection>>,
}

impl SqliteLease {
    /// Opens the file at `path`, making folder (0700), file (0600) and tables where they are missing. `name` tells the lease
    /// apart from others in the file: its project, service and environment.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`](crate::SqliteJournal::open), told of this file: `Refused` when it is not ours, `DiskFull`,
    /// else `Other`.
    pub async fn open(path: impl Into<PathBuf>, name: impl Into<String>) -> Result<Self, Failure> {
        let path = path.into();
        let options = file::options(&path);
        file::prepare(&path).map_err(|error| told(&error))?;
        let connection = file::connect(&path, &options, &SCHEMA).await.map_err(|error| told(&error))?;
        Ok(Self { path, name: name.into(), options, open: Mutex::new(Some(connection)) })
    }

    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let call = async {
            let mut guard = self.open.lock().await;
            let mut open = match guard.take() {
                Some(open) => open,
                None => {
                    file::connect(&self.path, &self.options, &SCHEMA).await.map_err(|error| told(&error))?
                }
            };
            // On an error the connection is dropped, which rolls back.
            let value = work(&mut open).await.map_err(|problem| failed(&self.path, &problem))?;
            *guard = Some(open);
            Ok(value)
        };
        let bound = Duration::from_secs(CALL_SECONDS_MAX);
        tokio::time::timeout(bound, call).await.unwrap_or_else(|_| {
            let message = format!("{}: no answer within {CALL_SECONDS_MAX} s", self.path.display());
            Err(Failure::new(FailureKind::TimedOut, message))
        })
    }

    /// Taking an unreadable record for a free lease would let two run at once.
    fn parse(&self, record: &str) -> Result<LeaseRecord, Failure> {
        serde_json::from_str(record).map_err(|error| {
            let error = quoted(&error.to_string(), TOLD_CHARS_MAX);
            Failure::new(FailureKind::Other, format!("{} does not parse: {error}", self.path()))
                .hint("a newer Lockgate may have written it; if it is damaged, move the file away")
        })
    }
}

#[async_trait]
impl LeaseStore for SqliteLease {
    fn place(&self) -> &Place {
        &Place::Store
    }

    fn path(&self) -> String {
        format!("the lease {} in {}", quoted(&self.name, TOLD_CHARS_MAX), self.path.display())
    }

    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure> {
        let (record, now) = self
            .with(async |connection| {
                let sql =
                    concat!("SELECT (SELECT CAST(record AS TEXT) FROM leases WHERE name = ?1), ", now!());
                let row = sqlx::query_as::<_, (Option<String>, i64)>(sql).bind(&self.name);
                row.fetch_one(connection).await
            })
            .await?;
        let parsed = record.as_deref().map(|record| self.parse(record)).transpose()?;
        Ok((parsed.unwrap_or_default(), record.map(String::into_bytes), Timestamp(now)))
    }

    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure> {
        let content = serde_json::to_string(record).map_err(|error| {
            Failure::new(FailureKind::Other, format!("the lease cannot be written: {error}"))
        })?;
        let expected = match version.map(std::str::from_utf8) {
            None => None,
            Some(Ok(text)) => Some(text),
            // No record is anything but text.
            Some(Err(_)) => return Ok(false),
        };
        let changed = self
            .with(async |connection| {
                let statement = match expected {
                    None => sqlx::query(
                        "INSERT INTO leases (name, record) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    )
                    .bind(&self.name)
                    .bind(&content),
                    Some(expected) => {
                        sqlx::query("UPDATE leases SET record = ?2 WHERE name = ?1 AND record = ?3")
                            .bind(&self.name)
                            .bind(&content)
                            .bind(expected)
                    }
                };
                Ok(statement.execute(connection).await?.rows_affected())
            })
            .await?;
        Ok(changed == 1)
    }

    async fn keep(&self, file: &RunFile) -> Result<(), Failure> {
        if file.content.len() > PLAN_BYTES_MAX {
            let message = format!("{} is not written: it is larger than is read back", file.name);
            return Err(Failure::new(FailureKind::Refused, message));
        }
        let content = String::from_utf8(file.content.clone())
            .map_err(|_| Failure::new(FailureKind::Other, format!("{} is no text", file.name)))?;
        self.with(async |connection| {
            // Named by what is in it, so what is there already is the same.
            let sql = "INSERT INTO plans (lease, file, content) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            let insert = sqlx::query(sql).bind(&self.name).bind(file.name.to_string()).bind(&content);
            insert.execute(connection).await.map(|_| ())
        })
        .await
    }

    async fn plan(&self, name: &RunFileName) -> Result<Plan, Failure> {
        let content = self
            .with(async |connection| {
                let sql = "SELECT CAST(content AS TEXT) FROM plans WHERE lease = ?1 AND file = ?2";
                let row = sqlx::query_scalar::<_, String>(sql).bind(&self.name).bind(name.to_string());
                row.fetch_optional(connection).await
            })
            .await?;
        let place = self.path();
        let content = content.ok_or_else(|| {
            Failure::new(
                FailureKind::NotFound,
                format!("the plan of the run {} is missing beside {place}", name.run),
            )
        })?;
        RunFile::plan(name, content.as_bytes())
            .map_err(|why| Failure::new(FailureKind::Other, format!("{name} beside {place} {why}")))
    }

    async fn forget(&self, name: &RunFileName) -> Result<(), Failure> {
        self.with(async |connection| {
            let sql = "DELETE FROM plans WHERE lease = ?1 AND file = ?2";
            let delete = sqlx::query(sql).bind(&self.name).bind(name.to_string());
            delete.execute(connection).await.map(|_| ())
        })
        .await
    }

    async fn files(&self) -> Result<Vec<RunFileName>, Failure> {
        let names = self
            .with(async |connection| {
                let sql = "SELECT CAST(file AS TEXT) FROM plans WHERE lease = ?1 ORDER BY file LIMIT ?2";
                let rows = sqlx::query_scalar::<_, String>(sql).bind(&self.name).bind(FILES_MAX);
                rows.fetch_all(connection).await
            })
            .await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

fn failed(path: &Path, problem: &sqlx::Error) -> Failure {
    if is_busy(problem) {
        let message = format!("{}: another process holds it", path.display());
        return Failure::new(FailureKind::TimedOut, message)
            .hint(format!("see who: `lsof {}`; nothing changed", path.display()));
    }
    told(&from_sqlx(path, problem))
}

/// The errors of a file of ours, whatever is in it.
fn told(error: &JournalError) -> Failure {
    let (kind, hint) = match error {
        JournalError::NotOurs { hint, .. } => (FailureKind::Refused, hint.clone()),
        JournalError::Full { .. } => {
            (FailureKind::DiskFull, "make room: `df -h` shows how much there is".into())
        }
        JournalError::Damaged { .. } => {
            (FailureKind::Other, "when nobody deploys, move the file away and deploy again".into())
        }
        JournalError::Other { .. } => (FailureKind::Other, "try again".into()),
    };
    Failure::new(kind, error.to_string()).hint(hint)
}

#[cfg(test)]
mod tests;
