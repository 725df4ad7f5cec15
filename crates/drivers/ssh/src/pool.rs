//! A connection's workers: who gets which, and when another one is opened.
//!
//! To open one costs what the login shell's start-up files cost there, a tenth of a second and more, and it is the host's
//! processors that pay; most requests take milliseconds. So a call waits for a worker that is busy about as long as
//! another one takes to open, and only then opens it. Whatever the others do, it waits at most twice as long as it would
//! have with the better of the two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Longest wait for a busy worker, also while it is not known how long one takes to open.
const PATIENCE_MILLIS_MAX: u64 = 1000;
/// Workers at once. sshd allows 10 sessions a connection by default (`MaxSessions`), and one just left may still count.
const WORKERS_MAX: usize = 8;

/// Of something that is like a worker: kept while nobody has it.
pub(crate) struct Pool<W> {
    /// One for each call that is under way or waits for a worker.
    calls: Semaphore,
    /// A permit is one of `idle` or, where there are more permits, the right to open one.
    turns: Semaphore,
    idle: Mutex<Vec<W>>,
    /// How long the last one took to open; 0 before that is known.
    opening_millis: AtomicU64,
}

/// What a call has as long as it is under way. Whoever drops it without [`Turn::give_back`] leaves the right to open
/// another worker in place of the one that the turn stood for, if it stood for one.
pub(crate) struct Turn<'a, W> {
    pool: &'a Pool<W>,
    /// It stands for no worker that was there, nor for the right to open one: its own would be one more.
    is_extra: bool,
    _call: Result<SemaphorePermit<'a>, AcquireError>,
}

impl<W> Pool<W> {
    pub(crate) fn new() -> Pool<W> {
        Pool {
            calls: Semaphore::new(WORKERS_MAX),
            turns: Semaphore::new(1),
            idle: Mutex::default(),
            opening_millis: AtomicU64::new(0),
        }
    }

    /// One's turn, with a worker that is free or, when `None`, to open one.
    pub(crate) async fn turn(&self) -> (Turn<'_, W>, Option<W>) {
        // Never closed, so there is always one to be had.
        let call = self.calls.acquire().await;
        if let Ok(Ok(turn)) = tokio::time::timeout(self.patience(), self.turns.acquire()).await {
            turn.forget();
            let turn = Turn { pool: self, is_extra: false, _call: call };
            let worker = self.idle().pop();
            return (turn, worker);
        }
        (Turn { pool: self, is_extra: true, _call: call }, None)
    }

    /// How long it took from the wish for a new worker to its first answer.
    pub(crate) fn opened_in(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.opening_millis.store(millis, Ordering::Relaxed);
    }

    /// One that is free, for good: somebody else wants its session. Another one may be opened in its place.
    pub(crate) fn let_go(&self) -> Option<W> {
        // Its permit stays, and is the right to open one.
        let _turn = self.turns.try_acquire().ok()?;
        self.idle().pop()
    }

    /// All that are free.
    pub(crate) fn clear(&self) {
        self.idle().clear();
    }

    fn patience(&self) -> Duration {
        let known = Some(self.opening_millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0);
        Duration::from_millis(known.unwrap_or(PATIENCE_MILLIS_MAX).min(PATIENCE_MILLIS_MAX))
    }

    /// Nothing in here can panic, so a poisoned lock has nothing wrong behind it.
    fn idle(&self) -> MutexGuard<'_, Vec<W>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Turn<'_, W> {
    /// Another call's worker, if one is free now, instead of one's own.
    pub(crate) fn free(&mut self) -> Option<W> {
        let turn = self.pool.turns.try_acquire().ok()?;
        let worker = self.pool.idle().pop()?;
        turn.forget();
        self.is_extra = false;
        Some(worker)
    }

    /// The worker can be asked again.
    pub(crate) fn give_back(mut self, worker: W) {
        self.is_extra = false;
        self.pool.idle().push(worker);
    }
}

impl<W> Drop for Turn<'_, W> {
    fn drop(&mut self) {
        if !self.is_extra {
            self.pool.turns.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever happens beside it happens at once.
    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_busy_worker_as_long_as_another_takes_to_open() {
        let pool: Pool<u32> = Pool::new();
        let (first, none) = pool.turn().await;
        assert_eq!(none, None, "there is none yet");
        pool.opened_in(Duration::from_millis(100));
        let started = tokio::time::Instant::now();
        let answered = async {
            tokio::time::sleep(Duration::from_millis(99)).await;
            first.give_back(1);
        };
        let ((second, worker), ()) = tokio::join!(pool.turn(), answered);
        assert_eq!(worker, Some(1), "it was free in time");
        let (third, none) = pool.turn().await;
        assert_eq!((none, started.elapsed().as_millis()), (None, 199), "it was not");
        second.give_back(1);
        third.give_back(3);
        let (one, two) = (pool.turn().await, pool.turn().await);
        assert_eq!((one.1, two.1), (Some(3), Some(1)), "both are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_while_the_only_worker_is_lost_opens_one() {
        let pool: Pool<u32> = Pool::new();
        let (first, _) = pool.turn().await;
        pool.opened_in(Duration::from_millis(500));
        let started = tokio::time::Instant::now();
        let lost = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(first);
        };
        let ((_turn, worker), ()) = tokio::join!(pool.turn(), lost);
        assert_eq!((worker, started.elapsed().as_millis()), (None, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_that_is_lost_leaves_no_right_to_another_at_once() {
        let pool: Pool<u32> = Pool::new();
        let (_first, _) = pool.turn().await;
        pool.opened_in(Duration::from_millis(100));
        drop(pool.turn().await);
        let started = tokio::time::Instant::now();
        let (mut turn, worker) = pool.turn().await;
        assert_eq!((worker, started.elapsed().as_millis()), (None, 100));
        assert_eq!(turn.free(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_bounded_however_slow_a_shell_is_and_workers_are_few() {
        let pool: Pool<u32> = Pool::new();
        let started = tokio::time::Instant::now();
        let mut turns = vec![pool.turn().await.0];
        let millis = || u64::try_from(started.elapsed().as_millis()).unwrap();
        turns.push(pool.turn().await.0);
        assert_eq!(millis(), PATIENCE_MILLIS_MAX, "nothing is known of it yet");
        pool.opened_in(Duration::from_secs(60));
        while turns.len() < WORKERS_MAX {
            turns.push(pool.turn().await.0);
        }
        assert_eq!(millis(), PATIENCE_MILLIS_MAX * (WORKERS_MAX as u64 - 1));
        let waits = tokio::time::timeout(Duration::from_secs(60), pool.turn());
        assert!(waits.await.is_err(), "sshd would refuse more");
        turns.pop().unwrap().give_back(8);
        assert_eq!(pool.turn().await.1, Some(8));
    }
}
