//! A machine's journal in memory, and one orchestrator's way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_engine::{Journal, JournalError, RunFilter, RunSummary};
use lockgate_model::{Event, RunId};

use crate::actor::Actor;

/// What one machine remembers.
#[derive(Debug, Default)]
pub struct Memory {
    events: Mutex<BTreeMap<RunId, Vec<Event>>>,
    /// A record inside cannot be read.
    pub damaged: Mutex<bool>,
}

impl Memory {
    fn append(&self, event: &Event) -> Result<(), JournalError> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let run = events.entry(event.run).or_default();
        if event.seq != run.len() as u64 {
            // Somebody else on this machine has gone on with the run.
            return Err(JournalError::Other { message: format!("there is an event {} already", event.seq) });
        }
        run.push(event.clone());
        Ok(())
    }

    /// Of a run, in order.
    pub(crate) fn of(&self, run: RunId) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.get(&run).cloned().unwrap_or_default()
    }

    /// Of all runs.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn readable(&self) -> Result<(), JournalError> {
        match *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) {
            true => Err(JournalError::Damaged { message: "a record does not parse".to_owned() }),
            false => Ok(()),
        }
    }
}

/// The journal as one orchestrator sees it: it may be full, and the orchestrator may die around every append.
pub struct ActorJournal {
    pub memory: Arc<Memory>,
    pub actor: Arc<Actor>,
}

#[async_trait]
impl Journal for ActorJournal {
    async fn append(&self, event: &Event) -> Result<(), JournalError> {
        let appended = match self.actor.before_append(event).await {
            Ok(()) => self.memory.append(event),
            full => full,
        };
        match &appended {
            Ok(()) => self.actor.after_append(event).await,
            Err(_) => self.actor.cannot_append(),
        }
        appended
    }

    async fn load(&self, run: RunId) -> Result<Vec<Event>, JournalError> {
        self.memory.readable()?;
        let events = self.memory.events.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(events.get(&run).cloned().unwrap_or_default())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.memory.readable()?;
        let events = self.memory.events.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = events.values().rev().filter_map(|run| RunSummary::of(run));
        let wanted = runs.filter(|run| {
            filter.project.as_ref().is_none_or(|project| *project == run.project)
                && filter.service.as_ref().is_none_or(|service| *service == run.service)
                && filter.environment.as_ref().is_none_or(|environment| *environment == run.environment)
                && filter.digest.as_ref().is_none_or(|digest| *digest == run.release.digest)
                && filter.before.is_none_or(|before| run.run < before)
                && (!filter.unfinished || run.outcome.is_none())
        });
        Ok(wanted.take(filter.limit as usize).collect())
    }
}
