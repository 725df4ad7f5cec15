//! Commands that nobody waits for any more, until they have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// From SIGTERM to SIGKILL for a command whose time is over.
pub(crate) const KILL_GRACE_SECONDS: u64 = 2;

/// How many there are. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending(Arc<watch::Sender<usize>>);

/// One of them; dropped when it has ended.
pub(crate) struct Under(Ending);

impl Ending {
    /// One more.
    pub(crate) fn begin(&self) -> Under {
        self.0.send_modify(|count| *count += 1);
        Under(self.clone())
    }

    /// Returns when there is none, or when they have had their time twice: what cannot be killed is not waited for.
    pub(crate) async fn all(&self) {
        let mut count = self.0.subscribe();
        let bound = Duration::from_secs(2 * KILL_GRACE_SECONDS);
        let none = count.wait_for(|count| *count == 0);
        if tokio::time::timeout(bound, none).await.is_err() {
            tracing::warn!("a program does not end");
        }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
