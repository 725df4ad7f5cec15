//! A run that was cut off, as the hosts have it. Each host speaks for itself only: what one says makes the run go forward
//! on no other.

use std::collections::BTreeMap;

use lockgate_engine::Acquired;
use lockgate_model::{
    Failure, HostId, HostObserved, Observed, Outcome, Plan, Progress, Release, RunEnd, RunId, SlotState,
    Unfinished,
};

/// One run, and what each host that holds it as unfinished has of it.
#[derive(Debug)]
pub(crate) struct CutOff<'a> {
    pub(crate) run: RunId,
    /// Never empty.
    pub(crate) held: BTreeMap<HostId, &'a Unfinished>,
}

impl<'a> CutOff<'a> {
    /// The oldest that any host holds.
    pub(crate) fn oldest(acquired: &'a Acquired) -> Option<Self> {
        let run = acquired.unfinished.values().map(|held| held.run).min()?;
        let held = acquired.unfinished.iter().filter(|(_, held)| held.run == run);
        Some(Self { run, held: held.map(|(host, held)| (host.clone(), held)).collect() })
    }

    /// As the first host has it.
    pub(crate) fn plan(&self) -> Option<&'a Plan> {
        self.held.values().next().map(|held| &held.plan)
    }

    pub(crate) fn plans(&self) -> BTreeMap<HostId, &'a Plan> {
        self.held.iter().map(|(host, held)| (host.clone(), &held.plan)).collect()
    }

    /// How far it got. Turning back is marked on a host before anything is undone there, and one that says so is enough.
    /// That it was settled every host has to say itself, or show: else its gates are asked again.
    pub(crate) fn progress(&self, last: &BTreeMap<HostId, RunEnd>, seen: &Observed) -> Progress {
        let says = |held: &Unfinished, progress| held.progress == progress;
        // Also where a host was missing that had settled it: it has been told of as undone.
        if self.was_undone_elsewhere(last) {
            return Progress::Unwinding;
        }
        if self.held.values().all(|held| says(held, Progress::Committed)) {
            return Progress::Committed;
        }
        if self.held.values().any(|held| says(held, Progress::Unwinding)) {
            return Progress::Unwinding;
        }
        // A stuck run stays unfinished on purpose.
        let ended = last.values().filter(|end| end.run == self.run && !is_stuck(&end.outcome));
        let ended: Vec<&Outcome> = ended.map(|end| &end.outcome).collect();
        let serves = |(host, held): (&HostId, &&Unfinished)| {
            says(held, Progress::Committed)
                || seen.hosts.get(host).is_some_and(|seen| went_live(seen, &held.plan.release))
        };
        match ended.as_slice() {
            [] => Progress::Forward,
            _ if self.held.iter().all(serves) => Progress::Committed,
            _ => Progress::Forward,
        }
    }

    /// Why it was turned back, in the words of the first host that says so.
    pub(crate) fn cause(&self) -> Option<Failure> {
        let turned = self.held.iter().filter(|(_, held)| held.progress == Progress::Unwinding);
        turned.filter_map(|(host, held)| Some(held.cause.as_ref()?.told_by(host))).next()
    }

    /// Another host says that the run was undone, and so it is on those that were not told, as is seen there.
    pub(crate) fn undone<'l>(
        &self,
        last: &'l BTreeMap<HostId, RunEnd>,
        seen: &Observed,
    ) -> Option<&'l RunEnd> {
        let end = last.values().find(|end| end.run == self.run && was_undone(&end.outcome))?;
        let is_seen = |(host, held): (&HostId, &&Unfinished)| {
            seen.hosts.get(host).is_some_and(|seen| is_undone(seen, &held.plan, host))
        };
        self.held.iter().all(is_seen).then_some(end)
    }
}

/// Nothing of the release is left there that would have to be undone, and nothing that was stopped for it is missing.
fn is_undone(seen: &HostObserved, plan: &Plan, host: &HostId) -> bool {
    let is_live = |before: &Release| {
        let live = seen.live().and_then(|(_, live)| live.release.as_ref());
        live.is_some_and(|live| live.same_bytes(before))
    };
    let took_away = plan.steps().any(|(_, on, step)| on == Some(host) && step.takes_away());
    if took_away && !plan.before.get(host).is_none_or(is_live) {
        return false;
    }
    let release = &plan.release;
    if plan.before.get(host).is_some_and(|before| before.same_bytes(release)) {
        // It was there before the run: none of it is the run's to undo.
        return true;
    }
    let runs = seen.slots.values().any(|slot| {
        let held = slot.release.as_ref().is_some_and(|held| held.same_bytes(release));
        held && slot.state == SlotState::Running
    });
    !runs && !went_live(seen, release)
}

/// The release has the traffic, or is recorded to have it, which is the last thing that is done before gates are asked.
/// Whether it runs or has died does not matter, nor who has changed the route since.
pub(crate) fn went_live(seen: &HostObserved, release: &Release) -> bool {
    [seen.router.target, seen.recorded.active].into_iter().flatten().any(|slot| {
        let held = seen.slots.get(&slot).and_then(|slot| slot.release.as_ref());
        held.is_some_and(|held| held.same_bytes(release))
    })
}

pub(crate) fn is_stuck(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Stuck(_))
}

pub(crate) fn was_undone(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RolledBack { .. } | Outcome::Failed { .. })
}

/// True when the unfinished run is one whose undo failed before, and whose user was told so.
pub(crate) fn known_stuck(acquired: &Acquired) -> bool {
    CutOff::oldest(acquired)
        .is_some_and(|found| acquired.last.values().any(|end| end.run == found.run && is_stuck(&end.outcome)))
}

#[cfg(test)]
mod tests {
    use lockgate_model::{
        Action, Digest, EnvironmentName, FailureKind, Gates, Intent, Lane, Millis, Phase, ProjectName,
        Recorded, RouterObserved, ServiceName, Slot, SlotObserved, Step, StepId, Strategy, Tag, Timestamp,
    };

    use super::*;

    fn run() -> RunId {
        "00000000-0000-0000-0000-000000000007".parse().unwrap()
    }

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    fn release() -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new("v2").unwrap(),
            digest: Digest::new(format!("sha256:{}", "2".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn held(progress: Progress) -> Unfinished {
        let plan = Plan {
            project: ProjectName::new("shop").unwrap(),
            service: release().service,
            environment: EnvironmentName::new("prod").unwrap(),
            strategy: Strategy::BlueGreen,
            intent: Intent::Deploy { release: release(), gates: Gates::All, again: false },
            hosts: vec![host("web1"), host("web2")],
            without: Vec::new(),
            before: BTreeMap::new(),
            release: release(),
            phases: Vec::new(),
        };
        Unfinished { run: run(), plan, progress, cause: None }
    }

    /// v2 in green, with the traffic or only recorded to have it, or nothing at all.
    fn seen(target: Option<Slot>, active: Option<Slot>) -> Observed {
        let slot = SlotObserved {
            release: Some(release()),
            state: SlotState::Running,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        };
        let host_seen = HostObserved {
            slots: target.or(active).map(|_| (Slot::Green, slot)).into_iter().collect(),
            router: RouterObserved { target, ..RouterObserved::default() },
            recorded: Recorded { active, previous: None },
            ..HostObserved::default()
        };
        Observed { hosts: BTreeMap::from([(host("web2"), host_seen)]) }
    }

    fn ended(outcome: Outcome) -> BTreeMap<HostId, RunEnd> {
        BTreeMap::from([(host("web1"), RunEnd { run: run(), at: Timestamp(0), outcome })])
    }

    fn cut_off<'a>(of: &[(&str, &'a Unfinished)]) -> CutOff<'a> {
        CutOff { run: run(), held: of.iter().map(|(name, held)| (host(name), *held)).collect() }
    }

    #[test]
    fn one_host_can_turn_a_run_back_and_none_can_settle_it_for_another() {
        use Progress::{Committed, Forward, Unwinding};
        for (one, other, progress) in [
            (Forward, Forward, Forward),
            (Committed, Committed, Committed),
            (Committed, Forward, Forward),
            (Forward, Committed, Forward),
            (Unwinding, Forward, Unwinding),
            (Forward, Unwinding, Unwinding),
            (Committed, Unwinding, Unwinding),
        ] {
            let (one, other) = (held(one), held(other));
            let found = cut_off(&[("web1", &one), ("web2", &other)]);
            assert_eq!(found.progress(&BTreeMap::new(), &Observed::default()), progress, "{found:?}");
        }
    }

    /// A third host of the run cannot say anything.
    #[test]
    fn without_a_host_a_run_is_settled_where_one_says_so_and_the_others_show_it() {
        use Progress::{Committed, Forward, Unwinding};
        let shown = || seen(Some(Slot::Green), None);
        for (one, other, seen, progress) in [
            (Forward, Forward, shown(), Forward),
            (Committed, Committed, Observed::default(), Committed),
            (Committed, Forward, shown(), Committed),
            // Nobody is believed about another.
            (Committed, Forward, Observed::default(), Forward),
            (Committed, Forward, seen(Some(Slot::Blue), None), Forward),
            (Committed, Unwinding, shown(), Unwinding),
        ] {
            let (one, other) = (held(one), held(other));
            let found = cut_off(&[("web1", &one), ("web2", &other)]);
            assert_eq!(found.progress_without_some(&BTreeMap::new(), &seen), progress, "{found:?}");
        }
    }

    /// It was away while the others turned back.
    #[test]
    fn what_was_told_to_be_undone_is_undone_also_where_it_was_settled() {
        let committed = held(Progress::Committed);
        let found = cut_off(&[("web2", &committed)]);
        let last = ended(Outcome::Failed { failure: Failure::new(FailureKind::Other, "as told") });
        assert_eq!(found.progress(&last, &seen(Some(Slot::Green), None)), Progress::Unwinding);
    }

    #[test]
    fn that_a_run_succeeded_elsewhere_settles_it_where_it_went_live() {
        let forward = held(Progress::Forward);
        let found = cut_off(&[("web2", &forward)]);
        let last = ended(Outcome::Succeeded { warnings: Vec::new() });
        let progress = |seen: &Observed| found.progress(&last, seen);
        assert_eq!(progress(&Observed::default()), Progress::Forward);
        assert_eq!(progress(&seen(None, None)), Progress::Forward);
        assert_eq!(progress(&seen(Some(Slot::Blue), None)), Progress::Forward);
        assert_eq!(progress(&seen(Some(Slot::Green), None)), Progress::Committed);
        assert_eq!(progress(&seen(Some(Slot::Blue), Some(Slot::Green))), Progress::Committed);
    }

    #[test]
    fn that_a_run_was_undone_elsewhere_is_believed_where_nothing_is_left_to_undo() {
        let forward = held(Progress::Forward);
        let found = cut_off(&[("web2", &forward)]);
        let last = ended(Outcome::Failed { failure: Failure::new(FailureKind::Other, "as told") });
        assert!(found.undone(&last, &seen(None, None)).is_some());
        for seen in [Observed::default(), seen(Some(Slot::Green), None), seen(Some(Slot::Blue), None)] {
            assert!(found.undone(&last, &seen).is_none());
            assert_eq!(found.progress(&last, &seen), Progress::Unwinding);
        }
        // Found by the simulation, seed 871.
        let mut ahead = held(Progress::Forward);
        ahead.plan.before.insert(host("web2"), release());
        let found = cut_off(&[("web2", &ahead)]);
        assert!(found.undone(&last, &seen(Some(Slot::Green), Some(Slot::Green))).is_some(), "it was there");
        assert!(found.undone(&last, &Observed::default()).is_none(), "not looked at");
    }

    /// Between the stop of the old release and the start of the new one nothing runs, which is not what was before.
    #[test]
    fn a_host_that_was_left_dark_is_not_undone_by_another_hosts_word() {
        let before = Release {
            tag: Tag::new("v1").unwrap(),
            digest: Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap(),
            ..release()
        };
        let mut forward = held(Progress::Forward);
        forward.plan.before.insert(host("web2"), before.clone());
        let stop = Action::Stop { slot: Slot::Main, grace: Some(Millis(0)), heir: None, holding: None };
        let undo = vec![Action::Start { slot: Slot::Main, release: before.clone(), own_environment: true }];
        let steps = vec![Step { id: StepId(0), action: stop, undo }];
        let lanes = vec![Lane { host: Some(host("web2")), steps }];
        forward.plan.phases = vec![Phase { title: "go live".into(), committed: false, lanes }];
        let found = cut_off(&[("web2", &forward)]);
        let last = ended(Outcome::Failed { failure: Failure::new(FailureKind::Other, "as told") });
        let main = |state| {
            let slot = SlotObserved {
                release: Some(before.clone()),
                state,
                started_at: None,
                restarts: 0,
                endpoint: None,
                replicas: Vec::new(),
            };
            let seen = HostObserved {
                slots: BTreeMap::from([(Slot::Main, slot)]),
                router: RouterObserved { target: Some(Slot::Main), ..RouterObserved::default() },
                ..HostObserved::default()
            };
            Observed { hosts: BTreeMap::from([(host("web2"), seen)]) }
        };
        assert!(found.undone(&last, &main(SlotState::Stopped)).is_none());
        assert_eq!(found.progress(&last, &main(SlotState::Stopped)), Progress::Unwinding);
        assert!(found.undone(&last, &main(SlotState::Running)).is_some());
    }
}
