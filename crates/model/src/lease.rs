//! The lease: the expiring, owned right to change one service in one environment, kept on every host it concerns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::in_bytes;
use crate::{Checksum, Failure, HostId, LeftOut, Millis, Outcome, Plan, RunId, Timestamp};

/// How far ahead of a host's clock the end of a run there is believed.
const AHEAD_SECONDS_MAX: u64 = 3_600;
/// Highest fencing token that another holder is taken after. It rises by one with every command, so a record with a
/// higher one was not written by Lockgate.
pub const TOKEN_MAX: u64 = u64::MAX >> 1;
/// Longest lifetime of a lease that is believed: no holder asks for more than a quarter of it.
pub const BELIEVED_TTL_SECONDS_MAX: u64 = 60;
/// Longest name of a holder that is shown, in characters.
pub const OWNER_CHARS_MAX: usize = 120;

/// Largest record that is written, in bytes of JSON, whatever the fleet: it is read before every action.
pub const RECORD_BYTES_MAX: usize = 1_023;
/// Longest name of a holder, session (a UUID) and host in a record, in bytes of JSON.
const NAME_BYTES_MAX: usize = 36;
/// Longest boot id in a record, in bytes of JSON: a UUID and a namespace (`pid:[4026531836]`) are 53. One that was cut would
/// be nobody's any more, and a dead holder waited for.
const BOOT_BYTES_MAX: usize = 56;

/// The lease record of one [`Place`], a file on a host, changed only by compare-and-swap. It outlives its holder: the token
/// must keep rising, and what was left unfinished must be found by whoever comes next, from whatever machine.
///
/// Every user of the host may read it. It holds who deploys (`user@machine`, process), which run is unfinished, whose plan
/// stands in a [file beside it](RunFileName), and how the last one ended, in brief: no log lines and no evidence. The plan
/// has releases, hosts, addresses, and the gates as they are written in `lockgate.yaml`. Variables of a service (`env`) are
/// in neither. What is written of it is at most [`RECORD_BYTES_MAX`] long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Fencing token: rises by one with every new holder.
    pub token: u64,
    /// Who has the lease. `None`: nobody.
    pub holder: Option<Holder>,
    /// The run whose steps may be half done.
    pub unfinished: Option<Begun>,
    /// How the last finished run ended, [in brief](Outcome::noted): what cannot be read back would lock everybody out.
    pub last: Option<RunEnd>,
    /// When that was written down, by the host's own clock: [`RunEnd::at`] is by that of the machine that ran it. `None`
    /// in a record from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Whom the last run left out that did. `None` when none has, and since a run that left out nobody succeeded here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

impl LeaseRecord {
    /// How long ago the last run ended, for a host whose clock says `now`. `None` when none has, or when it says that this
    /// was more than an hour ahead of now: a slot would be kept warm for ever.
    #[must_use]
    pub fn quiet_for(&self, now: Timestamp) -> Option<Millis> {
        let ended = self.ended_at.or(self.last.as_ref().map(|end| end.at))?;
        (ended <= now.plus(Millis::from_secs(AHEAD_SECONDS_MAX))).then(|| now.since(ended))
    }

    /// A run is under way. Of one that was stuck and is undone again it is not kept any more what could not be undone: there
    /// is no place for that and for why the run turned back.
    pub fn begin(&mut self, begun: Begun) {
        if let (Some(_), Some(RunEnd { outcome: Outcome::Stuck(stuck), .. })) = (&begun.cause, &mut self.last)
        {
            stuck.undo_failures.clear();
        }
        self.unfinished = Some(begun);
    }

    /// The last run is over, and where it is stuck it stays as what is unfinished. Its end says why it turned back.
    pub fn end(&mut self, settled: bool) {
        match (&mut self.unfinished, settled) {
            (unfinished, true) => *unfinished = None,
            (Some(begun), false) => begun.cause = None,
            (None, false) => {}
        }
    }

    /// What is unfinished is a run whose undo failed: it waits for a person.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let stuck = self.last.as_ref().filter(|end| matches!(end.outcome, Outcome::Stuck(_)));
        stuck.is_some_and(|end| self.unfinished.as_ref().is_some_and(|unfinished| unfinished.run == end.run))
    }
}

/// What a lease is held on: a host, or the store, where there is no host to keep it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A host that has slots of the environment.
    Host(HostId),
    /// The one store of everybody who deploys to an environment.
    Store,
}

impl Place {
    /// `None` for the store.
    #[must_use]
    pub fn host(&self) -> Option<&HostId> {
        match self {
            Place::Host(host) => Some(host),
            Place::Store => None,
        }
    }

    /// Whether it is this host; the store is none.
    #[must_use]
    pub fn is(&self, host: &HostId) -> bool {
        self.host() == Some(host)
    }
}

impl From<HostId> for Place {
    fn from(host: HostId) -> Self {
        Place::Host(host)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Host(host) => host.fmt(f),
            Place::Store => f.write_str("the store"),
        }
    }
}

/// Who asks for a lease: one session of one process on one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `user@machine`, for people.
    pub owner: String,
    /// Tells boots (and process-id namespaces) apart; empty where that is unknown, and nobody is then taken for dead.
    pub boot_id: String,
    /// The process id.
    pub pid: u32,
    /// Start time of the process, in whatever unit the machine counts; 0 when unknown.
    pub started: u64,
    /// Tells the sessions of one process apart: each is a holder of its own. Unique; empty for a process that has none yet.
    pub session: String,
}

impl Identity {
    /// Whether `holder` is this very session, as far as a record has room for its names.
    #[must_use]
    pub fn is(&self, holder: &Holder) -> bool {
        let named = |text| in_bytes(text, NAME_BYTES_MAX);
        (self.pid, self.started) == (holder.pid, holder.started)
            && in_bytes(&self.boot_id, BOOT_BYTES_MAX) == holder.boot_id
            && named(&self.session) == holder.session
    }

    /// A holder of the lease on `place` since `now`, by that place's clock.
    #[must_use]
    pub fn holder(&self, place: &Place, now: Timestamp, ttl: Millis) -> Holder {
        let named = |text| in_bytes(text, NAME_BYTES_MAX);
        Holder {
            owner: named(&self.owner),
            boot_id: in_bytes(&self.boot_id, BOOT_BYTES_MAX),
            pid: self.pid,
            started: self.started,
            session: named(&self.session),
            host: place.host().map(noted),
            since: now,
            renewed_at: now,
            ttl,
        }
    }
}

/// A host as a record names it: a long name by its beginning and its checksum.
pub(crate) fn noted(host: &HostId) -> HostId {
    match host.as_str().split_at_checked(NAME_BYTES_MAX / 2) {
        Some((begin, rest)) if rest.len() > NAME_BYTES_MAX / 2 => {
            let short = format!("{begin}..{}", Checksum::of(host.as_str().as_bytes()));
            HostId::new(short).unwrap_or_else(|_| host.clone())
        }
        Some(_) | None => host.clone(),
    }
}

/// Who has a lease, since when, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine`, for people.
    pub owner: String,
    /// Machine's boot id, process id and process start time: whoever runs on the same boot can tell that it is dead.
    pub boot_id: String,
    /// The holder's process id on its machine.
    pub pid: u32,
    /// [`Identity::started`] of the holder.
    pub started: u64,
    /// [`Identity::session`]; empty in a record of a program that had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// By which name of the machine it was taken, which tells two names of one machine apart. `None` as for `session`, and
    /// in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// By the host's own clock.
    pub since: Timestamp,
    /// When its last heartbeat was, by the host's own clock.
    pub renewed_at: Timestamp,
    /// How long it holds from then on, as the holder says; see [`Holder::believed_ttl`].
    pub ttl: Millis,
}

impl Holder {
    /// The name of the machine by which it was taken, where that is another one than `place`'s: a long one in short.
    #[must_use]
    pub fn other_name(&self, place: &Place) -> Option<&HostId> {
        self.host.as_ref().filter(|name| place.host().map(noted).as_ref() != Some(name))
    }

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

/// A run as a record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The run that it is about.
    pub run: RunId,
    /// Where its plan is.
    pub plan: PlanPlace,
    /// Which way it went when that was last written.
    pub progress: Progress,
    /// Why it turned back, [in short](Failure::in_short): whoever finishes the undoing says it too. `None` for a run that
    /// did not, and in a record of a program that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Failure>,
}

impl Begun {
    /// The file with its plan; `None` where the plan is in the record itself.
    #[must_use]
    pub fn file(&self) -> Option<RunFileName> {
        match &self.plan {
            PlanPlace::Beside(checksum) => Some(RunFileName { run: self.run, checksum: checksum.clone() }),
            PlanPlace::Within(_) => None,
        }
    }
}

/// Where an unfinished run's plan is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlanPlace {
    /// In the file of the run that has this content.
    Beside(Checksum),
    /// In the record, as Lockgate wrote it before there were such files.
    Within(Box<Plan>),
}

/// The file beside a record that has a run's plan, `run.<id>.<checksum>.json`. It is named by what is in it, so that
/// nobody, however late, writes another plan over one that a record names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunFileName {
    /// The run that it is about.
    pub run: RunId,
    /// Of the whole file.
    pub checksum: Checksum,
}

impl RunFileName {
    /// How all such names begin.
    pub const PREFIX: &str = "run.";
}

impl fmt::Display for RunFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}.json", Self::PREFIX, self.run, self.checksum)
    }
}

/// Only a name exactly as it is written.
impl FromStr for RunFileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let inner = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.strip_suffix(".json")).ok_or(())?;
        let (run, checksum) = inner.split_once('.').ok_or(())?;
        let name = Self { run: run.parse().map_err(|_| ())?, checksum: checksum.parse().map_err(|_| ())? };
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// A run that has not ended, with its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The run whose steps may be half done.
    pub run: RunId,
    /// What it was to do.
    pub plan: Plan,
    /// Which way it went when that was last written.
    pub progress: Progress,
    /// As [`Begun::cause`].
    pub cause: Option<Failure>,
}

/// How far a run got, as far as another machine must know: everything finer is found by looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Towards the release of the plan.
    Forward,
    /// Back to what was live before.
    Unwinding,
    /// Serves and has passed its gates: only tidying up is left.
    Committed,
}

/// How a run ended, as a record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The run that ended.
    pub run: RunId,
    /// By the clock of the machine that ran it.
    pub at: Timestamp,
    /// How it ended, in brief.
    pub outcome: Outcome,
}

impl RunEnd {
    /// For the record of `place`: its [outcome in brief](Outcome::noted).
    #[must_use]
    pub fn noted(&self, place: &Place) -> RunEnd {
        RunEnd { outcome: self.outcome.noted(place), ..*self }
    }

    /// As `host` has it in its record: the [outcome](Outcome::told_by) in its words.
    #[must_use]
    pub fn told_by(&self, host: &HostId) -> RunEnd {
        RunEnd { outcome: self.outcome.told_by(host), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, FailureKind, Slot, Stuck, WhoIsLive};

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

    /// The largest that can be written: every name and message as long as it gets, for every outcome.
    #[test]
    fn no_record_is_larger_than_its_bound() {
        let long = |text: &str| text.repeat(10_000);
        let host = HostId::new("h".repeat(255)).unwrap();
        let place = Place::from(host.clone());
        let failure = |text: &str| {
            Failure::new(FailureKind::GateNotYet, long(text)).hint(long(text)).slot(Slot::Green).at(&host)
        };
        let hosts: Vec<HostId> =
            (0..200).map(|number| HostId::new(format!("{number}{}", "h".repeat(250))).unwrap()).collect();
        for text in ["x", "\"", "\u{1}", "🦀", "\\"] {
            let stuck = Stuck {
                failure: failure(text),
                undo_failures: hosts
                    .iter()
                    .map(|at| Failure { host: Some(at.clone()), ..failure(text) })
                    .chain([failure(text)])
                    .collect(),
                seen: WhoIsLive {
                    live: hosts.iter().map(|host| (host.clone(), Slot::Green)).collect(),
                    silent: hosts.iter().cloned().collect(),
                },
                commands: vec![long(text); 200],
            };
            let outcomes = [
                Outcome::Succeeded { warnings: vec![failure(text); 200] },
                Outcome::Failed { failure: failure(text) },
                Outcome::RolledBack { failure: failure(text) },
                Outcome::Stuck(stuck),
            ];
            for outcome in outcomes {
                let run = RunId(uuid::Uuid::max());
                let at = Timestamp(253_402_300_799_999); // the last millisecond of the year 9999
                let identity = Identity {
                    owner: long(text),
                    boot_id: long(text),
                    pid: u32::MAX,
                    started: u64::MAX,
                    session: long(text),
                };
                let holder = identity.holder(&place, at, Millis::from_secs(BELIEVED_TTL_SECONDS_MAX));
                assert!(identity.is(&holder) && holder.other_name(&place).is_none());
                assert!(holder.other_name(&hosts[0].clone().into()).is_some(), "another long name");
                let mut record = LeaseRecord {
                    token: TOKEN_MAX,
                    holder: Some(holder),
                    unfinished: Some(Begun {
                        run,
                        plan: PlanPlace::Beside(Checksum::of(b"")),
                        progress: Progress::Unwinding,
                        cause: None,
                    }),
                    last: Some(RunEnd { run, at, outcome: outcome.clone() }.noted(&place)),
                    ended_at: Some(at),
                    left_out: LeftOut::new(run, &hosts, &long(text), at),
                };
                let unfinished = record.unfinished.clone().unwrap();
                let written = serde_json::to_string(&record).unwrap();
                assert!(written.len() <= RECORD_BYTES_MAX, "{} bytes: {written}", written.len());
                // And when it is undone after that.
                record.begin(Begun { cause: Some(failure(text).in_short()), ..unfinished });
                let written = serde_json::to_string(&record).unwrap();
                assert!(written.len() <= RECORD_BYTES_MAX, "{} bytes: {written}", written.len());
                assert_eq!(serde_json::from_str::<LeaseRecord>(&written).unwrap(), record);
                assert_eq!(record.last.unwrap().outcome.as_str(), outcome.as_str());
            }
        }
    }

    #[test]
    fn a_run_file_is_named_exactly() {
        let name = RunFileName { run: RunId(uuid::Uuid::nil()), checksum: Checksum::of(b"{}") };
        let text = "run.00000000-0000-0000-0000-000000000000.44136fa355b3678a.json";
        assert_eq!(name.to_string(), text);
        assert_eq!(text.parse(), Ok(name));
        for other in [
            "",
            "run..json",
            "run.00000000-0000-0000-0000-000000000000.json",
            "run.00000000-0000-0000-0000-000000000000.../../x.json",
            "run.00000000-0000-0000-0000-000000000000.44136FA355B3678A.json",
            "run.00000000000000000000000000000000.44136fa355b3678a.json",
            "run.00000000-0000-0000-0000-000000000000.44136fa355b3678a.json.tmp",
            ".run.00000000-0000-0000-0000-000000000000.44136fa355b3678a.json",
        ] {
            assert_eq!(other.parse::<RunFileName>(), Err(()), "{other}");
        }
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
