//! Actions under the fence.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use lockgate_model::{Action, Failure, FailureKind, Headway, HostId, Seen};
use tokio::time::Instant;

use crate::Engine;

/// An undo is tried again when the world could not be reached: giving up leaves a stuck run. So is tidying up, and the look
/// at a lease that may have been lost.
const UNDO_ATTEMPTS_MAX: u32 = 6;
/// No further attempt begins later than this after the first: each may take as long as a dead host is waited for.
const UNDO_SECONDS_MAX: u64 = 40;
/// First pause between attempts to undo; doubles each time (6 attempts wait 6.2 s in all).
const UNDO_PAUSE_MILLIS: u64 = 200;
/// Looks at the lease in a row that took so long that their answer was worth nothing.
const SLOW_FENCES_MAX: u32 = 3;
/// Shortest pause between two looks at the lease beside an action.
const LOOK_AGAIN_MILLIS: u64 = 200;

/// Hears how far an action is.
pub(crate) type Told<'a> = &'a (dyn Fn(Headway) + Send + Sync);

pub(crate) async fn perform(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    actions: &[Action],
    told: Told<'_>,
) -> Result<Seen, Failure> {
    let mut seen = Seen::new();
    for action in actions {
        let fenced = Fenced { engine, host, looks: action.properties().only_looks };
        seen.extend(fenced.perform(engine.performer.perform(host, action, told)).await?);
    }
    Ok(seen)
}

/// How an action goes on only while nobody else can hold the lease: an orchestrator that was paused in the middle of one
/// looks at the lease again before it does anything more.
struct Fenced<'a> {
    engine: &'a Engine<'a>,
    host: Option<&'a HostId>,
    /// The action changes nothing, so it goes on also while it is not known whose the lease is: what it measures is never
    /// the time that a look at the lease takes.
    looks: bool,
}

/// What came first.
enum First<T> {
    Action(Result<Seen, Failure>),
    Other(T),
}

impl Fenced<'_> {
    /// What it comes to, unless the host stops answering meanwhile, which is known long before all that is waited for there
    /// has timed out.
    async fn perform(&self, action: impl Future<Output = Result<Seen, Failure>>) -> Result<Seen, Failure> {
        tokio::select! {
            biased;
            done = self.perform_fenced(action) => done,
            gone = self.engine.fence.gone(self.host) => Err(gone),
        }
    }

    /// Nothing begins before the first look. Each next one is made when half of the time has passed for which the lease is
    /// safe, and the action goes on beside it.
    async fn perform_fenced(
        &self,
        action: impl Future<Output = Result<Seen, Failure>>,
    ) -> Result<Seen, Failure> {
        let mut action = pin!(action);
        let mut until = None;
        let mut slow = 0;
        loop {
            let asked = Instant::now();
            let look = self.engine.fence.check(self.host);
            let looked = match until {
                None => look.await,
                Some(until) => match self.beside(action.as_mut(), until, look).await {
                    First::Action(result) => return self.still_ours(until, result).await,
                    First::Other(looked) => looked,
                },
            };
            let safe = match (looked, until) {
                (Ok(trusted), _) => asked + trusted,
                // The host does not answer, which says nothing about the lease: it is asked again as long as it is safe.
                (Err(failure), Some(safe))
                    if failure.kind != FailureKind::LeaseLost && Instant::now() < safe =>
                {
                    tracing::debug!(%failure, "the lease could not be looked at");
                    safe
                }
                (Err(failure), _) => return Err(failure),
            };
            let left = safe.saturating_duration_since(Instant::now());
            slow = if left.is_zero() { slow + 1 } else { 0 };
            if slow == SLOW_FENCES_MAX {
                return Err(Failure::new(
                    FailureKind::TimedOut,
                    "looking at the lease takes longer than a lease lives",
                ));
            }
            let pause = (left / 2).max(Duration::from_millis(LOOK_AGAIN_MILLIS)).min(left);
            if let First::Action(result) = self.beside(action.as_mut(), safe, tokio::time::sleep(pause)).await
            {
                return self.still_ours(safe, result).await;
            }
            until = Some(safe);
        }
    }

    /// What an action has seen that went on beyond the lease's safe time does not count when the lease is lost. Where that
    /// cannot be said it counts: before the next effect it is asked again.
    async fn still_ours(&self, safe: Instant, result: Result<Seen, Failure>) -> Result<Seen, Failure> {
        if self.looks && Instant::now() >= safe {
            match self.engine.fence.check(self.host).await {
                Err(failure) if failure.kind == FailureKind::LeaseLost => return Err(failure),
                Err(failure) => tracing::debug!(%failure, "the lease could not be looked at"),
                Ok(_) => {}
            }
        }
        result
    }

    /// The action and `other` beside each other, the action only until the lease is not `safe` any more.
    async fn beside<T>(
        &self,
        mut action: Pin<&mut impl Future<Output = Result<Seen, Failure>>>,
        safe: Instant,
        other: impl Future<Output = T>,
    ) -> First<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if (self.looks || Instant::now() < safe)
                && let Poll::Ready(result) = action.as_mut().poll(cx)
            {
                return Poll::Ready(First::Action(result));
            }
            other.as_mut().poll(cx).map(First::Other)
        })
        .await
    }
}

/// All again from the first action when the world could not be reached: each looks before it acts.
pub(crate) async fn insist(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    actions: &[Action],
    told: Told<'_>,
) -> Result<Seen, Failure> {
    until_answered(|| perform(engine, host, actions, told)).await
}

/// Again, with pauses and within bounds, while the world cannot be reached.
pub(crate) async fn until_answered<T, F: Future<Output = Result<T, Failure>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, Failure> {
    let (start, bound) = (Instant::now(), Duration::from_secs(UNDO_SECONDS_MAX));
    let mut pause = Duration::from_millis(UNDO_PAUSE_MILLIS);
    for _ in 1..UNDO_ATTEMPTS_MAX {
        match attempt().await {
            Err(failure) if transient(failure.kind) && start.elapsed() < bound => {
                tracing::debug!(%failure, "tried again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    attempt().await
}

fn transient(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::TimedOut | FailureKind::Conflict)
}
