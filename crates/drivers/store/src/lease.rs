//! A lease in the store, for what has no host to keep it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::{LeaseStore, RunFile};
use lockgate_model::{
    Failure, FailureKind, LeaseRecord, Place, Plan, RunFileName, TOLD_CHARS_MAX, Timestamp, quoted,
};

use crate::connection::{Connection, Value};
use crate::database::Database;
use crate::error::{Trouble, to_failure};
use crate::store::SharedConnection;

/// Most names of plans that are asked for at once.
const FILES_MAX: i64 = 1_000;
/// Largest plan that is written and read back.
const PLAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// [`LeaseStore`] in a store, which has a lease for every name. A compare-and-swap is one statement, so one transaction, and
/// several processes may use one store. Who is stopped in the middle of one in a SQLite file holds the file's lock, which
/// others wait for no longer than 5 s, and then say so.
pub struct StoreLease {
    database: Arc<Database>,
    /// Of the lease within the store.
    name: String,
    open: SharedConnection,
}

impl fmt::Debug for StoreLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreLease({:?} in {})", self.name, self.database.place())
    }
}

impl StoreLease {
    pub(crate) fn new(database: Arc<Database>, name: String) -> Self {
        Self { database, name, open: SharedConnection::default() }
    }

    pub(crate) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let call = self
            .open
            .with(&self.database, async |open| work(&mut open.connection).await.map_err(Trouble::Sql));
        call.await.map_err(to_failure)
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
impl LeaseStore for StoreLease {
    fn place(&self) -> &Place {
        &Place::Store
    }

    fn path(&self) -> String {
        format!("the lease {} in {}", quoted(&self.name, TOLD_CHARS_MAX), self.database.place())
    }

    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure> {
        let (record, now) = self
            .with(async |connection| {
                let sql = format!(
                    "SELECT (SELECT CAST(record AS TEXT) FROM leases WHERE name = $1) AS record, {} AS now",
                    connection.dialect().now()
                );
                let row = connection.row(sql, &[self.name.as_str().into()]).await?;
                let row = row.ok_or(sqlx::Error::RowNotFound)?;
                Ok((row.text_or_none("record")?, row.whole("now")?))
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
        let mut values: Vec<Value> = vec![self.name.as_str().into(), content.into()];
        let sql = match expected {
            None => "INSERT INTO leases (name, record) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            Some(expected) => {
                values.push(expected.into());
                "UPDATE leases SET record = $2 WHERE name = $1 AND record = $3"
            }
        };
        let changed = self.with(async |connection| connection.change(sql, &values).await).await?;
        Ok(changed == 1)
    }

    async fn keep(&self, file: &RunFile) -> Result<(), Failure> {
        if file.content.len() > PLAN_BYTES_MAX {
            let message = format!("{} is not written: it is larger than is read back", file.name);
            return Err(Failure::new(FailureKind::Refused, message));
        }
        let content = String::from_utf8(file.content.clone())
            .map_err(|_| Failure::new(FailureKind::Other, format!("{} is no text", file.name)))?;
        let values: [Value; 3] = [self.name.as_str().into(), file.name.to_string().into(), content.into()];
        // Named by what is in it, so what is there already is the same.
        let sql = "INSERT INTO plans (lease, file, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        self.with(async |connection| connection.change(sql, &values).await).await.map(|_| ())
    }

    async fn plan(&self, name: &RunFileName) -> Result<Plan, Failure> {
        let values: [Value; 2] = [self.name.as_str().into(), name.to_string().into()];
        let sql = "SELECT CAST(content AS TEXT) AS content FROM plans WHERE lease = $1 AND file = $2";
        let content = self
            .with(async |connection| {
                connection.row(sql, &values).await?.map(|row| row.text("content")).transpose()
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
        let values: [Value; 2] = [self.name.as_str().into(), name.to_string().into()];
        let sql = "DELETE FROM plans WHERE lease = $1 AND file = $2";
        self.with(async |connection| connection.change(sql, &values).await).await.map(|_| ())
    }

    async fn files(&self) -> Result<Vec<RunFileName>, Failure> {
        let values: [Value; 2] = [self.name.as_str().into(), FILES_MAX.into()];
        let sql = "SELECT CAST(file AS TEXT) AS file FROM plans WHERE lease = $1 ORDER BY file LIMIT $2";
        let names = self
            .with(async |connection| {
                let rows = connection.rows(sql, &values).await?;
                rows.iter().map(|row| row.text("file")).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
