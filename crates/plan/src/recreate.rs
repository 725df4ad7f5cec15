//! Recreate: one place, so the old release stops before the new one starts. Behind a router that holds, requests wait
//! meanwhile; without one, nothing answers until the new release is healthy, and that time is measured.
//!
//! The old release can be started again at any moment until the run is settled: its bytes are looked for before anything
//! is stopped, and every stop names the bytes that it means, for the old and the new release have the same slot.

use lockgate_model::{
    Action, Failure, FailureKind, HoldBounds, HookMoment, Lane, Millis, Observed, Plan, Release, Router,
    STOP_GRACE_DEFAULT, Slot, SlotDelivery, SlotState,
};

use crate::recipe::{HostPlan, Listed, Phases, Sorted, Wanted, lane, step};

/// The one slot.
pub(crate) const SLOT: Slot = Slot::Main;
/// What looking, starting and switching take by themselves, beyond the bounds of what they wait for. A hold that ended by
/// itself in between would keep the slot from being stopped.
const HOLD_EXTRA_SECONDS: u64 = 5;
/// Requests that may wait at the router of a host at once.
const HOLD_REQUESTS_MAX: u32 = 1_000;

pub(crate) fn plan(wanted: &Wanted<'_>, observed: &Observed) -> Result<Plan, Failure> {
    let Sorted { changing, recording, mending, beside } = wanted.sort(observed, |_| SLOT);
    for host in &changing {
        require_a_way_back(host)?;
    }
    let mut phases = Phases::default();
    phases.push("mend the route", false, mending.iter().map(|host| wanted.mend_route(host)).collect());
    if !changing.is_empty() {
        wanted.check_before(&mut phases)?;
        phases.push("fetch", false, changing.iter().map(|host| wanted.fetch_both(host)).collect());
        wanted.push_hook(&mut phases, HookMoment::BeforeSwitch, &changing, old);
        wanted.waves(&mut phases, &changing, |host| wanted.recreate(host))?;
        wanted.push_hook(&mut phases, HookMoment::AfterSwitch, &changing, old);
    }
    phases.push("record", false, wanted.record_live(&recording));
    let listed = changing.iter().map(|host| wanted.list_and_reject(host));
    phases.push("record", true, listed.chain(beside.iter().map(|host| wanted.list(host, None))).collect());
    phases.push("prune", true, changing.iter().map(|host| wanted.prune(host)).collect());
    Ok(wanted.plan(observed, phases))
}

/// What the slot has of the release that is live, or should be.
fn old<'a>(host: &HostPlan<'a>) -> Option<&'a Release> {
    host.seen.should_be_live().filter(|slot| *slot == SLOT)?;
    host.seen.slots.get(&SLOT)?.release.as_ref()
}

fn runs(host: &HostPlan<'_>) -> bool {
    host.seen.slots.get(&SLOT).is_some_and(|seen| seen.state == SlotState::Running)
}

/// # Errors
/// `Refused` for a host on which something runs that could not be started again.
fn require_a_way_back(host: &HostPlan<'_>) -> Result<(), Failure> {
    // What runs and is not live was left by a run that was cut off: there is nothing to go back to.
    let is_live = host.seen.should_be_live() == Some(SLOT);
    if !runs(host) || !is_live || old(host).is_some() {
        return Ok(());
    }
    let message = format!("what runs in {SLOT} cannot be told, so it could not be started again");
    Err(Failure::new(FailureKind::Refused, message)
        .at(host.host)
        .slot(SLOT)
        .hint("was its image removed? stop it by hand, then run the deployment again"))
}

impl Wanted<'_> {
    /// Both releases' bytes: the new one's before the old one stops, and those that it is gone back to.
    fn fetch_both(&self, host: &HostPlan<'_>) -> Lane {
        let kept = old(host).filter(|old| runs(host) && !old.same_bytes(&self.release));
        let releases = [&self.release].into_iter().chain(kept);
        let fetches = releases.map(|release| step(Action::Fetch { release: release.clone() }, vec![]));
        lane(host.host, fetches.collect())
    }

    /// The promise in one screen: each action beside what takes it back. An undo begins with the last pair, so the new
    /// release stops before the old one starts.
    fn recreate(&self, host: &HostPlan<'_>) -> Lane {
        let release = &self.release;
        let mut steps = Vec::new();
        if self.holds(host) {
            steps.push(step(self.hold(), vec![Action::LetGo]));
        }
        if self.is_routed() && runs(host) {
            // A hold that ended by itself let requests in again, so whoever holds again drains again.
            let heir = self.holds(host).then_some(SLOT);
            steps.push(step(Action::Drain { slot: SLOT, deadline: self.slots.drain, heir }, vec![]));
        }
        if let Some(old) = old(host) {
            steps.push(step(self.stop_release(old), self.bring_back(host, old)));
        }
        steps.push(step(self.start(SLOT, release), self.take_away(host)));
        steps.push(step(self.await_healthy(SLOT, release), vec![]));
        if self.is_routed() {
            steps.push(step(self.switch(SLOT, release), self.unroute(host)));
        }
        if self.holds(host) {
            steps.push(step(Action::LetGo, vec![]));
        }
        if self.is_routed() {
            steps.push(step(self.verify(SLOT, release), vec![]));
        }
        steps.push(self.record(host, Listed::Tried(release)));
        lane(host.host, steps)
    }

    /// The old release serves as before.
    fn bring_back(&self, host: &HostPlan<'_>, old: &Release) -> Vec<Action> {
        let mut back = vec![self.start_again(SLOT, old), self.await_healthy(SLOT, old)];
        if self.is_routed() {
            back.push(self.switch(SLOT, old));
        }
        if self.holds(host) {
            back.push(Action::LetGo);
        }
        if self.is_routed() {
            back.push(self.verify(SLOT, old));
        }
        back
    }

    /// The new release, which may have been let serve, answers what it was asked and stops.
    fn take_away(&self, host: &HostPlan<'_>) -> Vec<Action> {
        let held = if self.holds(host) { vec![self.hold(), self.drain_main()] } else { Vec::new() };
        let stopped = held.into_iter().chain([self.stop_release(&self.release)]);
        stopped.chain(self.take_back(old(host))).collect()
    }

    fn list_and_reject(&self, host: &HostPlan<'_>) -> Lane {
        let mut list = self.list(host, Some(&self.release));
        list.steps.extend(self.reject(host, old(host)));
        list
    }

    /// Where an old release is brought back, that switches too.
    fn unroute(&self, host: &HostPlan<'_>) -> Vec<Action> {
        match old(host) {
            Some(_) => Vec::new(),
            None => {
                let withdraw = Action::Withdraw { dial: host.seen.router.dial.clone() };
                // Where requests are held it is drained before it stops.
                let drain = (!self.holds(host)).then(|| self.drain_main());
                [withdraw].into_iter().chain(drain).collect()
            }
        }
    }

    /// The router can hold, and has a route whose requests would find nobody.
    fn holds(&self, host: &HostPlan<'_>) -> bool {
        let can_hold = match &self.slots.router {
            Router::Builtin(_) => true,
            // Refused by the configuration.
            Router::Caddy(_) | Router::Nginx(_) => false,
            Router::None => false,
        };
        can_hold && host.seen.router.target.is_some() && host.seen.router.direct.is_none()
    }

    /// A request waits through all that may pass until the new release answers.
    fn hold(&self) -> Action {
        let SlotDelivery { drain, stop_grace, .. } = self.slots;
        let waits = drain.0 + stop_grace.unwrap_or(STOP_GRACE_DEFAULT).0 + self.service.health.timeout().0;
        let time = Millis(waits + Millis::from_secs(HOLD_EXTRA_SECONDS).0);
        let bounds = HoldBounds { time, requests_max: HOLD_REQUESTS_MAX };
        Action::Hold { bounds, own_grace: stop_grace.is_none() }
    }

    fn drain_main(&self) -> Action {
        Action::Drain { slot: SLOT, deadline: self.slots.drain, heir: None }
    }

    fn stop_release(&self, release: &Release) -> Action {
        let holding = Some(release.digest.clone());
        Action::Stop { slot: SLOT, grace: self.slots.stop_grace, heir: None, holding }
    }
}
