//! Waiting for another side that goes on too slowly, or not at all.
//!
//! Only the time that is spent waiting for that side counts: a client that can't send because the slot doesn't read
//! is not slow. A timer exists only while something waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Runs out when the other side moved too little in a window of time spent waiting for it.
#[derive(Debug)]
pub(crate) struct StallTimer {
    window: Duration,
    /// How much must move in a window.
    least: u64,
    /// How long this window has been waited in, up to `since`.
    waited: Duration,
    /// How much moved in this window.
    moved: u64,
    /// Since when it is waited; `None` while the other side isn't waited for.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    pub(crate) fn new(window: Duration, least: u64) -> Self {
        Self { window, least, waited: Duration::ZERO, moved: 0, since: None, timer: None }
    }

    /// The other side moved this much.
    pub(crate) fn moved(&mut self, amount: u64) {
        self.pause();
        self.moved = self.moved.saturating_add(amount);
    }

    /// Something else is waited for now.
    pub(crate) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Called whenever there is nothing but to wait for the other side; ready when that was too long. The task is
    /// woken for it.
    pub(crate) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.since.get_or_insert(now);
            let waited = self.waited + now.saturating_duration_since(since);
            if waited >= self.window {
                if self.moved < self.least {
                    return Poll::Ready(());
                }
                (self.waited, self.moved, self.since) = (Duration::ZERO, 0, Some(now));
                continue;
            }
            let deadline = now + (self.window - waited);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // One that is set already fires no later than this, and is looked at again then.
            if timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    async fn out(stall_timer: &mut StallTimer) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| stall_timer.poll_out(cx)).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn too_little_in_a_window_is_as_bad_as_nothing() {
        assert!(out(&mut StallTimer::new(WINDOW, 1)).await >= WINDOW);
        let mut slow = StallTimer::new(WINDOW, 10);
        slow.moved(9);
        let took = out(&mut slow).await;
        assert!(took >= WINDOW && took < WINDOW * 2, "{took:?}");
        let mut fair = StallTimer::new(WINDOW, 10);
        fair.moved(10);
        assert!(out(&mut fair).await >= WINDOW * 2);
    }

    #[tokio::test]
    async fn time_in_which_the_other_side_is_not_waited_for_does_not_count() {
        let mut stall_timer = StallTimer::new(WINDOW, 1);
        let waits = tokio::time::timeout(WINDOW / 2, poll_fn(|cx| stall_timer.poll_out(cx))).await;
        assert!(waits.is_err());
        stall_timer.pause();
        tokio::time::sleep(WINDOW * 2).await;
        let took = out(&mut stall_timer).await;
        assert!(took >= WINDOW / 4 && took < WINDOW, "{took:?}");
    }
}
