//! What a session says, on its way to whoever listens: bounded, and nobody who is slow to listen holds a session up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_engine::EventSink;
use lockgate_model::{Event, Rejected, StepProgress, Told};
use tokio::sync::Notify;

/// So much waits for a listener at most. A deployment to a hundred hosts tells some two thousand things.
pub const TOLD_MAX: usize = 1024;

/// What a session says, in order. Where its listener is slow and more than [`TOLD_MAX`] wait, the oldest that only tell of
/// progress are left out, and [`Told::Missed`] says how many: failures, the beginnings and the ends of runs are not, but
/// for the oldest of them where more than that wait of these alone. The journal has all.
pub struct Events(Arc<Queue>);

/// The session's side of [`Events`].
#[derive(Clone)]
pub struct Voice(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came, or nothing comes any more.
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    told: VecDeque<Told>,
    missed: u64,
    /// Nobody listens any more.
    is_deaf: bool,
    /// Nothing comes any more.
    is_over: bool,
}

/// A session's voice, and its listener's ear.
#[must_use]
pub fn events() -> (Voice, Events) {
    let queue = Arc::new(Queue::default());
    (Voice(queue.clone()), Events(queue))
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, told: Told) {
        if self.is_deaf || self.is_over {
            return;
        }
        if self.told.len() >= TOLD_MAX {
            let oldest = self.told.iter().position(Told::is_progress).unwrap_or(0);
            self.told.remove(oldest);
            self.missed += 1;
        }
        self.told.push_back(told);
    }

    fn next(&mut self) -> Option<Told> {
        match std::mem::take(&mut self.missed) {
            0 => self.told.pop_front(),
            missed => Some(Told::Missed(missed)),
        }
    }
}

impl Events {
    /// `None` when the session has come to its end and all was heard. Nothing is lost by dropping the future.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            // Made before the look, so that what comes in between is not slept through.
            let news = self.0.news.notified();
            {
                let mut waiting = self.0.waiting();
                match waiting.next() {
                    Some(told) => return Some(told),
                    None if waiting.is_over => return None,
                    None => {}
                }
            }
            news.await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.is_deaf = true;
        waiting.told.clear();
    }
}

impl Voice {
    /// Never waits.
    pub fn tell(&self, told: Told) {
        self.0.waiting().add(told);
        self.0.news.notify_one();
    }

    /// Nothing comes any more.
    pub fn fall_silent(&self) {
        self.0.waiting().is_over = true;
        self.0.news.notify_one();
    }
}

impl EventSink for Voice {
    fn event(&self, event: &Event) {
        self.tell(Told::Event(Box::new(event.clone())));
    }

    fn progress(&self, progress: &StepProgress) {
        self.tell(Told::Progress(progress.clone()));
    }

    fn rejected(&self, rejected: &Rejected) {
        self.tell(Told::Rejected(rejected.clone()));
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{EventKind, Failure, FailureKind, RunId, StepId, Timestamp};

    use super::*;

    fn event(seq: u64, kind: EventKind) -> Event {
        Event { run: RunId(uuid::Uuid::nil()), seq, at: Timestamp(0), kind }
    }

    fn progress(seq: u64) -> Event {
        event(seq, EventKind::StepStarted { step: StepId(0) })
    }

    fn failure(seq: u64) -> Event {
        event(seq, EventKind::StepFailed { step: StepId(0), failure: Failure::new(FailureKind::Other, "x") })
    }

    async fn heard(events: &mut Events) -> Vec<Told> {
        let mut heard = Vec::new();
        while let Some(told) = events.next().await {
            heard.push(told);
        }
        heard
    }

    #[tokio::test]
    async fn who_listens_hears_all_in_order_and_then_the_end() {
        let (voice, mut events) = events();
        let listener = tokio::spawn(async move { heard(&mut events).await });
        for seq in 0..10_u64 {
            voice.event(&progress(seq));
            tokio::task::yield_now().await;
        }
        voice.fall_silent();
        let heard = listener.await.unwrap();
        let wanted: Vec<Told> = (0..10).map(|seq| Told::Event(Box::new(progress(seq)))).collect();
        assert_eq!(heard, wanted);
    }

    #[tokio::test]
    async fn who_is_slow_is_told_how_much_was_missed_and_misses_no_failure() {
        let (voice, mut events) = events();
        voice.event(&failure(0));
        let more = TOLD_MAX as u64 + 100;
        for seq in 1..=more {
            voice.event(&if seq == 50 { failure(seq) } else { progress(seq) });
        }
        assert_eq!(voice.0.waiting().told.len(), TOLD_MAX, "no more than that waits");
        voice.fall_silent();
        let heard = heard(&mut events).await;
        assert_eq!(heard[0], Told::Missed(101));
        assert_eq!(heard[1], Told::Event(Box::new(failure(0))));
        assert_eq!(heard[2], Told::Event(Box::new(failure(50))));
        assert_eq!(heard.last().unwrap(), &Told::Event(Box::new(progress(more))));
        assert_eq!(heard.len(), TOLD_MAX + 1);
    }

    #[tokio::test]
    async fn where_failures_alone_are_too_many_the_oldest_are_missed() {
        let (voice, mut events) = events();
        for seq in 0..=TOLD_MAX as u64 {
            voice.event(&failure(seq));
        }
        voice.fall_silent();
        let heard = heard(&mut events).await;
        assert_eq!(heard[..2], [Told::Missed(1), Told::Event(Box::new(failure(1)))]);
    }

    #[test]
    fn nothing_is_kept_for_who_has_gone() {
        let (voice, events) = events();
        voice.event(&failure(0));
        drop(events);
        voice.event(&failure(1));
        assert!(voice.0.waiting().told.is_empty());
    }
}
