//! Blue-green: start beside, prove healthy, switch, prove through the router, pass the gates, then stop the old.
//!
//! Nothing of the old release is touched before the committed phase: until then every undo finds it running. Without a
//! router there is nothing to switch, to ask through or to drain: both run beside each other for a moment (workers).

use lockgate_model::{
    Action, Failure, HookMoment, HostObserved, Lane, Observed, Plan, Release, Slot, SlotState, Step,
};

use crate::recipe::{HostPlan, Listed, Phases, Sorted, Wanted, lane, step};

/// The slot beside this one.
pub(crate) fn beside(slot: Slot) -> Slot {
    match slot {
        Slot::Blue => Slot::Green,
        // `main` is what a recipe of one slot had: nothing runs beside it.
        Slot::Green | Slot::Main => Slot::Blue,
    }
}

/// Beside what the router points at, running or not: never the slot that may have traffic.
fn slot_for(seen: &HostObserved) -> Slot {
    seen.should_be_live().map_or(Slot::Blue, beside)
}

/// What had the traffic, running or not; where the route was lost, what should have it. It is what is gone back to.
fn former<'a>(host: &HostPlan<'a>) -> Option<(Slot, &'a Release)> {
    let seen = host.seen;
    let lost = || seen.recorded.active.filter(|slot| seen.router.dial.is_none() && *slot != host.slot);
    let slot = seen.router.target.or_else(lost)?;
    Some((slot, seen.slots.get(&slot)?.release.as_ref()?))
}

pub(crate) fn plan(wanted: &Wanted<'_>, observed: &Observed) -> Result<Plan, Failure> {
    let Sorted { changing, recording, mending, beside } = wanted.sort(observed, slot_for);
    let mut phases = Phases::default();
    phases.push("mend the route", false, mending.iter().map(|host| wanted.mend_route(host)).collect());
    if !changing.is_empty() {
        wanted.check_before(&mut phases)?;
        // One host has just been asked for the bytes, and asks again before it starts them; of several, the last must
        // not find out after the first has changed.
        if wanted.has_images() || changing.len() > 1 {
            phases.push("fetch", false, changing.iter().map(|host| wanted.fetch(host)).collect());
        }
        wanted.push_hook(&mut phases, HookMoment::BeforeSwitch, &changing, |host| wanted.left(host));
        wanted.waves(&mut phases, &changing, |host| wanted.go_live(host))?;
        wanted.push_hook(&mut phases, HookMoment::AfterSwitch, &changing, |host| wanted.left(host));
    }
    let drains: Vec<Lane> = changing.iter().map(|host| wanted.drain_old(host)).collect();
    if drains.iter().any(|lane| !lane.steps.is_empty()) {
        phases.push("drain", false, drains);
        // That may have taken long, and what died meanwhile is gone back from while all old slots still run.
        phases.push("look again", false, changing.iter().map(|host| wanted.look_again(host)).collect());
    }
    phases.push("record", false, wanted.record_live(&recording));
    phases.push("tidy up", true, changing.iter().flat_map(|host| wanted.tidy_up(host)).collect());
    phases.push("prune", true, changing.iter().map(|host| wanted.prune(host)).collect());
    phases.push("tidy up", true, beside.iter().flat_map(|host| wanted.tidy_up_beside(host)).collect());
    Ok(wanted.plan(observed, phases))
}

impl Wanted<'_> {
    /// Until the old slot has answered its last request the run can still go back to it.
    fn drain_old(&self, host: &HostPlan<'_>) -> Lane {
        let old = beside(host.slot);
        let runs = host.seen.slots.get(&old).is_some_and(|seen| seen.state == SlotState::Running);
        let drains = (runs && self.retires(host)).then(|| self.drain(old, Some(host.slot))).flatten();
        lane(host.host, drains.map(|drain| step(drain, vec![])).into_iter().collect())
    }

    /// There is another slot, and it is not to be kept warm.
    fn retires(&self, host: &HostPlan<'_>) -> bool {
        host.seen.slots.contains_key(&beside(host.slot)) && self.slots.keep_warm.0 == 0
    }

    /// The promise in one screen: each action beside what takes it back.
    fn go_live(&self, host: &HostPlan<'_>) -> Lane {
        let (slot, release) = (host.slot, &self.release);
        let mut steps = Vec::new();
        // A slot that was kept warm may still be answering from when it had the traffic.
        let warm = host.seen.slots.get(&slot).is_some_and(|seen| seen.state == SlotState::Running);
        if self.replaces_running(host) {
            steps.extend(self.drain(slot, None).map(|drain| step(drain, vec![])));
        } else if warm && self.again {
            // To start what runs already does nothing.
            steps.extend(self.retire(slot, None));
        }
        let drain_first = self.drain(slot, None).filter(|_| warm);
        let stop_again = drain_first.into_iter().chain([self.stop(slot, None)]);
        let stop_again = stop_again.chain(self.take_back(self.left(host))).collect();
        steps.push(step(self.start(slot, release), stop_again));
        steps.push(step(self.await_healthy(slot, release), vec![]));
        if self.is_routed() {
            steps.push(step(self.switch(slot, release), self.switch_back(host)));
            steps.push(step(self.verify(slot, release), vec![]));
        }
        steps.push(self.record(host, Listed::Tried(release)));
        lane(host.host, steps)
    }

    /// The slot still runs another release (kept warm, or left by a run whose tidying up failed), which may not have
    /// answered all its requests (P2).
    fn replaces_running(&self, host: &HostPlan<'_>) -> bool {
        host.seen.slots.get(&host.slot).is_some_and(|seen| {
            seen.state == SlotState::Running
                && seen.release.as_ref().is_none_or(|held| !held.same_bytes(&self.release))
        })
    }

    /// Back to the release that had the traffic, started again should it have died; where the route was lost, to the
    /// one that should have it. Without one, the router gets back what it had. Then the slot that had the traffic for a
    /// while finishes what it was asked.
    fn switch_back(&self, host: &HostPlan<'_>) -> Vec<Action> {
        let mut back = self.restore_traffic(host);
        back.extend(self.drain(host.slot, None));
        back
    }

    fn restore_traffic(&self, host: &HostPlan<'_>) -> Vec<Action> {
        let Some((slot, release)) = former(host) else {
            return vec![Action::Withdraw { dial: host.seen.router.dial.clone() }];
        };
        vec![
            self.start_again(slot, release),
            self.await_healthy(slot, release),
            self.switch(slot, release),
            self.verify(slot, release),
        ]
    }

    /// What the release takes the place of: where nothing is switched, only what runs is known to be that.
    fn left<'a>(&self, host: &HostPlan<'a>) -> Option<&'a Release> {
        match self.is_routed() {
            true => former(host).map(|(_, release)| release),
            false => host.seen.live().and_then(|(_, live)| live.release.as_ref()),
        }
    }

    fn fetch(&self, host: &HostPlan<'_>) -> Lane {
        lane(host.host, vec![step(Action::Fetch { release: self.release.clone() }, vec![])])
    }

    /// The slot keeps running for `keep_warm`, which makes a rollback instant; whoever comes next stops it. It was drained
    /// before the commit.
    fn tidy_up(&self, host: &HostPlan<'_>) -> [Lane; 2] {
        let stop = self.retires(host).then(|| self.stop(beside(host.slot), Some(host.slot)));
        let stop = stop.map(|stop| step(stop, vec![]));
        let mut list = self.list(host, Some(&self.release));
        list.steps.extend(self.reject(host, self.left(host)));
        [list, lane(host.host, stop.into_iter().collect())]
    }

    /// What an earlier run left. `host.slot` is the live one here.
    fn tidy_up_beside(&self, host: &HostPlan<'_>) -> [Lane; 2] {
        let other = beside(host.slot);
        let runs = host.seen.slots.get(&other).is_some_and(|seen| seen.state == SlotState::Running);
        let retired = if runs { self.retire(other, Some(host.slot)) } else { Vec::new() };
        [self.list(host, None), lane(host.host, retired)]
    }

    fn retire(&self, slot: Slot, heir: Option<Slot>) -> Vec<Step> {
        let drain = self.drain(slot, heir).into_iter();
        drain.chain([self.stop(slot, heir)]).map(|action| step(action, vec![])).collect()
    }

    /// `None` without a router: nobody knows of any requests.
    fn drain(&self, slot: Slot, heir: Option<Slot>) -> Option<Action> {
        self.is_routed().then_some(Action::Drain { slot, deadline: self.slots.drain, heir })
    }

    fn stop(&self, slot: Slot, heir: Option<Slot>) -> Action {
        Action::Stop { slot, grace: self.slots.stop_grace, heir, holding: None }
    }
}
