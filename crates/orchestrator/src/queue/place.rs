//! Who runs and who waits, of one service in one environment.

use std::collections::VecDeque;
use std::sync::Arc;

use lockgate_model::RunId;

use super::entry::Entry;

#[derive(Default)]
pub(super) struct Place {
    running: Option<Arc<Entry>>,
    /// Begun by a daemon before this one: they come first.
    begun: VecDeque<Arc<Entry>>,
    waiting: Option<Arc<Entry>>,
    /// The latest in the order of arrival that has had its turn, and its run: what came before it is too late.
    turn: Option<(u64, RunId)>,
}

/// Who gives way to somebody that has come.
pub(super) enum Displaced {
    Nobody,
    /// A newer one has taken its place.
    Superseded(Arc<Entry>),
    /// It has come itself, although it had arrived earlier: a newer one, of this run, has had its turn.
    TooLate(Arc<Entry>, RunId),
    /// It has come itself, and its commit is older than that of who waits.
    Older(Arc<Entry>),
    /// It has come itself, and had arrived before who waits: it was accepted by a daemon before this one, or is found late.
    Late {
        entry: Arc<Entry>,
        by: Arc<Entry>,
    },
}

impl Place {
    /// Behind who runs, in the place of who waits.
    pub(super) fn add(&mut self, entry: Arc<Entry>) -> Displaced {
        if let Some((_, run)) = self.turn.filter(|(arrived, _)| entry.arrived < *arrived) {
            return Displaced::TooLate(entry, run);
        }
        let Some(waiting) = &self.waiting else {
            self.waiting = Some(entry);
            return Displaced::Nobody;
        };
        if entry.arrived < waiting.arrived {
            return Displaced::Late { entry, by: waiting.clone() };
        }
        if is_older(&entry, waiting) {
            return Displaced::Older(entry);
        }
        match self.waiting.replace(entry) {
            Some(waiting) => Displaced::Superseded(waiting),
            None => Displaced::Nobody,
        }
    }

    /// Has begun before, so it comes before all that have not.
    pub(super) fn add_begun(&mut self, entry: Arc<Entry>) -> Displaced {
        self.takes_turn(&entry);
        self.begun.push_back(entry);
        let turn = self.turn;
        match self.waiting.take_if(|waiting| turn.is_some_and(|(arrived, _)| waiting.arrived < arrived)) {
            Some(waiting) => Displaced::Superseded(waiting),
            None => Displaced::Nobody,
        }
    }

    fn takes_turn(&mut self, entry: &Entry) {
        if self.turn.is_none_or(|(arrived, _)| arrived < entry.arrived) {
            self.turn = Some((entry.arrived, entry.run()));
        }
    }

    /// The next one, if nobody runs; it runs from now on.
    pub(super) fn begin(&mut self) -> Option<Arc<Entry>> {
        if self.running.is_some() {
            return None;
        }
        let next = self.begun.pop_front().or_else(|| self.waiting.take());
        if let Some(next) = &next {
            self.takes_turn(next);
        }
        self.running.clone_from(&next);
        next
    }

    /// It does not run any more.
    pub(super) fn end(&mut self, run: RunId) {
        self.running.take_if(|running| running.run() == run);
    }

    pub(super) fn running(&self) -> Option<&Arc<Entry>> {
        self.running.as_ref()
    }

    pub(super) fn waiting(&self) -> usize {
        self.begun.len() + usize::from(self.waiting.is_some())
    }
}

fn is_older(entry: &Entry, than: &Entry) -> bool {
    match (entry.call.committed_at, than.call.committed_at) {
        (Some(one), Some(other)) => one < other && !entry.call.force,
        _ => false,
    }
}
