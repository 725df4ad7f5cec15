//! The lease: the expiring, owned right to change one service in one environment, kept on every host it concerns.

use serde::{Deserialize, Serialize};

use crate::{Failure, HostId, Millis, Outcome, Plan, RunId, Timestamp};

/// How far ahead of a host's clock the end of a run there is believed.
const AHEAD_SECONDS_MAX: u64 = 3_600;
/// Highest fencing token that another holder is taken after. It rises by one with every command, so a record with a
/// higher one was not written by Lockgate.
pub const TOKEN_MAX: u64 = u64::MAX >> 1;
/// Longest lifetime of a lease that is believed: no holder asks for more than a quarter of it.
pub const BELIEVED_TTL_SECONDS_MAX: u64 = 60;
/// Longest name of a holder that is shown, in characters.
pub const OWNER_CHARS_MAX: usize = 120;

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
    /// When that was written down, by the host's own clock: [`RunEnd::at`] is by that of the machine that ran it. `None`
    /// in a record from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl LeaseRecord {
    /// How long ago the last run ended, for a host whose clock says `now`. `None` when none has, or when it says that this
    /// was more than an hour ahead of now: a slot would be kept warm for ever.
    #[must_use]
    pub fn quiet_for(&self, now: Timestamp) -> Option<Millis> {
        let ended = self.ended_at.or(self.last.as_ref().map(|end| end.at))?;
        (ended <= now.plus(Millis::from_secs(AHEAD_SECONDS_MAX))).then(|| now.since(ended))
    }

    /// What is unfinished is a run whose undo failed: it waits for a person.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let stuck = self.last.as_ref().filter(|end| matches!(end.outcome, Outcome::Stuck(_)));
        stuck.is_some_and(|end| self.unfinished.as_ref().is_some_and(|unfinished| unfinished.run == end.run))
    }
}

/// Who asks for a lease: one session of one process on one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `user@machine`, for people.
    pub owner: String,
    /// Tells boots (and process-id namespaces) apart; empty where that is unknown, and nobody is then taken for dead.
    pub boot_id: String,
    pub pid: u32,
    /// Start time of the process, in whatever unit the machine counts; 0 when unknown.
    pub started: u64,
    /// Tells the sessions of one process apart: each is a holder of its own. Unique; empty for a process that has none yet.
    pub session: String,
}

impl Identity {
    #[must_use]
    pub fn is(&self, holder: &Holder) -> bool {
        let process = (&self.boot_id, self.pid, self.started);
        process == (&holder.boot_id, holder.pid, holder.started) && self.session == holder.session
    }

    /// A holder of the lease on `host` since `now`, by that host's clock.
    #[must_use]
    pub fn holder(&self, host: &HostId, now: Timestamp, ttl: Millis) -> Holder {
        let Identity { owner, boot_id, pid, started, session } = self.clone();
        let host = Some(host.clone());
        Holder { owner, boot_id, pid, started, session, host, since: now, renewed_at: now, ttl }
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
    /// [`Identity::session`]; empty in a record of a program that had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// By which name of the machine it was taken, which tells two names of one machine apart. `None` as for `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// By the host's own clock.
    pub since: Timestamp,
    pub renewed_at: Timestamp,
    pub ttl: Millis,
}

impl Holder {
    /// No heartbeat for a lifetime, by the host's own clock.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.renewed_at.plus(self.believed_ttl())
    }

    /// Its lifetime, at most [`BELIEVED_TTL_SECONDS_MAX`]: whoever can write the record must not block others for ever.
    #[must_use]
    pub fn believed_ttl(&self) -> Millis {
        self.ttl.min(Millis::from_secs(BELIEVED_TTL_SECONDS_MAX))
    }

    /// As people are told of it: the owner's name is text from a host, so it is [quoted](crate::quoted) and at most
    /// [`OWNER_CHARS_MAX`] long.
    #[must_use]
    pub fn told(mut self) -> Holder {
        self.owner = crate::quoted(&self.owner, OWNER_CHARS_MAX);
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    pub run: RunId,
    pub plan: Plan,
    pub progress: Progress,
    /// Why it turned back, [in short](Failure::in_short): whoever finishes the undoing says it too. `None` for a run that
    /// did not, and in a record of a program that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Failure>,
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
    /// By the clock of the machine that ran it.
    pub at: Timestamp,
    pub outcome: Outcome,
}

impl RunEnd {
    /// As `host` has it in its record: the [outcome](Outcome::told_by) in its words.
    #[must_use]
    pub fn told_by(&self, host: &HostId) -> RunEnd {
        RunEnd { outcome: self.outcome.told_by(host), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(renewed_at: i64, ttl: u64) -> Holder {
        Holder {
            owner: "kim@desk".into(),
            boot_id: "boot".into(),
            pid: 7,
            started: 1,
            session: String::new(),
            host: None,
            since: Timestamp(0),
            renewed_at: Timestamp(renewed_at),
            ttl: Millis(ttl),
        }
    }

    #[test]
    fn a_lifetime_is_believed_up_to_a_bound_and_no_time_overflows() {
        let bound = Timestamp(0).plus(Millis::from_secs(BELIEVED_TTL_SECONDS_MAX));
        assert!(!holder(0, u64::MAX).has_expired(Timestamp(bound.0 - 1)));
        assert!(holder(0, u64::MAX).has_expired(bound));
        assert!(holder(0, 1_500).has_expired(Timestamp(1_500)));
        assert!(!holder(i64::MAX, u64::MAX).has_expired(bound), "it is watched for one lifetime then");
        assert!(holder(i64::MIN, u64::MAX).has_expired(bound));
    }

    #[test]
    fn a_holders_name_is_one_short_line() {
        let mut forged = holder(0, 1);
        forged.owner = format!("kim\n\u{1b}[2J`rm -rf /`{}", "x".repeat(5_000));
        let shown = forged.told().owner;
        assert!(shown.starts_with("kim\\n\\x1b[2J'rm -rf /'xxx"), "{shown}");
        assert_eq!(shown.chars().count(), OWNER_CHARS_MAX + 1);
    }

    /// As the program wrote it before [`LeaseRecord::ended_at`].
    #[test]
    fn an_older_record_tells_by_what_it_has_how_long_ago_its_run_ended() {
        let old = r#"{"token":3,"holder":null,"unfinished":null,"last":{"run":"00000000-0000-0000-0000-000000000000","at":1000,"outcome":{"outcome":"succeeded","warnings":[]}}}"#;
        let record: LeaseRecord = serde_json::from_str(old).unwrap();
        assert_eq!(record.quiet_for(Timestamp(61_000)), Some(Millis::from_secs(60)));
        assert_eq!(LeaseRecord::default().quiet_for(Timestamp(1)), None);
        let newer = LeaseRecord { ended_at: Some(Timestamp(31_000)), ..record };
        assert_eq!(newer.quiet_for(Timestamp(61_000)), Some(Millis::from_secs(30)));
        assert_eq!(newer.quiet_for(Timestamp(-3_600_000)), None, "nobody's clock is that wrong");
    }
}
