//! What a host looked like when a plan was made, read back from the plan.
//!
//! A plan is a function of the configuration, the intent and what was seen. The last is the only thing that a found plan
//! may decide about a host, and only about the host that has it: which slot had the traffic with which release, what was
//! recorded, what the router dialled. With it the plan is made again from this configuration.

mod blue_green;
mod recreate;

use lockgate_model::{
    Action, HostId, HostObserved, Intent, Plan, Recorded, Rejection, Release, Router, RouterObserved, Slot,
    SlotDelivery, SlotObserved, SlotState, Step, Strategy, Timestamp, WasLive,
};

/// Most steps of a plan that concern one host; a recipe has about fifteen.
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
    strategy: Strategy,
    routed: bool,
}

impl<'a> Former<'a> {
    /// # Errors
    /// Why no plan of ours has such steps on a host.
    pub(crate) fn of(host: &HostId, plan: &'a Plan, slots: &SlotDelivery) -> Result<Self, String> {
        let Plan { strategy, .. } = plan;
        if *strategy != slots.strategy {
            return Err(format!(
                "it was begun with `strategy: {strategy}`, which has to be put back until it is through"
            ));
        }
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
        let routed = !matches!(slots.router, Router::None);
        Ok(Self { forward, tidying, before, wanted, intent, strategy: *strategy, routed })
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

    /// It stops or leaves what the slot had, and goes back to that: not the slot of another colour that it starts.
    pub(crate) fn goes_back_to(&self, slot: Slot) -> bool {
        match self.strategy {
            Strategy::BlueGreen => self.starts_in() != Some(slot),
            Strategy::Recreate => true,
        }
    }

    /// What was seen of the host, as far as the plan depends on it.
    ///
    /// # Errors
    /// Why no plan of ours has such steps on a host.
    pub(crate) fn seen(&self) -> Result<HostObserved, String> {
        let Some(slot) = self.starts_in() else { return Ok(self.seen_live()) };
        let starts = |step: &&&Step| matches!(step.action, Action::Start { .. });
        if self.forward.iter().filter(starts).count() > 1 {
            return Err("it starts more than one slot there".to_owned());
        }
        match (self.routed, self.switched()) {
            (true, None) => return Err("it starts a slot there and switches to none".to_owned()),
            (false, Some(_)) => {
                return Err("it switches the traffic there, and this configuration has no router".to_owned());
            }
            (true, Some(_)) | (false, None) => {}
        }
        match self.strategy {
            Strategy::BlueGreen => self.seen_before_start(slot),
            Strategy::Recreate => self.seen_before_recreation(slot),
        }
    }

    /// The release was live there, or the plan is about what runs beside it.
    fn seen_live(&self) -> HostObserved {
        let switched = self.switched();
        let heir = self.tidying.iter().find_map(|step| match step.action {
            Action::Stop { heir, .. } => heir,
            _ => None,
        });
        let (recording, relisting) = (self.recording(&self.forward), self.recording(&self.tidying));
        let active = recording.as_ref().or(relisting.as_ref()).and_then(|(then, _)| then.active);
        let slot = switched.or(heir).or(active).unwrap_or(self.strategy.slots()[0]);
        let mut seen = HostObserved::default();
        if self.before.is_none() && self.forward.is_empty() && self.tidying.is_empty() {
            return seen;
        }
        seen.router =
            RouterObserved { target: Some(slot), stale: switched.is_some(), ..RouterObserved::default() };
        seen.slots.insert(slot, holding(self.before.cloned(), SlotState::Running));
        if let Some(other) = self.stopped_beside(slot) {
            seen.slots.insert(other, holding(None, SlotState::Running));
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
        seen.releases = self.on_list(listed);
        seen
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

    /// What a plan writes down of a host that it changes, and what was written there before.
    fn recorded(&self) -> Result<(Recorded, Recorded), String> {
        let (then, before) =
            self.recording(&self.forward).ok_or("it starts a slot there and records none")?;
        Ok((then, before.ok_or("it does not say what was recorded before")?))
    }

    /// What was on the host's list of releases, as far as the plan depends on it.
    fn listed(&self) -> Vec<WasLive> {
        self.on_list(self.tidying.iter().filter(|step| lists(step)).count() < 2)
    }

    fn on_list(&self, is_listed: bool) -> Vec<WasLive> {
        self.before.filter(|_| is_listed).cloned().map(WasLive::from).into_iter().collect()
    }

    /// What was rejected there, as far as the plan depends on it: a rollback that says nothing against the release that it goes
    /// back from goes to one that was. (Or was begun by a program that never said anything.)
    fn rejected(&self, left: Option<&Release>) -> Vec<Rejection> {
        let rejects = self.tidying.iter().any(|step| matches!(step.action, Action::TakeBack { .. }));
        let leaves = left.is_some_and(|left| !left.same_bytes(self.wanted));
        let spares = matches!(self.intent, Intent::Rollback { .. }) && leaves && !rejects;
        // That it was is all that a plan depends on.
        let (by, why) = (String::new(), String::new());
        let of =
            |release: &Release| Rejection { release: release.clone(), rejected_at: Timestamp(0), by, why };
        spares.then(|| of(self.wanted)).into_iter().collect()
    }

    fn switched(&self) -> Option<Slot> {
        self.forward.iter().find_map(|step| match step.action {
            Action::Switch { slot, .. } => Some(slot),
            _ => None,
        })
    }

    /// How the switch is taken back; empty without one.
    fn switch_undo(&self) -> &'a [Action] {
        let switch = self.forward.iter().find(|step| matches!(step.action, Action::Switch { .. }));
        switch.map_or(&[], |step| &step.undo)
    }

    /// The tidying up drains or stops the slot.
    fn touches(&self, slot: Slot) -> bool {
        self.tidying.iter().any(|step| match step.action {
            Action::Drain { slot: at, .. } | Action::Stop { slot: at, .. } => at == slot,
            _ => false,
        })
    }

    /// The slot beside the live one that the tidying up stops.
    fn stopped_beside(&self, live: Slot) -> Option<Slot> {
        self.tidying.iter().find_map(|step| match step.action {
            Action::Drain { slot, .. } | Action::Stop { slot, .. } => Some(slot).filter(|slot| *slot != live),
            _ => None,
        })
    }
}

fn lists(step: &Step) -> bool {
    matches!(step.action, Action::Record { release: Some(_), .. })
}

fn holding(release: Option<Release>, state: SlotState) -> SlotObserved {
    SlotObserved { release, state, started_at: None, restarts: 0, endpoint: None, replicas: Vec::new() }
}

/// What a router dialled is a word of its configuration; it is written there again.
fn address(dial: &str) -> Result<String, String> {
    if dial.is_empty() || dial.chars().count() > DIAL_CHARS_MAX || !dial.chars().all(|c| c.is_ascii_graphic())
    {
        return Err("what the router is to dial again is no address".to_owned());
    }
    Ok(dial.to_owned())
}
