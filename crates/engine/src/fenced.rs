//! Actions under the fence.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use lockgate_model::{Action, Failure, FailureKind, HostId, Seen};
use tokio::time::Instant;

use crate::Engine;

/// An undo is tried again when the world could not be reached: giving up leaves a stuck run. So is tidying up.
const UNDO_ATTEMPTS_MAX: u32 = 6;
/// No further attempt begins later than this after the first: each may take as long as a dead host is waited for.
const UNDO_SECONDS_MAX: u64 = 40;
/// First pause between attempts to undo; doubles each time (6 attempts wait 6.2 s in all).
const UNDO_PAUSE_MILLIS: u64 = 200;
/// Looks at the lease in a row that took so long that their answer was worth nothing.
const SLOW_FENCES_MAX: u32 = 3;

pub(crate) async fn perform(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    actions: &[Action],
) -> Result<Seen, Failure> {
    let mut seen = Seen::new();
    for action in actions {
        seen.extend(fenced(engine, host, engine.performer.perform(host, action)).await?);
    }
    Ok(seen)
}

/// Goes on with an action only while nobody else can hold the lease: an orchestrator that was paused in the middle of
/// one looks again before it does anything more.
async fn fenced(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    action: impl Future<Output = Result<Seen, Failure>>,
) -> Result<Seen, Failure> {
    let mut action = pin!(action);
    for _ in 0..SLOW_FENCES_MAX {
        loop {
            let asked = Instant::now();
            let trusted = engine.fence.check(host).await?;
            let mut polled = false;
            let result = poll_fn(|cx| {
                if asked.elapsed() >= trusted {
                    return Poll::Ready(None);
                }
                polled = true;
                action.as_mut().poll(cx).map(Some)
            });
            if let Some(result) = result.await {
                return result;
            }
            if !polled {
                break;
            }
        }
    }
    Err(Failure::new(FailureKind::TimedOut, "looking at the lease takes longer than a lease lives"))
}

/// All again from the first action when the world could not be reached: each looks before it acts.
pub(crate) async fn insist(
    engine: &Engine<'_>,
    host: Option<&HostId>,
    actions: &[Action],
) -> Result<Seen, Failure> {
    let (start, bound) = (Instant::now(), Duration::from_secs(UNDO_SECONDS_MAX));
    let mut pause = Duration::from_millis(UNDO_PAUSE_MILLIS);
    for _ in 1..UNDO_ATTEMPTS_MAX {
        match perform(engine, host, actions).await {
            Err(failure) if transient(failure.kind) && start.elapsed() < bound => {
                tracing::debug!(%failure, "tried again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    perform(engine, host, actions).await
}

fn transient(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::TimedOut | FailureKind::Conflict)
}
