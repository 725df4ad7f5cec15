//! How processes that this orchestrator started itself have ended: only their parent is told.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockgate_model::Slot;
use tokio::process::Child;
use tokio::sync::watch;

/// How long the kernel's word may take after the process was seen gone.
const WORD_MILLIS_MAX: u64 = 100;

/// The last start in each slot.
#[derive(Default)]
pub(crate) struct Children(Mutex<BTreeMap<Slot, Waiting>>);

#[derive(Clone)]
struct Waiting {
    token: String,
    end: watch::Receiver<Option<ExitStatus>>,
}

impl Children {
    /// Waits for it beside everything else. The process goes on when this orchestrator ends.
    pub(crate) fn adopt(&self, slot: Slot, token: &str, mut child: Child) {
        let (ended, end) = watch::channel(None);
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => drop(ended.send_replace(Some(status))),
                Err(error) => tracing::debug!(%error, "how a process ended is not known"),
            }
        });
        let waiting = Waiting { token: token.to_owned(), end };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, waiting);
    }

    /// How the run with this token ended: `exit code 3`, `signal 9`. `None` where that is not known.
    pub(crate) async fn end(&self, slot: Slot, token: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&slot).cloned();
        let mut waiting = known.filter(|waiting| waiting.token == token)?;
        let word = waiting.end.wait_for(Option::is_some);
        let status =
            (*tokio::time::timeout(Duration::from_millis(WORD_MILLIS_MAX), word).await.ok()?.ok()?)?;
        let code = status.code().map(|code| format!("exit code {code}"));
        code.or_else(|| Some(format!("signal {}", status.signal()?)))
    }
}
