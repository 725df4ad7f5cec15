//! What a run's events add up to: one total transition function for live running and for recovery.

use std::collections::BTreeSet;

use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, HostId, Lane, Outcome, Phase, Plan, Progress, RunId,
    Step, StepId, Stuck, WhoIsLive,
};

/// Of how many phases the intents are known before their time: with those of one phase more none is waited for.
const PHASES_AHEAD: usize = 2;

/// Where one step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Begun, its outcome not known yet.
    Running,
    /// Its intent was journaled, its outcome was not: the orchestrator died, or it was abandoned. Look at the world.
    Unknown,
    /// It was performed, here or before.
    Done,
    /// It was not performed, or not to its end; it may have had an effect.
    Failed(Failure),
    /// What takes it back is under way.
    Undoing,
    /// It was taken back.
    Undone,
    /// It could not be taken back: its host waits for a person.
    UndoFailed(Failure),
}

/// Which way a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// Towards the plan's release.
    Forward,
    /// Back, for this reason.
    Unwinding(Failure),
    /// Nothing is undone any more.
    Committed,
}

/// An event that cannot follow what came before: the journal is damaged, or the engine is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} ({event}) cannot follow: {reason}")]
pub struct IllegalTransition {
    /// Which event it is, by its number in the run.
    pub seq: u64,
    /// Its kind.
    pub event: String,
    /// Why it cannot follow.
    pub reason: String,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A step, towards the plan's release.
    Perform(StepId),
    /// A step is taken back.
    Undo(StepId),
}

/// A run as its events tell it.
#[derive(Debug, Clone)]
pub struct RunState {
    /// Which run.
    pub run: RunId,
    /// What it does.
    pub plan: Plan,
    /// `user@machine` of the process that runs it, the last that took it over.
    pub owner: String,
    /// Where each step stands, by its id.
    pub steps: Vec<StepStatus>,
    /// Which way it goes.
    pub direction: Direction,
    /// How it ended. `None` while it has not.
    pub ended: Option<Outcome>,
    /// The number of the event that comes next.
    pub next_seq: u64,
}

impl RunState {
    /// The state after `RunStarted`, which must be the first event.
    ///
    /// # Errors
    /// [`IllegalTransition`] for any other event.
    pub fn begin(event: &Event) -> Result<Self, IllegalTransition> {
        let EventKind::RunStarted { plan, owner, .. } = &event.kind else {
            return Err(illegal(event, "a run starts with run_started"));
        };
        if event.seq != 0 {
            return Err(illegal(event, "a run's first event has seq 0"));
        }
        // A step's status is found by its number.
        if plan
            .steps()
            .enumerate()
            .any(|(index, (_, _, step))| usize::try_from(step.id.0).ok() != Some(index))
        {
            return Err(illegal(event, "its steps are not numbered one after the other"));
        }
        Ok(Self {
            run: event.run,
            steps: vec![StepStatus::Pending; plan.steps().count()],
            plan: (**plan).clone(),
            owner: owner.clone(),
            direction: Direction::Forward,
            ended: None,
            next_seq: 1,
        })
    }

    /// # Errors
    /// [`IllegalTransition`] when the events do not follow from one another.
    pub fn replay(events: &[Event]) -> Result<Option<Self>, IllegalTransition> {
        let Some((first, rest)) = events.split_first() else { return Ok(None) };
        let mut state = Self::begin(first)?;
        for event in rest {
            state.apply(event)?;
        }
        Ok(Some(state))
    }

    /// Takes one event in. Every legal (state, event) pair is in the two matches below; all else is an error.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if event.run != self.run || event.seq != self.next_seq {
            return Err(illegal(event, "it is out of order"));
        }
        if self.ended.is_some() {
            return Err(illegal(event, "the run has ended"));
        }
        match &event.kind {
            EventKind::RunStarted { .. } => return Err(illegal(event, "the run has started already")),
            EventKind::Adopted { progress, left, without, .. } => {
                self.adopt(*progress, &[left.as_slice(), without].concat());
            }
            EventKind::UnwindStarted { cause } => match self.direction {
                Direction::Forward => self.direction = Direction::Unwinding(cause.clone()),
                Direction::Unwinding(_) | Direction::Committed => {
                    return Err(illegal(event, "only a run that goes forward can turn back"));
                }
            },
            EventKind::Committed => match self.direction {
                Direction::Forward => self.direction = Direction::Committed,
                Direction::Unwinding(_) | Direction::Committed => {
                    return Err(illegal(event, "only a run that goes forward can commit"));
                }
            },
            EventKind::RunEnded { outcome } => self.ended = Some(outcome.clone()),
            // What has not begun is pending to whoever wrote this, and unknown to whoever takes the run over.
            EventKind::Intended { steps } => {
                if steps.iter().any(|step| self.steps.get(step.0 as usize).is_none()) {
                    return Err(illegal(event, "the plan has no such step"));
                }
            }
            EventKind::StepStarted { step }
            | EventKind::StepSucceeded { step, .. }
            | EventKind::StepFailed { step, .. }
            | EventKind::UndoStarted { step }
            | EventKind::UndoSucceeded { step }
            | EventKind::UndoFailed { step, .. } => {
                let status = self
                    .steps
                    .get(step.0 as usize)
                    .ok_or_else(|| illegal(event, "the plan has no such step"))?;
                let next = next_status(&self.direction, status, &event.kind).map_err(|why| {
                    illegal(event, &format!("{why} (step {} is {status:?}, {:?})", step.0, self.direction))
                })?;
                self.steps[step.0 as usize] = next;
            }
        }
        self.next_seq += 1;
        Ok(())
    }

    /// What was under way when the former orchestrator died is unknown, and so is everything not begun here: another
    /// machine may have gone on with the run since these events were written. Every action looks before it acts, so
    /// looking again costs little and assuming costs the fleet. The same goes for what may have ended by itself since.
    fn adopt(&mut self, progress: Progress, left: &[HostId]) {
        let is_settled = progress == Progress::Committed || self.direction == Direction::Committed;
        for (phase, host, step) in self.plan.steps() {
            let tidying_up = self.plan.phases[phase].committed;
            let leave = host.is_some_and(|host| left.contains(host));
            let status = &mut self.steps[step.id.0 as usize];
            *status = match std::mem::replace(status, StepStatus::Unknown) {
                _ if leave && is_settled => StepStatus::Done,
                // Never begun is never undone.
                _ if leave => StepStatus::Pending,
                // The hosts say that all of these were done before the run committed.
                _ if progress == Progress::Committed
                    && !tidying_up
                    && !step.action.properties().may_lapse =>
                {
                    StepStatus::Done
                }
                StepStatus::Done if step.action.properties().may_lapse => StepStatus::Unknown,
                StepStatus::Pending | StepStatus::Running | StepStatus::Undoing | StepStatus::Unknown => {
                    StepStatus::Unknown
                }
                // An undo that failed is tried again: whoever adopts a stuck run has mended something.
                StepStatus::UndoFailed(_) => StepStatus::Unknown,
                settled => settled,
            };
        }
        match (progress, &self.direction) {
            (Progress::Forward, _)
            | (Progress::Unwinding, Direction::Unwinding(_))
            | (Progress::Committed, Direction::Committed) => {}
            (Progress::Unwinding, _) => {
                self.direction = Direction::Unwinding(Failure::new(
                    FailureKind::Other,
                    "the run was being undone when its orchestrator died; why is in that machine's journal",
                ));
            }
            (Progress::Committed, _) => self.direction = Direction::Committed,
        }
    }

    /// All that can be started now, given what is running; empty when something must end first or all is done.
    #[must_use]
    pub fn ready(&self) -> Vec<Work> {
        if self.ended.is_some() {
            return Vec::new();
        }
        match &self.direction {
            Direction::Forward | Direction::Committed => self.ready_forward(),
            Direction::Unwinding(_) => self.ready_backward(),
        }
    }

    fn ready_forward(&self) -> Vec<Work> {
        let phases = self.plan.phases.iter().map(|phase| self.open_steps(phase));
        let Some(open) = phases.into_iter().find(|open| !open.is_empty()) else { return Vec::new() };
        open.into_iter().filter(|step| self.is_to_do(step)).map(|step| Work::Perform(step.id)).collect()
    }

    /// The effects to come in the phase that is under way and in the next one; what is behind the commit has its time after
    /// it. None for a run that turns back: what it undoes depends on how each undo ends.
    #[must_use]
    pub fn ahead(&self) -> Vec<StepId> {
        self.ahead_in(&self.direction)
    }

    /// As [`RunState::ahead`], for a run that commits now.
    #[must_use]
    pub fn behind_the_commit(&self) -> Vec<StepId> {
        self.ahead_in(&Direction::Committed)
    }

    fn ahead_in(&self, direction: &Direction) -> Vec<StepId> {
        if self.ended.is_some() || matches!(direction, Direction::Unwinding(_)) {
            return Vec::new();
        }
        let phases = self.plan.phases.iter().skip_while(|phase| self.open_steps(phase).is_empty());
        phases
            .take(PHASES_AHEAD)
            .filter(|phase| !phase.committed || *direction == Direction::Committed)
            .flat_map(|phase| phase.lanes.iter().flat_map(|lane| &lane.steps))
            .filter(|step| self.is_to_do(step) && !step.action.properties().only_looks)
            .map(|step| step.id)
            .collect()
    }

    /// Of each of the phase's lanes the first step that is not done. In the committed phases a failed step is a warning, and
    /// its lane ends there: what comes next relies on it (a slot that was not drained must not be stopped).
    fn open_steps<'p>(&self, phase: &'p Phase) -> Vec<&'p Step> {
        let open_step = |lane: &'p Lane| {
            let step = lane.steps.iter().find(|step| *self.status(step) != StepStatus::Done)?;
            let given_up = phase.committed && matches!(self.status(step), StepStatus::Failed(_));
            (!given_up).then_some(step)
        };
        phase.lanes.iter().filter_map(open_step).collect()
    }

    fn is_to_do(&self, step: &Step) -> bool {
        matches!(self.status(step), StepStatus::Pending | StepStatus::Unknown)
    }

    /// Every host by itself, from its last step to its first: what is under way on one does not keep the others from being
    /// put back, and no undo races what is under way. A host on which an undo failed is left as it is from there: what would
    /// be undone next assumes that the later step is undone (the new slot must not stop while it still has the traffic).
    fn ready_backward(&self) -> Vec<Work> {
        let under_way = |step: &Step| {
            matches!(self.status(step), StepStatus::Running | StepStatus::Undoing | StepStatus::UndoFailed(_))
        };
        let steps = self.plan.steps();
        let mut settled: BTreeSet<Option<&HostId>> =
            steps.filter(|(_, _, step)| under_way(step)).map(|(_, host, _)| host).collect();
        let mut work = Vec::new();
        let backward = self.plan.phases.iter().rev().flat_map(|phase| phase.lanes.iter());
        for (lane, step) in backward.flat_map(|lane| lane.steps.iter().rev().map(move |step| (lane, step))) {
            let host = lane.host.as_ref();
            let begun =
                matches!(self.status(step), StepStatus::Done | StepStatus::Failed(_) | StepStatus::Unknown);
            if begun && !step.undo.is_empty() && !settled.contains(&host) {
                work.push(Work::Undo(step.id));
                settled.insert(host);
            }
        }
        work
    }

    /// Where a step of this run's plan stands. Panics for a step of another plan.
    #[must_use]
    pub fn status(&self, step: &Step) -> &StepStatus {
        &self.steps[step.id.0 as usize]
    }

    /// The first failure of a step that must not fail: the reason to turn back.
    #[must_use]
    pub fn cause_to_unwind(&self) -> Option<&Failure> {
        if self.direction != Direction::Forward {
            return None;
        }
        self.plan.steps().find_map(|(phase, _, step)| match self.status(step) {
            StepStatus::Failed(failure) if !self.plan.phases[phase].committed => Some(failure),
            _ => None,
        })
    }

    /// True when all steps before the first committed phase are done, and the run has not said so yet.
    #[must_use]
    pub fn may_commit(&self) -> bool {
        self.direction == Direction::Forward
            && self.plan.phases.iter().any(|phase| phase.committed)
            && self
                .plan
                .steps()
                .filter(|(phase, _, _)| !self.plan.phases[*phase].committed)
                .all(|(_, _, step)| *self.status(step) == StepStatus::Done)
    }

    /// How the run ends, once nothing is ready and nothing runs (P8).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.direction {
            Direction::Forward => Outcome::Succeeded { warnings: self.warnings() },
            Direction::Committed => match self.dark() {
                Some(failure) => Outcome::Stuck(self.stuck(failure.clone(), Vec::new())),
                None => Outcome::Succeeded { warnings: self.warnings() },
            },
            Direction::Unwinding(cause) => {
                let undo_failures = self.undo_failures();
                if !undo_failures.is_empty() {
                    return Outcome::Stuck(self.stuck(cause.clone(), undo_failures));
                }
                // A switch that was at least begun moved traffic, or may have; a stop of what was live took it away.
                // Where there was no route before, there is nothing that is live again.
                let moved = self.plan.steps().any(|(_, _, step)| {
                    let from_nothing = matches!(step.undo.first(), Some(Action::Withdraw { dial: None }));
                    let undone = *self.status(step) == StepStatus::Undone;
                    let moved = step.action.properties().moves_traffic && !from_nothing;
                    undone && (moved || step.takes_away())
                });
                match moved {
                    true => Outcome::RolledBack { failure: cause.clone() },
                    false => Outcome::Failed { failure: cause.clone() },
                }
            }
        }
    }

    /// A settled run was taken over, and it is not known yet whether its release still serves.
    #[must_use]
    pub fn is_bringing_back(&self) -> bool {
        let open = |step| {
            matches!(self.status(step), StepStatus::Pending | StepStatus::Unknown | StepStatus::Running)
        };
        self.direction == Direction::Committed
            && self.plan.steps().any(|(phase, _, step)| !self.plan.phases[phase].committed && open(step))
    }

    /// Why the release does not serve somewhere, although it was settled: it could not be brought back by whoever took
    /// the run over, or the old slot was kept because the new one does not run with the traffic, which was seen before it
    /// stopped or while it drained; or that was seen when it had stopped, or while old images were removed.
    fn dark(&self) -> Option<&Failure> {
        self.plan.steps().find_map(|(phase, _, step)| match (self.status(step), &step.action) {
            (StepStatus::Failed(failure), _) if !self.plan.phases[phase].committed => Some(failure),
            (StepStatus::Failed(failure), Action::Stop { heir: Some(_), .. })
                if matches!(failure.kind, FailureKind::Refused | FailureKind::Unhealthy) =>
            {
                Some(failure)
            }
            (StepStatus::Failed(failure), Action::Drain { heir: Some(_), .. } | Action::Prune { .. })
                if matches!(failure.kind, FailureKind::Unhealthy | FailureKind::Conflict) =>
            {
                Some(failure)
            }
            _ => None,
        })
    }

    fn warnings(&self) -> Vec<Failure> {
        self.steps.iter().filter_map(|status| failure_of(status, false)).chain(self.left_undone()).collect()
    }

    /// What was not begun, here or by whoever had the run before, as far as is known here: Ctrl-C while tidying up, or a step
    /// before it that failed.
    fn left_undone(&self) -> Option<Failure> {
        let open = self.plan.steps().filter(|(_, _, step)| self.is_to_do(step));
        let titles: Vec<String> = open
            .map(|(_, host, step)| match host {
                Some(host) if self.plan.hosts.len() > 1 => format!("{} on {host}", step.action.title()),
                _ => step.action.title(),
            })
            .collect();
        (!titles.is_empty()).then(|| {
            Failure::new(FailureKind::Cancelled, format!("not done any more: {}", titles.join(", "))).hint(
                "`lockgate resume` or the next deployment stops what still runs beside the live release",
            )
        })
    }

    fn undo_failures(&self) -> Vec<Failure> {
        self.steps.iter().filter_map(|status| failure_of(status, true)).collect()
    }

    /// Who is live is found by looking, not from what the run did: see [`crate::Performer::who_is_live`].
    fn stuck(&self, failure: Failure, undo_failures: Vec<Failure>) -> Stuck {
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let mut commands = vec![
            format!("lockgate --env {environment} status {service}"),
            format!("lockgate --env {environment} doctor"),
            format!("lockgate --env {environment} resume {service}"),
        ];
        if self.direction == Direction::Committed {
            commands.push(format!("lockgate --env {environment} rollback {service}"));
        }
        Stuck { failure, undo_failures, seen: WhoIsLive::default(), commands }
    }
}

fn failure_of(status: &StepStatus, undo: bool) -> Option<Failure> {
    match status {
        StepStatus::Failed(failure) if !undo => Some(failure.clone()),
        StepStatus::UndoFailed(failure) if undo => Some(failure.clone()),
        _ => None,
    }
}

/// The one truth table of a step: what it becomes, or why the event cannot follow.
fn next_status(
    direction: &Direction,
    status: &StepStatus,
    event: &EventKind,
) -> Result<StepStatus, &'static str> {
    use StepStatus::{Done, Failed, Pending, Running, UndoFailed, Undoing, Undone, Unknown};
    let forward = !matches!(direction, Direction::Unwinding(_));
    match (status, event) {
        // Unknown is performed again: actions look first.
        (Pending | Unknown, EventKind::StepStarted { .. }) if forward => Ok(Running),
        (Pending | Unknown, EventKind::StepStarted { .. }) => Err("a run that goes back begins nothing"),
        // Who takes a run over makes what was begun unknown, so a second beginning finds one of these only by mistake.
        (Running | Done | Failed(_) | Undoing | Undone | UndoFailed(_), EventKind::StepStarted { .. }) => {
            Err("it was begun already")
        }
        // A step that was under way when the run turned back still tells how it ended.
        (Running, EventKind::StepSucceeded { .. }) => Ok(Done),
        (Running, EventKind::StepFailed { failure, .. }) => Ok(Failed(failure.clone())),
        // An unknown step ended in another process, or not: it is begun again before anything is said of its end.
        (
            Pending | Unknown | Done | Failed(_) | Undoing | Undone | UndoFailed(_),
            EventKind::StepSucceeded { .. } | EventKind::StepFailed { .. },
        ) => Err("only what is under way ends"),
        // A failed step may have done half of its work, an unknown one all of it.
        (Done | Failed(_) | Unknown, EventKind::UndoStarted { .. }) if !forward => Ok(Undoing),
        (Done | Failed(_) | Unknown, EventKind::UndoStarted { .. }) => {
            Err("only a run that goes back takes a step back")
        }
        (Pending, EventKind::UndoStarted { .. }) => Err("what was not begun is not taken back"),
        // Its effect may still be on its way: it would come after the undo.
        (Running, EventKind::UndoStarted { .. }) => Err("what is under way ends before it is taken back"),
        // An undo that failed waits for a person; who takes the run over then finds it unknown.
        (Undoing | Undone | UndoFailed(_), EventKind::UndoStarted { .. }) => Err("it is taken back once"),
        (Undoing, EventKind::UndoSucceeded { .. }) if !forward => Ok(Undone),
        (Undoing, EventKind::UndoFailed { failure, .. }) if !forward => Ok(UndoFailed(failure.clone())),
        // A run that goes back stays so until it is over, or somebody takes it over, which makes this unknown.
        (Undoing, EventKind::UndoSucceeded { .. } | EventKind::UndoFailed { .. }) => {
            Err("only a run that goes back takes a step back")
        }
        (
            Pending | Running | Unknown | Done | Failed(_) | Undone | UndoFailed(_),
            EventKind::UndoSucceeded { .. } | EventKind::UndoFailed { .. },
        ) => Err("only an undo that is under way ends"),
        (
            _,
            EventKind::RunStarted { .. }
            | EventKind::Adopted { .. }
            | EventKind::Intended { .. }
            | EventKind::UnwindStarted { .. }
            | EventKind::Committed
            | EventKind::RunEnded { .. },
        ) => Err("it is about the run and no step"),
    }
}

fn illegal(event: &Event, reason: &str) -> IllegalTransition {
    let name = serde_json::to_value(&event.kind)
        .ok()
        .and_then(|value| value.get("event").and_then(|name| name.as_str().map(str::to_owned)))
        .unwrap_or_default();
    IllegalTransition { seq: event.seq, event: name, reason: reason.to_owned() }
}
