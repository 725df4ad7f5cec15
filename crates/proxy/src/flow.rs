//! How much of what was handed to a connection it still holds.
//!
//! hyper gathers up to its buffer's size before it asks the body to wait, and HTTP/2 keeps a piece for every stream.
//! Bodies look here first, so that a peer that doesn't read holds little.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// One connection's account. Heads and frames are not entered when they are handed over but leave with the rest, so it
/// may say too little for a moment, never too much for long.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    unsent: AtomicUsize,
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

    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Acquire)
    }

    /// Ready when the connection holds less than this. One body at a time may wait.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        if self.unsent() < most {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        self.waits.store(true, std::sync::atomic::Ordering::SeqCst);
        if self.unsent() < most { Poll::Ready(()) } else { Poll::Pending }
    }
}
