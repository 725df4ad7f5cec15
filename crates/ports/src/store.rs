//! The store: what outlives runs, beside the journal and the leases.

use async_trait::async_trait;
use lockgate_model::{
    AuditEntry, AuditRecord, DeliveryAnswer, DeliveryId, Digest, EnvironmentName, Observation, Presence,
    ProjectName, Received, SeenLive, ServiceName, Tally, Timestamp, Verdict, WebhookDelivery,
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

    /// Makes a delivery known, before anything is done about it. Of several callers with one delivery exactly one is told
    /// that it is the first; who names the same run as the first one was that first one, and is told so again.
    ///
    /// # Errors
    /// The store's.
    async fn receive(&self, delivery: &WebhookDelivery) -> Result<Received, PortError>;

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
    ) -> Result<DeliveryAnswer, PortError>;

    /// The newest first, each with its answer, if there is one yet. At most `limit` and [`RECORDS_MAX`].
    ///
    /// # Errors
    /// The store's; `Other` for a record that is damaged.
    async fn deliveries(
        &self,
        project: &ProjectName,
        limit: u32,
    ) -> Result<Vec<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError>;

    /// Adds an entry to the audit, within its bounds, and gives its number.
    ///
    /// # Errors
    /// The store's. `Conflict` when others add entries so fast that none of many tries found a place.
    async fn note(&self, entry: &AuditEntry) -> Result<u64, PortError>;

    /// The newest first.
    ///
    /// # Errors
    /// The store's; `Other` for an entry that is damaged.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError>;
}
