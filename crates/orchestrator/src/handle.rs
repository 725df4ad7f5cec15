//! What whoever starts something has of it.

use std::sync::Arc;

use lockgate_engine::EventSink;
use lockgate_model::{Event, Failure, FailureKind, Refusal, Rejected, Requester, RunId, StepProgress};
use tokio::sync::{oneshot, watch};

use crate::events::{Events, Voice, events};

/// A session that is under way, and will come to a `T`. It goes on when this is dropped, with nobody to hear of it.
pub struct Handle<T> {
    /// Names the session: by it, it holds leases.
    pub session: String,
    /// Which run it is about, as soon as that is known.
    pub run: Begun,
    /// What it says, in order.
    pub events: Events,
    /// How to stop it; may be cloned and kept beyond this.
    pub stop: Stop,
    end: oneshot::Receiver<Result<T, Refusal>>,
}

/// Which run a session is about.
#[derive(Debug, Clone)]
pub struct Begun(watch::Receiver<Option<RunId>>);

/// The two ways to stop a session; both may be asked for again, and after its end.
#[derive(Clone)]
pub struct Stop(Arc<dyn Stoppable>);

/// What can be stopped: the session itself, or the way to one elsewhere.
pub trait Stoppable: Send + Sync {
    /// What is not settled is undone; a release that has passed its gates stays. The session comes to its end by itself.
    fn undo(&self, by: &Requester);

    /// All is left as it is, for whoever comes next, and the session ends within a few seconds.
    fn leave(&self);
}

/// The other side of a [`Handle`].
pub struct Seat<T> {
    /// By which the session says what happens.
    pub voice: Voice,
    run: watch::Sender<Option<RunId>>,
    /// `None` once the end was told.
    end: Option<oneshot::Sender<Result<T, Refusal>>>,
}

/// Hears a session's events for its [`Handle`].
struct Ear {
    voice: Voice,
    run: watch::Sender<Option<RunId>>,
}

impl EventSink for Ear {
    fn event(&self, event: &Event) {
        self.run.send_if_modified(|known| known.replace(event.run) != Some(event.run));
        self.voice.event(event);
    }

    fn progress(&self, progress: &StepProgress) {
        self.voice.progress(progress);
    }

    fn rejected(&self, rejected: &Rejected) {
        self.voice.rejected(rejected);
    }
}

/// Both sides of a session.
#[must_use]
pub fn handle<T>(session: String, stop: Arc<dyn Stoppable>) -> (Handle<T>, Seat<T>) {
    let (voice, events) = events();
    let (begun, run) = watch::channel(None);
    let (said, end) = oneshot::channel();
    let handle = Handle { session, run: Begun(run), events, stop: Stop(stop), end };
    (handle, Seat { voice, run: begun, end: Some(said) })
}

impl<T> Handle<T> {
    /// What it came to. To be asked once: afterwards nothing is known.
    ///
    /// # Errors
    /// [`Refusal`]; `CutOff` where the session's process or task was ended in the midst of it.
    pub async fn end(&mut self) -> Result<T, Refusal> {
        match (&mut self.end).await {
            Ok(end) => end,
            Err(_) => Err(Refusal::CutOff { failure: cut_off() }),
        }
    }
}

fn cut_off() -> Failure {
    Failure::new(FailureKind::Other, "what it came to is not known: the session was cut off")
        .hint("`lockgate status` says what is live; `lockgate resume` finishes or undoes what was begun")
}

impl Begun {
    /// The latest run that the session has begun or taken over; `None` before, and where there was nothing to do.
    #[must_use]
    pub fn now(&self) -> Option<RunId> {
        *self.0.borrow()
    }

    /// Returns with the first run, or when it is certain that there will be none.
    pub async fn first(&mut self) -> Option<RunId> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|run| *run)
    }
}

impl Stop {
    /// See [`Stoppable::undo`]. The reason is in the journal, with who it is from.
    pub fn undo(&self, by: &Requester) {
        self.0.undo(&by.told());
    }

    /// See [`Stoppable::leave`].
    pub fn leave(&self) {
        self.0.leave();
    }
}

impl<T> Seat<T> {
    /// What tells whoever has the handle of every event.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn EventSink> {
        Arc::new(Ear { voice: self.voice.clone(), run: self.run.clone() })
    }

    /// Whether anything was told of a run.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.run.borrow().is_some()
    }

    /// Returns when nobody holds the handle any more.
    pub async fn is_given_up(&self) {
        self.run.closed().await;
    }

    /// The end, behind all that was said. Only the first one is told.
    pub fn end(&mut self, end: Result<T, Refusal>) {
        self.voice.fall_silent();
        if let Some(told) = self.end.take() {
            // Nobody may wait for it any more, which is no error.
            drop(told.send(end));
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.voice.fall_silent();
    }
}
