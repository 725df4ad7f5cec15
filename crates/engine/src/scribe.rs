//! What a run tells its journal and whoever listens, and when.
//!
//! Intent comes before effect, yet no effect waits for the disk without need: the intents of a phase are written while
//! the phase before it is under way, and what is no intent is written with the next event that has to be there.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use lockgate_model::{Event, EventKind, StepId};

use tokio::time::Instant;

use crate::{EventSink, Journal, JournalError};

/// How long an event may be in nobody's journal while a step is waited for.
const UNWRITTEN_MILLIS_MAX: u64 = 50;

pub(crate) struct Scribe<'a> {
    journal: &'a dyn Journal,
    sink: &'a dyn EventSink,
    /// Once an append has failed nothing more is appended: the journal stays a clean beginning of what happened.
    failed: bool,
    /// Not in the journal, nor on their way there. A journal may lack all of them but intents of effects: a step is then
    /// simply done again.
    unwritten: Vec<Event>,
    /// When the first of those was taken.
    since: Option<Instant>,
    /// How many of those the sink has been told.
    told: usize,
    /// On its way into the journal beside the steps.
    writing: Option<Writing<'a>>,
    /// Effects whose intents are in the journal.
    intended: BTreeSet<StepId>,
}

struct Writing<'a> {
    appended: BoxFuture<'a, Result<(), JournalError>>,
    intended: Vec<StepId>,
}

impl<'a> Scribe<'a> {
    pub fn new(journal: &'a dyn Journal, sink: &'a dyn EventSink) -> Self {
        let (unwritten, intended) = (Vec::new(), BTreeSet::new());
        Self { journal, sink, failed: false, unwritten, since: None, told: 0, writing: None, intended }
    }

    /// Writes the run's beginning. [`Scribe::tell_beginning`] tells it, which is only for one that is there.
    ///
    /// # Errors
    /// The journal's.
    pub async fn begin(&mut self, events: Vec<Event>) -> Result<(), JournalError> {
        self.unwritten = events;
        self.append().await
    }

    /// What [`Scribe::begin`] wrote.
    pub fn tell_beginning(&mut self) {
        self.forget();
    }

    /// Takes events; the other methods say when they are written and told.
    pub fn take(&mut self, events: impl IntoIterator<Item = Event>) {
        self.unwritten.extend(events);
        if !self.unwritten.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// When [`Scribe::send`] is to be called, whatever else happens until then. `None` while it would do nothing: there is
    /// nothing to write, or all of it has been told and waits for what is on its way.
    pub fn due(&self) -> Option<Instant> {
        let untold = self.told < self.unwritten.len();
        let sends = !self.is_writing() && !self.unwritten.is_empty();
        self.since
            .filter(|_| untold || sends)
            .map(|since| since + Duration::from_millis(UNWRITTEN_MILLIS_MAX))
    }

    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The effect's intent is in the journal, on its way there, or taken to be written.
    pub fn knows_intent(&self, step: StepId) -> bool {
        self.intended.contains(&step)
            || self.writing.iter().any(|writing| writing.intended.contains(&step))
            || intents(&self.unwritten).any(|known| known == step)
    }

    /// Returns when the intents of these effects are in the journal; whatever is in the way is written first.
    ///
    /// # Errors
    /// As [`Scribe::write`].
    pub async fn until_intended(&mut self, steps: &[StepId]) -> Result<(), JournalError> {
        let lacks = |intended: &BTreeSet<StepId>| steps.iter().any(|step| !intended.contains(step));
        if lacks(&self.intended) {
            self.written().await?;
        }
        if lacks(&self.intended) { self.write().await } else { Ok(()) }
    }

    /// Tells the sink what it has not heard.
    pub fn tell(&mut self) {
        self.unwritten[self.told..].iter().for_each(|event| self.sink.event(event));
        self.told = self.unwritten.len();
    }

    /// Tells, and where there are intents among it sends all off into the journal; nobody waits for it.
    pub fn tell_and_send_intents(&mut self) {
        self.tell();
        if intents(&self.unwritten).next().is_some() {
            self.send();
        }
    }

    /// Sends off what is unwritten, unless something is on its way already. [`Scribe::written`] says how that ends.
    pub fn send(&mut self) {
        self.tell();
        if self.failed {
            self.forget();
        }
        if self.writing.is_some() || self.unwritten.is_empty() {
            return;
        }
        let (journal, events) = (self.journal, std::mem::take(&mut self.unwritten));
        (self.told, self.since) = (0, None);
        let intended = intents(&events).collect();
        let appended = async move { journal.append_all(&events).await }.boxed();
        self.writing = Some(Writing { appended, intended });
    }

    /// Waits for what is on its way.
    ///
    /// # Errors
    /// The journal's.
    pub async fn written(&mut self) -> Result<(), JournalError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let result = (&mut writing.appended).await;
        if let Some(writing) = self.writing.take() {
            self.note(result.is_ok(), writing.intended);
        }
        result
    }

    /// Puts all that is unwritten into the journal, and tells the sink also where that fails: what happened has happened.
    ///
    /// # Errors
    /// The journal's, once: after it nothing is written any more.
    pub async fn write(&mut self) -> Result<(), JournalError> {
        let result = self.append().await;
        self.forget();
        result
    }

    /// As [`Scribe::write`], with one more event, which has not happened where it cannot be written and is not told then.
    ///
    /// # Errors
    /// As there.
    pub async fn write_with(&mut self, event: Event) -> Result<(), JournalError> {
        self.take([event]);
        let result = self.append().await;
        if result.is_err() {
            self.unwritten.pop();
        }
        self.forget();
        result
    }

    async fn append(&mut self) -> Result<(), JournalError> {
        self.written().await?;
        if self.failed || self.unwritten.is_empty() {
            return Ok(());
        }
        let result = self.journal.append_all(&self.unwritten).await;
        let intended = intents(&self.unwritten).collect();
        self.note(result.is_ok(), intended);
        result
    }

    fn note(&mut self, written: bool, intended: Vec<StepId>) {
        match written {
            true => self.intended.extend(intended),
            false => self.failed = true,
        }
    }

    fn forget(&mut self) {
        self.tell();
        self.unwritten.clear();
        (self.told, self.since) = (0, None);
    }
}

fn intents(events: &[Event]) -> impl Iterator<Item = StepId> {
    events
        .iter()
        .flat_map(|event| match &event.kind {
            EventKind::Intended { steps } => steps.as_slice(),
            _ => &[],
        })
        .copied()
}
