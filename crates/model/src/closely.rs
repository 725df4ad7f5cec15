//! A closer look at a service on its hosts: what files, slots and router say, beside each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    HostId, HostObserved, Mask, Millis, OwnEnd, ServiceStatus, Slot, SlotObserved, SlotState, Timestamp,
    not_running,
};

/// Exit codes of an app that was stopped in order: by itself, by SIGTERM, and by SIGKILL when its time was up.
const STOPPED_CODES: [i64; 3] = [0, 143, 137];

/// What was seen of a service, more closely than [`ServiceStatus`] has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClosely {
    /// As `status` has it without `-v`.
    pub status: ServiceStatus,
    /// Of the hosts that could be looked at.
    pub hosts: BTreeMap<HostId, HostClosely>,
}

/// A service on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostClosely {
    /// What the file of that name says; `None` where there is none, or none that can be read.
    pub active_color: Option<Slot>,
    /// As `active_color`.
    pub previous_color: Option<Slot>,
    /// The slot that the router sends the traffic to; `None` where there is no router, and where it does not say.
    pub router: Option<Slot>,
    /// Every slot that there is, also one that holds nothing.
    pub slots: BTreeMap<Slot, SlotClosely>,
    /// Where files, slots and router disagree, in words; empty where they agree.
    pub disagreements: Vec<String>,
}

/// A slot and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlotClosely {
    /// `None`: it holds nothing.
    pub holds: Option<SlotObserved>,
    /// How what it held has ended; `None` while it runs, and where the runtime is not told.
    pub ended: Option<OwnEnd>,
    /// One look at its health check, as a deployment makes it; `None` where it does not run.
    pub health: Option<Probed>,
    /// Why somebody should look at it; `None` where all is as it should be.
    pub trouble: Option<String>,
}

/// One look at a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probed {
    /// What was asked, and where: `GET /health at 172.17.0.3:5000`.
    pub asked: String,
    /// It was a pass.
    pub ok: bool,
    /// `200`, `it answered 503, wanted 2xx`.
    pub seen: String,
    /// How long the answer took.
    #[serde(rename = "took_ms")]
    pub took: Millis,
    /// How the answer's body, or what the program wrote, begins, where it was no pass; what an app wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

impl HostClosely {
    /// What was seen on the host beside each other. `slots` are those that there are, with what was found out about each.
    #[must_use]
    pub fn of(seen: &HostObserved, slots: BTreeMap<Slot, SlotClosely>) -> Self {
        Self {
            active_color: seen.recorded.active,
            previous_color: seen.recorded.previous,
            router: seen.router.target.filter(|_| !seen.router.absent),
            slots,
            disagreements: disagreements(seen),
        }
    }
}

impl HostClosely {
    /// Hides secrets in what apps wrote and what was seen of them.
    pub fn mask(&mut self, mask: &Mask) {
        for slot in self.slots.values_mut() {
            slot.trouble = slot.trouble.take().map(|trouble| mask.hide(trouble));
            if let Some(probed) = &mut slot.health {
                probed.seen = mask.hide(std::mem::take(&mut probed.seen));
                probed.said = mask.hide_all(std::mem::take(&mut probed.said));
            }
        }
    }
}

/// Where files, slots and router disagree.
fn disagreements(seen: &HostObserved) -> Vec<String> {
    let runs = |slot: Slot| seen.slots.get(&slot).is_some_and(|held| held.state == SlotState::Running);
    let (target, active, previous) = (seen.router.target, seen.recorded.active, seen.recorded.previous);
    let is_there = !seen.router.absent;
    let mut said = Vec::new();
    if seen.is_new() {
        return said;
    }
    match (target.filter(|_| is_there), active) {
        (Some(target), Some(active)) if target != active => {
            said.push(format!("active_color says {active}, the router sends the traffic to {target}"));
        }
        (Some(target), None) => {
            said.push(format!("active_color is not there, the router sends the traffic to {target}"));
        }
        _ => {}
    }
    if let Some(active) = active.filter(|active| !runs(*active)) {
        said.push(format!("active_color says {active}, {}", not_running(seen, active)));
    }
    if let Some(target) = target.filter(|target| is_there && active != Some(*target) && !runs(*target)) {
        said.push(format!("the router sends the traffic to {target}, {}", not_running(seen, target)));
    }
    if let Some(both) = active.filter(|active| previous == Some(*active)) {
        said.push(format!("active_color and previous_color both say {both}"));
    }
    said
}

impl SlotClosely {
    /// `is_live`: it has the traffic, or should have; `failed`: why what it holds is known to have failed here, if it is.
    #[must_use]
    pub fn judged(mut self, is_live: bool, failed: Option<String>, now: Option<Timestamp>) -> Self {
        self.trouble = self.find_trouble(is_live, failed, now);
        self
    }

    fn find_trouble(&self, is_live: bool, failed: Option<String>, now: Option<Timestamp>) -> Option<String> {
        let Some(held) = &self.holds else {
            return is_live.then(|| "it should be live and holds nothing".to_owned());
        };
        if let Some(end) = self.ended.as_ref().filter(|end| end.out_of_memory) {
            return Some(format!("it used too much memory: the host ended it{}", end.with_code()));
        }
        if let Some(end) = self.ended.as_ref().filter(|end| !STOPPED_CODES.contains(&end.exit_code)) {
            return Some(format!("it has ended by itself{}", end.with_code()));
        }
        if held.state == SlotState::Stopped {
            return match is_live {
                true => Some("it should be live and does not run".to_owned()),
                false => failed,
            };
        }
        if held.is_restarting(now) {
            return Some(format!("it was {}", held.restarts_text()));
        }
        match &self.health {
            Some(probed) if !probed.ok => Some(format!("its health check fails: {}", probed.seen)),
            _ if is_live => None,
            _ => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recorded, RouterObserved};

    fn held(state: SlotState) -> SlotObserved {
        SlotObserved {
            release: None,
            state,
            started_at: Some(Timestamp(1_000)),
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        }
    }

    /// Blue runs, green is stopped.
    fn seen(target: Option<Slot>, active: Option<Slot>, previous: Option<Slot>) -> HostObserved {
        HostObserved {
            slots: BTreeMap::from([
                (Slot::Blue, held(SlotState::Running)),
                (Slot::Green, held(SlotState::Stopped)),
            ]),
            router: RouterObserved { target, ..RouterObserved::default() },
            recorded: Recorded { active, previous },
            ..HostObserved::default()
        }
    }

    #[test]
    fn files_slots_and_router_are_held_against_each_other() {
        let (blue, green) = (Some(Slot::Blue), Some(Slot::Green));
        let table: [([Option<Slot>; 3], &[&str]); 6] = [
            ([blue, blue, green], &[]),
            (
                [blue, green, blue],
                &[
                    "active_color says green, the router sends the traffic to blue",
                    "active_color says green, which does not run",
                ],
            ),
            (
                [green, blue, green],
                &[
                    "active_color says blue, the router sends the traffic to green",
                    "the router sends the traffic to green, which does not run",
                ],
            ),
            ([green, green, blue], &["active_color says green, which does not run"]),
            ([blue, None, None], &["active_color is not there, the router sends the traffic to blue"]),
            ([blue, blue, blue], &["active_color and previous_color both say blue"]),
        ];
        for ([target, active, previous], wanted) in table {
            let closely = HostClosely::of(&seen(target, active, previous), BTreeMap::new());
            assert_eq!(closely.disagreements, wanted, "{target:?}, {active:?}, {previous:?}");
        }
        let mut alone = seen(blue, green, None);
        alone.router.absent = true;
        let closely = HostClosely::of(&alone, BTreeMap::new());
        assert_eq!(closely.disagreements, ["active_color says green, which does not run"]);
        assert_eq!(closely.router, None);
        assert!(HostClosely::of(&HostObserved::default(), BTreeMap::new()).disagreements.is_empty());
    }

    #[test]
    fn what_was_stopped_in_order_is_no_trouble_and_what_ended_by_itself_is() {
        let end = |exit_code, out_of_memory| {
            Some(OwnEnd { exit_code, ended_at: Some(Timestamp(5)), out_of_memory })
        };
        let stopped =
            |ended| SlotClosely { holds: Some(held(SlotState::Stopped)), ended, health: None, trouble: None };
        let trouble = |slot: SlotClosely, is_live, failed: Option<&str>| {
            slot.judged(is_live, failed.map(str::to_owned), Some(Timestamp(2_000))).trouble
        };
        for code in [0, 143, 137] {
            assert_eq!(trouble(stopped(end(code, false)), false, None), None, "{code}");
        }
        let by_itself = trouble(stopped(end(3, false)), false, None);
        assert_eq!(by_itself.as_deref(), Some("it has ended by itself with exit code 3"));
        assert!(trouble(stopped(end(137, true)), false, None).unwrap().contains("too much memory"));
        assert_eq!(
            trouble(stopped(None), false, Some("it was rejected")).as_deref(),
            Some("it was rejected")
        );
        assert!(trouble(stopped(None), true, None).unwrap().contains("does not run"));

        let running = |ok, restarts| SlotClosely {
            holds: Some(SlotObserved { restarts, ..held(SlotState::Running) }),
            ended: None,
            health: Some(Probed {
                asked: String::new(),
                ok,
                seen: "503".into(),
                took: Millis(1),
                said: vec![],
            }),
            trouble: None,
        };
        assert_eq!(trouble(running(true, 0), true, None), None);
        assert_eq!(trouble(running(true, 0), true, Some("an earlier run failed")), None, "it serves");
        assert_eq!(trouble(running(false, 0), false, None).as_deref(), Some("its health check fails: 503"));
        assert!(trouble(running(true, 4), true, None).unwrap().contains("4 times"));
        let nothing = SlotClosely { holds: None, ended: None, health: None, trouble: None };
        assert_eq!(trouble(nothing.clone(), false, None), None);
        assert!(trouble(nothing, true, None).is_some());
    }
}
