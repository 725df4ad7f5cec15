//! What whoever has submitted a call has of it.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use lockgate_model::{DeployAnswer, RunId, Told};

use super::core::Core;
use super::entry::Entry;
use super::feed::{self, Next};

/// Of a call that was accepted. The call goes on when this is dropped.
#[derive(Clone)]
pub struct Ticket {
    /// The run that it asks for, which it has named before it begins. Whoever knows it may ask for the call again.
    pub run: RunId,
    /// It was accepted before, and this is the same delivery.
    pub repeated: bool,
    of: Of,
}

#[derive(Clone)]
enum Of {
    /// Without an answer when it was asked for.
    Going(Arc<Entry>),
    /// With an answer when it was asked for: what was told of it is in the journal.
    Gone(Arc<Core>, Box<DeployAnswer>),
}

impl Ticket {
    pub(super) fn of(entry: Arc<Entry>, repeated: bool) -> Self {
        Self { run: entry.run(), repeated, of: Of::Going(entry) }
    }

    pub(super) fn gone(core: Arc<Core>, run: RunId, answer: DeployAnswer) -> Self {
        Self { run, repeated: true, of: Of::Gone(core, Box::new(answer)) }
    }

    /// What is told of it, in order, each with a number that rises; from the beginning, or after the number that somebody has
    /// heard last, also across a restart. What is kept is bounded: where something is missing, [`Told::Missed`] says how much.
    /// Plans in it are without queries, and texts are masked. Ends with the call.
    pub fn told(&self, after: Option<u64>) -> impl Stream<Item = (u64, Told)> + Send + 'static + use<> {
        let after = after.unwrap_or(0);
        match &self.of {
            Of::Going(entry) => going(entry.clone(), after).boxed(),
            Of::Gone(core, _) => gone(core.clone(), self.run, after).boxed(),
        }
    }

    /// What it came to, as of now; `None` while it is not at its end.
    #[must_use]
    pub fn now(&self) -> Option<DeployAnswer> {
        match &self.of {
            Of::Going(entry) => entry.now(),
            Of::Gone(_, answer) => Some((**answer).clone()),
        }
    }

    /// What it comes to. Waits for as long as that takes: whoever asks has a bound of their own.
    pub async fn answer(&self) -> DeployAnswer {
        match &self.of {
            Of::Going(entry) => entry.answered().await,
            Of::Gone(_, answer) => (**answer).clone(),
        }
    }
}

fn going(entry: Arc<Entry>, after: u64) -> impl Stream<Item = (u64, Told)> + Send {
    let news = entry.feed.news();
    stream::unfold((entry, news, after), |(entry, mut news, after)| async move {
        loop {
            // Seen before the look, so that what comes in between is not slept through.
            news.mark_unchanged();
            match entry.feed.next(after) {
                Next::Told(number, told) => return Some(((number, *told), (entry, news, number))),
                Next::Over => return None,
                Next::NothingYet => news.changed().await.ok()?,
            }
        }
    })
}

/// Nothing, where the journal cannot be read.
fn gone(core: Arc<Core>, run: RunId, after: u64) -> impl Stream<Item = (u64, Told)> + Send {
    let told = async move {
        let events = core.parts.orchestrator.events_of(run).await.unwrap_or_default();
        let told = events.into_iter().filter_map(|event| {
            let told = Told::Event(Box::new(event));
            let number = feed::number(&told, run)?;
            (number > after).then(|| (number, feed::masked(told, &core.parts.mask)))
        });
        stream::iter(told.collect::<Vec<_>>())
    };
    stream::once(told).flatten()
}
