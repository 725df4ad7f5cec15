//! How long nothing was live, from a run's events: the one place in which that is counted.

use std::collections::BTreeMap;

use crate::{Action, Event, EventKind, HostId, Millis, Plan, Step, StepId, Timestamp};

/// Of each host on which the run stopped what was live without a router that lets requests wait: how long nothing was
/// live, from the beginning of the stop until a release, the new or the old one, was healthy, and where a router takes the
/// place of what was stopped, had its traffic. All times of one run count, also the second one of a run that went back.
/// Empty for a plan that does not interrupt. A host that was dark when the events end is dark until the last of them.
#[must_use]
pub fn dark_times(plan: &Plan, events: &[Event]) -> BTreeMap<HostId, Millis> {
    let interrupted = interrupted(plan);
    let mut since: BTreeMap<&HostId, Timestamp> = BTreeMap::new();
    let mut dark: BTreeMap<HostId, Millis> = BTreeMap::new();
    let mut add = |host: &HostId, from: Timestamp, to: Timestamp| {
        dark.entry(host.clone()).or_default().0 += to.since(from).0;
    };
    for event in events {
        let Some((host, turn)) = turn(plan, &interrupted, &event.kind) else { continue };
        match turn {
            Turn::Dark => drop(since.entry(host).or_insert(event.at)),
            Turn::Light => {
                if let Some(from) = since.remove(host) {
                    add(host, from, event.at);
                }
            }
        }
    }
    if let Some(last) = events.last() {
        for (host, from) in since {
            add(host, from, last.at);
        }
    }
    dark
}

/// On some host the plan stops what is live and lets no request wait.
#[must_use]
pub fn goes_dark(plan: &Plan) -> bool {
    !interrupted(plan).is_empty()
}

/// The hosts on which what is live is stopped and no request waits, and what is done there when a release serves again.
fn interrupted(plan: &Plan) -> BTreeMap<&HostId, fn(&Action) -> bool> {
    let has = |host: &HostId, what: fn(&Action) -> bool| {
        plan.steps().any(|(_, on, step)| on == Some(host) && what(&step.action))
    };
    let stops = plan.steps().filter(|(_, _, step)| step.takes_away()).filter_map(|(_, host, _)| host);
    let held = |host: &HostId| has(host, |action| matches!(action, Action::Hold { .. }));
    let serves = |host: &HostId| -> fn(&Action) -> bool {
        let switched: fn(&Action) -> bool = |action| matches!(action, Action::Switch { .. });
        let healthy: fn(&Action) -> bool = |action| matches!(action, Action::AwaitHealthy { .. });
        if has(host, switched) { switched } else { healthy }
    };
    stops.filter(|host| !held(host)).map(|host| (host, serves(host))).collect()
}

enum Turn {
    Dark,
    Light,
}

fn turn<'p>(
    plan: &'p Plan,
    interrupted: &BTreeMap<&HostId, fn(&Action) -> bool>,
    event: &EventKind,
) -> Option<(&'p HostId, Turn)> {
    let of = |id: &StepId| -> Option<(&'p HostId, &'p Step)> {
        let (host, step) = plan.step(*id)?;
        Some((host.filter(|host| interrupted.contains_key(host))?, step))
    };
    let serves = |host: &HostId, action: &Action| interrupted.get(host).is_some_and(|serves| serves(action));
    let undoes = |step: &Step, what: fn(&Action) -> bool| step.undo.iter().any(what);
    match event {
        EventKind::StepStarted { step } => {
            let (host, step) = of(step)?;
            step.takes_away().then_some((host, Turn::Dark))
        }
        EventKind::StepSucceeded { step, .. } => {
            let (host, step) = of(step)?;
            serves(host, &step.action).then_some((host, Turn::Light))
        }
        // The new release is stopped again before the old one is started.
        EventKind::UndoStarted { step } => {
            let (host, step) = of(step)?;
            undoes(step, |action| matches!(action, Action::Stop { .. })).then_some((host, Turn::Dark))
        }
        EventKind::UndoSucceeded { step } => {
            let (host, step) = of(step)?;
            undoes(step, |action| matches!(action, Action::AwaitHealthy { .. }))
                .then_some((host, Turn::Light))
        }
        EventKind::RunStarted { .. }
        | EventKind::Adopted { .. }
        | EventKind::Intended { .. }
        | EventKind::StepFailed { .. }
        | EventKind::UnwindStarted { .. }
        | EventKind::UndoFailed { .. }
        | EventKind::Committed
        | EventKind::RunEnded { .. } => None,
    }
}
