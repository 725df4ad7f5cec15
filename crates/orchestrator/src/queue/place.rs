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
}

/// Who gives way to somebody that has come.
pub(super) enum Displaced {
    Nobody,
    /// A newer one has taken its place.
    Superseded(Arc<Entry>),
    /// It has come itself, and its commit is older than that of who waits.
    Older(Arc<Entry>),
    /// It was accepted by a daemon before this one and is taken up now, and who waits was accepted here, after it.
    Late {
        entry: Arc<Entry>,
        by: Arc<Entry>,
    },
}

impl Place {
    /// Behind who runs, in the place of who waits.
    pub(super) fn add(&mut self, entry: Arc<Entry>) -> Displaced {
        let Some(waiting) = &self.waiting else {
            self.waiting = Some(entry);
            return Displaced::Nobody;
        };
        if entry.is_taken_up && !waiting.is_taken_up {
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
    pub(super) fn add_begun(&mut self, entry: Arc<Entry>) {
        self.begun.push_back(entry);
    }

    /// The next one, if nobody runs; it runs from now on.
    pub(super) fn begin(&mut self) -> Option<Arc<Entry>> {
        if self.running.is_some() {
            return None;
        }
        let next = self.begun.pop_front().or_else(|| self.waiting.take());
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
