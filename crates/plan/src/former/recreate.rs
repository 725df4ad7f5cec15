//! What was seen before a release took the place of another one.

use lockgate_model::{Action, HostObserved, Release, Slot, SlotState};

use super::{Former, address, holding};
use crate::recreate::SLOT;

impl Former<'_> {
    /// The release was not live there: it is started in `slot`, where another one may have been.
    pub(super) fn seen_before_recreation(&self, slot: Slot) -> Result<HostObserved, String> {
        if slot != SLOT {
            return Err(format!("it starts {slot}, and this configuration has {SLOT} alone"));
        }
        let (then, recorded) = self.recorded()?;
        let mut seen = HostObserved { recorded, releases: self.listed(), ..HostObserved::default() };
        if let Some(Action::Withdraw { dial }) = self.switch_undo().first() {
            seen.router.dial = dial.as_deref().map(address).transpose()?;
        }
        let (old, drains) = (self.stopped()?, self.has(|action| matches!(action, Action::Drain { .. })));
        seen.rejected = self.rejected(old);
        // What runs without being stopped was not live: the route may lead to what another strategy had before.
        let aside = drains && old.is_none();
        let moved = aside || seen.recorded.previous != then.previous;
        let elsewhere = then.previous.filter(|before| *before != SLOT && moved);
        let holds = self.has(|action| matches!(action, Action::Hold { .. }));
        seen.router.target = match holds || self.before.is_some() {
            true => Some(elsewhere.unwrap_or(SLOT)),
            false => elsewhere.filter(|_| !self.routed),
        };
        // What had the traffic of a router was stopped while requests waited there. Which address it was, no plan depends on.
        let by_itself = self.routed && self.before.is_some() && !holds && old.is_some();
        seen.router.direct = by_itself.then(String::new);
        let kept =
            |action: &Action| matches!(action, Action::Fetch { release } if !release.same_bytes(self.wanted));
        let runs = self.before.is_some() || drains || self.has(kept);
        if old.is_some() || aside {
            let state = if runs { SlotState::Running } else { SlotState::Stopped };
            seen.slots.insert(SLOT, holding(old.cloned(), state));
        }
        Ok(seen)
    }

    /// What it stops, and starts again when it goes back.
    fn stopped(&self) -> Result<Option<&Release>, String> {
        let stop = self.forward.iter().find(|step| matches!(step.action, Action::Stop { .. }));
        let Some(stop) = stop else { return Ok(None) };
        match stop.undo.first() {
            Some(Action::Start { release, .. }) => Ok(Some(release)),
            _ => Err("what it stops there is not started again".to_owned()),
        }
    }

    fn has(&self, what: impl Fn(&Action) -> bool) -> bool {
        self.forward.iter().any(|step| what(&step.action))
    }
}
