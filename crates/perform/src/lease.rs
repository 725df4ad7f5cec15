//! The lease record as a file on the host, changed by the host's compare-and-swap.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::LeaseStore;
use lockgate_model::{Failure, FailureKind, HostId, LeaseRecord, Timestamp};
use lockgate_ports::{Host, HostPorts, Swapped};

/// `<home>/.lockgate/lease.json` on one host.
pub struct HostLease {
    host: Arc<dyn Host>,
    path: String,
}

impl HostLease {
    #[must_use]
    pub fn new(ports: &HostPorts) -> Self {
        Self { host: ports.host.clone(), path: format!("{}/.lockgate/lease.json", ports.home) }
    }
}

#[async_trait]
impl LeaseStore for HostLease {
    fn host(&self) -> &HostId {
        self.host.id()
    }

    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure> {
        let file = self.host.read(&self.path).await.map_err(|error| Failure::from(error).at(self.host.id()))?;
        let record = match &file.content {
            None => LeaseRecord::default(),
            // Taking an unreadable record for a free lease would let two run at once.
            Some(content) => serde_json::from_slice(content).map_err(|error| {
                Failure::new(FailureKind::Other, format!("{} does not parse: {error}", self.path))
                    .at(self.host.id())
                    .hint("a newer Lockgate may have written it; if the file is damaged, move it away")
            })?,
        };
        Ok((record, file.content, file.now))
    }

    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure> {
        let content = serde_json::to_vec(record)
            .map_err(|error| Failure::new(FailureKind::Other, format!("the lease cannot be written: {error}")))?;
        let swapped = self.host.swap(&self.path, version, &content).await;
        Ok(swapped.map_err(|error| Failure::from(error).at(self.host.id()))? == Swapped::Yes)
    }
}
