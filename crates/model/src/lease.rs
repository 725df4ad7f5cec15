//! The lease: the expiring, owned right to change one service in one environment, kept on every host it concerns.

use serde::{Deserialize, Serialize};

use crate::{Millis, Outcome, Plan, RunId, Timestamp};

/// One host's lease file, changed only by compare-and-swap. It outlives its holder: the token must keep rising, and
/// what was left unfinished must be found by whoever comes next, from whatever machine.
///
/// Every user of the host may read it. It holds who deploys (`user@machine`, process), the plan of an unfinished run
/// (releases, hosts, addresses, and the gates as they are written in `lockgate.yaml`), and how the last one ended, in
/// brief: no log lines and no evidence. Variables of a service (`env`) are nowhere in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Fencing token: rises by one with every new holder.
    pub token: u64,
    pub holder: Option<Holder>,
    /// The run whose steps may be half done.
    pub unfinished: Option<Unfinished>,
    /// How the last finished run ended, in [brief](Outcome::brief): what cannot be read back would lock everybody out.
    pub last: Option<RunEnd>,
}

impl LeaseRecord {
    /// What is unfinished is a run whose undo failed: it waits for a person.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let stuck = self.last.as_ref().filter(|end| matches!(end.outcome, Outcome::Stuck(_)));
        stuck.is_some_and(|end| self.unfinished.as_ref().is_some_and(|unfinished| unfinished.run == end.run))
    }
}

/// Who asks for a lease: one process on one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `user@machine`, for people.
    pub owner: String,
    /// Tells boots (and process-id namespaces) apart; empty where that is unknown, and nobody is then taken for dead.
    pub boot_id: String,
    pub pid: u32,
    /// Start time of the process, in whatever unit the machine counts; 0 when unknown.
    pub started: u64,
}

impl Identity {
    #[must_use]
    pub fn is(&self, holder: &Holder) -> bool {
        self.boot_id == holder.boot_id && self.pid == holder.pid && self.started == holder.started
    }

    /// A holder since `now`, by the clock of the host that keeps the lease.
    #[must_use]
    pub fn holder(&self, now: Timestamp, ttl: Millis) -> Holder {
        let Identity { owner, boot_id, pid, started } = self.clone();
        Holder { owner, boot_id, pid, started, since: now, renewed_at: now, ttl }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine`, for people.
    pub owner: String,
    /// Machine's boot id, process id and process start time: whoever runs on the same boot can tell that it is dead.
    pub boot_id: String,
    pub pid: u32,
    pub started: u64,
    /// By the host's own clock.
    pub since: Timestamp,
    pub renewed_at: Timestamp,
    pub ttl: Millis,
}

impl Holder {
    /// No heartbeat for a lifetime, by the host's own clock.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.renewed_at.plus(self.ttl)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    pub run: RunId,
    pub plan: Plan,
    pub progress: Progress,
}

/// How far a run got, as far as another machine must know: everything finer is found by looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    Forward,
    Unwinding,
    /// Serves and has passed its gates: only tidying up is left.
    Committed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    pub run: RunId,
    pub at: Timestamp,
    pub outcome: Outcome,
}
