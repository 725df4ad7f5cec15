//! P4: no effect without an intent in the journal.

use std::collections::BTreeSet;

use lockgate_model::{Action, Event, EventKind, Plan, RunId, Step, StepId};
use lockgate_ports::fake::{Call, What};

/// What one orchestrator has in its journal of what it is about to do.
#[derive(Debug, Default)]
pub struct Intents {
    run: Option<RunId>,
    forward: BTreeSet<StepId>,
    backward: BTreeSet<StepId>,
    /// An append has failed: the journal lacks the rest, and what is undone is undone all the same.
    silent: bool,
}

impl Intents {
    /// An event is there.
    pub fn note(&mut self, event: &Event) {
        if self.run != Some(event.run) {
            *self = Self { run: Some(event.run), ..Self::default() };
        }
        match &event.kind {
            EventKind::Intended { steps } => self.forward.extend(steps),
            EventKind::StepStarted { step } => self.forward.extend([step]),
            EventKind::UndoStarted { step } => self.backward.extend([step]),
            _ => {}
        }
    }

    pub fn fall_silent(&mut self) {
        self.silent = true;
    }

    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Whether an effect on slots, routes or images is one of what was intended; any other call is.
    #[must_use]
    pub fn cover(&self, call: &Call, plan: Option<&Plan>) -> bool {
        let judged = matches!(
            call.what,
            What::Fetch
                | What::Start(_)
                | What::Stop(_)
                | What::Switch(_)
                | What::Withdraw
                | What::Hold
                | What::LetGo
                | What::BeginOneOff
                | What::EndOneOff
                | What::Prune
        );
        let Some(plan) = plan.filter(|_| judged && !self.silent && !call.late) else { return true };
        let does = |actions: &[Action]| actions.iter().any(|action| is(action, call.what));
        let intended = |step: &Step| {
            (self.forward.contains(&step.id) && is(&step.action, call.what))
                || (self.backward.contains(&step.id) && does(&step.undo))
        };
        plan.steps().any(|(_, host, step)| host == call.host.as_ref() && intended(step))
    }
}

fn is(action: &Action, what: What) -> bool {
    match (action, what) {
        (Action::Fetch { .. }, What::Fetch)
        | (Action::Withdraw { .. }, What::Withdraw)
        | (Action::Hold { .. }, What::Hold)
        | (Action::LetGo, What::LetGo)
        | (Action::RunHook { .. }, What::BeginOneOff | What::EndOneOff)
        | (Action::EndHook { .. }, What::EndOneOff)
        | (Action::Prune { .. }, What::Prune) => true,
        (Action::Start { slot, .. }, What::Start(meant))
        | (Action::Stop { slot, .. }, What::Stop(meant))
        | (Action::Switch { slot, .. }, What::Switch(meant)) => *slot == meant,
        _ => false,
    }
}
