//! Appending and reading.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{Event, EventKind, FailureKind, RunId};
use tokio::time::Instant;

use crate::connection::{Connection, Value};
use crate::dialect::Dialect;
use crate::error::Trouble;
use crate::record::{EventRow, RunRow, damaged, to_json};
use crate::store::{Open, SqlStore};
use crate::{backfill, presence};

/// How often an append is tried while others append to the same run.
const APPEND_TRIES_MAX: u32 = 5;
/// How long a server that is away is waited for before a run is turned back for want of its journal.
const AWAY_SECONDS_MAX: u64 = 5;
/// For how long after that appends fail at once: a run that is turned back has several, and users wait for it.
const STILL_AWAY_SECONDS: u64 = 10;
/// Between two looks whether it is back.
const AWAY_PAUSE_MILLIS: u64 = 200;

/// Of a run's summary, with its checksums.
const RUN_COLUMNS: &str = "CAST(runs.run AS TEXT) AS run, CAST(runs.project AS TEXT) AS project, \
     CAST(runs.service AS TEXT) AS service, CAST(runs.environment AS TEXT) AS environment, \
     CAST(runs.digest AS TEXT) AS digest, CAST(runs.release AS TEXT) AS release, \
     CAST(runs.intent AS TEXT) AS intent, CAST(runs.owner AS TEXT) AS owner, \
     CAST(runs.started_at AS BIGINT) AS started_at, CAST(runs.ended_at AS BIGINT) AS ended_at, \
     CAST(runs.outcome AS TEXT) AS outcome, CAST(runs.events AS BIGINT) AS events, \
     CAST(runs.head AS TEXT) AS head, CAST(runs.checksum AS TEXT) AS checksum, \
     CAST(runs.subject AS TEXT) AS subject";

/// That a server was waited for in vain, and when.
#[derive(Debug, Default)]
pub(crate) struct Away(Mutex<Option<(Instant, JournalError)>>);

impl Away {
    fn note(&self, appended: &Result<(), JournalError>) {
        let error = appended.as_ref().err().cloned();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error.map(|error| (Instant::now(), error));
    }

    /// The error of a moment ago.
    fn still(&self) -> Option<JournalError> {
        let (at, error) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (at.elapsed() < Duration::from_secs(STILL_AWAY_SECONDS)).then_some(error)
    }
}

fn is_away(appended: &Result<(), JournalError>) -> bool {
    matches!(appended, Err(JournalError::Unusable { kind: FailureKind::Unreachable, .. }))
}

#[async_trait]
impl Journal for SqlStore {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(event)).await
    }

    /// One transaction, so all of them or none. A server that is away for a moment, as for a restart, is waited for: whether the
    /// events are there is not known when a connection breaks, and looked at before they are appended again.
    async fn append_all(&self, events: &[Event]) -> Result<(), JournalError> {
        if let Some(error) = self.away.still() {
            return Err(error);
        }
        let deadline = Instant::now() + Duration::from_secs(AWAY_SECONDS_MAX);
        let mut appended = self.with(async |open| append(open, events).await).await;
        while is_away(&appended) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(AWAY_PAUSE_MILLIS)).await;
            appended = self.with(async |open| append_what_is_missing(open, events).await).await;
        }
        if is_away(&appended) {
            self.away.note(&appended);
        }
        appended
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        let (summary, rows) = self
            .with(async |Open { connection, .. }| {
                // Both reads must see the same state.
                connection.run(connection.dialect().begin_reading()).await?;
                let summary = run_row(connection, run).await?;
                let rows = event_rows(connection, run).await?;
                connection.run("COMMIT").await?;
                Ok((summary, rows))
            })
            .await?;
        verify(run, summary.as_ref(), &rows)
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        let (sql, values) = listing(filter);
        let rows = self
            .with(async |Open { connection, .. }| {
                fill_in_what_older_programs_began(connection).await?;
                let rows = connection.rows(&sql, &values).await?;
                Ok(rows.iter().map(RunRow::read).collect::<Result<Vec<_>, _>>()?)
            })
            .await?;
        rows.into_iter().map(|row| row.verified()?.summary()).collect()
    }
}

/// Only what is asked for is in the statement: a condition that may be switched off by its value would keep both databases
/// from using an index.
pub(crate) fn listing(filter: &RunFilter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, value: Option<String>| {
        if let Some(value) = value {
            values.push(value.into());
            conditions.push(format!("runs.{text} ${}", values.len()));
        }
    };
    condition("project =", filter.project.as_ref().map(ToString::to_string));
    condition("service =", filter.service.as_ref().map(ToString::to_string));
    condition("environment =", filter.environment.as_ref().map(ToString::to_string));
    condition("digest =", filter.digest.as_ref().map(ToString::to_string));
    condition("run <", filter.before.map(|run| run.to_string()));
    if filter.unfinished {
        conditions.push("runs.outcome IS NULL".to_owned());
    }
    let wanted = match conditions.is_empty() {
        true => String::new(),
        false => format!("WHERE {} ", conditions.join(" AND ")),
    };
    values.push(i64::from(filter.limit).into());
    let sql =
        format!("SELECT {RUN_COLUMNS} FROM runs {wanted}ORDER BY runs.run DESC LIMIT ${}", values.len());
    (sql, values)
}

/// A program of version 1 that had the file open while it was brought up goes on, and knows nothing of projects.
async fn fill_in_what_older_programs_began(connection: &mut Connection) -> Result<(), Trouble> {
    if connection.dialect() == Dialect::Sqlite && backfill::is_needed(connection).await? {
        connection.run(connection.dialect().begin_writing()).await?;
        backfill::fill_in(connection).await?;
        connection.run("COMMIT").await?;
    }
    Ok(())
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

/// Where the summary is known, nothing is read before it is written over; when somebody else was faster, it is read and tried
/// again.
async fn append(open: &mut Open, events: &[Event]) -> Result<(), Trouble> {
    let Some(first) = events.first() else { return Ok(()) };
    let known = match first.kind {
        EventKind::RunStarted { .. } => Append::begin(events).ok(),
        _ => open.last.take().and_then(|before| Append::after(before, events).ok()),
    };
    if let Some(append) = known
        && append.write(&mut open.connection).await?
    {
        open.last = Some(append.after);
        return Ok(());
    }
    for _ in 0..APPEND_TRIES_MAX {
        let before = run_row(&mut open.connection, first.run).await?;
        let append = match before {
            Some(before) => Append::after(before, events)?,
            None => Append::begin(events)?,
        };
        if append.write(&mut open.connection).await? {
            open.last = Some(append.after);
            return Ok(());
        }
    }
    let message = format!("run {}: others append to it, too", first.run);
    Err(JournalError::Other { message }.into())
}

/// A second time, after a try of which it is not known whether it was done.
pub(crate) async fn append_what_is_missing(open: &mut Open, events: &[Event]) -> Result<(), Trouble> {
    let Some(first) = events.first() else { return Ok(()) };
    let before = run_row(&mut open.connection, first.run).await?;
    let there = event_rows(&mut open.connection, first.run).await?;
    let there = verify(first.run, before.as_ref(), &there)?;
    let same = there.iter().skip_while(|event| event.seq < first.seq).zip(events);
    let done = same.take_while(|(one, other)| one == other).count();
    append(open, &events[done..]).await
}

/// In the order of the values: run, checksum before, events, end, outcome, count, head, checksum after.
const UPDATE_RUN: &str = "UPDATE runs SET ended_at = $4, outcome = $5, events = $6, head = $7, checksum = $8 \
     WHERE run = $1 AND checksum = $2 RETURNING 1 AS done";

/// Unless it is there already.
const INSERT_RUN: &str = "INSERT INTO runs (run, ended_at, outcome, events, head, checksum, project, service, environment, \
     digest, release, intent, owner, started_at, subject) \
     VALUES ($1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
     ON CONFLICT (run) DO NOTHING RETURNING 1 AS done";

/// The same words however many events there are. Only when the summary was written, which is the statement before.
fn insert_events(dialect: Dialect) -> String {
    format!(
        "INSERT INTO events (run, seq, at, kind, checksum) \
         SELECT $1, CAST(value ->> 'seq' AS BIGINT), CAST(value ->> 'at' AS BIGINT), value ->> 'kind', \
         value ->> 'checksum' FROM {} WHERE EXISTS (SELECT 1 FROM runs WHERE run = $1 AND checksum = $8)",
        dialect.each(3)
    )
}

/// Events that follow a summary which is known, so that nothing need be read before they are written.
struct Append {
    /// The summary's checksum before them; `None` where they are the run's first.
    before: Option<String>,
    rows: Vec<EventRow>,
    after: RunRow,
    /// The release is live from here on, as the last of them says.
    is_live: bool,
}

impl Append {
    /// An error when they do not follow it.
    fn after(run: RunRow, events: &[Event]) -> Result<Self, JournalError> {
        let before = Some(run.checksum()?);
        Self::new(before, run, events)
    }

    /// An error when they begin no run.
    fn begin(events: &[Event]) -> Result<Self, JournalError> {
        let first = events.first().ok_or_else(|| JournalError::Other { message: "no event".to_owned() })?;
        Self::new(None, RunRow::begin(first)?, events)
    }

    fn new(before: Option<String>, mut run: RunRow, events: &[Event]) -> Result<Self, JournalError> {
        let mut rows = Vec::with_capacity(events.len());
        for event in events {
            if event.run.to_string() != run.run {
                let message = format!("event {} is of run {}, not of run {}", event.seq, event.run, run.run);
                return Err(JournalError::Other { message });
            }
            let row = EventRow::new(event, &run.head)?;
            run.add(event, &row)?;
            rows.push(row);
        }
        let is_live = events.last().is_some_and(|event| presence::goes_live(&event.kind));
        Ok(Self { before, rows, after: run, is_live })
    }

    /// In one transaction. False, and nothing written, when the summary is not the known one.
    async fn write(&self, connection: &mut Connection) -> Result<bool, Trouble> {
        let dialect = connection.dialect();
        let run = &self.after;
        let mut values: Vec<Value> = vec![
            run.run.as_str().into(),
            self.before.clone().into(),
            to_json(&self.rows)?.into(),
            run.ended_at.into(),
            run.outcome.clone().into(),
            run.events.into(),
            run.head.as_str().into(),
            run.checksum()?.into(),
        ];
        let summary = match self.before {
            Some(_) => UPDATE_RUN,
            None => {
                let subject = run.subject();
                let texts =
                    [&run.project, &run.service, &run.environment, &run.digest, &run.release, &run.intent];
                values.extend(texts.map(|text| text.as_str().into()));
                values.extend([run.owner.as_str().into(), run.started_at.into(), subject.into()]);
                INSERT_RUN
            }
        };
        let mut statements = vec![summary.to_owned(), insert_events(dialect)];
        if self.is_live {
            statements.extend(presence::of_run(run, &mut values));
        }
        Ok(!connection.transact(&statements, &values).await?.is_empty())
    }
}

async fn run_row(connection: &mut Connection, run: RunId) -> Result<Option<RunRow>, Trouble> {
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE runs.run = $1");
    match connection.row(sql, &[run.to_string().into()]).await? {
        Some(row) => Ok(Some(RunRow::read(&row)?.verified()?)),
        None => Ok(None),
    }
}

async fn event_rows(connection: &mut Connection, run: RunId) -> Result<Vec<EventRow>, Trouble> {
    let sql = "SELECT CAST(seq AS BIGINT) AS seq, CAST(at AS BIGINT) AS at, CAST(kind AS TEXT) AS kind, \
               CAST(checksum AS TEXT) AS checksum FROM events WHERE events.run = $1 ORDER BY events.seq";
    let rows = connection.rows(sql, &[run.to_string().into()]).await?;
    let named = |index: usize, problem| damaged(format!("run {run}, event {index}: {problem}"));
    let read = rows
        .iter()
        .enumerate()
        .map(|(index, row)| EventRow::read(row).map_err(|problem| named(index, problem)));
    Ok(read.collect::<Result<_, JournalError>>()?)
}
