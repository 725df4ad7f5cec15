//! How much there is of what.

use std::collections::BTreeMap;

use lockgate_model::DeployStatus;

/// How much there is of what, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Calls that are being done now.
    pub running: u64,
    /// Calls that wait for the one before them.
    pub waiting: u64,
    /// Calls that were accepted since the queue was opened, repeated ones not among them.
    pub accepted: u64,
    /// Calls that were the same as an earlier one, since the queue was opened.
    pub repeated: u64,
    /// Of those that were answered since the queue was opened, by what they came to.
    pub ended: BTreeMap<DeployStatus, u64>,
    /// Of those that were refused since the queue was opened, by how: those of [`super::Queue::note`] and of
    /// [`super::Queue::submit`].
    pub refused: BTreeMap<DeployStatus, u64>,
    /// Writes to the store that failed and were tried again, since the queue was opened.
    pub store_failures: u64,
}
