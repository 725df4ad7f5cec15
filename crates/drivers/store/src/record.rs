//! Rows and their checksums.

use lockgate_engine::{JournalError, RunSummary};
use lockgate_model::{Event, EventKind, RunId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::connection::Row;

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) kind: String,
    pub(crate) checksum: String,
}

impl EventRow {
    /// The row of `event`, which follows a row (or nothing) with the checksum `before`.
    pub(crate) fn new(event: &Event, before: &str) -> Result<Self, JournalError> {
        let kind = to_json(&event.kind)?;
        let seq = i64::try_from(event.seq)
            .map_err(|_| JournalError::Other { message: format!("event {} has no room", event.seq) })?;
        let checksum = chain(before, event.run, seq, event.at.0, &kind);
        Ok(Self { seq, at: event.at.0, kind, checksum })
    }

    pub(crate) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.whole("seq")?,
            at: row.whole("at")?,
            kind: row.text("kind")?,
            checksum: row.text("checksum")?,
        })
    }

    /// The event, if the row is the one that follows `before`.
    pub(crate) fn event(&self, run: RunId, before: &str) -> Result<Event, JournalError> {
        let place = format!("run {run}, event {}", self.seq);
        if chain(before, run, self.seq, self.at, &self.kind) != self.checksum {
            return Err(damaged(format!("{place}{}: its checksum does not match", self.kind_name())));
        }
        let kind: EventKind = from_json(&self.kind, &place)?;
        let seq = u64::try_from(self.seq).map_err(|_| damaged(format!("{place}: it has no such number")))?;
        Ok(Event { run, seq, at: Timestamp(self.at), kind })
    }

    /// ` (step_started)`, as far as that can still be read.
    fn kind_name(&self) -> String {
        let name = serde_json::from_str::<serde_json::Value>(&self.kind)
            .ok()
            .and_then(|kind| Some(kind.get("event")?.as_str()?.to_owned()));
        name.map(|name| format!(" ({name})")).unwrap_or_default()
    }
}

/// A row of `runs`: what the events so far add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RunRow {
    /// Not in `checksum`, which is as it was before there were these two, but in `subject`.
    #[serde(skip)]
    pub(crate) project: String,
    #[serde(skip)]
    pub(crate) digest: String,
    pub(crate) run: String,
    pub(crate) service: String,
    pub(crate) environment: String,
    pub(crate) release: String,
    pub(crate) intent: String,
    pub(crate) owner: String,
    pub(crate) started_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) outcome: Option<String>,
    /// How many events there are.
    pub(crate) events: i64,
    /// The last event's checksum.
    pub(crate) head: String,
}

impl RunRow {
    /// The row before any event of the run that `event` begins.
    pub(crate) fn begin(event: &Event) -> Result<Self, JournalError> {
        let EventKind::RunStarted { plan, owner, .. } = &event.kind else {
            let message = format!("run {} does not start with event {}", event.run, event.seq);
            return Err(JournalError::Other { message });
        };
        Ok(Self {
            project: plan.project.to_string(),
            digest: plan.release.digest.to_string(),
            run: event.run.to_string(),
            service: plan.service.to_string(),
            environment: plan.environment.to_string(),
            release: to_json(&plan.release)?,
            intent: plan.intent.as_str().to_owned(),
            owner: owner.clone(),
            started_at: event.at.0,
            ended_at: None,
            outcome: None,
            events: 0,
            head: String::new(),
        })
    }

    /// Takes an event in that `row` holds.
    pub(crate) fn add(&mut self, event: &Event, row: &EventRow) -> Result<(), JournalError> {
        if row.seq != self.events {
            let message = format!("run {}: event {} cannot follow {} events", self.run, row.seq, self.events);
            return Err(JournalError::Other { message });
        }
        match &event.kind {
            EventKind::RunEnded { outcome } => {
                self.ended_at = Some(event.at.0);
                self.outcome = Some(to_json(outcome)?);
            }
            // Somebody goes on with it, whatever the end was before.
            EventKind::Adopted { .. } => {
                self.ended_at = None;
                self.outcome = None;
            }
            _ => {}
        }
        self.events += 1;
        self.head.clone_from(&row.checksum);
        Ok(())
    }

    pub(crate) fn checksum(&self) -> Result<String, JournalError> {
        Ok(hex(&to_json(self)?))
    }

    /// What [`subject`] is of it.
    pub(crate) fn subject(&self) -> String {
        subject(&self.run, &self.project, &self.digest)
    }

    pub(crate) fn read(row: &Row) -> Result<Unverified, sqlx::Error> {
        let read = Self {
            project: row.text("project")?,
            digest: row.text("digest")?,
            run: row.text("run")?,
            service: row.text("service")?,
            environment: row.text("environment")?,
            release: row.text("release")?,
            intent: row.text("intent")?,
            owner: row.text("owner")?,
            started_at: row.whole("started_at")?,
            ended_at: row.whole_or_none("ended_at")?,
            outcome: row.text_or_none("outcome")?,
            events: row.whole("events")?,
            head: row.text("head")?,
        };
        Ok(Unverified { row: read, checksum: row.text("checksum")?, subject: row.text("subject")? })
    }

    pub(crate) fn summary(self) -> Result<RunSummary, JournalError> {
        let place = format!("run {}", self.run);
        let invalid = |problem: &dyn std::fmt::Display| damaged(format!("{place}: {problem}"));
        Ok(RunSummary {
            run: self.run.parse().map_err(|problem: <RunId as std::str::FromStr>::Err| invalid(&problem))?,
            service: self.service.parse().map_err(|problem| invalid(&problem))?,
            environment: self.environment.parse().map_err(|problem| invalid(&problem))?,
            project: self.project.parse().map_err(|problem| invalid(&problem))?,
            release: from_json(&self.release, &place)?,
            intent: self.intent,
            owner: self.owner,
            started_at: Timestamp(self.started_at),
            ended_at: self.ended_at.map(Timestamp),
            outcome: self.outcome.as_deref().map(|text| from_json(text, &place)).transpose()?,
        })
    }
}

/// A row of `runs` with the checksums that stand beside it.
pub(crate) struct Unverified {
    row: RunRow,
    checksum: String,
    subject: String,
}

impl Unverified {
    /// The row, if it is as it was written.
    pub(crate) fn verified(self) -> Result<RunRow, JournalError> {
        let Self { row, checksum, subject } = self;
        match row.checksum()? == checksum && row.subject() == subject {
            true => Ok(row),
            false => Err(damaged(format!(
                "run {}: the checksum of its summary does not match",
                row.run.escape_debug()
            ))),
        }
    }
}

/// A checksum over whose run it is and of which bytes.
pub(crate) fn subject(run: &str, project: &str, digest: &str) -> String {
    hex(&serde_json::json!([run, project, digest]).to_string())
}

pub(crate) fn damaged(message: String) -> JournalError {
    JournalError::Damaged { message }
}

/// SHA-256 over the row and the checksum of the row before, as a JSON array so that no two rows read the same.
fn chain(before: &str, run: RunId, seq: i64, at: i64, kind: &str) -> String {
    hex(&serde_json::json!([before, run.to_string(), seq, at, kind]).to_string())
}

pub(crate) fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value)
        .map_err(|problem| JournalError::Other { message: format!("no JSON: {problem}") })
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str, place: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|problem| damaged(format!("{place}: it cannot be read: {problem}")))
}
