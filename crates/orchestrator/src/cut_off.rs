//! A run that was cut off, as the hosts have it. Each host speaks for itself only: what one says makes the run go forward
//! on no other.

use std::collections::BTreeMap;

use lockgate_engine::Acquired;
use lockgate_model::{
    HostId, HostObserved, Observed, Outcome, Plan, Progress, Release, RunEnd, RunId, Unfinished,
};

/// One run, and what each host that holds it as unfinished has of it.
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
            // Not every host was told so: there it is undone once more, which looks first.
            ended if ended.iter().any(|outcome| was_undone(outcome)) => Progress::Unwinding,
            _ if self.held.iter().all(serves) => Progress::Committed,
            _ => Progress::Forward,
        }
    }
}

/// The release has the traffic, or is recorded to have it, which is the last thing that is done before gates are asked.
/// Whether it runs or has died does not matter, nor who has changed the route since.
fn went_live(seen: &HostObserved, release: &Release) -> bool {
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
