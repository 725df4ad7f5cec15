//! One dispatcher per run: it alone owns the run's state, writes the journal and tells the sink; the steps' futures
//! only perform and report.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, FutureExt, abortable, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, HostId, Outcome, Plan, Progress, RunEnd, RunId, Seen,
    Slot, StepId, Unfinished,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::scribe::Scribe;
use crate::{
    Clock, Direction, EventSink, Fence, IllegalTransition, Journal, JournalError, Performer, RunState,
    StepStatus, Work,
};

/// An undo is tried again when the world could not be reached: giving up leaves a stuck run. So is tidying up.
const UNDO_ATTEMPTS_MAX: u32 = 6;
/// First pause between attempts to undo; doubles each time (6 attempts wait 6.2 s in all).
const UNDO_PAUSE_MILLIS: u64 = 200;
/// How long an event may be in nobody's journal while a step is waited for.
const UNWRITTEN_MILLIS_MAX: u64 = 50;
/// How long a router is asked who is live when a run ends stuck.
const LAST_LOOK_SECONDS_MAX: u64 = 10;
/// Looks at the lease in a row that took so long that their answer was worth nothing.
const SLOW_FENCES_MAX: u32 = 3;

/// Ctrl-C, asked once: the run turns back and undoes.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Sender<bool>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Interrupt {
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    #[must_use]
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is requested.
    pub async fn wait(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so this ends only with a request.
        if receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A run that could not go to one of its four ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Somebody else goes on with it; nothing more was done from here.
    #[error(transparent)]
    LeaseLost(Failure),
    /// Nothing was done: not even the beginning could be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("nothing was done: the run cannot be written down on the hosts: {0}")]
    Mark(Failure),
    /// The journal's events do not follow from one another.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

pub struct Engine<'a> {
    pub journal: &'a dyn Journal,
    pub performer: &'a dyn Performer,
    pub fence: Arc<Fence>,
    pub clock: &'a dyn Clock,
    pub sink: &'a dyn EventSink,
    pub interrupt: Interrupt,
    /// `user@machine` for the record.
    pub owner: String,
}

impl Engine<'_> {
    /// Runs a new plan to its end.
    ///
    /// # Errors
    /// [`RunError`]; for all but `LeaseLost` nothing was changed.
    pub async fn run(&self, run: RunId, plan: Plan) -> Result<Outcome, RunError> {
        let kind = EventKind::RunStarted { plan: Box::new(plan), owner: self.owner.clone() };
        let event = Event { run, seq: 0, at: self.clock.now(), kind };
        let mut dispatcher = Dispatcher::new(self, RunState::begin(&event)?);
        let mut events = vec![event];
        events.extend(dispatcher.intend(dispatcher.state.ahead())?);
        // Beside each other, for nothing is done before both: a run that only the hosts know is resumed from its plan,
        // and one that only the journal knows has done nothing.
        let (written, marked) = tokio::join!(dispatcher.scribe.begin(events), mark(self, &dispatcher.state));
        if let Err(error) = written {
            if let Err(failure) = self.fence.unmark().await {
                tracing::warn!(%failure, "a host still names a run that did not begin");
            }
            return Err(error.into());
        }
        // Some hosts may have been told: the run ends properly, as one that failed, so that nobody goes on with it.
        let trouble = match marked {
            Ok(()) => None,
            Err(failure) if failure.kind == FailureKind::LeaseLost => {
                return Err(RunError::LeaseLost(failure));
            }
            Err(failure) => Some(failure),
        };
        dispatcher.drive(trouble).await
    }

    /// Takes over a run that another process left, from its events if there are any, else from the plan alone. The hosts
    /// in `left` have moved on without it and are not touched, so such a run cannot go forward.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn adopt(
        &self,
        events: &[Event],
        unfinished: &Unfinished,
        left: &[HostId],
    ) -> Result<Outcome, RunError> {
        self.fence.leave(left);
        let state = match RunState::replay(events)? {
            Some(state) => {
                // Listeners need the plan to make sense of what follows.
                self.sink.event(&events[0]);
                state
            }
            None => {
                let kind = EventKind::RunStarted {
                    plan: Box::new(unfinished.plan.clone()),
                    owner: self.owner.clone(),
                };
                let event = Event { run: unfinished.run, seq: 0, at: self.clock.now(), kind };
                self.journal.append(&event).await?;
                self.sink.event(&event);
                RunState::begin(&event)?
            }
        };
        let mut dispatcher = Dispatcher::new(self, state);
        let adopted = EventKind::Adopted {
            owner: self.owner.clone(),
            progress: unfinished.progress,
            left: left.to_vec(),
        };
        if let Err(error) = dispatcher.record(adopted).await? {
            return Err(error.into());
        }
        mark(self, &dispatcher.state).await.map_err(RunError::Mark)?;
        dispatcher.drive(None).await
    }
}

type Finished = (Work, Result<Seen, Failure>);

struct Dispatcher<'a, 'e> {
    engine: &'a Engine<'e>,
    state: RunState,
    /// Whatever it has is written at the latest [`UNWRITTEN_MILLIS_MAX`] later.
    scribe: Scribe<'a>,
    /// The hosts have not been told which way the run goes now: they are before the first step on that way, and before
    /// its end.
    unmarked: bool,
    /// A gate has passed, and the journal may not know it. What a gate has said is there before anything follows from it.
    judged: bool,
    /// Of the steps' futures under way.
    handles: BTreeMap<StepId, AbortHandle>,
}

impl<'a, 'e> Dispatcher<'a, 'e> {
    fn new(engine: &'a Engine<'e>, state: RunState) -> Self {
        Self {
            engine,
            state,
            scribe: Scribe::new(engine.journal, engine.sink),
            unmarked: false,
            judged: false,
            handles: BTreeMap::new(),
        }
    }

    /// `trouble` is a failure that came from elsewhere than a step: from the journal, or from a host that could not be
    /// told of the run.
    async fn drive(mut self, mut trouble: Option<Failure>) -> Result<Outcome, RunError> {
        let keep_alive = self.engine.fence.keep_alive();
        let mut running: FuturesUnordered<BoxFuture<'a, Finished>> = FuturesUnordered::new();
        loop {
            self.turn(&mut trouble).await?;
            let stopping = self.stopping(trouble.as_ref());
            if !stopping {
                self.launch(&mut running, &mut trouble).await?;
                // Ctrl-C may have come while the intents were written: what was just started is turned back as well.
                if self.stopping(trouble.as_ref()) {
                    continue;
                }
            }
            if running.is_empty() {
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
            tokio::select! {
                // What a step came to is never overtaken by Ctrl-C, and a replay goes the same way again.
                biased;
                Some((work, result)) = running.next() => self.settle(&work, result)?,
                () = self.engine.interrupt.wait(), if interruptible => {}
                written = self.scribe.written(), if self.scribe.is_writing() => {
                    if let Err(error) = written {
                        self.cannot_write(&error, &mut trouble);
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(UNWRITTEN_MILLIS_MAX)), if self.scribe.has_unwritten() => {
                    self.scribe.send();
                }
            }
        }
        let outcome = self.end().await?;
        drop(keep_alive);
        Ok(outcome)
    }

    /// Turns back or commits when the state asks for it.
    async fn turn(&mut self, trouble: &mut Option<Failure>) -> Result<(), RunError> {
        if self.state.direction == Direction::Forward {
            let interrupted_only = |failure: &Failure| {
                failure.kind == FailureKind::Cancelled && self.engine.interrupt.requested()
            };
            let cause = match (self.state.cause_to_unwind(), trouble.as_ref()) {
                (Some(failure), None) if interrupted_only(failure) => Some(interrupted()),
                (Some(failure), Some(trouble)) if failure.kind == FailureKind::Cancelled => {
                    Some(trouble.clone())
                }
                (Some(failure), _) | (None, Some(failure)) => Some(failure.clone()),
                (None, None) if self.engine.interrupt.requested() => Some(interrupted()),
                (None, None) => None,
            };
            if let Some(cause) = cause {
                self.abandon_looking();
                // Their undo must not race what is under way.
                if self.state.anything_running() {
                    return Ok(());
                }
                self.note(EventKind::UnwindStarted { cause }).await?;
                *trouble = None;
                self.unmarked = true;
            } else if self.state.may_commit() {
                self.commit(trouble).await?;
            }
        } else if self.state.direction == Direction::Committed && self.stopping(None) {
            self.abandon_looking();
        }
        Ok(())
    }

    /// One write with the outcomes that lead to it and the intents of what follows. Where it fails the run turns back, for
    /// nothing is settled yet.
    async fn commit(&mut self, trouble: &mut Option<Failure>) -> Result<(), RunError> {
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
        let ready = self.state.ready();
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
    fn intend(&mut self, mut steps: Vec<StepId>) -> Result<Option<Event>, RunError> {
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
        let effects: Vec<&Work> = ready.iter().filter(|work| !self.only_looks(work)).collect();
        let all = |holds: &dyn Fn(StepId) -> bool| {
            effects.iter().all(|work| matches!(work, Work::Perform(step) if holds(*step)))
        };
        let judged = self.judged && !effects.is_empty();
        let there = !judged && all(&|step| self.scribe.has_intended(step));
        let on_its_way = !judged && all(&|step| self.scribe.is_intending(step));
        let Self { engine, state, scribe, unmarked, .. } = self;
        let journal = async {
            match (there, on_its_way) {
                (true, _) => Ok(()),
                (false, true) => scribe.written().await,
                (false, false) => scribe.write().await,
            }
        };
        let hosts = async { if *unmarked { mark_or_go_on(engine, state).await } else { Ok(()) } };
        let (written, marked) = tokio::join!(journal, hosts);
        (self.unmarked, self.judged) = (false, self.judged && !judged);
        marked?;
        self.scribe.tell_and_send_intents();
        Ok(written)
    }

    fn is_gate(&self, step: StepId) -> bool {
        self.state.plan.step(step).is_some_and(|(_, step)| matches!(step.action, Action::Gate { .. }))
    }

    fn only_looks(&self, work: &Work) -> bool {
        matches!(work, Work::Perform(step) if self.state.plan.step(*step).is_some_and(|(_, step)| step.action.only_looks()))
    }

    fn future(&self, work: &Work) -> BoxFuture<'a, Result<Seen, Failure>> {
        let engine = self.engine;
        let (unwinding, committed) =
            (matches!(work, Work::Undo(_)), self.state.direction == Direction::Committed);
        let Some((host, step)) = self.state.plan.step(id(work)) else {
            unreachable!("ready() names only steps of the plan")
        };
        let (host, step) = (host.cloned(), step.clone());
        async move {
            let action = std::slice::from_ref(&step.action);
            let result = match (unwinding, committed) {
                (false, false) => perform(engine, host.as_ref(), action).await,
                // There is nothing to turn back to any more.
                (false, true) => insist(engine, host.as_ref(), action).await,
                (true, _) => insist(engine, host.as_ref(), &step.undo).await,
            };
            result.map_err(|failure| match &host {
                Some(host) => failure.at(host),
                None => failure,
            })
        }
        .boxed()
    }

    fn settle(&mut self, work: &Work, result: Result<Seen, Failure>) -> Result<(), RunError> {
        self.handles.remove(&id(work));
        let outcome = match (work, result) {
            (_, Err(failure)) if failure.kind == FailureKind::LeaseLost => {
                return Err(RunError::LeaseLost(failure));
            }
            (Work::Perform(step), Ok(evidence)) => {
                self.judged |= self.is_gate(*step);
                EventKind::StepSucceeded { step: *step, evidence }
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

    /// Steps that only look are cut short; effects under way are waited for.
    fn abandon_looking(&self) {
        for (_, _, step) in self.state.plan.steps() {
            if *self.state.status(step) == StepStatus::Running
                && step.action.only_looks()
                && let Some(handle) = self.handles.get(&step.id)
            {
                handle.abort();
            }
        }
    }

    async fn end(&mut self) -> Result<Outcome, RunError> {
        // Where nothing was left to do on the way, this is where somebody who was overtaken learns of it.
        if self.unmarked {
            mark_or_go_on(self.engine, &self.state).await?;
        }
        let mut outcome = self.state.outcome();
        if let Outcome::Stuck(stuck) = &mut outcome {
            self.look_who_is_live(&mut stuck.live).await;
        }
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

    /// Whoever has to mend it by hand is told what the routers say. What the run knows stays where they cannot be asked.
    async fn look_who_is_live(&self, live: &mut BTreeMap<HostId, Slot>) {
        let bound = Duration::from_secs(LAST_LOOK_SECONDS_MAX);
        let looks = self.state.plan.hosts.iter().map(|host| async move {
            (host, tokio::time::timeout(bound, self.engine.performer.target(host)).await)
        });
        for (host, seen) in join_all(looks).await {
            match seen {
                Ok(Ok(Some(slot))) => drop(live.insert(host.clone(), slot)),
                Ok(Ok(None)) => drop(live.remove(host)),
                Ok(Err(failure)) => tracing::debug!(%failure, "who is live there is not known for certain"),
                Err(_) => tracing::debug!(%host, "its router did not answer in time"),
            }
        }
    }

    /// Takes an event into the state, the journal and the sink. The inner error is the journal's: the state has
    /// moved on all the same, for what happened has happened.
    async fn record(&mut self, kind: EventKind) -> Result<Result<(), JournalError>, RunError> {
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

fn unwritten(error: &JournalError) {
    tracing::warn!(%error, "the journal lacks the rest of this run");
}

async fn mark(engine: &Engine<'_>, state: &RunState) -> Result<(), Failure> {
    let progress = match state.direction {
        Direction::Forward => Progress::Forward,
        Direction::Unwinding(_) => Progress::Unwinding,
        Direction::Committed => Progress::Committed,
    };
    let unfinished = Unfinished { run: state.run, plan: state.plan.clone(), progress };
    engine.fence.mark(&unfinished).await
}

/// A host that cannot be told must not keep the others from being put back.
async fn mark_or_go_on(engine: &Engine<'_>, state: &RunState) -> Result<(), RunError> {
    match mark(engine, state).await {
        Err(failure) if failure.kind == FailureKind::LeaseLost => Err(RunError::LeaseLost(failure)),
        Err(failure) => {
            tracing::warn!(%failure, "a host could not be told how far the run is");
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

async fn perform(engine: &Engine<'_>, host: Option<&HostId>, actions: &[Action]) -> Result<Seen, Failure> {
    let mut seen = Seen::new();
    for action in actions {
        seen.extend(fenced(engine, host, engine.performer.perform(host, action)).await?);
    }
    Ok(seen)
}

/// Goes on with an action only while nobody else can hold the lease: an orchestrator that was paused in the middle of
/// one looks again before it does anything more.
async fn fenced(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    action: impl Future<Output = Result<Seen, Failure>>,
) -> Result<Seen, Failure> {
    let mut action = pin!(action);
    for _ in 0..SLOW_FENCES_MAX {
        loop {
            let asked = Instant::now();
            let trusted = engine.fence.check(host).await?;
            let mut polled = false;
            let result = poll_fn(|cx| {
                if asked.elapsed() >= trusted {
                    return Poll::Ready(None);
                }
                polled = true;
                action.as_mut().poll(cx).map(Some)
            });
            if let Some(result) = result.await {
                return result;
            }
            if !polled {
                break;
            }
        }
    }
    Err(Failure::new(FailureKind::TimedOut, "looking at the lease takes longer than a lease lives"))
}

/// All again from the first action when the world could not be reached: each looks before it acts.
async fn insist(engine: &Engine<'_>, host: Option<&HostId>, actions: &[Action]) -> Result<Seen, Failure> {
    let mut pause = Duration::from_millis(UNDO_PAUSE_MILLIS);
    for _ in 1..UNDO_ATTEMPTS_MAX {
        match perform(engine, host, actions).await {
            Err(failure) if transient(failure.kind) => {
                tracing::debug!(%failure, "tried again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    perform(engine, host, actions).await
}

fn transient(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::TimedOut | FailureKind::Conflict)
}

fn abandoned() -> Failure {
    Failure::new(FailureKind::Cancelled, "abandoned: the run turned back")
}

fn interrupted() -> Failure {
    Failure::new(FailureKind::Cancelled, "interrupted by the user")
}

fn journal_failure(error: &JournalError) -> Failure {
    let kind = match error {
        JournalError::Full { .. } => FailureKind::DiskFull,
        JournalError::Damaged { .. } | JournalError::Other { .. } => FailureKind::Other,
    };
    Failure::new(kind, error.to_string()).hint(error.hint())
}
