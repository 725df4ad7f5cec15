//! A verdict: a gate's answer about one release in one environment. It outlives the run that asked.

use serde::{Deserialize, Serialize};

use crate::failure::bounded_evidence;
use crate::{
    Digest, EnvironmentName, Evidence, GateVerdict, Judgement, OWNER_CHARS_MAX, ProjectName, RunId,
    ServiceName, TOLD_CHARS_MAX, Timestamp, quoted,
};

/// Most pieces of evidence that a verdict keeps. A gate may look at each path on each host.
pub const VERDICT_EVIDENCE_MAX: usize = 40;
/// Longest name of a gate in a verdict, in characters.
const GATE_CHARS_MAX: usize = 200;

/// What a verdict is about: the bytes of one release, in one environment. Another tag of the same bytes is the same
/// subject, another digest under the same tag is not (P5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VerdictSubject {
    /// Whose environment.
    pub project: ProjectName,
    /// What the bytes are a release of.
    pub service: ServiceName,
    /// Where it was judged.
    pub environment: EnvironmentName,
    /// The bytes.
    pub digest: Digest,
}

/// What a gate answered about a subject, or that a person waived the gate for it.
///
/// Of one gate and subject the newest answer counts: a later one supersedes it, whatever it says. A waiver is superseded
/// by a later waiver only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it is about. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub subject: VerdictSubject,
    /// The gate's name, as `lockgate.yaml` has it or derives it. Unique within an environment's `before` or `after`.
    pub gate: String,
    /// What was answered. Whether that is a pass says [`Verdict::is_pass`].
    pub judgement: Judgement,
    /// At most [`VERDICT_EVIDENCE_MAX`], each text at most [`TOLD_CHARS_MAX`] characters. Of more, those that are not ok are
    /// kept first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// How many pieces of evidence were left off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_off: u64,
    /// When the answer was there, by the clock of the machine that asked.
    pub at: Timestamp,
    /// `user@machine`, at most [`OWNER_CHARS_MAX`] characters.
    pub by: String,
    /// The run that asked. `None` for an answer outside of one (`check`, a waiver).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Until when it holds; from then on the gate has to be asked again, for what it superseded stays superseded. `None`: until a
    /// newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_until: Option<Timestamp>,
    /// Why a person lets the subject pass whatever the gate says, at most [`TOLD_CHARS_MAX`] characters. Its judgement is *not
    /// yet*, without evidence, for nobody looked. `None` for a gate's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// Who gives a verdict, when, in which run, and until when it holds: the fields of [`Verdict`] of these names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictStamp {
    /// When the answer was there.
    pub at: Timestamp,
    /// Who asked: `user@machine`.
    pub by: String,
    /// In which run; `None` outside of one.
    pub run: Option<RunId>,
    /// Until when it holds; `None`: until a newer one.
    pub holds_until: Option<Timestamp>,
}

impl Verdict {
    /// A gate's answer, within its bounds. `answer` is masked already.
    #[must_use]
    pub fn of(subject: VerdictSubject, answer: GateVerdict, stamp: VerdictStamp) -> Self {
        let GateVerdict { gate, judgement, evidence } = answer;
        let VerdictStamp { at, by, run, holds_until } = stamp;
        let left_off = 0;
        Self { subject, gate, judgement, evidence, left_off, at, by, run, holds_until, waived: None }
            .bounded()
    }

    /// A person's word that the gate need not pass for this subject.
    #[must_use]
    pub fn waiver(subject: VerdictSubject, gate: impl Into<String>, why: &str, stamp: VerdictStamp) -> Self {
        let answer = GateVerdict::not_yet(gate, Vec::new());
        Self { waived: Some(quoted(why, TOLD_CHARS_MAX)), ..Self::of(subject, answer, stamp) }
    }

    /// Within its bounds and with texts on one line: for what a store has, which others may write.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let before = self.evidence.len();
        self.evidence = bounded_evidence(self.evidence, VERDICT_EVIDENCE_MAX);
        let dropped = u64::try_from(before - self.evidence.len()).unwrap_or(u64::MAX);
        self.left_off = self.left_off.saturating_add(dropped);
        self.gate = quoted(&self.gate, GATE_CHARS_MAX);
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.waived = self.waived.map(|why| quoted(&why, TOLD_CHARS_MAX));
        self
    }

    /// Whether it says that the gate is open, as long as it holds (P6): *pass* with evidence, all of it ok. What a store
    /// has may claim a pass without.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        let has_seen = !self.evidence.is_empty() && self.evidence.iter().all(|one| one.ok);
        self.waived.is_none() && self.judgement == Judgement::Pass && has_seen
    }

    /// Whether its time is over at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.holds_until.is_some_and(|until| until <= now)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> VerdictSubject {
        VerdictSubject {
            project: ProjectName::new("shop").unwrap(),
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("test").unwrap(),
            digest: Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
        }
    }

    fn stamp() -> VerdictStamp {
        VerdictStamp { at: Timestamp(7), by: "kim@desk".into(), run: None, holds_until: Some(Timestamp(9)) }
    }

    fn seen(check: &str, ok: bool) -> Evidence {
        let seen = if ok { "200" } else { "500" };
        Evidence { check: check.into(), wanted: "200".into(), seen: seen.into(), ok }
    }

    #[test]
    fn a_verdict_is_json_that_says_what_about_whom_by_whom_and_until_when() {
        let answer = GateVerdict::judge("http", vec![seen("GET /health", true)]);
        let verdict = Verdict::of(subject(), answer, stamp());
        let text = serde_json::to_string(&verdict).unwrap();
        let digest = "a".repeat(64);
        assert_eq!(
            text,
            format!(
                concat!(
                    r#"{{"project":"shop","service":"web","environment":"test","digest":"sha256:{}","#,
                    r#""gate":"http","judgement":"pass","evidence":[{{"check":"GET /health","wanted":"200","#,
                    r#""seen":"200","ok":true}}],"at":7,"by":"kim@desk","holds_until":9}}"#
                ),
                digest
            )
        );
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
    }

    #[test]
    fn only_a_pass_with_evidence_that_is_all_ok_is_one() {
        let of = |judgement, evidence| Verdict {
            judgement,
            ..Verdict::of(subject(), GateVerdict::judge("http", evidence), stamp())
        };
        for (judgement, evidence, passes) in [
            (Judgement::Pass, vec![seen("GET /", true)], true),
            (Judgement::Pass, vec![], false),
            (Judgement::Pass, vec![seen("GET /", true), seen("GET /a", false)], false),
            (Judgement::Fail, vec![seen("GET /", true)], false),
            (Judgement::NotYet, vec![seen("GET /", true)], false),
        ] {
            assert_eq!(of(judgement, evidence.clone()).is_pass(), passes, "{judgement:?} {evidence:?}");
        }
        assert!(!Verdict::waiver(subject(), "http", "an exercise", stamp()).is_pass());
    }

    #[test]
    fn evidence_is_bounded_and_what_is_not_ok_is_kept() {
        let long = "é\n`rm`\u{1b}[2J".repeat(1_000);
        let mut evidence: Vec<Evidence> =
            (0..200).map(|number| seen(&format!("GET /{number}"), true)).collect();
        evidence.push(Evidence { seen: long.clone(), ..seen("GET /last", false) });
        let verdict = Verdict::of(subject(), GateVerdict::judge("http", evidence), stamp());
        assert_eq!((verdict.evidence.len(), verdict.left_off), (VERDICT_EVIDENCE_MAX, 161));
        let last = verdict.evidence.last().unwrap();
        assert_eq!(last.check, "GET /last");
        assert_eq!(last.seen.chars().count(), TOLD_CHARS_MAX + 1);
        assert!(last.seen.starts_with("é\\n'rm'\\x1b[2Jé"), "{}", last.seen);
        // In its old order, and bounding again changes nothing.
        assert_eq!(verdict.evidence[0].check, "GET /0");
        assert_eq!(verdict.clone().bounded(), verdict);
    }

    #[test]
    fn a_waiver_says_why_and_claims_no_look() {
        let verdict = Verdict::waiver(subject(), "scan", "CVE-1 is not\nreachable", stamp());
        assert_eq!(verdict.waived.as_deref(), Some("CVE-1 is not\\nreachable"));
        assert_eq!((verdict.judgement, verdict.evidence.len()), (Judgement::NotYet, 0));
    }

    #[test]
    fn a_verdict_holds_until_its_time() {
        let verdict = Verdict::waiver(subject(), "scan", "why", stamp());
        let of = |until| Verdict { holds_until: until, ..verdict.clone() };
        for (until, now, over) in
            [(None, i64::MAX, false), (Some(9), 8, false), (Some(9), 9, true), (Some(9), 10, true)]
        {
            assert_eq!(of(until.map(Timestamp)).has_expired(Timestamp(now)), over, "{until:?} {now}");
        }
    }
}
