//! What a host looked like when a plan was made, read back from the plan.
//!
//! A plan is a function of the configuration, the intent and what was seen. The last is the only thing that a found plan
//! may decide about a host, and only about the host that has it: which slot had the traffic with which release, what was
//! recorded, what the router dialled. With it the plan is made again from this configuration.

use lockgate_model::{
    Action, HostId, HostObserved, Intent, Plan, Recorded, Rejection, Release, RouterObserved, Slot,
    SlotObserved, SlotState, Step, Timestamp, WasLive,
};

/// Most steps of a plan that concern one host; the recipe has about fifteen.
const HOST_STEPS_MAX: usize = 64;
/// Longest address that a router is pointed back to, in characters.
const DIAL_CHARS_MAX: usize = 300;

/// What a found plan does on one host.
pub(crate) struct Former<'a> {
    /// Before the commit.
    forward: Vec<&'a Step>,
    /// From the commit on.
    tidying: Vec<&'a Step>,
    before: Option<&'a Release>,
    wanted: &'a Release,
    intent: &'a Intent,
}

impl<'a> Former<'a> {
    /// # Errors
    /// Why no plan of ours has such steps on a host.
    pub(crate) fn of(host: &HostId, plan: &'a Plan) -> Result<Self, String> {
        let (mut forward, mut tidying) = (Vec::new(), Vec::new());
        for (phase, on, step) in plan.steps() {
            if on != Some(host) {
                continue;
            }
            if forward.len() + tidying.len() == HOST_STEPS_MAX {
                return Err(format!("it has more than {HOST_STEPS_MAX} steps there"));
            }
            match plan.phases[phase].committed {
                true => tidying.push(step),
                false => forward.push(step),
            }
        }
        let (before, wanted, intent) = (plan.before.get(host), &plan.release, &plan.intent);
        Ok(Self { forward, tidying, before, wanted, intent })
    }

    /// The slot that it starts the release in.
    pub(crate) fn starts_in(&self) -> Option<Slot> {
        self.forward.iter().find_map(|step| match step.action {
            Action::Start { slot, .. } => Some(slot),
            _ => None,
        })
    }

    /// It may have changed something that is to be taken back.
    pub(crate) fn has_undos(&self) -> bool {
        self.forward.iter().any(|step| !step.undo.is_empty())
    }

    /// What was seen of the host, as far as the plan depends on it.
    ///
    /// # Errors
    /// Why no plan of ours has such steps on a host.
    pub(crate) fn seen(&self) -> Result<HostObserved, String> {
        match self.starts_in() {
            Some(slot) => self.seen_before_start(slot),
            None => Ok(self.seen_live()),
        }
    }

    /// The release was not live there: it is started in `slot`.
    fn seen_before_start(&self, slot: Slot) -> Result<HostObserved, String> {
        let starts: Vec<&&Step> =
            self.forward.iter().filter(|step| matches!(step.action, Action::Start { .. })).collect();
        let [start] = starts.as_slice() else { return Err("it starts more than one slot there".to_owned()) };
        let other = slot.other();
        let (then, recorded) =
            self.recording(&self.forward).ok_or("it starts a slot there and records none")?;
        let recorded = recorded.ok_or("it does not say what was recorded before")?;
        let mut seen = HostObserved { recorded, ..HostObserved::default() };
        let held = match self.restoring()? {
            Action::Start { slot, release } if *slot == other => Some(release),
            Action::Start { slot, .. } => return Err(format!("it goes back to {slot}, which it starts")),
            Action::Withdraw { dial } => {
                seen.router.dial = dial.as_deref().map(address).transpose()?;
                None
            }
            _ => return Err("it does not say what had the traffic before".to_owned()),
        };
        let restored = held;
        let ran = self.before.is_some() || self.drains_before_commit(other);
        // A known release that ran with the traffic was live, and is named as what was before.
        let ran_aside = ran && self.before.is_none() && held.is_some();
        let had_traffic = self.before.is_some() || (then.previous == Some(other) && !ran_aside);
        seen.router.target = had_traffic.then_some(other);
        let held = held.or(self.before);
        if held.is_some() || self.touches(other) {
            let state = if ran { SlotState::Running } else { SlotState::Stopped };
            seen.slots.insert(other, holding(held.cloned(), state));
        }
        let earlier = self.forward.iter().take_while(|step| step.id != start.id);
        let drains = earlier.filter(|step| matches!(step.action, Action::Drain { .. } | Action::Stop { .. }));
        let warm = match (drains.count(), start.undo.first()) {
            // Another release is still to be drained there; which, the plan does not say.
            (1, _) => Some(holding(None, SlotState::Running)),
            (2.., _) | (0, Some(Action::Drain { .. })) => {
                Some(holding(Some(self.wanted.clone()), SlotState::Running))
            }
            (0, _) => None,
        };
        seen.slots.extend(warm.map(|warm| (slot, warm)));
        let listings = self.tidying.iter().filter(|step| lists(step)).count();
        seen.releases = self.listed(listings < 2);
        if restored.is_some_and(|restored| self.spares(restored)) {
            seen.rejected = vec![some_rejection(self.wanted)];
        }
        Ok(seen)
    }

    /// The release was live there, or the plan is about what runs beside it.
    fn seen_live(&self) -> HostObserved {
        let switched = self.forward.iter().find_map(|step| match step.action {
            Action::Switch { slot, .. } => Some(slot),
            _ => None,
        });
        let heir = self.tidying.iter().find_map(|step| match step.action {
            Action::Stop { heir, .. } => heir,
            _ => None,
        });
        let (recording, relisting) = (self.recording(&self.forward), self.recording(&self.tidying));
        let active = recording.as_ref().or(relisting.as_ref()).and_then(|(then, _)| then.active);
        let slot = switched.or(heir).or(active).unwrap_or(Slot::Blue);
        let mut seen = HostObserved::default();
        if self.before.is_none() && self.forward.is_empty() && self.tidying.is_empty() {
            return seen;
        }
        seen.router =
            RouterObserved { target: Some(slot), stale: switched.is_some(), ..RouterObserved::default() };
        seen.slots.insert(slot, holding(self.before.cloned(), SlotState::Running));
        if self.touches(slot.other()) {
            seen.slots.insert(slot.other(), holding(None, SlotState::Running));
        }
        let listed = match (&recording, &relisting, self.intent) {
            (Some((_, Some(before))), _, _) => {
                seen.recorded = before.clone();
                before.active != Some(slot)
            }
            (_, Some((then, _)), Intent::TidyUp) => {
                seen.recorded = then.clone();
                false
            }
            _ => {
                seen.recorded.active = Some(slot);
                true
            }
        };
        seen.releases = self.listed(listed);
        seen
    }

    fn listed(&self, is_listed: bool) -> Vec<WasLive> {
        self.before.filter(|_| is_listed).cloned().map(WasLive::from).into_iter().collect()
    }

    /// It is a rollback that says nothing against the release that it goes back from, for the one that it goes back to was
    /// rejected there. (Or of a program that never did.)
    fn spares(&self, left: &Release) -> bool {
        let rejects = self.tidying.iter().any(|step| matches!(step.action, Action::TakeBack { .. }));
        matches!(self.intent, Intent::Rollback { .. }) && !left.same_bytes(self.wanted) && !rejects
    }

    /// What the first of these steps that records something writes, and what was there before.
    fn recording(&self, steps: &[&Step]) -> Option<(Recorded, Option<Recorded>)> {
        steps.iter().find_map(|step| {
            let Action::Record { recorded, .. } = &step.action else { return None };
            let before = step.undo.iter().find_map(|undo| match undo {
                Action::Record { recorded, .. } => Some(recorded.clone()),
                _ => None,
            });
            Some((recorded.clone(), before))
        })
    }

    /// How the switch is taken back.
    fn restoring(&self) -> Result<&'a Action, String> {
        let switch = self.forward.iter().find(|step| matches!(step.action, Action::Switch { .. }));
        let switch = switch.ok_or("it starts a slot there and switches to none")?;
        switch.undo.first().ok_or_else(|| "its switch there cannot be taken back".to_owned())
    }

    /// It ran, so that it had requests to finish.
    fn drains_before_commit(&self, slot: Slot) -> bool {
        let drains =
            |action: &Action| matches!(action, Action::Drain { slot: at, heir: Some(_), .. } if *at == slot);
        self.forward.iter().any(|step| drains(&step.action))
    }

    /// The tidying up drains or stops the slot.
    fn touches(&self, slot: Slot) -> bool {
        self.tidying.iter().any(|step| match step.action {
            Action::Drain { slot: at, .. } | Action::Stop { slot: at, .. } => at == slot,
            _ => false,
        })
    }
}

fn lists(step: &Step) -> bool {
    matches!(step.action, Action::Record { release: Some(_), .. })
}

/// That it was is all that a plan depends on.
fn some_rejection(release: &Release) -> Rejection {
    let (release, by, why) = (release.clone(), String::new(), String::new());
    Rejection { release, rejected_at: Timestamp(0), by, why }
}

fn holding(release: Option<Release>, state: SlotState) -> SlotObserved {
    SlotObserved { release, state, started_at: None, restarts: 0, endpoint: None }
}

/// What a router dialled is a word of its configuration; it is written there again.
fn address(dial: &str) -> Result<String, String> {
    if dial.is_empty() || dial.chars().count() > DIAL_CHARS_MAX || !dial.chars().all(|c| c.is_ascii_graphic())
    {
        return Err("what the router is to dial again is no address".to_owned());
    }
    Ok(dial.to_owned())
}
