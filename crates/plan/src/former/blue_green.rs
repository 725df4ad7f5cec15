//! What was seen before a release was started beside what was live.

use lockgate_model::{Action, HostObserved, Release, Slot, SlotObserved, SlotState, Step};

use super::{Former, address, holding};
use crate::blue_green::beside;

impl Former<'_> {
    /// The release was not live there: it is started in `slot`.
    pub(super) fn seen_before_start(&self, slot: Slot) -> Result<HostObserved, String> {
        let other = beside(slot);
        let (then, recorded) = self.recorded()?;
        let mut seen = HostObserved { recorded, releases: self.listed(), ..HostObserved::default() };
        let held = match self.routed {
            true => self.restored(other, &mut seen)?,
            // Nothing is switched back, for both run.
            false => None,
        };
        seen.rejected = self.rejected(held.or(self.before));
        let ran = self.before.is_some() || self.drains_before_commit(other);
        // A known release that ran with the traffic was live, and is named as what was before.
        let ran_aside = ran && self.before.is_none() && held.is_some();
        let had_traffic = self.before.is_some() || (then.previous == Some(other) && !ran_aside);
        // What another strategy had before is not this one's to stop.
        let elsewhere =
            then.previous.filter(|before| *before == Slot::Main && seen.recorded.previous != then.previous);
        seen.router.target = had_traffic.then_some(other).or(elsewhere);
        let held = held.or(self.before);
        if held.is_some() || self.touches(other) {
            let state = if ran { SlotState::Running } else { SlotState::Stopped };
            seen.slots.insert(other, holding(held.cloned(), state));
        }
        seen.slots.extend(self.warm().map(|warm| (slot, warm)));
        Ok(seen)
    }

    /// What ran in the slot that the release is started in.
    fn warm(&self) -> Option<SlotObserved> {
        let is_start = |step: &Step| matches!(step.action, Action::Start { .. });
        let (mut drains, mut stops) = (false, false);
        for step in self.forward.iter().take_while(|step| !is_start(step)) {
            drains |= matches!(step.action, Action::Drain { .. });
            stops |= matches!(step.action, Action::Stop { .. });
        }
        let start = self.forward.iter().find(|step| is_start(step));
        let drained_in_undo = matches!(start.and_then(|step| step.undo.first()), Some(Action::Drain { .. }));
        match (drains, stops) {
            // Another release is still to be drained there; which, the plan does not say.
            (true, false) => Some(holding(None, SlotState::Running)),
            // The same one, which is started anew.
            (_, true) => Some(holding(Some(self.wanted.clone()), SlotState::Running)),
            (false, false) => drained_in_undo.then(|| holding(Some(self.wanted.clone()), SlotState::Running)),
        }
    }

    /// The release that the switch is taken back to; into `seen` goes what the router dialled where it is none.
    fn restored(&self, other: Slot, seen: &mut HostObserved) -> Result<Option<&Release>, String> {
        let undo = self.switch_undo().first().ok_or("its switch there cannot be taken back")?;
        match undo {
            Action::Start { slot, release, .. } if *slot == other => Ok(Some(release)),
            Action::Start { slot, .. } => Err(format!("it goes back to {slot}, which it starts")),
            Action::Withdraw { dial } => {
                seen.router.dial = dial.as_deref().map(address).transpose()?;
                Ok(None)
            }
            _ => Err("it does not say what had the traffic before".to_owned()),
        }
    }

    /// It ran, so that it had requests to finish.
    fn drains_before_commit(&self, slot: Slot) -> bool {
        let drains =
            |action: &Action| matches!(action, Action::Drain { slot: at, heir: Some(_), .. } if *at == slot);
        self.forward.iter().any(|step| drains(&step.action))
    }
}
