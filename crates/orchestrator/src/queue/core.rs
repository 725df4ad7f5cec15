//! What a queue knows: the calls without an answer, and who runs and who waits of each service in each environment.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_model::{
    DeliveryAnswer, DeployAnswer, DeployStatus, EnvironmentName, Incoming, Received, RunId, ServiceName,
    WebhookDelivery,
};
use lockgate_ports::Answering;
use tokio::sync::watch;

use super::entry::Entry;
use super::notes::Notes;
use super::place::{Displaced, Place};
use super::writer::{self, Writer};
use super::{QueueCounts, QueueParts, runner, words};

type Key = (ServiceName, EnvironmentName);

pub(super) struct Core {
    pub(super) parts: QueueParts,
    pub(super) writer: Writer,
    pub(super) notes: Notes,
    state: Mutex<State>,
    leaving: watch::Sender<bool>,
    /// Runs may begin here: no daemon before this one has any left.
    has_turn: AtomicBool,
    /// Rises when a runner ends.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<RunId, Arc<Entry>>,
    places: BTreeMap<Key, Place>,
    counts: QueueCounts,
    /// A write failed, and it is not known whether it happened all the same.
    in_doubt: bool,
}

impl Core {
    pub(super) fn start(parts: QueueParts, has_turn: bool) -> Arc<Self> {
        let (writer, jobs) = Writer::new();
        let core = Arc::new(Self {
            parts,
            writer,
            notes: Notes::default(),
            state: Mutex::default(),
            leaving: watch::Sender::new(false),
            has_turn: AtomicBool::new(has_turn),
            ended: watch::Sender::new(0),
        });
        let writing = writer::write(core.parts.store.clone(), Arc::downgrade(&core), jobs);
        (core.parts.spawn)(Box::pin(writing));
        core
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Returns when the daemon stops.
    pub(super) async fn left(&self) {
        // The sender is here, so nobody drops it.
        drop(self.leaving.subscribe().wait_for(|leaving| *leaving).await);
    }

    /// Turns true when the daemon stops.
    pub(super) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    pub(super) fn entry(&self, run: RunId) -> Option<Arc<Entry>> {
        self.state().entries.get(&run).cloned()
    }

    /// Where a call goes on that has just been kept or is known, told by the writer in the order of arrival.
    pub(super) fn entry_of(
        self: &Arc<Self>,
        incoming: &Incoming,
        received: &Received,
        arrived: u64,
    ) -> Option<Arc<Entry>> {
        match received {
            // It was looked for by its run.
            Received::First if incoming.only_known && !self.has_turn() => {
                self.take_in_begun(&incoming.delivery, arrived)
            }
            Received::First => {
                self.count_accepted(&incoming.delivery);
                self.take_in(&incoming.delivery, arrived, false)
            }
            Received::Again { first, answer: None } => {
                self.state().counts.repeated += 1;
                self.take_in_again(first, arrived)
            }
            Received::Again { .. } => {
                self.state().counts.repeated += 1;
                None
            }
            Received::Anew { first } => {
                self.count_accepted(first);
                self.take_in(first, arrived, false)
            }
            Received::Differs { .. } | Received::Overtaken { .. } | Received::Unknown => None,
        }
    }

    /// Of a call that is kept and has no answer. Known already, it is where it is.
    pub(super) fn take_in(
        self: &Arc<Self>,
        delivery: &WebhookDelivery,
        arrived: u64,
        is_taken_up: bool,
    ) -> Option<Arc<Entry>> {
        self.take_in_by(delivery, arrived, is_taken_up, Place::add)
    }

    /// As [`Core::take_in`], of one that was kept before. Without the turn, a daemon before this one has it, and may have begun
    /// it: it gives way to nobody here, and nobody to it.
    fn take_in_again(self: &Arc<Self>, delivery: &WebhookDelivery, arrived: u64) -> Option<Arc<Entry>> {
        match self.has_turn() {
            true => self.take_in(delivery, arrived, false),
            false => self.take_in_begun(delivery, arrived),
        }
    }

    /// As [`Core::take_in`], of one whose run the journal knows.
    pub(super) fn take_in_begun(
        self: &Arc<Self>,
        delivery: &WebhookDelivery,
        arrived: u64,
    ) -> Option<Arc<Entry>> {
        self.take_in_by(delivery, arrived, true, Place::add_begun)
    }

    fn take_in_by(
        self: &Arc<Self>,
        delivery: &WebhookDelivery,
        arrived: u64,
        is_taken_up: bool,
        add: fn(&mut Place, Arc<Entry>) -> Displaced,
    ) -> Option<Arc<Entry>> {
        let call = delivery.call.clone()?;
        let (entry, displaced) = {
            let mut state = self.state();
            if let Some(known) = state.entries.get(&delivery.run) {
                return Some(known.clone());
            }
            let key = (call.service.clone(), call.environment.clone());
            let entry = Arc::new(Entry::new(delivery.clone(), call, arrived, is_taken_up));
            state.entries.insert(entry.run(), entry.clone());
            (entry.clone(), add(state.places.entry(key).or_default(), entry))
        };
        self.displace(displaced, &entry);
        self.go_on(&entry);
        Some(entry)
    }

    pub(super) fn has_turn(&self) -> bool {
        self.has_turn.load(SeqCst)
    }

    /// From here on runs may begin.
    pub(super) fn take_turn(self: &Arc<Self>) {
        self.has_turn.store(true, SeqCst);
        let keys: Vec<Key> = self.state().places.keys().cloned().collect();
        keys.iter().for_each(|key| self.go_on_at(key));
    }

    fn displace(self: &Arc<Self>, displaced: Displaced, by: &Entry) {
        let (entry, answer) = match displaced {
            Displaced::Nobody => return,
            Displaced::Superseded(entry) => {
                let answer = words::superseded(by.run(), &by.call).of_run(entry.run());
                (entry, answer)
            }
            Displaced::TooLate(entry, run) => {
                let answer = words::too_late(run).of_run(entry.run());
                (entry, answer)
            }
            Displaced::Older(entry) => {
                let answer = words::older(&entry.call, "that of a call that waits").of_run(entry.run());
                (entry, answer)
            }
            Displaced::Late { entry, by } => {
                let answer = words::superseded(by.run(), &by.call).of_run(entry.run());
                (entry, answer)
            }
        };
        let core = self.clone();
        (self.parts.spawn)(Box::pin(async move {
            let end = runner::End { answer, begun: false, live: None };
            runner::settle(&core, &entry, end).await;
        }));
    }

    /// Begins the next call of the entry's place, if none is under way there.
    fn go_on(self: &Arc<Self>, entry: &Entry) {
        self.go_on_at(&(entry.call.service.clone(), entry.call.environment.clone()));
    }

    fn go_on_at(self: &Arc<Self>, key: &Key) {
        if self.is_leaving() || !self.has_turn() {
            return;
        }
        let next = self.state().places.get_mut(key).and_then(Place::begin);
        if let Some(next) = next {
            let working = Working { core: self.clone(), entry: next };
            (self.parts.spawn)(Box::pin(runner::run(working)));
        }
    }

    /// What a delivery is answered from now on, told by the writer.
    pub(super) fn answered(&self, answering: &Answering, kept: Option<&DeliveryAnswer>) {
        let mut state = self.state();
        let is_it = |entry: &&Arc<Entry>| {
            (&entry.delivery.endpoint, &entry.delivery.id) == (&answering.endpoint, &answering.id)
        };
        let Some(run) = answering.entry.as_ref().and_then(|entry| entry.run) else { return };
        let Some(entry) = state.entries.get(&run).filter(is_it).cloned() else { return };
        state.entries.remove(&run);
        if kept.is_none() {
            tracing::warn!(%run, "the delivery is not in the store any more: its answer is told and not kept");
        }
        let answer = words::again(run, kept.unwrap_or(&answering.answer));
        *state.counts.ended.entry(answer.status).or_default() += 1;
        drop(state);
        entry.tell(answer);
    }

    pub(super) fn store_failed(&self) {
        let mut state = self.state();
        state.counts.store_failures += 1;
        state.in_doubt = true;
    }

    /// What may have been kept although it was said that it was not, is looked for.
    pub(super) fn store_is_well(self: &Arc<Self>) {
        // Without the turn, what has no answer is a daemon's before this one; what is in doubt is looked for with the turn.
        let was_in_doubt = self.has_turn() && std::mem::take(&mut self.state().in_doubt);
        if was_in_doubt && !self.is_leaving() {
            let core = self.clone();
            (self.parts.spawn)(Box::pin(async move { core.look_for_more().await }));
        }
    }

    pub(super) fn doubt(&self) {
        self.state().in_doubt = true;
    }

    fn count_accepted(&self, delivery: &WebhookDelivery) {
        let mut state = self.state();
        let is_known = state.entries.contains_key(&delivery.run);
        state.counts.accepted += u64::from(!is_known);
    }

    pub(super) fn count_refused(&self, status: DeployStatus) {
        *self.state().counts.refused.entry(status).or_default() += 1;
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let state = self.state();
        let running = state.places.values().filter(|place| place.running().is_some()).count();
        let waiting: usize = state.places.values().map(Place::waiting).sum();
        QueueCounts { running: running as u64, waiting: waiting as u64, ..state.counts.clone() }
    }

    /// Nothing new begins; sessions are left, and whoever waits is told so when theirs have ended.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
        let state = self.state();
        let running: Vec<RunId> =
            state.places.values().filter_map(Place::running).map(|entry| entry.run()).collect();
        for entry in state.entries.values() {
            match running.contains(&entry.run()) {
                true => entry.leave(),
                false => entry.tell(DeployAnswer::stopping().of_run(entry.run())),
            }
        }
    }

    /// Returns when nothing is under way any more.
    pub(super) async fn at_rest(&self) {
        let mut ended = self.ended.subscribe();
        while self.state().places.values().any(|place| place.running().is_some()) {
            if ended.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whoever still waits is told that the daemon stops.
    pub(super) fn tell_all_left(&self) {
        for entry in self.state().entries.values() {
            entry.tell(DeployAnswer::stopping().of_run(entry.run()));
        }
    }
}

/// An entry that is being brought to its end; when this is dropped, it is not any more, whatever came of it.
pub(super) struct Working {
    pub(super) core: Arc<Core>,
    pub(super) entry: Arc<Entry>,
}

impl Drop for Working {
    fn drop(&mut self) {
        let Self { core, entry } = self;
        {
            let mut state = core.state();
            let key = (entry.call.service.clone(), entry.call.environment.clone());
            if let Some(place) = state.places.get_mut(&key) {
                place.end(entry.run());
            }
        }
        if core.is_leaving() {
            entry.tell(DeployAnswer::stopping().of_run(entry.run()));
        }
        core.go_on(entry);
        core.ended.send_modify(|ended| *ended += 1);
    }
}
