//! Writes to the store: all that have come while one was under way are the next one, so that many share a sync of the disk.
//!
//! What comes of them is told in their order, and what the queue knows is changed before it is told: so whoever is told that a
//! call is known finds it in the queue, and whoever finds it there without an answer knows that none is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use lockgate_model::{AuditEntry, DeliveryAnswer, FailureKind, Incoming, Received};
use lockgate_ports::{Answering, Batch, Kept, PortError, Store};
use tokio::sync::{mpsc, oneshot};

use super::core::Core;
use super::entry::Entry;

/// Writes that wait at most; of more, calls are refused and notes are left out.
const WRITES_WAITING_MAX: usize = 1_024;
/// Writes that are made together at most.
const TOGETHER_MAX: usize = 128;
/// Entries of the audit that are kept in mind while the store cannot be used; of more, the oldest are left out.
const NOTES_KEPT_MAX: usize = 256;

/// The way to the task that writes. It ends when this is dropped.
pub(super) struct Writer(mpsc::Sender<Job>);

/// The task's side.
pub(super) struct Jobs(mpsc::Receiver<Job>);

enum Job {
    Receive(Box<Incoming>, oneshot::Sender<Result<Let, PortError>>),
    Answer(Box<Answering>, oneshot::Sender<Result<Option<DeliveryAnswer>, PortError>>),
    Note(Box<AuditEntry>),
    Flush(oneshot::Sender<()>),
}

/// What a call was.
pub(super) struct Let {
    pub(super) received: Received,
    /// Where it goes on: of one that was let in, or that is under way.
    pub(super) entry: Option<Arc<Entry>>,
}

/// More waits than may.
pub(super) struct Full;

impl Writer {
    pub(super) fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::channel(WRITES_WAITING_MAX);
        (Self(sender), Jobs(receiver))
    }

    /// Durable when this returns.
    pub(super) async fn receive(&self, incoming: Incoming) -> Result<Result<Let, PortError>, Full> {
        let (told, what) = oneshot::channel();
        self.0.try_send(Job::Receive(Box::new(incoming), told)).map_err(|_| Full)?;
        Ok(what.await.unwrap_or_else(|_| Err(ended())))
    }

    /// As [`Writer::receive`], and waits for as long as there is no room.
    pub(super) async fn receive_patiently(&self, incoming: Incoming) -> Result<Let, PortError> {
        let (told, what) = oneshot::channel();
        self.0.send(Job::Receive(Box::new(incoming), told)).await.map_err(|_| ended())?;
        what.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Durable when this returns. `None`: there is no such delivery.
    pub(super) async fn answer(&self, answering: Answering) -> Result<Option<DeliveryAnswer>, PortError> {
        let (told, what) = oneshot::channel();
        self.0.send(Job::Answer(Box::new(answering), told)).await.map_err(|_| ended())?;
        what.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Kept as soon as may be; left out where there is no room.
    pub(super) fn note(&self, entry: AuditEntry) {
        if self.0.try_send(Job::Note(Box::new(entry))).is_err() {
            tracing::warn!("more is to be written than can be: an entry of the audit is left out");
        }
    }

    /// Returns when all that was to be written before has been, or could not be.
    pub(super) async fn flush(&self) {
        let (told, done) = oneshot::channel();
        if self.0.send(Job::Flush(told)).await.is_ok() {
            // It says nothing more than that it is done.
            drop(done.await);
        }
    }
}

fn ended() -> PortError {
    PortError::new(FailureKind::Other, "the task that writes has ended")
}

/// Writes until nobody asks for it any more.
pub(super) async fn write(store: Arc<dyn Store>, core: Weak<Core>, Jobs(mut jobs): Jobs) {
    let mut unkept = VecDeque::new();
    while let Some(first) = jobs.recv().await {
        let mut together = vec![first];
        while together.len() < TOGETHER_MAX
            && let Ok(next) = jobs.try_recv()
        {
            together.push(next);
        }
        for failed in write_all(&*store, &core, together, &mut unkept).await {
            // One of them is what the store does not take; the others need not suffer for it.
            drop(write_all(&*store, &core, vec![failed], &mut unkept).await);
        }
    }
}

/// Those that are to be tried one by one.
async fn write_all(
    store: &dyn Store,
    core: &Weak<Core>,
    jobs: Vec<Job>,
    unkept: &mut VecDeque<AuditEntry>,
) -> Vec<Job> {
    let mut batch = Batch { entries: unkept.iter().cloned().collect(), ..Batch::default() };
    for job in &jobs {
        match job {
            Job::Receive(incoming, _) => batch.incoming.push((**incoming).clone()),
            Job::Answer(answering, _) => batch.answers.push((**answering).clone()),
            Job::Note(entry) => batch.entries.push((**entry).clone()),
            Job::Flush(_) => {}
        }
    }
    match store.keep(&batch).await {
        Ok(kept) => {
            unkept.clear();
            tell(core, jobs, kept);
            if let Some(core) = core.upgrade() {
                core.store_is_well();
            }
            Vec::new()
        }
        Err(error) if jobs.len() > 1 && is_about_one(error.kind) => jobs,
        Err(error) => {
            tracing::warn!(%error, "calls and their answers cannot be kept");
            refuse(core, jobs, &error, unkept);
            Vec::new()
        }
    }
}

/// Not that nobody answers, nor that there is no room.
fn is_about_one(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Other | FailureKind::TooLarge | FailureKind::Refused)
}

/// Calls before answers, as they were written.
fn tell(core: &Weak<Core>, jobs: Vec<Job>, kept: Kept) {
    let core = core.upgrade();
    let mut received = kept.received.into_iter().zip(kept.arrived);
    let mut answered = kept.answers.into_iter();
    let mut later = Vec::new();
    for job in jobs {
        match job {
            Job::Receive(incoming, told) => {
                let Some((received, arrived)) = received.next() else { continue };
                let entry = core.as_ref().and_then(|core| core.entry_of(&incoming, &received, arrived));
                // Its caller may have gone, and it goes on.
                drop(told.send(Ok(Let { received, entry })));
            }
            other => later.push(other),
        }
    }
    for job in later {
        match job {
            Job::Answer(answering, told) => {
                let answer = answered.next().flatten();
                if let Some(core) = &core {
                    core.answered(&answering, answer.as_ref());
                }
                drop(told.send(Ok(answer)));
            }
            Job::Flush(told) => drop(told.send(())),
            Job::Receive(..) | Job::Note(_) => {}
        }
    }
}

fn refuse(core: &Weak<Core>, jobs: Vec<Job>, error: &PortError, unkept: &mut VecDeque<AuditEntry>) {
    if let Some(core) = core.upgrade() {
        core.store_failed();
    }
    for job in jobs {
        match job {
            Job::Receive(_, told) => drop(told.send(Err(error.clone()))),
            Job::Answer(_, told) => drop(told.send(Err(error.clone()))),
            Job::Note(entry) => unkept.push_back(*entry),
            Job::Flush(told) => drop(told.send(())),
        }
    }
    while unkept.len() > NOTES_KEPT_MAX {
        unkept.pop_front();
    }
}
