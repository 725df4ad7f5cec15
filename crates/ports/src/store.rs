//! The store: what outlives runs, beside the journal and the leases.

use async_trait::async_trait;
use lockgate_model::{
    AuditEntry, AuditLink, AuditRecord, DeliveryAnswer, DeliveryId, Digest, EnvironmentName, Incoming,
    Observation, Presence, ProjectName, Received, RunId, SeenLive, ServiceName, Tally, Timestamp, Verdict,
    WebhookDelivery,
};

use crate::PortError;

/// Most records that one call gives, whatever it is asked for.
pub const RECORDS_MAX: u32 = 10_000;

/// Which records are asked for; `None` is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFilter {
    /// Whose records.
    pub project: ProjectName,
    /// About which service.
    pub service: Option<ServiceName>,
    /// In which environment.
    pub environment: Option<EnvironmentName>,
    /// About which bytes.
    pub digest: Option<Digest>,
    /// At most so many, the newest; never more than [`RECORDS_MAX`].
    pub limit: u32,
}

impl RecordFilter {
    /// All of a project, at most [`RECORDS_MAX`].
    #[must_use]
    pub fn all(project: ProjectName) -> Self {
        Self { project, service: None, environment: None, digest: None, limit: RECORDS_MAX }
    }
}

/// Which looks are counted or listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookFilter {
    /// Whose looks.
    pub project: ProjectName,
    /// At which service.
    pub service: ServiceName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Only those that this release answered. `None`: also those of which that is not known.
    pub digest: Option<Digest>,
    /// Only those that asked this.
    pub probe: Option<String>,
    /// From this time on, it included.
    pub from: Timestamp,
    /// Up to this time, it not included.
    pub to: Timestamp,
}

/// Which entries of the audit are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose entries.
    pub project: ProjectName,
    /// Only those with a lower number: the last of a page gives the next one. `None`: the newest.
    pub before: Option<u64>,
    /// At most so many; never more than [`RECORDS_MAX`].
    pub limit: u32,
}

/// What is kept together: all of it or nothing, and with one write to the disk however much it is.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Messages that have come, in the order of their arrival: those that are let in are kept.
    pub incoming: Vec<Incoming>,
    /// What is answered, after them.
    pub answers: Vec<Answering>,
    /// Entries of the audit, after those of the others.
    pub entries: Vec<AuditEntry>,
}

/// What a delivery is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    /// Whose delivery.
    pub project: ProjectName,
    /// Where it came.
    pub endpoint: String,
    /// What its sender calls it.
    pub id: DeliveryId,
    /// Kept if it is the first.
    pub answer: DeliveryAnswer,
    /// Kept in the audit, if the answer is. `None`: nothing is.
    pub entry: Option<AuditEntry>,
}

/// What came of a [`Batch`], each in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What each message was.
    pub received: Vec<Received>,
    /// The place in the order of arrival of the delivery that each message is: rises in a store, from 1. 0 where none is kept,
    /// or an older program has kept it.
    pub arrived: Vec<u64>,
    /// What each delivery is answered from now on: the first answer, whoever gave it. `None`: there is no such delivery.
    pub answers: Vec<Option<DeliveryAnswer>>,
    /// The numbers of [`Batch::entries`].
    pub entries: Vec<u64>,
}

/// What outlives runs. An implementer guarantees: when a call that writes returns `Ok`, what it wrote survives power loss;
/// several processes may use one store at once, and each call is all or nothing; texts and evidence come back within their
/// bounds, and what cannot be read is an error, never left out.
///
/// An error says what the caller may do: `DiskFull`; `Refused` (another's file, a newer schema); `Unauthorized`; `NotFound`
/// (no such database). After `Unreachable` and `TimedOut` it is not known whether a write happened. Every write but
/// [`Store::note`] may be repeated then: the second one changes nothing. Every call is over within half a minute.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where it is, for people; nothing secret.
    fn place(&self) -> String;

    /// Whether it can be used, as far as that can be seen without making or changing anything. One that is not there yet and
    /// can be made is fine.
    ///
    /// # Errors
    /// Why it cannot.
    async fn look(&self) -> Result<(), PortError>;

    /// Keeps a verdict, within its bounds.
    ///
    /// # Errors
    /// The store's.
    async fn add_verdict(&self, verdict: &Verdict) -> Result<(), PortError>;

    /// The newest first. Which of them counts is for the caller to say.
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn verdicts(&self, filter: &RecordFilter) -> Result<Vec<Verdict>, PortError>;

    /// Somebody saw a release live: the open presence of its service in its environment is prolonged when it is of the same
    /// digest, else ended at that moment and another one begun. What was seen no later than the last sight of the open one, or
    /// before the end of the last one, begins none.
    ///
    /// # Errors
    /// The store's.
    async fn saw_live(&self, seen: &SeenLive) -> Result<(), PortError>;

    /// Somebody saw that nothing is live: an open presence that was last seen before then is ended.
    ///
    /// # Errors
    /// The store's.
    async fn saw_nothing_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        at: Timestamp,
    ) -> Result<(), PortError>;

    /// By when they began, the newest first.
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn presence(&self, filter: &RecordFilter) -> Result<Vec<Presence>, PortError>;

    /// Keeps looks, within their bounds. Of two by one looker with one probe at the same millisecond the first is kept.
    ///
    /// # Errors
    /// The store's.
    async fn observe(&self, looks: &[Observation]) -> Result<(), PortError>;

    /// The newest first, at most `limit` and [`RECORDS_MAX`].
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn observations(&self, filter: &LookFilter, limit: u32) -> Result<Vec<Observation>, PortError>;

    /// What they add up to, of however many.
    ///
    /// # Errors
    /// The store's.
    async fn tally(&self, filter: &LookFilter) -> Result<Tally, PortError>;

    /// Removes a project's looks from before a time, and says how many.
    ///
    /// # Errors
    /// The store's.
    async fn forget_observations(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError>;

    /// Keeps what belongs together. What each message is goes by [`Received::judge`] and by what was kept before it; of
    /// several callers with one delivery exactly one is told that it is the first. May be repeated as every write: what was
    /// kept is not kept again, but for entries that belong to no delivery.
    ///
    /// # Errors
    /// The store's, `TooLarge` for an answer over its bound; then nothing of it is kept.
    async fn keep(&self, batch: &Batch) -> Result<Kept, PortError>;

    /// Makes a delivery known by its id, before anything is done about it. Of several callers with one delivery exactly one
    /// is told that it is the first; who names the same run as the first one was that first one, and is told so again.
    ///
    /// # Errors
    /// The store's.
    async fn receive(&self, delivery: &WebhookDelivery) -> Result<Received, PortError> {
        let incoming =
            Incoming { delivery: delivery.clone(), same_since: None, only_known: false, entry: None };
        let kept = self.keep(&Batch { incoming: vec![incoming], ..Batch::default() }).await?;
        Ok(kept.received.into_iter().next().unwrap_or(Received::Unknown))
    }

    /// Keeps what a delivery was answered, and gives what it is answered from now on: the first answer, whoever gave it.
    ///
    /// # Errors
    /// The store's; `NotFound` for a delivery that is not known, `TooLarge` for an answer over its bound.
    async fn answer(
        &self,
        project: &ProjectName,
        endpoint: &str,
        id: &DeliveryId,
        answer: &DeliveryAnswer,
    ) -> Result<DeliveryAnswer, PortError> {
        let answering = Answering {
            project: project.clone(),
            endpoint: endpoint.to_owned(),
            id: id.clone(),
            answer: answer.clone(),
            entry: None,
        };
        let kept = self.keep(&Batch { answers: vec![answering], ..Batch::default() }).await?;
        let known = kept.answers.into_iter().next().flatten();
        known.ok_or_else(|| {
            PortError::not_found(format!("the delivery {id} is not known")).hint("let it be sent again")
        })
    }

    /// Those without an answer, in the order in which they came. At most `limit` and [`RECORDS_MAX`].
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn unanswered(&self, project: &ProjectName, limit: u32) -> Result<Vec<WebhookDelivery>, PortError>;

    /// The one that asks for this run.
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn delivery_of(
        &self,
        project: &ProjectName,
        run: RunId,
    ) -> Result<Option<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError>;

    /// The latest by whose answer these bytes are live, and that says when its commit was made; the latest of all where none
    /// says so.
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn made_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        digest: &Digest,
    ) -> Result<Option<WebhookDelivery>, PortError>;

    /// The run of the latest delivery that came after the one that asks for this run, for the same service in the same
    /// environment, and has had its turn ([`DeliveryAnswer::settled`]). `None`: there is none.
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn settled_after(&self, project: &ProjectName, run: RunId) -> Result<Option<RunId>, PortError>;

    /// Removes a project's deliveries that were answered and came before a time, and says how many. By them their senders'
    /// repeats are known, so it is to be long ago.
    ///
    /// # Errors
    /// The store's.
    async fn forget_deliveries(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError>;

    /// The newest first, each with its answer, if there is one yet. At most `limit` and [`RECORDS_MAX`].
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn deliveries(
        &self,
        project: &ProjectName,
        limit: u32,
    ) -> Result<Vec<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError>;

    /// Adds an entry to the audit, within its bounds and chained to the one before it, and gives its number.
    ///
    /// # Errors
    /// The store's.
    async fn note(&self, entry: &AuditEntry) -> Result<u64, PortError> {
        let kept = self.keep(&Batch { entries: vec![entry.clone()], ..Batch::default() }).await?;
        Ok(kept.entries.into_iter().next().unwrap_or_default())
    }

    /// The audit as it is kept, of all projects, from a number on in their order: what [`lockgate_model::AuditChain`] checks.
    /// At most `limit` and [`RECORDS_MAX`]. A text that cannot be read is empty.
    ///
    /// # Errors
    /// The store's.
    async fn audit_links(&self, from: u64, limit: u32) -> Result<Vec<AuditLink>, PortError>;

    /// The newest first.
    ///
    /// # Errors
    /// The store's; `Other` for an entry that is damaged.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError>;
}
