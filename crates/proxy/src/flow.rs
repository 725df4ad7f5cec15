//! How much of what was handed to a connection it still holds.
//!
//! hyper gathers up to its buffer's size before it asks the body to wait, and HTTP/2 keeps a piece for every stream.
//! Bodies look here first, so that a peer that doesn't read holds little.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lanes::{LANE_READ_BYTES_MAX, LANE_UNSENT_BYTES_MAX};

/// How much is read at once. One byte below hyper's first buffer size: one that is filled is doubled, up to hundreds of
/// kilobytes, and a client that stops reading would then hold pieces of that size.
const READ_BYTES_MAX: usize = 8 * 1024 - 1;
/// A body is asked for its next piece when its connection holds less than this.
const UNSENT_BYTES_MAX: usize = READ_BYTES_MAX;

/// One connection's account. Heads and frames are not entered when they are handed over but leave with the rest, so it
/// may say too little for a moment, never too much for long.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    unsent: AtomicUsize,
    /// A connection to a slot keeps its lane until it ends.
    lane: OnceLock<OwnedSemaphorePermit>,
    /// How many bodies on a client's connection have a lane.
    bodies: AtomicUsize,
    waits: AtomicBool,
    waker: AtomicWaker,
}

impl Flow {
    /// A body gave the connection this many bytes.
    pub(crate) fn handed(&self, bytes: usize) {
        self.unsent.fetch_add(bytes, AcqRel);
    }

    /// The connection's socket took this many bytes.
    pub(crate) fn sent(&self, bytes: usize) {
        let less = |unsent: usize| Some(unsent.saturating_sub(bytes));
        // The closure always answers, so this can't fail.
        let _ = self.unsent.fetch_update(AcqRel, Acquire, less);
        if self.waits.swap(false, AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it has a lane now.
    pub(crate) fn keep_lane(&self, lanes: &Arc<Semaphore>) -> bool {
        if self.lane.get().is_none()
            && let Ok(permit) = lanes.clone().try_acquire_owned()
        {
            // If the other direction was faster, this permit is one too many.
            drop(self.lane.set(permit));
        }
        self.lane.get().is_some()
    }

    pub(crate) fn widen(&self) {
        self.bodies.fetch_add(1, AcqRel);
    }

    pub(crate) fn narrow(&self) {
        self.bodies.fetch_sub(1, AcqRel);
    }

    /// Whether it may hold more, for a lane.
    pub(crate) fn is_wide(&self) -> bool {
        self.bodies.load(Acquire) > 0 || self.lane.get().is_some()
    }

    /// How much is read at once.
    pub(crate) fn read_bytes_max(&self) -> usize {
        if self.is_wide() { LANE_READ_BYTES_MAX } else { READ_BYTES_MAX }
    }

    /// Whether it holds little enough to be given more.
    pub(crate) fn has_room(&self) -> bool {
        self.unsent.load(Acquire) < if self.is_wide() { LANE_UNSENT_BYTES_MAX } else { UNSENT_BYTES_MAX }
    }

    /// Ready when the connection has room. One body at a time may wait.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        self.waits.store(true, std::sync::atomic::Ordering::SeqCst);
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }
}
