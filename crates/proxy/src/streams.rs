//! The tasks of HTTP/2 streams, each bounded in how long its client may let it stand still.
//!
//! hyper doesn't ask a body for its next piece before the client takes the last one, and nothing in it ends that wait.
//! Dropping the stream's task does: the client sees the stream reset.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;

use crate::stall_timer::StallTimer;

tokio::task_local! {
    static STREAM: Arc<Stream>;
}

/// What a response body tells about its stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// How often the body was asked for a piece.
    asked: AtomicU64,
    /// A piece was given and no further one asked for: the client has to take it.
    handed: AtomicBool,
}

impl Stream {
    /// The stream whose task this is; `None` on HTTP/1.
    pub(crate) fn current() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
        self.handed.store(false, Relaxed);
    }

    pub(crate) fn handed(&self) {
        self.handed.store(true, Relaxed);
    }
}

/// Runs each stream as a task of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// How long a client may leave a piece untaken.
    pub(crate) stall: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stream = Arc::new(Stream::default());
        let stall_timer = StallTimer::new(self.stall, 1);
        let task = Bounded { task: Box::pin(task), stream: stream.clone(), seen: 0, stall_timer };
        tokio::spawn(STREAM.scope(stream, task));
    }
}

struct Bounded<F> {
    task: Pin<Box<F>>,
    stream: Arc<Stream>,
    seen: u64,
    stall_timer: StallTimer,
}

impl<F: Future<Output = ()>> Future for Bounded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let asked = this.stream.asked.load(Relaxed);
        if asked != this.seen {
            this.seen = asked;
            this.stall_timer.moved(1);
        }
        if !this.stream.handed.load(Relaxed) {
            this.stall_timer.pause();
            return Poll::Pending;
        }
        ready!(this.stall_timer.poll_out(cx));
        tracing::debug!("a stream was given up, for its client takes nothing");
        Poll::Ready(())
    }
}
