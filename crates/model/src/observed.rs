//! What was seen of the world: the input of planning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Failure, HostId, LeaseRecord, Release, ServiceName, Slot, Timestamp};

/// One service in one environment, on all its hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub hosts: BTreeMap<HostId, HostObserved>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostObserved {
    /// A slot that is missing here holds nothing.
    pub slots: BTreeMap<Slot, SlotObserved>,
    pub router: RouterObserved,
    pub recorded: Recorded,
    /// Releases that were live here, newest first, as recorded on the host.
    pub releases: Vec<Release>,
    /// Why the two slots cannot run beside each other (a host port or container name both want); empty when they can.
    pub conflicts: Vec<String>,
}

impl HostObserved {
    /// The release that gets the traffic, if its slot runs.
    #[must_use]
    pub fn live(&self) -> Option<(Slot, &SlotObserved)> {
        let slot = self.router.target?;
        self.slots.get(&slot).filter(|seen| seen.state == SlotState::Running).map(|seen| (slot, seen))
    }

    /// The slot that has the traffic, running or not; where the router does not say, the one that is recorded to.
    #[must_use]
    pub fn should_be_live(&self) -> Option<Slot> {
        self.router.target.or(self.recorded.active)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotObserved {
    /// Absent when the slot was started by something other than Lockgate and does not say.
    pub release: Option<Release>,
    pub state: SlotState,
    pub started_at: Option<Timestamp>,
    /// Where it answers, as seen from the host (`172.17.0.3:5000`).
    pub endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    Running,
    /// Created or exited: the container or its record is still there.
    Stopped,
}

/// What the router says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterObserved {
    pub target: Option<Slot>,
    /// What it dials, in its own words; absent when it has no route for the service.
    pub dial: Option<String>,
    /// It dials where the slot is not any more: a container got another address when it came back.
    #[serde(default)]
    pub stale: bool,
    /// Why the router cannot be asked now, if so; no plan is made that would have to change it.
    #[serde(default)]
    pub unreachable: Option<String>,
}

/// System A's state files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub active: Option<Slot>,
    pub previous: Option<Slot>,
}

/// One service in one environment as it was looked at, with what the leases say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub service: ServiceName,
    pub environment: EnvironmentName,
    /// Hosts of which it could be seen what is live.
    pub observed: Observed,
    pub leases: BTreeMap<HostId, LeaseRecord>,
    /// Hosts that could not be looked at, or of which something could not be read, and why. What is known of them all
    /// the same is above.
    pub unseen: BTreeMap<HostId, Failure>,
}
