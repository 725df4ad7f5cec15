//! What was seen of the world: the input of planning.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    EnvironmentName, Failure, HostId, LeaseRecord, Millis, OwnEnvironment, Rejection, Release, ServiceName,
    Slot, Split, Timestamp, WasLive,
};

/// One service in one environment, on all its hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Observed {
    /// What each host says of itself. A host that was not looked at is missing.
    pub hosts: BTreeMap<HostId, HostObserved>,
}

/// What was seen on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostObserved {
    /// A slot that is missing here holds nothing.
    pub slots: BTreeMap<Slot, SlotObserved>,
    /// What its router says.
    pub router: RouterObserved,
    /// What its state files say.
    pub recorded: Recorded,
    /// Releases that were live here, newest first, as recorded on the host.
    pub releases: Vec<WasLive>,
    /// Releases that were rejected here, newest first, as this host tells it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
    /// Why the two slots cannot run beside each other (a host port or container name both want); empty when they can.
    pub conflicts: Vec<String>,
    /// What has the traffic runs and does not pass its health check, where `status` asked it: a container's own HEALTHCHECK where
    /// that counts, and any other while a run is open. `None`: it passes, or nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<Unhealthy>,
    /// What going back to the release of a rollback comes to for its environment variables; `None` where that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_environment: Option<OwnEnvironment>,
}

/// What has the traffic runs and does not pass its health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Unhealthy {
    /// It was started a moment ago and may still pass: it counts as live from then on.
    pub starting: bool,
    /// What was seen instead of a pass, in Lockgate's words: `it is starting`, `it answered 503, wanted 2xx`.
    pub seen: String,
}

/// What is said of the slot: `does not pass its health check: it answered 503, wanted 2xx`.
impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.starting {
            true => write!(
                f,
                "is not live yet, its health check has not passed since it was started: {}",
                self.seen
            ),
            false => write!(f, "does not pass its health check: {}", self.seen),
        }
    }
}

/// As long as Docker waits at most between two restarts, twice.
const RESTARTED_SECONDS: u64 = 120;

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The slot that is live where no router says so: the one that is recorded as active, if it runs; else the one that runs,
/// of several the one that has run longest. Where none runs, the one that is recorded, so that it counts as one that
/// should. `running` are the slots that run and since when.
#[must_use]
pub fn live_without_router(
    recorded: Option<Slot>,
    running: impl IntoIterator<Item = (Slot, Option<Timestamp>)>,
) -> Option<Slot> {
    let mut running: Vec<_> = running.into_iter().collect();
    running.sort_by_key(|(slot, since)| (Reverse(Some(*slot) == recorded), since.is_none(), *since));
    running.first().map(|(slot, _)| *slot).or(recorded)
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

    /// Releases that were live here, newest first.
    pub fn was_live(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().map(|one| &one.release)
    }

    /// Why the release does not come back here by itself; `None` when nothing is known against it.
    #[must_use]
    pub fn rejection(&self, release: &Release) -> Option<&Rejection> {
        self.rejected.iter().find(|rejection| rejection.release.same_bytes(release))
    }

    /// What has the traffic was started a moment ago and has not passed its health check yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.unhealthy.as_ref().is_some_and(|unhealthy| unhealthy.starting)
    }

    /// Since when what is live here is, by the host's clock. `None` when nothing is, while it starts, and where that is not
    /// known.
    #[must_use]
    pub fn live_since(&self) -> Option<Timestamp> {
        if self.is_starting() {
            return None;
        }
        let live = self.live()?.1.release.as_ref()?;
        self.releases.first().filter(|first| first.release.same_bytes(live))?.live_since
    }

    /// Nothing was ever live here, as far as the host tells. Its router may dial a slot all the same: a configuration
    /// file names one before the first deployment.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.slots.is_empty() && self.recorded.active.is_none() && self.releases.is_empty()
    }

    /// The live release does not stay up: it was started again by itself in the two minutes before `now`, by the host's own
    /// clock.
    #[must_use]
    pub fn is_restarting(&self, now: Timestamp) -> bool {
        self.live().is_some_and(|(_, slot)| slot.is_restarting(Some(now)))
    }

    /// The router sends requests where the live slot's containers are not, or not to all of them; or some of these do not
    /// run.
    #[must_use]
    pub fn is_amiss(&self) -> bool {
        self.live().is_some_and(|(_, slot)| self.router.stale || slot.is_short())
    }

    /// Users should see a release, and see none.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.live().is_none() && self.should_be_live().is_some() && !self.is_new()
    }

    /// The slot that has the traffic, as the router and the host's files agree, does not run.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.is_dark() && self.router.target.is_some() && self.router.target == self.recorded.active
    }

    /// The slot that should be live and holds nothing any more, and the release that went live there last: somebody else has
    /// removed what was in it (`docker rm`, say). `None` where it is not certain that this release was there.
    #[must_use]
    pub fn gone(&self) -> Option<(Slot, &Release)> {
        let slot = self.should_be_live().filter(|slot| self.recorded.active == Some(*slot))?;
        let release = self.was_live().next()?;
        let holds = |held: &SlotObserved| held.release.as_ref().is_some_and(|held| held.same_bytes(release));
        let is_gone = !self.slots.contains_key(&slot) && !self.slots.values().any(holds);
        is_gone.then_some((slot, release))
    }

    /// What ran in the slot that has the traffic, else what went live last.
    #[must_use]
    pub fn died_there(&self) -> Option<&Release> {
        let held = self.router.target.and_then(|slot| self.slots.get(&slot));
        held.and_then(|slot| slot.release.as_ref()).or_else(|| self.last_live())
    }

    /// The release that a host which went dark should have: what runs in the slot that is recorded as active, else what
    /// went live last. What the router dials comes last, for a router that was restarted may have gone back to an old
    /// slot.
    #[must_use]
    pub fn last_live(&self) -> Option<&Release> {
        let held = |slot: Option<Slot>| self.slots.get(&slot?);
        let active = held(self.recorded.active);
        let running = active.filter(|seen| seen.state == SlotState::Running);
        let dialled = held(self.router.target);
        let [running, active, dialled] =
            [running, active, dialled].map(|seen| seen.and_then(|seen| seen.release.as_ref()));
        running.or(self.was_live().next()).or(active).or(dialled)
    }
}

/// What was seen of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlotObserved {
    /// Absent when the slot was started by something other than Lockgate and does not say.
    pub release: Option<Release>,
    /// Whether it runs.
    pub state: SlotState,
    /// Since when it runs, or ran last, by the host's clock. `None` where that is not known.
    pub started_at: Option<Timestamp>,
    /// How often it was started again by itself: by a container's restart policy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// Where it answers, as seen from the host (`172.17.0.3:5000`); of several replicas the first one's.
    pub endpoint: Option<String>,
    /// Its containers, those that run first, where there are several; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaObserved>,
}

/// What was seen of one of several containers of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReplicaObserved {
    /// The container's name.
    pub name: String,
    /// Whether it runs.
    pub state: SlotState,
    /// Where it answers, as seen from the host. `None` while it does not run, or has no address.
    pub endpoint: Option<String>,
}

/// How what a slot held has ended, as the runtime has it from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OwnEnd {
    /// 128 + signal when it was ended by one.
    pub exit_code: i64,
    /// By the host's clock; `None` where the host does not say.
    pub ended_at: Option<Timestamp>,
    /// The host took it away because it used too much memory.
    pub out_of_memory: bool,
}

impl OwnEnd {
    /// ` with exit code 3`.
    pub(crate) fn with_code(&self) -> String {
        format!(" with exit code {}", self.exit_code)
    }
}

impl SlotObserved {
    /// How many of its several containers run, and how many there are; `None` where there is one.
    #[must_use]
    pub fn counted(&self) -> Option<(usize, usize)> {
        let running = self.replicas.iter().filter(|one| one.state == SlotState::Running).count();
        (!self.replicas.is_empty()).then_some((running, self.replicas.len()))
    }

    /// It runs, and some of its several containers do not.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.state == SlotState::Running && self.counted().is_some_and(|(running, all)| running < all)
    }

    /// For people: `started again once by its restart policy`.
    #[must_use]
    pub fn restarts_text(&self) -> String {
        let how_often = match self.restarts {
            1 => "once".to_owned(),
            several => format!("{several} times"),
        };
        format!("started again {how_often} by its restart policy")
    }

    /// It does not stay up: it was started again by itself in the two minutes before `now`, by the host's own clock.
    /// `None` where that is not known: then it stays up as far as can be said.
    #[must_use]
    pub fn is_restarting(&self, now: Option<Timestamp>) -> bool {
        let lately = |at| now.is_some_and(|now| now.since(at) < Millis::from_secs(RESTARTED_SECONDS));
        self.restarts > 0 && self.started_at.map_or(now.is_some(), lately)
    }
}

/// Whether a slot runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// It runs; whether it answers is another question.
    Running,
    /// Created or exited: the container or its record is still there.
    Stopped,
}

/// What the router says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RouterObserved {
    /// The slot it sends traffic to, or most of it; without a router the one that counts as live, by
    /// [`live_without_router`].
    pub target: Option<Slot>,
    /// How it splits the traffic, where several slots get some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Split>,
    /// The address of the host on which users reach the slot without the router, which is to listen there: the slot publishes it
    /// itself until a deployment takes its place. `None` otherwise, and that is the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<String>,
    /// There is no router: the rest of this says nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absent: bool,
    /// What it dials, in its own words; absent when it has no route for the service.
    pub dial: Option<String>,
    /// It dials where the slot is not any more: a container got another address when it came back.
    #[serde(default)]
    pub stale: bool,
    /// Why the router cannot be asked now, or is set up such that nothing can be switched; no plan is made that would have
    /// to change it.
    #[serde(default)]
    pub unreachable: Option<String>,
    /// With `unreachable`: it runs, and what it answers or lacks is why.
    #[serde(default, skip_serializing_if = "is_false")]
    pub answers: bool,
    /// What sends where, in the router's own words, where several parts of it ought to send to the same slot and do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<String>,
    /// What a switch would cut of the service's requests in flight, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuts: Option<String>,
    /// How it is switched and drained, a sentence each, where that is not as with other routers. Known where a plan is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// System A's state files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Recorded {
    /// What `active_color` names. `None`: nothing that can be read as a slot.
    pub active: Option<Slot>,
    /// What `previous_color` names; `None` as for `active`.
    pub previous: Option<Slot>,
}

/// One service in one environment as it was looked at, with what the leases say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Which service.
    pub service: ServiceName,
    /// In which environment.
    pub environment: EnvironmentName,
    /// Hosts of which it could be seen what is live.
    pub observed: Observed,
    /// Each host's lease record. A host whose record could not be read is missing.
    pub leases: BTreeMap<HostId, LeaseRecord>,
    /// Which release the run is about that a host holds as unfinished; a host is missing where its plan cannot be read.
    #[serde(default)]
    pub wanted: BTreeMap<HostId, Release>,
    /// Each host's own clock when it was looked at, which is what its slots' times are by.
    pub clocks: BTreeMap<HostId, Timestamp>,
    /// Hosts that could not be looked at, or of which something could not be read, and why. What is known of them all
    /// the same is above.
    pub unseen: BTreeMap<HostId, Failure>,
}

impl Observed {
    /// The hosts that say that the release was rejected; `None` when none does. One suffices: any host can turn a deployment
    /// back, so it gains nothing by saying so. Where one could not be told of a success, the next one ends it there too.
    #[must_use]
    pub fn rejected(&self, release: &Release) -> Option<Rejected> {
        let of =
            |(host, seen): (&HostId, &HostObserved)| Some((host.clone(), seen.rejection(release)?.clone()));
        let (hosts, mut said): (Vec<_>, Vec<_>) = self.hosts.iter().filter_map(of).unzip();
        (!said.is_empty()).then(|| Rejected { rejection: said.swap_remove(0), hosts })
    }

    /// Whether the release must not come back by itself.
    #[must_use]
    pub fn is_rejected(&self, release: &Release) -> bool {
        self.hosts.values().any(|seen| seen.rejection(release).is_some())
    }
}

/// A release that hosts say was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rejected {
    /// As the first of the hosts tells it.
    #[serde(flatten)]
    pub rejection: Rejection,
    /// Those that say so, in order of their names; at least one.
    pub hosts: Vec<HostId>,
}

impl ServiceStatus {
    /// Since when all hosts have had what they have live, by their own clocks: the latest of them, for none can make
    /// that longer for another. `None` when hosts differ, and when one of them does not know, cannot be seen, or says a time
    /// that is still to come there.
    #[must_use]
    pub fn live_since(&self) -> Option<Timestamp> {
        let mut first = None;
        let mut latest = None;
        if !self.unseen.is_empty() {
            return None;
        }
        for (host, seen) in &self.observed.hosts {
            let live = seen.live()?.1.release.as_ref()?;
            if !first.get_or_insert(live).same_bytes(live) {
                return None;
            }
            let since =
                seen.live_since().filter(|since| self.clocks.get(host).is_none_or(|now| since <= now))?;
            latest = latest.max(Some(since));
        }
        latest
    }

    /// What the hosts say was rejected, newest first, each release once.
    #[must_use]
    pub fn rejected(&self) -> Vec<Rejected> {
        let said = self.observed.hosts.values().flat_map(|seen| &seen.rejected);
        let releases: BTreeMap<_, _> = said.map(|one| (&one.release.digest, &one.release)).collect();
        let mut all: Vec<Rejected> =
            releases.values().filter_map(|release| self.observed.rejected(release)).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.rejection.rejected_at));
        all
    }

    /// Its hosts have different releases live, and nobody is at work to change that.
    #[must_use]
    pub fn differs(&self) -> bool {
        let mut live = self
            .observed
            .hosts
            .values()
            .filter_map(|seen| seen.live())
            .filter_map(|(_, slot)| slot.release.as_ref());
        let first = live.next();
        let is_mixed = live.any(|release| first.is_some_and(|first| !first.same_bytes(release)));
        is_mixed && self.leases.values().all(|lease| lease.holder.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Tag};

    fn release(tag: &str) -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn slot(tag: &str, state: SlotState) -> SlotObserved {
        SlotObserved {
            release: Some(release(tag)),
            state,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        }
    }

    /// A router that dials blue.
    fn dials_blue() -> HostObserved {
        HostObserved {
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            ..HostObserved::default()
        }
    }

    #[test]
    fn a_new_host_whose_router_dials_a_slot_already_is_not_dark() {
        let mut seen = dials_blue();
        assert!(seen.is_new() && !seen.is_dark());
        seen.recorded.active = Some(Slot::Blue);
        assert!(!seen.is_new() && seen.is_dark());
    }

    #[test]
    fn what_was_removed_by_hand_is_told_with_the_release_that_it_was() {
        let said = |seen: &HostObserved| crate::not_running(seen, Slot::Blue);
        let mut seen = dials_blue();
        assert_eq!(said(&seen), "which holds nothing of this project's", "nothing was ever there");
        seen.recorded.active = Some(Slot::Blue);
        seen.releases = vec![release("v1").into()];
        let gone = "which holds nothing any more: v1 (111111111111) was live there and has been removed";
        assert_eq!(said(&seen), gone);
        assert!(seen.is_dark());
        seen.router.target = Some(Slot::Green);
        assert_eq!(said(&seen), "which holds nothing of this project's", "the router says another one");
        seen.router.target = None;
        assert_eq!(said(&seen), gone, "without a router the file says which");
        seen.slots.insert(Slot::Green, slot("v1", SlotState::Stopped));
        assert_eq!(said(&seen), "which holds nothing of this project's", "it is in the other slot");
        seen.slots = BTreeMap::from([(Slot::Blue, slot("v1", SlotState::Stopped))]);
        assert_eq!(said(&seen), "which does not run");
    }

    /// No word is greener than what users see.
    #[test]
    fn what_starts_still_is_told_as_starting_and_not_as_live_since() {
        let mut seen = live_since(Some(100));
        let one = status(vec![("web1", seen.clone())]);
        assert_eq!((one.image_tag().as_deref(), seen.live_since()), (Some("v1"), Some(Timestamp(100))));
        seen.unhealthy = Some(Unhealthy { starting: true, seen: "it is starting".into() });
        let one = status(vec![("web1", seen.clone())]);
        assert_eq!((one.image_tag(), one.live_since(), one.word()), (None, None, crate::StatusWord::Unwell));
        assert_eq!(crate::live_text(&seen), "v1 (111111111111) in blue, starting");
        let notes = "web1: blue is not live yet, its health check has not passed since it was started: it is starting";
        assert_eq!(one.notes(), notes);
    }

    #[test]
    fn a_live_release_that_is_started_again_and_again_is_noticed_until_it_stays_up() {
        let mut seen = dials_blue();
        let started =
            SlotObserved { started_at: Some(Timestamp(1_000_000)), ..slot("v1", SlotState::Running) };
        seen.slots.insert(Slot::Blue, started.clone());
        assert!(!seen.is_restarting(Timestamp(1_000_000)), "it was started once");
        seen.slots.insert(Slot::Blue, SlotObserved { restarts: 3, ..started });
        assert!(seen.is_restarting(Timestamp(1_119_999)));
        assert!(!seen.is_restarting(Timestamp(1_120_000)), "it stays up");
    }

    #[test]
    fn the_recorded_slot_that_runs_was_live_last_whatever_the_router_dials() {
        let mut seen = dials_blue();
        seen.recorded.active = Some(Slot::Green);
        seen.slots = BTreeMap::from([
            (Slot::Blue, slot("v3", SlotState::Stopped)),
            (Slot::Green, slot("v4", SlotState::Running)),
        ]);
        assert!(seen.is_dark());
        let last = |seen: &HostObserved| seen.last_live().map(|release| release.tag.to_string()).unwrap();
        assert_eq!(last(&seen), "v4");
        seen.releases = vec![release("v5").into()];
        assert_eq!(last(&seen), "v4");
        seen.slots.insert(Slot::Green, slot("v4", SlotState::Stopped));
        assert_eq!(last(&seen), "v5");
        seen.releases.clear();
        assert_eq!(last(&seen), "v4");
        seen.slots.remove(&Slot::Green);
        assert_eq!(last(&seen), "v3");
    }

    fn rejection(tag: &str, digit: &str, at: i64) -> Rejection {
        let digest = Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap();
        let release = Release { digest, ..release(tag) };
        Rejection { release, rejected_at: Timestamp(at), by: "kim@desk".into(), why: "smoke".into() }
    }

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    fn status(hosts: Vec<(&str, HostObserved)>) -> ServiceStatus {
        let clocks = hosts.iter().map(|(name, _)| (host(name), Timestamp(1_000))).collect();
        let hosts = hosts.into_iter().map(|(name, seen)| (host(name), seen)).collect();
        ServiceStatus {
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            observed: Observed { hosts },
            leases: BTreeMap::new(),
            clocks,
            unseen: BTreeMap::new(),
            wanted: BTreeMap::new(),
        }
    }

    /// v1 is live in blue.
    fn live_since(since: Option<i64>) -> HostObserved {
        let mut seen = dials_blue();
        seen.slots.insert(Slot::Blue, slot("v1", SlotState::Running));
        let live = WasLive { live_since: since.map(Timestamp), ..release("v1").into() };
        seen.releases = vec![live];
        seen
    }

    #[test]
    fn no_host_makes_the_time_longer_that_a_release_is_live_for_the_others() {
        let since = |hosts| status(hosts).live_since().map(|since| since.0);
        assert_eq!(since(vec![("web1", live_since(Some(100)))]), Some(100));
        assert_eq!(since(vec![("web1", live_since(Some(-9))), ("web2", live_since(Some(300)))]), Some(300));
        assert_eq!(since(vec![("web1", live_since(Some(100))), ("web2", live_since(None))]), None);
        assert_eq!(since(vec![("web1", live_since(Some(100))), ("web2", live_since(Some(1_001)))]), None);
        assert_eq!(since(vec![("web1", live_since(Some(100))), ("web2", dials_blue())]), None);
        let mut other = live_since(Some(100));
        other.releases[0].release = rejection("v2", "2", 0).release;
        assert_eq!(since(vec![("web1", other)]), None, "the list lacks what is live");
        let mut hidden = status(vec![("web1", live_since(Some(100)))]);
        hidden.unseen.insert(host("web2"), Failure::new(crate::FailureKind::Unreachable, "no route"));
        assert_eq!(hidden.live_since(), None);
        assert_eq!(since(vec![]), None);
    }

    #[test]
    fn one_host_suffices_to_say_that_a_release_was_rejected() {
        let (v2, v3) = (rejection("v2", "2", 5), rejection("v3", "3", 9));
        let [mut one, mut two] = [dials_blue(), dials_blue()];
        one.rejected = vec![v2.clone()];
        two.rejected = vec![v3.clone(), rejection("two", "2", 7)];
        let status = status(vec![("web1", one), ("web2", two), ("web3", dials_blue())]);
        assert!(status.observed.is_rejected(&v3.release));
        assert!(!status.observed.is_rejected(&release("v1")));
        assert_eq!(status.observed.rejected(&release("v1")), None);
        let all = status.rejected();
        let shown: Vec<_> =
            all.iter().map(|one| (one.rejection.release.tag.as_str(), one.hosts.as_slice())).collect();
        assert_eq!(shown, [("v3", [host("web2")].as_slice()), ("v2", &[host("web1"), host("web2")])]);
    }
}
