//! One word for a service as a whole: the same for people, for programs and for the exit code.

use serde::{Deserialize, Serialize};

use crate::{HostId, HostObserved, LeaseRecord, Outcome, RunEnd, ServiceStatus};

/// System A's three words, and five for what it had none for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    /// The last run succeeded, and what should be live is.
    Success,
    /// The last run failed. What should be live is.
    Failed,
    /// What should be live is.
    RolledBack,
    /// Somebody is at work on a run.
    InProgress,
    /// A run was left unfinished, and nobody is at work on it: `resume` finishes or undoes it. What should be live is.
    Unfinished,
    /// A run waits for a person.
    Stuck,
    /// What should be live is not, starts still, does not stay up, differs between hosts, or cannot be seen.
    Unwell,
    /// Lockgate has not deployed it yet.
    Unknown,
}

impl StatusWord {
    /// As it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StatusWord::Success => "success",
            StatusWord::Failed => "failed",
            StatusWord::RolledBack => "rolled_back",
            StatusWord::InProgress => "in_progress",
            StatusWord::Unfinished => "unfinished",
            StatusWord::Stuck => "stuck",
            StatusWord::Unwell => "unwell",
            StatusWord::Unknown => "unknown",
        }
    }

    /// Users are served and nobody needs to come and look, however the last run went.
    #[must_use]
    pub fn is_well(self) -> bool {
        match self {
            StatusWord::Unfinished | StatusWord::Stuck | StatusWord::Unwell => false,
            StatusWord::Success
            | StatusWord::Failed
            | StatusWord::RolledBack
            | StatusWord::InProgress
            | StatusWord::Unknown => true,
        }
    }

    /// For a command that brought runs to their `ends` and then saw `self` on the hosts: never better than what was seen,
    /// nor than any of the ends. The first of two ends that are alike counts; without ends it is what was seen.
    #[must_use]
    pub fn after(self, ends: &[&Outcome]) -> StatusWord {
        if ends.iter().any(|end| matches!(end, Outcome::Stuck(_))) {
            return StatusWord::Stuck;
        }
        if !self.is_well() {
            return self;
        }
        let bad = ends.iter().find(|end| !matches!(end, Outcome::Succeeded { .. }));
        bad.or(ends.first()).map_or(self, |end| StatusWord::of(end))
    }

    fn of(outcome: &Outcome) -> StatusWord {
        match outcome {
            Outcome::Succeeded { .. } => StatusWord::Success,
            Outcome::Failed { .. } => StatusWord::Failed,
            Outcome::RolledBack { .. } => StatusWord::RolledBack,
            Outcome::Stuck(_) => StatusWord::Stuck,
        }
    }
}

impl ServiceStatus {
    /// What was seen, in one word.
    #[must_use]
    pub fn word(&self) -> StatusWord {
        if self.leases.values().any(LeaseRecord::is_stuck) {
            return StatusWord::Stuck;
        }
        // One whose clock is not known could not be looked at in whole, and is among the unseen.
        let restarts = |host: &HostId, seen: &HostObserved| {
            self.clocks.get(host).is_some_and(|now| seen.is_restarting(*now))
        };
        let is_ill = |(host, seen): (&HostId, &HostObserved)| {
            let is_out = seen.router.unreachable.is_some() || seen.router.torn.is_some();
            seen.is_dark() || seen.is_amiss() || seen.unhealthy.is_some() || restarts(host, seen) || is_out
        };
        let is_behind = !self.behind().is_empty();
        if !self.unseen.is_empty() || self.differs() || is_behind || self.observed.hosts.iter().any(is_ill) {
            return StatusWord::Unwell;
        }
        let open = self.leases.values().find_map(open_word);
        let last = self.last_end().map(|end| match StatusWord::of(&end.outcome) {
            // It is open no more: what somebody wanted later is live, though nobody could undo it.
            StatusWord::Stuck => StatusWord::Failed,
            word => word,
        });
        open.or(last).unwrap_or(StatusWord::Unknown)
    }

    /// How the last run ended. `None` when none has, and while a later one is open that nobody has to mend: what an
    /// earlier run came to is not what is asked for then.
    #[must_use]
    pub fn last_end(&self) -> Option<&RunEnd> {
        let open = self.leases.values().find_map(open_word);
        let ends = self.leases.values().filter_map(|lease| lease.last.as_ref());
        ends.max_by_key(|end| end.at).filter(|_| open.is_none_or(|word| word == StatusWord::Stuck))
    }
}

/// Of a run that has not ended, or that waits for a person. How far it got does not matter: also where only tidying up is
/// left, the old release runs on until somebody ends the run.
fn open_word(lease: &LeaseRecord) -> Option<StatusWord> {
    lease.unfinished.as_ref()?;
    Some(match &lease.holder {
        Some(_) => StatusWord::InProgress,
        None if lease.is_stuck() => StatusWord::Stuck,
        None => StatusWord::Unfinished,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        Begun, Digest, EnvironmentName, Failure, FailureKind, Gates, Holder, Intent, Millis, Observed, Plan,
        PlanPlace, Progress, ProjectName, Recorded, Release, RouterObserved, RunId, ServiceName, Slot,
        SlotObserved, SlotState, Strategy, Stuck, Tag, Timestamp, Unhealthy, WhoIsLive,
    };

    const NOW: Timestamp = Timestamp(10_000_000);

    fn release(tag: &str, digit: &str) -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    /// A host that serves this release.
    fn serves(release: Release) -> HostObserved {
        let slot = SlotObserved {
            release: Some(release),
            state: SlotState::Running,
            started_at: Some(NOW),
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        };
        HostObserved {
            slots: BTreeMap::from([(Slot::Blue, slot)]),
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            recorded: Recorded { active: Some(Slot::Blue), previous: None },
            ..HostObserved::default()
        }
    }

    fn v1() -> HostObserved {
        serves(release("v1", "1"))
    }

    fn changed(change: impl FnOnce(&mut HostObserved)) -> HostObserved {
        let mut seen = v1();
        change(&mut seen);
        seen
    }

    fn status(hosts: &[HostObserved], lease: LeaseRecord) -> ServiceStatus {
        let names = ["web1", "web2"].map(|name| HostId::new(name).unwrap());
        ServiceStatus {
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            observed: Observed { hosts: names.iter().cloned().zip(hosts.iter().cloned()).collect() },
            leases: BTreeMap::from([(names[0].clone(), lease)]),
            // Each host's own: started at NOW is a moment ago.
            wanted: BTreeMap::new(),
            clocks: names.iter().map(|name| (name.clone(), NOW)).collect(),
            unseen: BTreeMap::new(),
        }
    }

    fn failure() -> Failure {
        Failure::new(FailureKind::Other, "x")
    }

    fn ends() -> [Outcome; 4] {
        let seen = WhoIsLive::default();
        let stuck = Stuck { failure: failure(), undo_failures: Vec::new(), seen, commands: Vec::new() };
        [
            Outcome::Succeeded { warnings: Vec::new() },
            Outcome::Failed { failure: failure() },
            Outcome::RolledBack { failure: failure() },
            Outcome::Stuck(stuck),
        ]
    }

    fn run() -> RunId {
        RunId(uuid::Uuid::nil())
    }

    fn ended(outcome: Outcome) -> LeaseRecord {
        LeaseRecord { last: Some(RunEnd { run: run(), at: NOW, outcome }), ..LeaseRecord::default() }
    }

    fn open(progress: Progress, is_held: bool) -> LeaseRecord {
        let release = release("v2", "2");
        let plan = Plan {
            project: ProjectName::new("shop").unwrap(),
            service: release.service.clone(),
            environment: EnvironmentName::new("prod").unwrap(),
            strategy: Strategy::BlueGreen,
            intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
            hosts: Vec::new(),
            without: Vec::new(),
            before: BTreeMap::new(),
            release,
            phases: Vec::new(),
        };
        let holder = Holder {
            owner: "kim@desk".into(),
            boot_id: "boot".into(),
            pid: 1,
            started: 1,
            session: String::new(),
            host: None,
            since: NOW,
            renewed_at: NOW,
            ttl: Millis(1),
        };
        LeaseRecord {
            unfinished: Some(Begun {
                run: run(),
                plan: PlanPlace::Within(Box::new(plan)),
                progress,
                cause: None,
            }),
            holder: is_held.then_some(holder),
            ..LeaseRecord::default()
        }
    }

    #[test]
    fn what_was_seen_on_the_hosts_is_said_in_one_word() {
        use StatusWord::{Failed, InProgress, RolledBack, Stuck, Success, Unfinished, Unknown, Unwell};
        let [succeeded, failed, rolled_back, stuck] = ends().map(ended);
        let waits_for_a_person = LeaseRecord { last: stuck.last.clone(), ..open(Progress::Unwinding, false) };
        let stopped = |seen: &mut HostObserved| {
            seen.slots.get_mut(&Slot::Blue).unwrap().state = SlotState::Stopped;
        };
        let restarts = |seen: &mut HostObserved| seen.slots.get_mut(&Slot::Blue).unwrap().restarts = 1;
        let silent = |seen: &mut HostObserved| seen.router.unreachable = Some("refused".into());
        let starting = |seen: &mut HostObserved| {
            seen.unhealthy = Some(Unhealthy { starting: true, seen: "it is starting".into() });
        };
        let v2 = serves(release("v2", "2"));
        let new = HostObserved::default();
        let table = [
            ("nothing was ever deployed", vec![new.clone()], LeaseRecord::default(), Unknown),
            ("it serves, without Lockgate", vec![v1()], LeaseRecord::default(), Unknown),
            ("it serves", vec![v1(), v1()], succeeded.clone(), Success),
            ("the last run failed", vec![v1()], failed, Failed),
            ("the last run was rolled back", vec![v1()], rolled_back.clone(), RolledBack),
            ("it was stuck, and something else was deployed", vec![v1()], stuck, Failed),
            ("somebody is at work", vec![v1()], open(Progress::Forward, true), InProgress),
            (
                "hosts differ while somebody is at work",
                vec![v1(), v2.clone()],
                open(Progress::Forward, true),
                InProgress,
            ),
            ("cut off before the gates", vec![v1()], open(Progress::Forward, false), Unfinished),
            ("cut off on the way back", vec![v1()], open(Progress::Unwinding, false), Unfinished),
            ("cut off while tidying up", vec![v1()], open(Progress::Committed, false), Unfinished),
            ("an undo failed", vec![v1()], waits_for_a_person.clone(), Stuck),
            ("an undo failed and nothing serves", vec![changed(stopped)], waits_for_a_person, Stuck),
            ("a dark site", vec![changed(stopped)], succeeded.clone(), Unwell),
            ("one host of two is dark", vec![v1(), changed(stopped)], succeeded.clone(), Unwell),
            ("dark after a rollback", vec![changed(stopped)], rolled_back, Unwell),
            ("dark while somebody is at work", vec![changed(stopped)], open(Progress::Forward, true), Unwell),
            ("it does not stay up", vec![changed(restarts)], succeeded.clone(), Unwell),
            ("the router does not answer", vec![changed(silent)], succeeded.clone(), Unwell),
            ("it starts still", vec![changed(starting)], succeeded.clone(), Unwell),
            ("it starts in a run", vec![changed(starting)], open(Progress::Forward, true), Unwell),
            ("the hosts differ", vec![v1(), v2], succeeded.clone(), Unwell),
        ];
        for (what, hosts, lease, word) in table {
            assert_eq!(status(&hosts, lease).word(), word, "{what}");
        }
        let mut unseen = status(&[v1()], succeeded);
        unseen.unseen.insert(HostId::new("web2").unwrap(), failure());
        assert_eq!(unseen.word(), Unwell, "a host that cannot be looked at");
        let mut ahead = status(&[changed(restarts)], LeaseRecord::default());
        ahead.clocks.values_mut().for_each(|clock| *clock = NOW.plus(Millis::from_secs(3600)));
        assert_eq!(ahead.word(), Unknown, "by the host's own clock it stays up");
    }

    #[test]
    fn a_command_is_never_said_to_have_ended_better_than_what_is_seen_after_it() {
        use StatusWord::{Failed, InProgress, RolledBack, Stuck, Success, Unknown, Unwell};
        let [succeeded, failed, rolled_back, stuck] = &ends();
        let table: [(&[&Outcome], StatusWord, StatusWord); 13] = [
            (&[], Success, Success),
            (&[], RolledBack, RolledBack),
            (&[], Unwell, Unwell),
            (&[], InProgress, InProgress),
            (&[succeeded], Success, Success),
            (&[succeeded], Unwell, Unwell),
            (&[rolled_back], RolledBack, RolledBack),
            (&[rolled_back], Unwell, Unwell),
            (&[failed, rolled_back], Unknown, Failed),
            (&[rolled_back, succeeded], Success, RolledBack),
            (&[succeeded, failed], Failed, Failed),
            (&[stuck], Success, Stuck),
            (&[succeeded, stuck], Unwell, Stuck),
        ];
        for (ends, seen, word) in table {
            assert_eq!(seen.after(ends), word, "{ends:?}, then {seen:?}");
        }
    }

    #[test]
    fn every_word_is_written_as_json_has_it() {
        use StatusWord::{Failed, InProgress, RolledBack, Stuck, Success, Unfinished, Unknown, Unwell};
        for word in [Success, Failed, RolledBack, InProgress, Unfinished, Stuck, Unwell, Unknown] {
            assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
        }
    }
}
