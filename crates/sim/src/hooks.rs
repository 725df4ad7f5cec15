//! Hooks: each runs at most once in a run, and nothing goes live before the one that comes before it has done its work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::{Action, Event, EventKind, HookMoment, HostId, Plan, Progress, RunId};
use lockgate_ports::OneOffId;
use lockgate_ports::fake::{Call, Machine, What};

use crate::actor::Mutation;
use crate::scene::HOME;
use crate::world::World;

/// What is known of all runs' hooks.
#[derive(Default)]
pub(crate) struct HookLog(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// How often a host has begun each.
    begun: BTreeMap<(OneOffId, HostId), u32>,
    /// What those came to that ended by themselves.
    done: BTreeMap<OneOffId, i32>,
    /// Runs that were settled when somebody took them over, perhaps under another name: what comes before the switch was done.
    settled: BTreeSet<RunId>,
}

impl HookLog {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// What has become of hooks on the machine, in one moment with a call to it.
    pub(crate) fn notice_hooks(&self, machine: &mut Machine) {
        machine.one_offs.look();
        let mut known = self.hooks.known();
        known.done.extend(&machine.one_offs.done);
        for (id, count) in &machine.one_offs.begun {
            known.begun.insert((*id, machine.id.clone()), *count);
        }
    }

    pub(crate) fn hear_of_hooks(&self, event: &Event) {
        if let EventKind::Adopted { progress: Progress::Committed, .. } = &event.kind {
            self.hooks.known().settled.insert(event.run);
        }
    }

    /// A change that `who` has just made.
    pub(crate) fn check_hooks(&self, who: &str, run: Option<RunId>, call: &Call, machine: &Machine) {
        match call.what {
            What::BeginOneOff => self.check_once(who, call),
            What::Switch(_) => {
                let plan = run.and_then(|run| Some((run, self.plan(run)?)));
                let Some((run, _)) = plan.filter(|(_, plan)| goes_live(plan, call, &machine.id)) else {
                    return;
                };
                let id = OneOffId { run, moment: HookMoment::BeforeSwitch };
                let (code, settled) = {
                    let known = self.hooks.known();
                    (known.done.get(&id).copied(), known.settled.contains(&run))
                };
                if code != Some(0) && !settled {
                    self.violated(format!(
                        "hooks: {who} did {call}, and what comes before the switch had come to {code:?}"
                    ));
                }
            }
            _ => {}
        }
    }

    fn check_once(&self, who: &str, call: &Call) {
        let mut all: BTreeMap<OneOffId, u32> = BTreeMap::new();
        for ((id, _), count) in &self.hooks.known().begun {
            *all.entry(*id).or_default() += count;
        }
        for (id, count) in all.into_iter().filter(|(_, count)| *count > 1) {
            let Some(plan) = self.plan(id.run) else { continue };
            let repeats = plan.steps().any(|(_, _, step)| match &step.action {
                Action::RunHook { hook, moment, .. } => *moment == id.moment && hook.repeat,
                _ => false,
            });
            if !repeats {
                let moment = id.moment;
                self.violated(format!(
                    "hooks: after {who} did {call} {moment} has begun {count} times in one run"
                ));
            }
        }
    }

    /// What a broken Lockgate makes of the mark before it reads it.
    pub(crate) fn forge_mark(
        &self,
        mutation: Option<Mutation>,
        run: Option<RunId>,
        call: &Call,
        machine: &mut Machine,
    ) {
        let path = format!("{HOME}/.lockgate/{}.json", HookMoment::BeforeSwitch);
        if call.what != What::Read || call.detail != path {
            return;
        }
        match (mutation, run) {
            (Some(Mutation::ForgetsMark), _) => drop(machine.files.remove(&path)),
            (Some(Mutation::BelievesHooks), Some(run)) => {
                let mark = format!("{{\"run\":\"{run}\",\"begun_at\":0,\"code\":0}}");
                machine.files.insert(path, mark.into_bytes());
            }
            _ => {}
        }
    }
}

/// The switch is the plan's own, to the release that its hook comes before.
fn goes_live(plan: &Plan, call: &Call, host: &HostId) -> bool {
    let is_hook =
        |action: &Action| matches!(action, Action::RunHook { moment: HookMoment::BeforeSwitch, .. });
    let starts = |action: &Action| matches!(action, Action::Start { .. });
    call.detail == plan.release.tag.as_str()
        && plan.steps().any(|(_, _, step)| is_hook(&step.action))
        && plan.steps().any(|(_, on, step)| on == Some(host) && starts(&step.action))
}
