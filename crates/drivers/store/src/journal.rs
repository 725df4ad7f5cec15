//! Appending and reading.
//!
//! Every selected column is an expression (a cast to the type it has): for bare columns sqlx asks for the declared
//! type, and panics when a damaged schema gives one that is not UTF-8.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{Event, EventKind, RunId};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Mutex;

use crate::error::from_sqlx;
use crate::file;
use crate::record::{EventRow, RunRow, damaged, to_json};

/// For one append or reading, waiting for other processes included. sqlx 0.9 can wait for ever for a worker thread that
/// panicked between two commands.
const CALL_SECONDS_MAX: u64 = 20;

macro_rules! select_runs {
    ($($which:tt)*) => {
        concat!(
            "SELECT CAST(run AS TEXT) AS run, CAST(service AS TEXT) AS service, ",
            "CAST(environment AS TEXT) AS environment, CAST(release AS TEXT) AS release, ",
            "CAST(intent AS TEXT) AS intent, CAST(owner AS TEXT) AS owner, ",
            "CAST(started_at AS BIGINT) AS started_at, CAST(ended_at AS BIGINT) AS ended_at, ",
            "CAST(outcome AS TEXT) AS outcome, CAST(events AS BIGINT) AS events, ",
            "CAST(head AS TEXT) AS head, CAST(checksum AS TEXT) AS checksum FROM runs ",
            $($which)*
        )
    };
}

/// Ids of runs begin with the time (UUID version 7), so their order is the table's own.
macro_rules! filtered {
    () => {
        "(?1 IS NULL OR runs.service = ?1) AND (?2 IS NULL OR runs.environment = ?2) ORDER BY runs.run DESC LIMIT ?3"
    };
}

/// [`Journal`] in one SQLite file.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// Taken out while in use, and put back only after success: a connection whose transaction failed, or whose
    /// caller went away in the middle, is closed (which rolls back) and the next call opens another one.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    connection: SqliteConnection,
    /// The summary of the run that was appended to last, as written.
    last: Option<RunRow>,
}

impl Open {
    fn new(connection: SqliteConnection) -> Self {
        Self { connection, last: None }
    }
}

impl SqliteJournal {
    /// Looks whether what is at `path` may be opened, as far as that can be seen from outside. Makes nothing; what is
    /// missing may be made.
    ///
    /// # Errors
    /// [`JournalError::NotOurs`] when it, a file beside it or its folder is not [ours](lockgate_own), or no file.
    pub fn look(path: &Path) -> Result<(), JournalError> {
        file::require_own(path)
    }

    /// Opens the journal at `path`, making folder (0700), file (0600) and tables where they are missing.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when the file is no journal, [`JournalError::Full`], and [`JournalError::Other`] when
    /// it may not be opened, another process holds it for 5 s, or a newer lockgate wrote it.
    /// [`JournalError::NotOurs`] as for [`SqliteJournal::look`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        let options = file::options(&path);
        Self::open_with(path, options).await
    }

    pub(crate) async fn open_with(
        path: PathBuf,
        options: SqliteConnectOptions,
    ) -> Result<Self, JournalError> {
        file::prepare(&path)?;
        let connection = file::connect(&path, &options, &file::JOURNAL).await?;
        Ok(Self { path, options, open: Mutex::new(Some(Open::new(connection))) })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what is in the write-ahead log into the file and closes both. Dropping the journal, or being killed, loses
    /// nothing: the next one to open it reads the log.
    ///
    /// # Errors
    /// As SQLite's: nothing is lost then either.
    pub async fn close(self) -> Result<(), JournalError> {
        match self.open.into_inner() {
            Some(open) => open.connection.close().await.map_err(|problem| from_sqlx(&self.path, &problem)),
            None => Ok(()),
        }
    }

    /// Does `work` on the connection. See [`SqliteJournal::open`] for what happens when it fails.
    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, JournalError> {
        let call = async {
            let mut guard = self.open.lock().await;
            let mut open = match guard.take() {
                Some(open) => open,
                None => Open::new(file::connect(&self.path, &self.options, &file::JOURNAL).await?),
            };
            // On an error the connection is dropped, not closed: closing waits for the worker thread.
            let value = work(&mut open).await?;
            *guard = Some(open);
            Ok(value)
        };
        match tokio::time::timeout(Duration::from_secs(CALL_SECONDS_MAX), call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Trouble::Sql(problem))) => Err(from_sqlx(&self.path, &problem)),
            Ok(Err(Trouble::Journal(error))) => Err(error),
            Err(_) => Err(JournalError::Other {
                message: format!("{}: no answer within {CALL_SECONDS_MAX} s", self.path.display()),
            }),
        }
    }
}

enum Trouble {
    Sql(sqlx::Error),
    Journal(JournalError),
}

impl From<sqlx::Error> for Trouble {
    fn from(problem: sqlx::Error) -> Self {
        Trouble::Sql(problem)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Trouble::Journal(error)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(event)).await
    }

    /// One transaction, so all of them or none.
    async fn append_all(&self, events: &[Event]) -> Result<(), JournalError> {
        self.with(async |open| {
            let known = match events.first() {
                Some(Event { kind: EventKind::RunStarted { .. }, .. }) => Append::begin(events),
                _ => open.last.take().and_then(|before| Append::after(before, events)),
            };
            if let Some(append) = known
                && append.write(&mut open.connection).await?
            {
                open.last = Some(append.after);
                return Ok(());
            }
            // IMMEDIATE: whoever reads the run's summary here is the only one to change it.
            sqlx::query("BEGIN IMMEDIATE").execute(&mut open.connection).await?;
            for event in events {
                open.last = Some(add_event(&mut open.connection, event).await?);
            }
            sqlx::query("COMMIT").execute(&mut open.connection).await?;
            Ok(())
        })
        .await
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        let (summary, rows) = self
            .with(async |Open { connection, .. }| {
                // Both reads must see the same state.
                sqlx::query("BEGIN").execute(&mut *connection).await?;
                let summary = run_row(connection, run).await?;
                let rows = event_rows(connection, run).await?;
                sqlx::query("COMMIT").execute(&mut *connection).await?;
                Ok((summary, rows))
            })
            .await?;
        verify(run, summary.as_ref(), &rows)
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let sql = match filter.unfinished {
            // The words of the index, which a bound condition would not use.
            true => select_runs!("WHERE runs.outcome IS NULL AND ", filtered!()),
            false => select_runs!("WHERE ", filtered!()),
        };
        let rows = self
            .with(async |Open { connection, .. }| {
                let rows = sqlx::query(sql)
                    .bind(filter.service.as_ref().map(|service| service.as_str()))
                    .bind(filter.environment.as_ref().map(|environment| environment.as_str()))
                    .bind(i64::from(filter.limit))
                    .fetch_all(&mut *connection)
                    .await?;
                Ok(rows.iter().map(RunRow::read).collect::<Result<Vec<_>, _>>()?)
            })
            .await?;
        rows.into_iter().map(|row| RunRow::verified(row)?.summary()).collect()
    }
}

/// The events, if they are all there and as they were written.
fn verify(run: RunId, summary: Option<&RunRow>, rows: &[EventRow]) -> Result<Vec<Event>, JournalError> {
    let Some(summary) = summary else {
        return match rows {
            [] => Ok(Vec::new()),
            _ => Err(damaged(format!("run {run}: its summary is missing"))),
        };
    };
    let mut head = "";
    let mut events = Vec::with_capacity(rows.len());
    for (wanted, row) in (0..).zip(rows) {
        if row.seq != wanted {
            return Err(damaged(format!("run {run}, event {wanted}: it is missing")));
        }
        events.push(row.event(run, head)?);
        head = &row.checksum;
    }
    match i64::try_from(rows.len()) {
        Ok(count) if count == summary.events && head == summary.head => Ok(events),
        Ok(count) if count < summary.events => {
            Err(damaged(format!("run {run}, event {count}: it is missing")))
        }
        _ => Err(damaged(format!("run {run}: its events do not end where its summary says"))),
    }
}

macro_rules! insert_events {
    () => {
        "INSERT INTO events (run, seq, at, kind, checksum) \
         SELECT ?1, value ->> 'seq', value ->> 'at', value ->> 'kind', value ->> 'checksum' FROM json_each(?3) \
         WHERE EXISTS (SELECT 1 FROM runs WHERE run = ?1 AND checksum = ?2); "
    };
}

/// The same words however many events there are, so that SQLite reads them once.
const APPEND: &str = concat!(
    "BEGIN IMMEDIATE; ",
    insert_events!(),
    "UPDATE runs SET ended_at = ?4, outcome = ?5, events = ?6, head = ?7, checksum = ?8 \
     WHERE run = ?1 AND checksum = ?2 RETURNING 1; COMMIT"
);

/// The first events of a run, unless it is there already.
const BEGIN: &str = concat!(
    "BEGIN IMMEDIATE; ",
    "INSERT INTO runs (run, checksum, ended_at, outcome, events, head, service, environment, release, intent, owner, \
     started_at) VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (run) DO NOTHING RETURNING 1; ",
    insert_events!(),
    "COMMIT"
);

/// Events that follow a summary which is known, so that nothing need be read before they are written.
struct Append {
    /// The summary's checksum before them; `None` where they are the run's first.
    before: Option<String>,
    rows: Vec<EventRow>,
    after: RunRow,
}

impl Append {
    /// `None` when they do not follow it.
    fn after(run: RunRow, events: &[Event]) -> Option<Self> {
        let before = Some(run.checksum().ok()?);
        Self::new(before, run, events)
    }

    /// `None` when they begin no run.
    fn begin(events: &[Event]) -> Option<Self> {
        Self::new(None, RunRow::begin(events.first()?).ok()?, events)
    }

    fn new(before: Option<String>, mut run: RunRow, events: &[Event]) -> Option<Self> {
        let mut rows = Vec::with_capacity(events.len());
        for event in events {
            let row = EventRow::new(event, &run.head).ok().filter(|_| event.run.to_string() == run.run)?;
            run.add(event, &row).ok()?;
            rows.push(row);
        }
        (!rows.is_empty()).then_some(Self { before, rows, after: run })
    }

    /// In one call, for each is a way to SQLite's thread and back, which takes longer than the disk. False, and nothing
    /// written, when the summary is not the known one.
    async fn write(&self, connection: &mut SqliteConnection) -> Result<bool, Trouble> {
        let (run, checksum, rows) = (&self.after, self.after.checksum()?, to_json(&self.rows)?);
        let query = match &self.before {
            Some(before) => sqlx::query(APPEND).bind(&run.run).bind(before),
            None => sqlx::query(BEGIN).bind(&run.run).bind(&checksum),
        };
        let query =
            query.bind(rows).bind(run.ended_at).bind(run.outcome.as_deref()).bind(run.events).bind(&run.head);
        let query = match self.before {
            Some(_) => query.bind(&checksum),
            None => query
                .bind(&run.service)
                .bind(&run.environment)
                .bind(&run.release)
                .bind(&run.intent)
                .bind(&run.owner)
                .bind(run.started_at),
        };
        Ok(!query.fetch_all(connection).await?.is_empty())
    }
}

/// The run's summary with the event in it.
async fn add_event(connection: &mut SqliteConnection, event: &Event) -> Result<RunRow, Trouble> {
    let mut run = match run_row(connection, event.run).await? {
        Some(run) => run,
        None => RunRow::begin(event)?,
    };
    let row = EventRow::new(event, &run.head)?;
    run.add(event, &row)?;
    insert_event(connection, &run.run, &row).await?;
    put_run(connection, &run).await?;
    Ok(run)
}

async fn run_row(connection: &mut SqliteConnection, run: RunId) -> Result<Option<RunRow>, Trouble> {
    let row = sqlx::query(select_runs!("WHERE runs.run = ?1"))
        .bind(run.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(match row {
        Some(row) => Some(RunRow::verified(RunRow::read(&row)?)?),
        None => None,
    })
}

async fn event_rows(connection: &mut SqliteConnection, run: RunId) -> Result<Vec<EventRow>, Trouble> {
    let rows = sqlx::query(
        "SELECT CAST(seq AS BIGINT) AS seq, CAST(at AS BIGINT) AS at, CAST(kind AS TEXT) AS kind, \
         CAST(checksum AS TEXT) AS checksum FROM events WHERE events.run = ?1 ORDER BY events.seq",
    )
    .bind(run.to_string())
    .fetch_all(connection)
    .await?;
    let named = |index: usize, problem| damaged(format!("run {run}, event {index}: {problem}"));
    let read = rows
        .iter()
        .enumerate()
        .map(|(index, row)| EventRow::read(row).map_err(|problem| named(index, problem)));
    Ok(read.collect::<Result<_, JournalError>>()?)
}

async fn insert_event(connection: &mut SqliteConnection, run: &str, row: &EventRow) -> Result<(), Trouble> {
    sqlx::query("INSERT INTO events (run, seq, at, kind, checksum) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(run)
        .bind(row.seq)
        .bind(row.at)
        .bind(&row.kind)
        .bind(&row.checksum)
        .execute(connection)
        .await?;
    Ok(())
}

async fn put_run(connection: &mut SqliteConnection, run: &RunRow) -> Result<(), Trouble> {
    sqlx::query(
        "INSERT INTO runs (run, service, environment, release, intent, owner, started_at, ended_at, outcome, events, \
         head, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
         ON CONFLICT (run) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome, \
         events = excluded.events, head = excluded.head, checksum = excluded.checksum",
    )
    .bind(&run.run)
    .bind(&run.service)
    .bind(&run.environment)
    .bind(&run.release)
    .bind(&run.intent)
    .bind(&run.owner)
    .bind(run.started_at)
    .bind(run.ended_at)
    .bind(run.outcome.as_deref())
    .bind(run.events)
    .bind(&run.head)
    .bind(run.checksum()?)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
