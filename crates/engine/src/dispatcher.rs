//! One dispatcher per run: it alone owns the run's state, writes the journal and tells the sink; the steps' futures
//! only perform and report.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, FutureExt, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, Headway, HostId, Outcome, RunEnd, Seen, StepId,
    StepProgress,
};

use tokio::time::Instant;

use crate::fenced::{insist, perform, until_answered};
use crate::run::{mark, progress};
use crate::said::Said;
use crate::scribe::Scribe;
use crate::{Direction, Engine, Interrupt, JournalError, RunError, RunFile, RunState, StepStatus, Work};

/// What a step saw, and the last that a program in it said.
type Done = Result<(Seen, Vec<String>), Failure>;
type Finished = (Work, Done);

pub(crate) struct Dispatcher<'a, 'e> {
    engine: &'a Engine<'e>,
    pub(crate) state: RunState,
    /// Its plan, as the hosts keep it.
    pub(crate) file: Arc<RunFile>,
    /// Whatever it has is written when it is due.
    pub(crate) scribe: Scribe<'a>,
    /// The hosts have not been told that the run is settled: they are before the first step of tidying up, and before the
    /// run's end.
    unmarked: bool,
    /// Hosts that are being told that the run turns back: on none is anything undone before it knows.
    untold: BTreeSet<HostId>,
    telling: FuturesUnordered<BoxFuture<'a, (HostId, Result<(), Failure>)>>,
    /// A gate has passed, and the journal may not know it. What a gate has said is there before anything follows from it.
    judged: bool,
    /// Of the steps' futures under way.
    handles: BTreeMap<StepId, AbortHandle>,
}

impl<'a, 'e> Dispatcher<'a, 'e> {
    pub(crate) fn new(engine: &'a Engine<'e>, state: RunState, file: Arc<RunFile>) -> Self {
        Self {
            engine,
            state,
            file,
            scribe: Scribe::new(engine.journal, engine.sink),
            unmarked: false,
            untold: BTreeSet::new(),
            telling: FuturesUnordered::new(),
            judged: false,
            handles: BTreeMap::new(),
        }
    }

    /// `trouble` is a failure that came from elsewhere than a step: from the journal, or from a host that could not be
    /// told of the run.
    ///
    /// # Errors
    /// `LeaseLost` and `Midway`: from here on effects may have happened.
    pub(crate) async fn drive(self, trouble: Option<Failure>) -> Result<Outcome, RunError> {
        self.drive_on(trouble).await.map_err(RunError::in_the_middle)
    }

    async fn drive_on(mut self, mut trouble: Option<Failure>) -> Result<Outcome, RunError> {
        let mut running: FuturesUnordered<BoxFuture<'a, Finished>> = FuturesUnordered::new();
        loop {
            self.turn(&mut running, &mut trouble).await?;
            let stopping = self.stopping(trouble.as_ref());
            if !stopping {
                self.launch(&mut running, &mut trouble).await?;
                // Ctrl-C may have come while the intents were written: what was just started is turned back as well.
                if self.stopping(trouble.as_ref()) {
                    continue;
                }
            }
            if running.is_empty() && self.telling.is_empty() {
                if trouble.is_some() && self.state.direction == Direction::Forward {
                    continue;
                }
                if stopping || self.state.ready().is_empty() {
                    break;
                }
                continue;
            }
            let forward = !matches!(self.state.direction, Direction::Unwinding(_));
            let interruptible = forward && !self.engine.interrupt.requested();
            let due = self.scribe.due();
            tokio::select! {
                // What a step came to is never overtaken by Ctrl-C, and a replay goes the same way again.
                biased;
                Some((work, result)) = running.next() => self.settle(&work, result)?,
                Some((host, told)) = self.telling.next(), if !self.telling.is_empty() => self.told(&host, told)?,
                () = self.engine.interrupt.wait(), if interruptible => {}
                written = self.scribe.written(), if self.scribe.is_writing() => {
                    if let Err(error) = written {
                        self.cannot_write(&error, &mut trouble);
                    }
                }
                () = until(due) => self.scribe.send(),
            }
        }
        let outcome = self.end().await?;
        Ok(outcome)
    }

    /// Turns back or commits when the state asks for it.
    async fn turn(
        &mut self,
        running: &mut FuturesUnordered<BoxFuture<'a, Finished>>,
        trouble: &mut Option<Failure>,
    ) -> Result<(), RunError> {
        if self.state.direction == Direction::Forward {
            let failure = self.state.cause_to_unwind().or(trouble.as_ref()).cloned();
            let cause = failure.or_else(|| interrupted(&self.engine.interrupt));
            if let Some(cause) = cause {
                self.break_off();
                if let Err(error) = self.scribe.written().await {
                    unwritten(&error);
                }
                self.confirm_beside(running).await?;
                self.note(EventKind::UnwindStarted { cause }).await?;
                *trouble = None;
                self.tell_hosts_to_turn();
            } else if self.state.may_commit() {
                self.commit(trouble).await?;
            }
        } else if self.state.direction == Direction::Committed && self.stopping(None) {
            self.break_off();
            self.engine.interrupt.heed();
        }
        Ok(())
    }

    /// One write with the outcomes that lead to it and the intents of what follows. Where it fails the run turns back, for
    /// nothing is settled yet.
    async fn commit(&mut self, trouble: &mut Option<Failure>) -> Result<(), RunError> {
        if let Err(error) = self.scribe.written().await {
            *trouble = Some(journal_failure(&error));
            return Ok(());
        }
        // As in `confirm_beside`, but nothing is under way now.
        or_go_on(self.engine.fence.confirm_overdue().await)?;
        // Before it, so that a journal which has only a beginning of these lacks the commit.
        let ahead = self.intend(self.state.behind_the_commit())?;
        self.scribe.take(ahead);
        let committed = self.event(EventKind::Committed);
        match self.scribe.write_with(committed.clone()).await {
            Ok(()) => {
                self.state.apply(&committed)?;
                self.unmarked = true;
            }
            Err(error) => *trouble = Some(journal_failure(&error)),
        }
        Ok(())
    }

    /// Looks at the leases that may have been lost, before the journal is told where the run goes: that is not for somebody to
    /// say who stood still and was replaced meanwhile. What was on its way into the journal has arrived by then, for that may
    /// have taken long.
    ///
    /// Steps go on beside it: one of them may have to get out of the way first, because it renews the very lease or has the
    /// host's last connection.
    async fn confirm_beside(
        &mut self,
        running: &mut FuturesUnordered<BoxFuture<'a, Finished>>,
    ) -> Result<(), RunError> {
        let fence = self.engine.fence.clone();
        let mut looked = pin!(fence.confirm_overdue());
        loop {
            tokio::select! {
                biased;
                looked = &mut looked => return or_go_on(looked),
                Some((work, result)) = running.next() => self.settle(&work, result)?,
            }
        }
    }

    /// Before the run's end is told, when nothing is under way any more. An end that says what became of the hosts is told
    /// only after a look at all of them; that of a run that succeeded was marked on them when it committed.
    async fn confirm_end(&mut self, outcome: &Outcome) -> Result<(), RunError> {
        if let Err(error) = self.scribe.written().await {
            unwritten(&error);
        }
        let fence = &self.engine.fence;
        let looked = match outcome {
            Outcome::Succeeded { .. } => fence.confirm_overdue().await,
            Outcome::Failed { .. } | Outcome::RolledBack { .. } | Outcome::Stuck(_) => fence.confirm().await,
        };
        match looked {
            // It would be told blindly.
            Err(failure) if failure.kind != FailureKind::LeaseLost && fence.is_overdue() => {
                or_go_on(until_answered(|| fence.confirm_overdue()).await)
            }
            looked => or_go_on(looked),
        }
    }

    /// True when nothing new may be started for now.
    fn stopping(&self, trouble: Option<&Failure>) -> bool {
        match self.state.direction {
            Direction::Forward => {
                trouble.is_some()
                    || self.state.cause_to_unwind().is_some()
                    || self.engine.interrupt.requested()
            }
            // Only tidying up ends early.
            Direction::Committed => self.engine.interrupt.requested() && !self.state.is_bringing_back(),
            Direction::Unwinding(_) => false,
        }
    }

    /// Starts all that can be started, once the intents of what has an effect are written.
    async fn launch(
        &mut self,
        running: &mut FuturesUnordered<BoxFuture<'a, Finished>>,
        trouble: &mut Option<Failure>,
    ) -> Result<(), RunError> {
        let ready = self.ready();
        for work in &ready {
            self.take(match *work {
                Work::Perform(step) => EventKind::StepStarted { step },
                Work::Undo(step) => EventKind::UndoStarted { step },
            })?;
        }
        let ahead = self.intend(self.state.ahead())?;
        self.scribe.take(ahead);
        if let Err(error) = self.announce(&ready).await?
            && !matches!(self.state.direction, Direction::Unwinding(_))
        {
            // The intents could not be written, so the effects do not happen.
            for work in &ready {
                let failure = journal_failure(&error);
                self.note(EventKind::StepFailed { step: id(work), failure }).await?;
            }
            *trouble = Some(journal_failure(&error));
            return Ok(());
        }
        for work in ready {
            let (future, handle) = abortable(self.future(&work));
            self.handles.insert(id(&work), handle);
            running.push(
                future.map(move |result| (work, result.unwrap_or_else(|Aborted| Err(abandoned())))).boxed(),
            );
        }
        Ok(())
    }

    /// Takes the intents of these effects into the state, where they are not known yet.
    pub(crate) fn intend(&mut self, mut steps: Vec<StepId>) -> Result<Option<Event>, RunError> {
        steps.retain(|step| !self.scribe.knows_intent(*step));
        if steps.is_empty() {
            return Ok(None);
        }
        let event = self.event(EventKind::Intended { steps });
        self.state.apply(&event)?;
        Ok(Some(event))
    }

    /// Returns when the journal knows what comes next, and the hosts too where they do not know the direction yet: no
    /// effect happens before both do.
    async fn announce(&mut self, ready: &[Work]) -> Result<Result<(), JournalError>, RunError> {
        let effects: Vec<StepId> = ready.iter().filter(|work| !self.only_looks(work)).map(id).collect();
        let judged = self.judged && !effects.is_empty();
        // What is undone is not known before its time.
        let anew = judged || ready.iter().any(|work| matches!(work, Work::Undo(_)));
        let Self { engine, state, file, scribe, unmarked, .. } = self;
        let journal = async {
            match anew {
                true => scribe.write().await,
                false => scribe.until_intended(&effects).await,
            }
        };
        let hosts = async { if *unmarked { mark(engine, state, file).await } else { Ok(()) } };
        let (written, marked) = tokio::join!(journal, hosts);
        (self.unmarked, self.judged) = (false, self.judged && !judged);
        or_go_on(marked)?;
        self.scribe.tell_and_send_intents();
        Ok(written)
    }

    /// What can be started now; nothing on a host that does not know yet that the run turns back.
    fn ready(&self) -> Vec<Work> {
        let mut ready = self.state.ready();
        let host = |work: &Work| self.state.plan.step(id(work)).and_then(|(host, _)| host);
        ready.retain(|work| host(work).is_none_or(|host| !self.untold.contains(host)));
        ready
    }

    /// Each by itself: one that cannot be reached must not keep the others from being put back.
    fn tell_hosts_to_turn(&mut self) {
        let (progress, cause) = progress(&self.state);
        for host in &self.state.plan.hosts {
            let (host, fence, file) = (host.clone(), self.engine.fence.clone(), self.file.clone());
            let cause = cause.cloned();
            self.untold.insert(host.clone());
            self.telling.push(
                async move {
                    let told = fence.mark_on(&host, &file, progress, cause.as_ref()).await;
                    (host, told)
                }
                .boxed(),
            );
        }
    }

    fn told(&mut self, host: &HostId, told: Result<(), Failure>) -> Result<(), RunError> {
        self.untold.remove(host);
        if self.untold.is_empty() {
            self.engine.interrupt.heed();
        }
        or_go_on(told)
    }

    fn is_gate(&self, step: StepId) -> bool {
        matches!(self.action(step), Some(Action::Gate { .. }))
    }

    fn only_looks(&self, work: &Work) -> bool {
        matches!(work, Work::Perform(step) if self.action(*step).is_some_and(|action| action.properties().only_looks))
    }

    fn action(&self, step: StepId) -> Option<&Action> {
        self.state.plan.step(step).map(|(_, step)| &step.action)
    }

    fn future(&self, work: &Work) -> BoxFuture<'a, Done> {
        let engine = self.engine;
        let (unwinding, committed) =
            (matches!(work, Work::Undo(_)), self.state.direction == Direction::Committed);
        let cause = match &self.state.direction {
            Direction::Unwinding(cause) => Some(cause),
            Direction::Forward | Direction::Committed => None,
        };
        let Some((host, step)) = self.state.plan.step(id(work)) else {
            unreachable!("ready() names only steps of the plan")
        };
        let can_turn_back = self.state.direction == Direction::Forward;
        let run = self.state.run;
        let told = |action: &Action| action.clone().told(run, &engine.owner, cause, can_turn_back);
        let (host, actions): (_, Vec<Action>) = match unwinding {
            false => (host.cloned(), vec![told(&step.action)]),
            true => (host.cloned(), step.undo.iter().map(told).collect()),
        };
        let step = step.id;
        async move {
            let said = Said::default();
            let progress = |headway: Headway| {
                said.hear(&headway);
                engine.sink.progress(&StepProgress { run, at: engine.clock.now(), step, headway });
            };
            let result = match (unwinding, committed) {
                (false, false) => perform(engine, host.as_ref(), &actions, &progress).await,
                // Tidying up: there is nothing to turn back to any more. An undo gives up only what cannot be done.
                (false, true) | (true, _) => insist(engine, host.as_ref(), &actions, &progress).await,
            };
            match result {
                Ok(seen) => Ok((seen, said.last())),
                Err(failure) => Err(match &host {
                    Some(host) => failure.at(host),
                    None => failure,
                }),
            }
        }
        .boxed()
    }

    fn settle(&mut self, work: &Work, result: Done) -> Result<(), RunError> {
        self.handles.remove(&id(work));
        let outcome = match (work, result) {
            (_, Err(failure)) if failure.kind == FailureKind::LeaseLost => {
                return Err(RunError::LeaseLost(failure));
            }
            (Work::Perform(step), Ok((evidence, said))) => {
                self.judged |= self.is_gate(*step);
                EventKind::StepSucceeded { step: *step, evidence, said }
            }
            (Work::Perform(step), Err(failure)) => EventKind::StepFailed { step: *step, failure },
            (Work::Undo(step), Ok(_)) => EventKind::UndoSucceeded { step: *step },
            (Work::Undo(step), Err(failure)) => EventKind::UndoFailed { step: *step, failure },
        };
        self.take(outcome)
    }

    /// What was on its way into the journal has not arrived. Nothing waits for it, so a run that goes forward turns back.
    fn cannot_write(&self, error: &JournalError, trouble: &mut Option<Failure>) {
        match self.state.direction {
            Direction::Forward => *trouble = Some(journal_failure(error)),
            Direction::Unwinding(_) | Direction::Committed => unwritten(error),
        }
    }

    /// What may be broken off is cut short; other effects under way are waited for.
    fn break_off(&self) {
        for (_, _, step) in self.state.plan.steps() {
            if *self.state.status(step) == StepStatus::Running
                && step.action.properties().may_be_broken_off
                && let Some(handle) = self.handles.get(&step.id)
            {
                handle.abort();
            }
        }
    }

    async fn end(&mut self) -> Result<Outcome, RunError> {
        // Where nothing was left to do on the way, this is where somebody who was overtaken learns of it.
        if self.unmarked {
            or_go_on(mark(self.engine, &self.state, &self.file).await)?;
        }
        let mut outcome = self.state.outcome();
        if let Outcome::Stuck(stuck) = &mut outcome {
            stuck.seen = self.engine.performer.who_is_live(&self.state.plan.hosts).await;
        }
        self.confirm_end(&outcome).await?;
        let at = self.engine.clock.now();
        self.note(EventKind::RunEnded { outcome: outcome.clone() }).await?;
        let settled = !matches!(outcome, Outcome::Stuck(_));
        let end = RunEnd { run: self.state.run, at, outcome: outcome.clone() };
        match self.engine.fence.finish(&end, settled).await {
            Ok(()) => {}
            Err(failure) if failure.kind == FailureKind::LeaseLost => {
                return Err(RunError::LeaseLost(failure));
            }
            // The lease expires by itself, and whoever finds the run unfinished finds everything in place.
            Err(failure) => tracing::warn!(%failure, "the run's end could not be written down on a host"),
        }
        Ok(outcome)
    }

    /// Takes an event into the state, the journal and the sink. The inner error is the journal's: the state has
    /// moved on all the same, for what happened has happened.
    pub(crate) async fn record(&mut self, kind: EventKind) -> Result<Result<(), JournalError>, RunError> {
        self.take(kind)?;
        Ok(self.scribe.write().await)
    }

    fn event(&self, kind: EventKind) -> Event {
        Event { run: self.state.run, seq: self.state.next_seq, at: self.engine.clock.now(), kind }
    }

    /// Takes an event into the state; the scribe takes it further.
    fn take(&mut self, kind: EventKind) -> Result<(), RunError> {
        let event = self.event(kind);
        self.state.apply(&event)?;
        self.scribe.take([event]);
        Ok(())
    }

    /// As [`Self::record`] where a failing journal must not stand in the way of going on.
    async fn note(&mut self, kind: EventKind) -> Result<(), RunError> {
        if let Err(error) = self.record(kind).await? {
            unwritten(&error);
        }
        Ok(())
    }
}

/// Never, where there is nothing to wait for.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn unwritten(error: &JournalError) {
    tracing::warn!(%error, "the journal lacks the rest of this run");
}

/// A host that could not be told or asked does not stop the run.
fn or_go_on(told: Result<(), Failure>) -> Result<(), RunError> {
    match told {
        Err(failure) if failure.kind == FailureKind::LeaseLost => Err(RunError::LeaseLost(failure)),
        Err(failure) => {
            tracing::warn!(%failure, "a host could not be told how far the run is, or asked whether it is still ours");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn id(work: &Work) -> StepId {
    match work {
        Work::Perform(step) | Work::Undo(step) => *step,
    }
}

fn abandoned() -> Failure {
    Failure::new(FailureKind::Cancelled, "cut short: the run did not wait for it any more")
}

fn interrupted(interrupt: &Interrupt) -> Option<Failure> {
    interrupt.requested().then(|| Failure::new(FailureKind::Cancelled, interrupt.reason()))
}

fn journal_failure(error: &JournalError) -> Failure {
    let kind = match error {
        JournalError::Full { .. } => FailureKind::DiskFull,
        JournalError::NotOurs { .. } => FailureKind::Refused,
        JournalError::Unusable { kind, .. } => *kind,
        JournalError::Damaged { .. } | JournalError::Other { .. } => FailureKind::Other,
    };
    Failure::new(kind, error.to_string()).hint(error.hint())
}
