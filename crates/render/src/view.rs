//! What a run's events add up to, as far as a watcher must know.

use std::collections::BTreeMap;

use lockgate_model::{
    Action, Event, EventKind, Failure, HostId, Millis, Plan, Progress, RunId, StepId, Timestamp,
};

use crate::escaped;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepState {
    Waiting,
    Running {
        since: Timestamp,
    },
    /// Its outcome is unknown: its process died, or the run turned back while it was only looking.
    Abandoned,
    Done,
    Failed,
    Undoing {
        since: Timestamp,
    },
    Undone,
    UndoFailed,
}

/// One step, as its plan tells it. A step that no plan told of is called by its number.
#[derive(Debug, Clone)]
pub(crate) struct StepView {
    pub(crate) phase: Option<usize>,
    pub(crate) host: Option<HostId>,
    pub(crate) title: String,
    /// What its undo does.
    pub(crate) undo: String,
    pub(crate) is_gate: bool,
    may_be_broken_off: bool,
    pub(crate) state: StepState,
    /// Stays true when it is undone later.
    pub(crate) has_failed: bool,
}

/// How many steps stand where; derived anew each time from the steps themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub total: usize,
    /// Done and not undone.
    pub done: usize,
    /// Under way, undos included.
    pub running: usize,
    /// Failed ever, whether undone since or not.
    pub failed: usize,
    pub undone: usize,
    pub undo_failed: usize,
}

#[derive(Debug, Default)]
pub(crate) struct RunView {
    run: Option<RunId>,
    pub(crate) plan: Option<Plan>,
    pub(crate) steps: BTreeMap<StepId, StepView>,
    pub(crate) started: Option<Timestamp>,
    /// The latest event's time.
    pub(crate) now: Timestamp,
    /// The phase whose heading was shown last.
    pub(crate) phase_shown: Option<usize>,
    pub(crate) heading_shown: bool,
    /// Failures that were shown in full.
    pub(crate) failures_shown: Vec<Failure>,
    /// Steps under way, oldest first.
    pub(crate) active: Vec<StepId>,
}

impl RunView {
    /// Takes an event in. Says how long the step took that it ends.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<Millis> {
        self.now = event.at;
        match &event.kind {
            EventKind::RunStarted { plan, .. } => {
                self.begin(event.run, event.at, plan);
                None
            }
            EventKind::Adopted { progress, .. } => {
                self.abandon(|_| true);
                if *progress == Progress::Committed {
                    self.take_for_done();
                }
                None
            }
            EventKind::UnwindStarted { .. } => {
                self.abandon(|step| step.may_be_broken_off);
                None
            }
            EventKind::StepStarted { step } => self.set(*step, StepState::Running { since: event.at }),
            EventKind::StepSucceeded { step, .. } => self.set(*step, StepState::Done),
            EventKind::StepFailed { step, .. } => self.set(*step, StepState::Failed),
            EventKind::UndoStarted { step } => self.set(*step, StepState::Undoing { since: event.at }),
            EventKind::UndoSucceeded { step } => self.set(*step, StepState::Undone),
            EventKind::UndoFailed { step, .. } => self.set(*step, StepState::UndoFailed),
            EventKind::Intended { .. } | EventKind::Committed => None,
            EventKind::RunEnded { .. } => {
                self.abandon(|_| true);
                None
            }
        }
    }

    /// A run's beginning comes again when the run is adopted; what is known of it then stays.
    fn begin(&mut self, run: RunId, at: Timestamp, plan: &Plan) {
        if self.run == Some(run) && self.plan.is_some() {
            return;
        }
        *self = Self { run: Some(run), started: Some(at), now: at, ..Self::default() };
        for (phase, host, step) in plan.steps() {
            let undo: Vec<String> = step.undo_titles().map(|undo| escaped(&undo)).collect();
            let view = StepView {
                phase: Some(phase),
                host: host.cloned(),
                title: escaped(&step.action.title()),
                undo: undo.join(", "),
                is_gate: matches!(step.action, Action::Gate { .. }),
                may_be_broken_off: step.action.properties().may_be_broken_off,
                state: StepState::Waiting,
                has_failed: false,
            };
            self.steps.insert(step.id, view);
        }
        self.plan = Some(plan.clone());
    }

    fn set(&mut self, id: StepId, state: StepState) -> Option<Millis> {
        let step = self.steps.entry(id).or_insert_with(|| unknown(id));
        let took = match step.state {
            StepState::Running { since } | StepState::Undoing { since } => Some(self.now.since(since)),
            _ => None,
        };
        step.state = state;
        step.has_failed |= state == StepState::Failed;
        self.active.retain(|active| *active != id);
        if matches!(state, StepState::Running { .. } | StepState::Undoing { .. }) {
            self.active.push(id);
        }
        took
    }

    fn abandon(&mut self, which: impl Fn(&StepView) -> bool) {
        for step in self.steps.values_mut() {
            let active = matches!(step.state, StepState::Running { .. } | StepState::Undoing { .. });
            if active && which(step) {
                step.state = StepState::Abandoned;
            }
        }
        let steps = &self.steps;
        self.active.retain(|id| steps.get(id).is_some_and(|step| step.state != StepState::Abandoned));
    }

    /// A run that has committed did all that comes before tidying up, whether its events were seen or not.
    fn take_for_done(&mut self) {
        let Some(plan) = &self.plan else { return };
        for step in self.steps.values_mut() {
            let tidies_up =
                step.phase.and_then(|phase| plan.phases.get(phase)).is_none_or(|phase| phase.committed);
            if !tidies_up {
                step.state = StepState::Done;
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let count = |wanted: fn(&StepView) -> bool| self.steps.values().filter(|step| wanted(step)).count();
        Counts {
            total: self.steps.len(),
            done: count(|step| step.state == StepState::Done),
            running: count(|step| {
                matches!(step.state, StepState::Running { .. } | StepState::Undoing { .. })
            }),
            failed: count(|step| step.has_failed),
            undone: count(|step| step.state == StepState::Undone),
            undo_failed: count(|step| step.state == StepState::UndoFailed),
        }
    }

    /// `web1: ` where there is more than one host to confuse it with.
    pub(crate) fn place(&self, step: &StepView) -> String {
        let several = self.plan.as_ref().is_none_or(|plan| plan.hosts.len() > 1);
        match &step.host {
            Some(host) if several => format!("{host}: "),
            _ => String::new(),
        }
    }

    /// The heading of a phase, once, when its first step begins.
    pub(crate) fn heading_of(&mut self, id: StepId) -> Option<String> {
        let phase = self.steps.get(&id)?.phase?;
        if self.phase_shown == Some(phase) {
            return None;
        }
        self.phase_shown = Some(phase);
        self.plan.as_ref()?.phases.get(phase).map(|phase| escaped(&phase.title))
    }

    /// True for a step after which nothing is undone any more: its failure is a warning.
    pub(crate) fn only_warns(&self, id: StepId) -> bool {
        let phase = self.steps.get(&id).and_then(|step| step.phase);
        phase.and_then(|phase| self.plan.as_ref()?.phases.get(phase)).is_some_and(|phase| phase.committed)
    }
}

/// A step of a run whose beginning was not seen.
fn unknown(id: StepId) -> StepView {
    StepView {
        phase: None,
        host: None,
        title: format!("step {}", id.0),
        undo: format!("undo step {}", id.0),
        is_gate: false,
        may_be_broken_off: false,
        state: StepState::Waiting,
        has_failed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{deploy_events, rolled_back_events};

    fn after(events: &[Event]) -> RunView {
        let mut view = RunView::default();
        for event in events {
            view.apply(event);
        }
        view
    }

    #[test]
    fn counts_are_right_after_every_event_and_the_same_when_told_again() {
        let events = rolled_back_events();
        for upto in 1..=events.len() {
            let counts = after(&events[..upto]).counts();
            let sum = counts.done + counts.running + counts.undone + counts.undo_failed;
            assert!(sum <= counts.total, "{counts:?} after {upto}");
            assert_eq!(counts, after(&[&events[..upto], &events[..1]].concat()).counts());
        }
        let end = after(&events).counts();
        assert_eq!((end.running, end.failed, end.undone), (0, 1, 4), "{end:?}");
    }

    #[test]
    fn nothing_is_under_way_after_the_end() {
        let mut events = deploy_events();
        // Take the outcomes away: every step is still under way when the run ends.
        events.retain(|event| !matches!(event.kind, EventKind::StepSucceeded { .. }));
        let view = after(&events);
        assert_eq!(view.counts().running, 0);
        assert!(view.active.is_empty());
    }
}
