//! The lease: the expiring, owned right to change one service in one environment, kept on every host it concerns.

use serde::{Deserialize, Serialize};

use crate::{Millis, Outcome, Plan, RunId, Timestamp};

/// One host's lease file, changed only by compare-and-swap. It outlives its holder: the token must keep rising, and
/// what was left unfinished must be found by whoever comes next, from whatever machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Fencing token: rises by one with every new holder.
    pub token: u64,
    pub holder: Option<Holder>,
    /// The run whose steps may be half done.
    pub unfinished: Option<Unfinished>,
    /// How the last finished run ended.
    pub last: Option<RunEnd>,
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
