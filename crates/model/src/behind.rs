//! Hosts that runs went on without: whom the last one left out, and who is behind for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::failure::in_bytes;
use crate::lease::noted;
use crate::{HostId, LeaseRecord, OWNER_CHARS_MAX, RunId, ServiceStatus, Timestamp, quoted};

/// How long the names of hosts in a record are together, in bytes. Of more hosts the status is still known by what they serve.
const HOSTS_BYTES_MAX: usize = 60;
/// Longest name of who left them out, in bytes of JSON.
const BY_BYTES_MAX: usize = 24;

/// Whom a run left out, as the hosts that it did not leave out have it in their records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LeftOut {
    /// The run that went on without them.
    pub run: RunId,
    /// By name or because they did not answer, as records name hosts: the first ones, never empty.
    pub hosts: Vec<HostId>,
    /// `user@machine` of who ran it.
    pub by: String,
    /// When it ended, by the clock of the machine that ran it.
    pub at: Timestamp,
}

impl LeftOut {
    /// `None` when nobody was left out. `by` is `user@machine`.
    #[must_use]
    pub fn new(run: RunId, hosts: &[HostId], by: &str, at: Timestamp) -> Option<Self> {
        let hosts = few(hosts.iter().map(noted).collect());
        (!hosts.is_empty()).then(|| Self { run, hosts, by: in_bytes(by, BY_BYTES_MAX), at })
    }

    fn names(&self, host: &HostId) -> bool {
        self.hosts.contains(&noted(host))
    }

    /// With what `earlier` says of an earlier run that these hosts are still behind for.
    #[must_use]
    pub fn and(mut self, earlier: Option<&LeftOut>) -> Self {
        let known: BTreeSet<&HostId> = self.hosts.iter().collect();
        let others = earlier.into_iter().flat_map(|earlier| &earlier.hosts);
        let others: Vec<HostId> = others.filter(|host| !known.contains(host)).cloned().collect();
        self.hosts.extend(others);
        self.hosts = few(self.hosts);
        self
    }

    /// As people are told of it: the name is text from a host.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.hosts = few(self.hosts);
        self
    }
}

/// The first of them, as many as a record has room for.
fn few(mut hosts: Vec<HostId>) -> Vec<HostId> {
    let mut bytes = 0;
    hosts.retain(|host| {
        bytes += host.as_str().len() + 3;
        bytes <= HOSTS_BYTES_MAX
    });
    hosts
}

/// Why a host is behind the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Behind {
    /// The run that went on without it.
    pub run: RunId,
    /// Who ran it, and when it ended. `None` where the others do not say: they only went on to a later run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When that run ended, by the clock of the machine that ran it.
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
            let asked = self.observed.hosts.keys().chain(self.unseen.keys());
            let hosts = asked.filter(|host| newest.names(host) && !self.has_caught_up(host));
            behind.extend(hosts.map(|host| (host.clone(), why.clone())));
        }
        for (host, lease) in &self.leases {
            if let Some(run) = self.outran(host, lease) {
                behind.entry(host.clone()).or_insert(Behind { run, by: None, at: None });
            }
        }
        behind
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Digest, EnvironmentName, Failure, FailureKind, HostObserved, Observed, Outcome, Release,
        RouterObserved, RunEnd, ServiceName, Slot, SlotObserved, SlotState, StatusWord, Tag,
    };

    fn run(number: u128) -> RunId {
        RunId(uuid::Uuid::from_u128(number))
    }

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    fn serves(tag: &str) -> HostObserved {
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::new(format!("sha256:{}", &tag[1..].repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        };
        let slot = SlotObserved {
            release: Some(release),
            state: SlotState::Running,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        };
        HostObserved {
            slots: BTreeMap::from([(Slot::Blue, slot)]),
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            ..HostObserved::default()
        }
    }

    /// web1 to web3; run 7, on web1 and web2, left web3 out.
    fn status(seen: [Option<HostObserved>; 3]) -> ServiceStatus {
        let left_out =
            LeftOut { run: run(7), hosts: vec![host("web3")], by: "kim@desk".into(), at: Timestamp(5) };
        let end = |number| RunEnd {
            run: run(number),
            at: Timestamp(5),
            outcome: Outcome::Succeeded { warnings: Vec::new() },
        };
        let mut status = ServiceStatus {
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            observed: Observed::default(),
            leases: BTreeMap::new(),
            wanted: BTreeMap::new(),
            clocks: BTreeMap::new(),
            unseen: BTreeMap::new(),
        };
        for (number, seen) in (1..).zip(seen) {
            let name = host(&format!("web{number}"));
            let Some(seen) = seen else {
                status.unseen.insert(name, Failure::new(FailureKind::TimedOut, "no answer"));
                continue;
            };
            status.observed.hosts.insert(name.clone(), seen);
            let (last, left_out) =
                if number == 3 { (end(6), None) } else { (end(7), Some(left_out.clone())) };
            let record = LeaseRecord { last: Some(last), left_out, ..LeaseRecord::default() };
            status.leases.insert(name, record);
        }
        status
    }

    fn behind(status: &ServiceStatus) -> Vec<String> {
        let behind = status.behind();
        let is_unwell = status.word() == StatusWord::Unwell;
        assert!(behind.is_empty() || is_unwell, "the word and the exit code say it");
        behind.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_host_that_was_left_out_is_behind_until_it_has_what_the_others_have() {
        let v = |tag: &str| Some(serves(tag));
        let nothing = || Some(HostObserved::default());
        let none: [String; 0] = [];
        assert_eq!(behind(&status([v("v2"), v("v2"), v("v1")])), ["web3"]);
        assert_eq!(behind(&status([v("v2"), v("v2"), None])), ["web3"], "it cannot be seen");
        assert_eq!(behind(&status([v("v2"), v("v2"), nothing()])), ["web3"], "nothing is live there");
        assert_eq!(behind(&status([v("v2"), v("v2"), v("v2")])), none, "somebody has brought it along");
        let mut not_asked = status([v("v2"), v("v2"), v("v1")]);
        not_asked.observed.hosts.remove(&host("web3"));
        assert_eq!(behind(&not_asked), none, "it is not in the configuration any more");
    }

    #[test]
    fn the_newest_run_says_who_was_left_out() {
        let mut status = status([Some(serves("v2")), Some(serves("v3")), Some(serves("v3"))]);
        let record = status.leases.get_mut(&host("web3")).unwrap();
        let left_out =
            LeftOut { run: run(8), hosts: vec![host("web1")], by: "lee@ci".into(), at: Timestamp(9) };
        record.left_out = Some(left_out);
        let told = status.behind();
        assert_eq!(told.keys().collect::<Vec<_>>(), [&host("web1")]);
        assert_eq!((told[&host("web1")].run, told[&host("web1")].by.as_deref()), (run(8), Some("lee@ci")));
    }

    #[test]
    fn a_record_names_few_hosts_and_a_name_in_it_is_quoted() {
        let many = |number: usize| (0..number).map(|index| host(&format!("h{index}"))).collect::<Vec<_>>();
        let new = LeftOut::new(run(2), &many(2), "kim@desk", Timestamp(2)).unwrap();
        let old = LeftOut::new(run(1), &many(200), "`x`\u{1b}", Timestamp(2)).unwrap();
        let both = new.clone().and(Some(&old));
        assert_eq!((both.run, &both.hosts), (run(2), &many(11)));
        assert_eq!(new.clone().and(None), new);
        assert_eq!(old.told().by, "'x'\\x1b");
        assert_eq!(LeftOut::new(run(2), &[], "kim@desk", Timestamp(2)), None);
        let long = [host(&"h".repeat(250))];
        let left_out = LeftOut::new(run(2), &long, "kim@desk", Timestamp(2)).unwrap();
        assert!(
            left_out.hosts[0].as_str().len() < 50 && left_out.names(&long[0]) && !left_out.names(&host("h"))
        );
    }
}
