//! What one notifier is still to be told, and the task that tells it.
//!
//! Invariants: messages leave in the order in which they came, one at a time, so a run's start is told before its end; what
//! is put in waits for nobody; there is a task only while there is something to tell.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_ports::{Check, Message, Notifier, PortError, Posted};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::changes::Looked;

/// So many messages wait for one notifier. Beyond that the oldest start of a run is dropped; an end never is, and there is
/// one for each run.
pub(crate) const QUEUE_MESSAGES_MAX: usize = 256;

/// All that one notifier is told of one run.
#[derive(Default)]
pub(crate) struct Story {
    told: Mutex<Told>,
    /// What the run changes. `None`: nobody looks.
    changes: Option<Looked>,
}

#[derive(Debug, Default)]
struct Told {
    /// Where the run's message is, for a notifier that changes it.
    posted: Option<Posted>,
    undelivered: u32,
    /// Why the first of them was not delivered.
    error: Option<PortError>,
}

impl Story {
    /// Of a run that changes this.
    pub(crate) fn of(changes: Option<Looked>) -> Self {
        Self { told: Mutex::default(), changes }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Item {
    Message(Box<Message>, Arc<Story>),
    /// Nothing more is told of that run: what was not delivered can be said.
    Over(Arc<Story>),
}

impl Item {
    fn is_start(&self) -> bool {
        matches!(self, Item::Message(message, _) if !message.kind.is_end())
    }
}

pub(crate) struct Outbox {
    notifier: Arc<dyn Notifier>,
    state: Mutex<State>,
    /// Told whenever the task has nothing left to do.
    idle: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    /// What is being sent, and of which run.
    sending: Option<(Box<Message>, Arc<Story>)>,
    /// The task, while there is one.
    task: Option<AbortHandle>,
    /// How often a task was given up: one that has not noticed yet takes nothing more.
    given_up: u64,
    /// Starts of runs that had no room and of which nothing was said yet.
    dropped: u32,
}

impl Outbox {
    pub(crate) fn new(notifier: Arc<dyn Notifier>) -> Arc<Outbox> {
        Arc::new(Outbox { notifier, state: Mutex::default(), idle: Notify::new() })
    }

    /// Whether its notifier can tell people.
    pub(crate) async fn check(&self) -> Check {
        self.notifier.check().await
    }

    /// Takes a message; never waits.
    pub(crate) fn put(self: &Arc<Self>, message: Message, story: &Arc<Story>) {
        let mut state = self.state();
        let is_full = state.messages() >= QUEUE_MESSAGES_MAX;
        if is_full {
            match state.waiting.iter().position(Item::is_start) {
                Some(oldest) => {
                    state.waiting.remove(oldest);
                    state.dropped += 1;
                }
                None if !message.kind.is_end() => {
                    state.dropped += 1;
                    return;
                }
                None => {}
            }
        }
        self.push(state, Item::Message(Box::new(message), story.clone()));
    }

    /// Nothing more will be put in of that run.
    pub(crate) fn over(self: &Arc<Self>, story: &Arc<Story>) {
        self.push(self.state(), Item::Over(story.clone()));
    }

    fn push(self: &Arc<Self>, mut state: MutexGuard<'_, State>, item: Item) {
        state.waiting.push_back(item);
        // Where there is no runtime any more, the process ends, and with it whoever could be told.
        if state.task.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let (outbox, given_up) = (self.clone(), state.given_up);
            state.task = Some(runtime.spawn(async move { outbox.tell_all(given_up).await }).abort_handle());
        }
    }

    /// The task.
    async fn tell_all(&self, given_up: u64) {
        while let Some(item) = self.next(given_up) {
            match item {
                Item::Message(message, story) => self.tell(*message, &story).await,
                Item::Over(story) => self.warn(&story, None),
            }
        }
    }

    /// `None` ends the task.
    fn next(&self, given_up: u64) -> Option<Item> {
        let mut state = self.state();
        if state.given_up != given_up {
            return None;
        }
        state.sending = None;
        let item = state.waiting.pop_front();
        match &item {
            Some(Item::Message(message, story)) => state.sending = Some((message.clone(), story.clone())),
            Some(Item::Over(_)) => {}
            None => {
                state.task = None;
                let dropped = std::mem::take(&mut state.dropped);
                drop(state);
                self.warn_of_dropped(dropped);
                self.idle.notify_waiters();
            }
        }
        item
    }

    async fn tell(&self, mut message: Message, story: &Story) {
        if let Some(changes) = story.changes.clone() {
            message.changes = changes.await;
        }
        let earlier = story.told().posted.clone();
        let sent = self.notifier.send(&message, earlier.as_ref()).await;
        let mut told = story.told();
        match sent {
            Ok(posted) => told.posted = posted.or(earlier),
            Err(error) => {
                told.undelivered += 1;
                told.error.get_or_insert(error);
            }
        }
    }

    /// Waits until all has been told.
    pub(crate) async fn emptied(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // From here on no notice is missed.
            idle.as_mut().enable();
            if self.state().task.is_none() {
                return;
            }
            idle.await;
        }
    }

    /// Ends the task and says what was not told; `why` is for what was neither refused nor delivered.
    pub(crate) fn give_up(&self, why: &PortError) {
        let mut state = self.state();
        let Some(task) = state.task.take() else { return };
        task.abort();
        state.given_up += 1;
        let sending = state.sending.take().map(|(message, story)| Item::Message(message, story));
        let left: Vec<Item> = sending.into_iter().chain(state.waiting.drain(..)).collect();
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        self.warn_of_dropped(dropped);
        let mut stories: Vec<(Arc<Story>, Vec<&Message>)> = Vec::new();
        for item in &left {
            let (Item::Message(_, story) | Item::Over(story)) = item;
            let index = stories.iter().position(|(known, _)| Arc::ptr_eq(known, story));
            let index = index.unwrap_or_else(|| {
                stories.push((story.clone(), Vec::new()));
                stories.len() - 1
            });
            if let Item::Message(message, _) = item {
                stories[index].1.push(message);
            }
        }
        for (story, messages) in stories {
            let untold: Vec<String> = messages.iter().map(|message| label(message)).collect();
            self.warn(&story, (!untold.is_empty()).then_some((untold, why)));
        }
    }

    /// Once for each run, when its own story has been told. `untold`: messages that were given up, and why.
    fn warn(&self, story: &Story, untold: Option<(Vec<String>, &PortError)>) {
        let mut told = story.told();
        let undelivered = std::mem::take(&mut told.undelivered);
        let error = told.error.take();
        drop(told);
        let (names, why) = untold.unzip();
        let names = names.unwrap_or_default();
        let count = usize::try_from(undelivered).unwrap_or(usize::MAX).saturating_add(names.len());
        let Some(error) = error.as_ref().or(why) else { return };
        let named = match names.is_empty() {
            true => String::new(),
            false => format!(" ({})", names.join(", ")),
        };
        let notifier = self.notifier.name();
        let hint = error.hints().joined().map(|hint| format!("; {hint}")).unwrap_or_default();
        tracing::warn!(%error, "{notifier}: {count} of this run's messages not delivered{named}{hint}");
    }

    fn warn_of_dropped(&self, dropped: u32) {
        if dropped > 0 {
            let notifier = self.notifier.name();
            tracing::warn!(
                "{notifier}: {dropped} starts of runs were not told: more than {QUEUE_MESSAGES_MAX} messages waited"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn messages(&self) -> usize {
        self.waiting.iter().filter(|item| matches!(item, Item::Message(..))).count()
    }
}

/// `web v2 in prod: success`.
fn label(message: &Message) -> String {
    let release = message.release.as_ref().map(|release| release.tag.as_str());
    let release = release.or(message.asked.as_deref()).map(|tag| format!(" {tag}")).unwrap_or_default();
    format!("{}{release} in {}: {}", message.service, message.environment, message.kind.as_str())
}

#[cfg(test)]
mod tests;
