//! A run's beginning, here or where another process left it.

use std::sync::Arc;

use lockgate_model::{
    Event, EventKind, Failure, FailureKind, HostId, Outcome, Plan, Progress, Requester, RunId, Unfinished,
};
use tokio::sync::watch;

use crate::dispatcher::Dispatcher;
use crate::{
    Clock, Direction, EventSink, Fence, IllegalTransition, Journal, JournalError, Performer, RunFile,
    RunState,
};

/// Somebody wants the run undone, by Ctrl-C or by other means: it turns back.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Who asked for it first, as it is told.
    requested: watch::Sender<Option<String>>,
    heeded: watch::Sender<bool>,
}

impl Interrupt {
    /// By whoever the run is for.
    pub fn request(&self) {
        self.request_by("the user");
    }

    /// `who` is told in the reason for which the run turned back: who, and why. Who asks first is.
    pub fn request_by(&self, who: &str) {
        self.requested.send_if_modified(|by| {
            let is_first = by.is_none();
            by.get_or_insert_with(|| who.to_owned());
            is_first
        });
    }

    /// Whether somebody has asked for it.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.requested.borrow().is_some()
    }

    /// `interrupted by the user`.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("interrupted by {}", self.requested.borrow().as_deref().unwrap_or("the user"))
    }

    /// Returns when it is requested.
    pub async fn wait(&self) {
        until(&self.requested, Option::is_some).await;
    }

    /// The hosts know what was made of it, so that whoever comes next goes the same way.
    pub(crate) fn heed(&self) {
        self.heeded.send_replace(true);
    }

    /// Returns when the hosts know what was made of it: from then on the run may be left to somebody else. Never for a
    /// run that ends before.
    pub async fn heeded(&self) {
        until(&self.heeded, |heeded| *heeded).await;
    }
}

async fn until<T>(sender: &watch::Sender<T>, is: impl FnMut(&T) -> bool) {
    // The sender outlives this, so it ends only with what is waited for.
    if sender.subscribe().wait_for(is).await.is_err() {
        std::future::pending::<()>().await;
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
    /// The plan or the record could not be written to a host, so no effect was begun.
    #[error("nothing was done: the run cannot be written down on the hosts: {0}")]
    Mark(Failure),
    /// The journal's events do not follow from one another. Nothing was done.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The run was left in the middle, where its next event would not have followed. What it had begun may be done, and
    /// the hosts still hold it as unfinished.
    #[error("the run was left in the middle: {0}")]
    Midway(IllegalTransition),
}

impl RunError {
    /// As it is told of a run that has begun: what it had done by then must not be told as nothing.
    pub(crate) fn in_the_middle(self) -> Self {
        match self {
            RunError::Illegal(illegal) => RunError::Midway(illegal),
            RunError::LeaseLost(_) | RunError::Midway(_) | RunError::Journal(_) | RunError::Mark(_) => self,
        }
    }
}

/// All that running one plan needs. It is used for one run.
pub struct Engine<'a> {
    /// Where intents and outcomes are written down before and after effects.
    pub journal: &'a dyn Journal,
    /// What performs actions.
    pub performer: &'a dyn Performer,
    /// The leases under which effects happen.
    pub fence: Arc<Fence>,
    /// For the times of events.
    pub clock: &'a dyn Clock,
    /// Who hears of events.
    pub sink: &'a dyn EventSink,
    /// How a person stops the run.
    pub interrupt: Interrupt,
    /// `user@machine` for the record.
    pub owner: String,
    /// Who asked for what is run, where that is not plainly the owner.
    pub requester: Option<Requester>,
}

impl Engine<'_> {
    fn started(&self, plan: Plan) -> EventKind {
        let (owner, requester) = (self.owner.clone(), self.requester.clone());
        EventKind::RunStarted { plan: Box::new(plan), owner, requester }
    }

    /// Runs a new plan to its end.
    ///
    /// # Errors
    /// [`RunError`]; for all but `LeaseLost` and `Midway` nothing was changed.
    pub async fn run(&self, run: RunId, plan: Plan) -> Result<Outcome, RunError> {
        let file = Arc::new(RunFile::of(run, &plan).map_err(RunError::Mark)?);
        let kind = self.started(plan);
        let event = Event { run, seq: 0, at: self.clock.now(), kind };
        let mut dispatcher = Dispatcher::new(self, RunState::begin(&event)?, file);
        let mut events = vec![event];
        events.extend(dispatcher.intend(dispatcher.state.ahead())?);
        // Beside each other, for nothing is done before both: a run that only the hosts know is resumed from its plan,
        // and one that only the journal knows has done nothing.
        let marked = mark(self, &dispatcher.state, &dispatcher.file);
        let (written, marked) = tokio::join!(dispatcher.scribe.begin(events), marked);
        if let Err(error) = written {
            if let Err(failure) = self.fence.unmark().await {
                tracing::warn!(%failure, "a host still names a run that did not begin");
            }
            return Err(error.into());
        }
        // Who hears that it has started may rely on its being known on the hosts, as far as that could be.
        dispatcher.scribe.tell_beginning();
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
    /// in `left` have moved on without it, those in `without` do not answer or are left out: none of them is touched, so
    /// such a run cannot go forward.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn adopt(
        &self,
        events: &[Event],
        unfinished: &Unfinished,
        left: &[HostId],
        without: &[HostId],
    ) -> Result<Outcome, RunError> {
        self.fence.leave(left);
        let state = match RunState::replay(events)? {
            Some(state) => {
                // Listeners need the plan to make sense of what follows.
                self.sink.event(&events[0]);
                state
            }
            None => {
                let kind = self.started(unfinished.plan.clone());
                let event = Event { run: unfinished.run, seq: 0, at: self.clock.now(), kind };
                self.journal.append(&event).await?;
                self.sink.event(&event);
                RunState::begin(&event)?
            }
        };
        let file = Arc::new(RunFile::of(state.run, &state.plan).map_err(RunError::Mark)?);
        let mut dispatcher = Dispatcher::new(self, state, file);
        let adopted = EventKind::Adopted {
            owner: self.owner.clone(),
            progress: unfinished.progress,
            left: left.to_vec(),
            without: without.to_vec(),
        };
        if let Err(error) = dispatcher.record(adopted).await? {
            return Err(error.into());
        }
        mark(self, &dispatcher.state, &dispatcher.file).await.map_err(RunError::Mark)?;
        dispatcher.drive(None).await
    }
}

pub(crate) async fn mark(engine: &Engine<'_>, state: &RunState, file: &RunFile) -> Result<(), Failure> {
    let (progress, cause) = progress(state);
    engine.fence.mark(file, progress, cause).await
}

/// As the hosts' records have it, with why it turned back.
pub(crate) fn progress(state: &RunState) -> (Progress, Option<&Failure>) {
    match &state.direction {
        Direction::Forward => (Progress::Forward, None),
        Direction::Unwinding(cause) => (Progress::Unwinding, Some(cause)),
        Direction::Committed => (Progress::Committed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only an engine that is wrong comes there: a plan whose steps are not numbered one after the other is refused before.
    #[test]
    fn a_run_that_cannot_go_on_in_the_middle_is_not_said_to_have_changed_nothing() {
        let illegal =
            || IllegalTransition { seq: 7, event: "step_started".into(), reason: "it ran already".into() };
        assert!(
            matches!(RunError::Illegal(illegal()).in_the_middle(), RunError::Midway(same) if same == illegal())
        );
        let mark = RunError::Mark(Failure::new(FailureKind::Unreachable, "no route"));
        assert!(matches!(mark.in_the_middle(), RunError::Mark(_)));
    }
}
