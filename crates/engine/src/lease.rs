//! Leases on the hosts: expiring, owned, renewed by heartbeat, fenced by a rising token. Nobody clears one by hand.

use async_trait::async_trait;
use lockgate_model::{
    Failure, FailureKind, Holder, LeaseRecord, Millis, Place, Plan, RunFileName, Timestamp,
};

use crate::RunFile;

/// How long a lease lives without a heartbeat. A killed orchestrator blocks others for no longer than this.
pub const TTL_SECONDS: u64 = 15;
/// A swap that loses this often means that somebody changes the record in a tight loop.
pub(crate) const SWAP_ATTEMPTS_MAX: u32 = 50;

/// Hosts whose files are written or read at once.
pub(crate) const HOSTS_AT_ONCE_MAX: usize = 64;

/// The lease record of one place: read it with the place's clock, change it by compare-and-swap. Beside it stand the plans
/// of runs. Every implementation passes [`crate::conformance`]. Where it says host, it may be the store.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// What the lease is held on.
    fn place(&self) -> &Place;

    /// Where the record is, for people.
    fn path(&self) -> String {
        "the lease record".to_owned()
    }

    /// The record, an opaque version of it, and the host's clock at that moment. No record yet is a default one.
    ///
    /// # Errors
    /// The host's failure; a record that does not parse is `Other`, never a free lease.
    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure>;

    /// Only who holds it: the record's token and holder, and the host's clock. Asked before every effect, so it should
    /// not cost a look at the whole record.
    ///
    /// # Errors
    /// As for [`LeaseStore::read`].
    async fn glance(&self) -> Result<(u64, Option<Holder>, Timestamp), Failure> {
        let (record, _, now) = self.read().await?;
        Ok((record.token, record.holder, now))
    }

    /// Returns when the host, which answered until then, does so no more, so that whatever is waited for there is waited for
    /// in vain. Never for a host of which that is not noticed by itself.
    async fn gone(&self) -> Failure {
        std::future::pending().await
    }

    /// False when the record is no longer at `version`.
    ///
    /// # Errors
    /// The host's failure; whether the record changed is then unknown.
    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure>;

    /// Puts a run's file beside the record, whole and on disk, before a record names it.
    ///
    /// # Errors
    /// The host's failure; `Refused` for a plan that is larger than is read back.
    async fn keep(&self, file: &RunFile) -> Result<(), Failure>;

    /// The plan in a file that a record names, as somebody has written it.
    ///
    /// # Errors
    /// The host's failure. `NotFound`, `Refused`, `TooLarge` and `Other` for a file that is missing, not ours, larger than
    /// is read, or another than the name tells.
    async fn plan(&self, name: &RunFileName) -> Result<Plan, Failure>;

    /// Removes a file that no record names any more; a missing one is fine.
    ///
    /// # Errors
    /// The host's failure.
    async fn forget(&self, name: &RunFileName) -> Result<(), Failure>;

    /// The files of runs that stand beside the record, named or not, at most a bounded number.
    ///
    /// # Errors
    /// The host's failure.
    async fn files(&self) -> Result<Vec<RunFileName>, Failure>;
}

/// Why a lease was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it, and may be alive.
    #[error("{owner} (pid {pid}) holds the lease on {place}, last heartbeat {age} ago", owner = holder.owner, pid = holder.pid, age = age.rounded())]
    Held {
        /// Where it is held.
        place: Place,
        /// Who has it, as the record says: text from a host.
        holder: Box<Holder>,
        /// How long ago the last heartbeat was, by that place's clock.
        age: Millis,
    },
    /// The host or the store could not be asked, or its record cannot be read.
    #[error(transparent)]
    Host(#[from] Failure),
}

pub(crate) fn restless() -> Failure {
    Failure::new(FailureKind::Conflict, "the lease record never stays still")
        .hint("several orchestrators fight for this service; try again")
}
