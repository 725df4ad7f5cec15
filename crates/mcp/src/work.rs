//! Sessions that are under way, and how all of them are stopped.

use std::sync::{Arc, Mutex, PoisonError};

use lockgate_model::{Exit, Report};
use lockgate_orchestrator::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The two ways to stop everything. Clones stop the same.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    pub(crate) undo: CancellationToken,
    pub(crate) leave: CancellationToken,
}

impl Stopping {
    /// No more calls are heard, and what is not settled is undone.
    pub fn undo(&self) {
        self.undo.cancel();
    }

    /// All is left as it is, for whoever comes next.
    pub fn leave(&self) {
        self.undo.cancel();
        self.leave.cancel();
    }

    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.undo.is_cancelled()
    }
}

/// What became of what was under way when the client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// The worst of the ends; `Succeeded` where nothing was under way.
    pub exit: Exit,
    /// Something was left as it is, and stands still as long as this process lives.
    pub is_left: bool,
}

/// What is under way.
pub(crate) struct Work {
    pub(crate) stopping: Stopping,
    count: watch::Sender<usize>,
    /// Of what ended after the stop.
    worst: Mutex<Exit>,
    /// What was under way of a session that was left stands still as long as its handle is held.
    left: Mutex<Vec<Handle<Report>>>,
}

/// One call that is under way.
pub(crate) struct Busy(Arc<Work>);

impl Work {
    pub(crate) fn new(stopping: Stopping) -> Arc<Self> {
        let (count, _) = watch::channel(0);
        Arc::new(Self { stopping, count, worst: Mutex::new(Exit::Succeeded), left: Mutex::default() })
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.count.send_modify(|count| *count += 1);
        Busy(self.clone())
    }

    pub(crate) fn ended(&self, exit: Exit) {
        if self.stopping.is_asked() {
            let mut worst = self.worst.lock().unwrap_or_else(PoisonError::into_inner);
            *worst = worst.or_worse(exit);
        }
    }

    pub(crate) fn left(&self, session: Handle<Report>) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Returns when nothing is under way.
    pub(crate) async fn idle(&self) {
        // It is here, so somebody can send.
        drop(self.count.subscribe().wait_for(|count| *count == 0).await);
    }

    /// As [`Work::idle`], or when all is to be left.
    pub(crate) async fn idle_or_left(&self) {
        tokio::select! {
            () = self.idle() => {}
            () = self.stopping.leave.cancelled() => {}
        }
    }

    pub(crate) fn over(&self) -> Over {
        Over {
            exit: *self.worst.lock().unwrap_or_else(PoisonError::into_inner),
            is_left: !self.left.lock().unwrap_or_else(PoisonError::into_inner).is_empty(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}
