//! How long nothing was live, from a run's events: the one place in which that is counted.

use std::collections::BTreeMap;

use crate::{Action, Event, EventKind, HostId, Interruption, Millis, Plan, Step, StepId, Timestamp};

/// Of each host on which the run stopped what was live without a router that lets requests wait: how long nothing was
/// live, from the beginning of the stop until a release, the new or the old one, was healthy. All times of one run count,
/// also the second one of a run that went back. Empty for a plan that does not interrupt. A host that was dark when the
/// events end is dark until the last of them.
#[must_use]
pub fn dark_times(plan: &Plan, events: &[Event]) -> BTreeMap<HostId, Millis> {
    if plan.interruption() != Some(Interruption::Dark) {
        return BTreeMap::new();
    }
    let mut since: BTreeMap<&HostId, Timestamp> = BTreeMap::new();
    let mut dark: BTreeMap<HostId, Millis> = BTreeMap::new();
    let mut add = |host: &HostId, from: Timestamp, to: Timestamp| {
        dark.entry(host.clone()).or_default().0 += to.since(from).0;
    };
    for event in events {
        let Some((host, turn)) = turn(plan, &event.kind) else { continue };
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

enum Turn {
    Dark,
    Light,
}

fn turn<'p>(plan: &'p Plan, event: &EventKind) -> Option<(&'p HostId, Turn)> {
    let of = |id: &StepId| -> Option<(&'p HostId, &'p Step)> {
        let (host, step) = plan.step(*id)?;
        Some((host?, step))
    };
    let undoes = |step: &Step, what: fn(&Action) -> bool| step.undo.iter().any(what);
    match event {
        EventKind::StepStarted { step } => {
            let (host, step) = of(step)?;
            step.takes_away().then_some((host, Turn::Dark))
        }
        EventKind::StepSucceeded { step, .. } => {
            let (host, step) = of(step)?;
            matches!(step.action, Action::AwaitHealthy { .. }).then_some((host, Turn::Light))
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
