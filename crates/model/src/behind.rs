//! Hosts that runs went on without: whom the last one left out, and who is behind for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{HostId, LeaseRecord, OWNER_CHARS_MAX, RunId, ServiceStatus, Timestamp, quoted};

/// Hosts that a record names; of more the status is still known by what they serve.
pub const LEFT_OUT_HOSTS_MAX: usize = 16;

/// Whom a run left out, as the hosts that it did not leave out have it in their records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub run: RunId,
    /// By name or because they did not answer: the first [`LEFT_OUT_HOSTS_MAX`], never empty.
    pub hosts: Vec<HostId>,
    /// `user@machine` of who ran it.
    pub by: String,
    /// When it ended, by the clock of the machine that ran it.
    pub at: Timestamp,
}

impl LeftOut {
    /// With what `earlier` says of an earlier run that these hosts are still behind for.
    #[must_use]
    pub fn and(mut self, earlier: Option<&LeftOut>) -> Self {
        let known: BTreeSet<&HostId> = self.hosts.iter().collect();
        let others = earlier.into_iter().flat_map(|earlier| &earlier.hosts);
        let others: Vec<HostId> = others.filter(|host| !known.contains(host)).cloned().collect();
        self.hosts.extend(others);
        self.hosts.truncate(LEFT_OUT_HOSTS_MAX);
        self
    }

    /// As people are told of it: the name is text from a host.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.hosts.truncate(LEFT_OUT_HOSTS_MAX);
        self
    }
}

/// Why a host is behind the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The run that went on without it.
    pub run: RunId,
    /// Who ran it, and when it ended. `None` where the others do not say: they only went on to a later run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl ServiceStatus {
    /// Hosts that a run went on without, and that have not got since what the others have: another release is live there
    /// or none, they hold a run that the others are done with, or they cannot be seen. None while somebody is at work.
    #[must_use]
    pub fn behind(&self) -> BTreeMap<HostId, Behind> {
        let mut behind = BTreeMap::new();
        if self.leases.values().any(|lease| lease.holder.is_some()) {
            return behind;
        }
        let left_out = self.leases.values().filter_map(|lease| lease.left_out.as_ref());
        if let Some(newest) = left_out.max_by_key(|left_out| left_out.run) {
            let LeftOut { run, by, at, .. } = newest;
            let why = Behind { run: *run, by: Some(by.clone()), at: Some(*at) };
            let hosts = newest.hosts.iter().filter(|host| self.is_asked(host) && !self.has_caught_up(host));
            behind.extend(hosts.map(|host| (host.clone(), why.clone())));
        }
        for (host, lease) in &self.leases {
            if let Some(run) = self.outran(host, lease) {
                behind.entry(host.clone()).or_insert(Behind { run, by: None, at: None });
            }
        }
        behind
    }

    /// The configuration has it.
    fn is_asked(&self, host: &HostId) -> bool {
        self.observed.hosts.contains_key(host) || self.unseen.contains_key(host)
    }

    /// It serves what all others serve, and has nothing unfinished.
    fn has_caught_up(&self, host: &HostId) -> bool {
        let live = |host: &HostId| self.observed.hosts.get(host)?.live()?.1.release.as_ref();
        let Some(ours) = live(host).filter(|_| !self.unseen.contains_key(host)) else { return false };
        let mut others = self.observed.hosts.keys().filter(|other| *other != host);
        others.all(|other| live(other).is_some_and(|theirs| theirs.same_bytes(ours)))
            && self.leases.get(host).is_some_and(|lease| lease.unfinished.is_none())
    }

    /// A later run than the one that it holds as unfinished has ended on another host.
    fn outran(&self, host: &HostId, lease: &LeaseRecord) -> Option<RunId> {
        let held = lease.unfinished.as_ref()?.run;
        let others = self.leases.iter().filter(|(other, _)| *other != host);
        others.filter_map(|(_, other)| Some(other.last.as_ref()?.run)).filter(|run| *run > held).max()
    }
}
