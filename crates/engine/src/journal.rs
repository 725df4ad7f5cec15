//! The durable record of runs.

use async_trait::async_trait;
use lockgate_model::{
    Digest, EnvironmentName, Event, EventKind, FailureKind, Outcome, ProjectName, Release, RunId,
    ServiceName, Timestamp,
};
use serde::Serialize;

/// Why nothing could be written to the journal, or read from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no more room for it.
    #[error("the journal cannot grow: {message}")]
    Full {
        /// What the disk or the database said, for people.
        message: String,
    },
    /// A record is damaged or missing. The hosts are the truth, so nothing but history is lost.
    #[error("the journal is damaged: {message}")]
    Damaged {
        /// Which record, and what is wrong with it.
        message: String,
    },
    /// Its file, one beside it or its folder is somebody else's, or no file: nothing in it was read or changed.
    #[error("the journal is not used: {message}")]
    NotOurs {
        /// Which file, and whose it is.
        message: String,
        /// What to type.
        hint: String,
    },
    /// What keeps it does not answer (`Unreachable`, `TimedOut`), lets nobody in (`Unauthorized`), or is not to be used by
    /// this program (`Refused`, `NotFound`). When it did not answer, what was appended last may be there all the same.
    #[error("the journal cannot be used: {message}")]
    Unusable {
        /// What the caller may do about it.
        kind: FailureKind,
        /// What keeps it and what that said, without user and password.
        message: String,
        /// What to type.
        hint: String,
    },
    /// None of the others.
    #[error("the journal cannot be used: {message}")]
    Other {
        /// What was said, for people.
        message: String,
    },
}

impl JournalError {
    /// What to type.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            JournalError::Full { .. } => {
                "free space on the disk that holds the journal, then run the same command again; it brings to its end what was left first"
            }
            JournalError::Damaged { .. } => {
                "move the journal file away (in PostgreSQL, for all projects: ALTER SCHEMA lockgate RENAME TO lockgate_damaged); `lockgate resume` and `lockgate status` look at the hosts, which are the truth"
            }
            JournalError::NotOurs { hint, .. } | JournalError::Unusable { hint, .. } => hint,
            JournalError::Other { .. } => "check the journal file's folder and permissions",
        }
    }
}

/// Which runs to list; `None` is any. The journal of several projects is one where they share a store.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of which project; a journal may hold several.
    pub project: Option<ProjectName>,
    /// Of which service.
    pub service: Option<ServiceName>,
    /// In which environment.
    pub environment: Option<EnvironmentName>,
    /// Only those of these bytes, under whatever tag.
    pub digest: Option<Digest>,
    /// Only those without an outcome.
    pub unfinished: bool,
    /// Only those that are older than this one, which need not be there: the last of a page gives the next one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// What the events of a run add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its id; ids sort by time.
    pub run: RunId,
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// What was deployed.
    pub service: ServiceName,
    /// Where it was deployed.
    pub environment: EnvironmentName,
    /// What was to be live.
    pub release: Release,
    /// `deploy`, `rollback` or `tidy up`.
    pub intent: String,
    /// `user@machine` of who began it.
    pub owner: String,
    /// When it began, by the clock of the machine that ran it.
    pub started_at: Timestamp,
    /// Absent as `outcome` is.
    pub ended_at: Option<Timestamp>,
    /// Absent while it runs, or when it was left unfinished.
    pub outcome: Option<Outcome>,
}

impl RunSummary {
    /// What a run's events, in order, add up to; `None` where they do not begin with its start. Who goes on with a run takes
    /// its end away, until there is another one.
    #[must_use]
    pub fn of(events: &[Event]) -> Option<Self> {
        let first = events.first()?;
        let EventKind::RunStarted { plan, owner, .. } = &first.kind else { return None };
        let end = events.iter().fold(None, |end, event| match &event.kind {
            EventKind::RunEnded { outcome } => Some((event.at, outcome)),
            EventKind::Adopted { .. } => None,
            _ => end,
        });
        Some(Self {
            run: first.run,
            project: plan.project.clone(),
            service: plan.service.clone(),
            environment: plan.environment.clone(),
            release: plan.release.clone(),
            intent: plan.intent.as_str().to_owned(),
            owner: owner.clone(),
            started_at: first.at,
            ended_at: end.map(|(at, _)| at),
            outcome: end.map(|(_, outcome)| outcome.clone()),
        })
    }
}

/// Append-only. An implementer guarantees: when `append` returns `Ok` the event survives power loss; events of one
/// run come back in order of `seq`; a damaged or missing event is an error, never a silent gap.
#[async_trait]
pub trait Journal: Send + Sync {
    /// # Errors
    /// [`JournalError::Full`] when there is no space. After an error the event is not there.
    async fn append(&self, event: &Event) -> Result<(), JournalError>;

    /// Several events of one run, in order: for a journal on a disk at the price of one. After an error a beginning of
    /// them may be there, never a later one without those before it.
    ///
    /// # Errors
    /// As [`Journal::append`].
    async fn append_all(&self, events: &[Event]) -> Result<(), JournalError> {
        for event in events {
            self.append(event).await?;
        }
        Ok(())
    }

    /// All events of a run in order; empty for an unknown run.
    ///
    /// # Errors
    /// [`JournalError::Damaged`].
    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError>;

    /// Those that `filter` wants, by id, the newest first: an id begins with the time at which its run began.
    ///
    /// # Errors
    /// [`JournalError::Damaged`].
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError>;
}
