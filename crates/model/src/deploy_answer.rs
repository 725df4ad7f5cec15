//! What a caller that asks a daemon for a deployment is told.

use serde::{Deserialize, Serialize};

use crate::failure::in_bytes;
use crate::{
    DeployStatus, Digest, Evidence, Failure, FailureKind, Hints, Mask, Millis, Outcome, Refusal, Release,
    Report, RunId, Tag,
};

/// Log lines in an answer, the latest.
const LOG_LINES_MAX: usize = 50;
/// Longest log line in an answer, in bytes of JSON.
const LOG_LINE_BYTES_MAX: usize = 500;
/// All log lines of an answer, in bytes of JSON. With message and hints it stays below [`crate::ANSWER_BYTES_MAX`].
const LOGS_BYTES_MAX: usize = 8 * 1024;
/// Longest message in an answer, in bytes of JSON.
const MESSAGE_BYTES_MAX: usize = 2_000;
/// Longest hint in an answer, in bytes of JSON; there are at most [`crate::HINTS_MAX`].
const HINT_BYTES_MAX: usize = 500;

/// The release that a call was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeployRelease {
    /// What was asked for.
    pub tag: Tag,
    /// What the tag stood for.
    pub digest: Digest,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeployError {
    /// What kind of thing went wrong.
    pub kind: FailureKind,
    /// One sentence without a full stop, for people; without secrets.
    pub message: String,
    /// What to do about it, the best first; empty where nobody knows.
    #[serde(flatten)]
    pub hints: Hints,
}

/// What a caller is told: the body of the response. Texts in it are without secrets, on one line, and nothing in them
/// steers a terminal; all of it is below [`crate::ANSWER_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeployAnswer {
    /// The run that it is about. `None` of a call that was refused before it was given one.
    #[serde(default)]
    pub run: Option<RunId>,
    /// What became of it.
    pub status: DeployStatus,
    /// What was to be live. `None` while that is not known.
    #[serde(default)]
    pub release: Option<DeployRelease>,
    /// How long nothing was live, in milliseconds, on the host where that was longest. `None` where no run ended.
    #[serde(default)]
    pub dark_ms: Option<u64>,
    /// The latest log lines of what failed, oldest first, and what was seen; or what could not be tidied up.
    #[serde(default)]
    pub logs: Vec<String>,
    /// Why it came to nothing. `None` of what is well.
    #[serde(default)]
    pub error: Option<DeployError>,
    /// When it is worth trying again: a header, not in the body.
    #[serde(skip)]
    pub retry_after: Option<Millis>,
}

impl DeployAnswer {
    /// One word and nothing else; with the status's own time to try again.
    #[must_use]
    pub fn new(status: DeployStatus) -> Self {
        let retry_after = status.retry_after();
        Self { run: None, status, release: None, dark_ms: None, logs: Vec::new(), error: None, retry_after }
    }

    /// A call that comes to nothing.
    #[must_use]
    pub fn refused(status: DeployStatus, kind: FailureKind, message: impl Into<String>) -> Self {
        let error = DeployError { kind, message: message.into(), hints: Hints::default() };
        Self { error: Some(error), ..Self::new(status) }.bounded()
    }

    /// What a failure says, with its log lines and evidence.
    #[must_use]
    pub fn of_failure(status: DeployStatus, failure: &Failure) -> Self {
        let Failure { kind, message, hints, host, logs, evidence, .. } = failure;
        let message = match host {
            Some(host) if !host.is_local() => format!("{message} (on {host})"),
            _ => message.clone(),
        };
        let error = DeployError { kind: *kind, message, hints: hints.clone() };
        let logs = logs.iter().cloned().chain(evidence.iter().map(seen)).collect();
        Self { error: Some(error), logs, ..Self::new(status) }.bounded()
    }

    /// How a run ended. `no_image`: what failed first was fetching the image.
    #[must_use]
    pub fn of_outcome(run: RunId, release: &Release, outcome: &Outcome, no_image: bool) -> Self {
        let answer = match outcome {
            Outcome::Succeeded { warnings } => Self {
                logs: warnings.iter().map(|warning| format!("left over: {}", warning.message)).collect(),
                ..Self::new(DeployStatus::Deployed)
            },
            Outcome::Failed { failure } => Self::of_failure(unchanged(failure, no_image), failure),
            Outcome::RolledBack { failure } => Self::of_failure(DeployStatus::RolledBack, failure),
            Outcome::Stuck(stuck) => {
                let mut answer = Self::of_failure(DeployStatus::Stuck, &stuck.failure);
                if let Some(error) = &mut answer.error {
                    for command in &stuck.commands {
                        error.hints.add(format!("`{command}`"));
                    }
                }
                let undone = stuck.undo_failures.iter().map(|one| format!("not undone: {}", one.message));
                answer.logs.extend(undone);
                answer
            }
        };
        answer.about(release).of_run(run).bounded()
    }

    /// What a deployment came to. `run` is the one that the call was given; `no_image` as of [`DeployAnswer::of_outcome`].
    #[must_use]
    pub fn of_report(run: RunId, report: &Report, no_image: bool) -> Self {
        let release = &report.plan.release;
        if report.run.is_none() {
            return Self::new(DeployStatus::LiveAlready).about(release).of_run(run);
        }
        let dark_ms = report.dark.values().map(|dark| dark.0).max().unwrap_or(0);
        Self { dark_ms: Some(dark_ms), ..Self::of_outcome(run, release, &report.outcome, no_image) }
    }

    /// Why a deployment came to no end of its own.
    #[must_use]
    pub fn of_refusal(run: RunId, refusal: &Refusal) -> Self {
        let of = |status, failure| Self::of_failure(status, failure);
        let answer = match refusal {
            Refusal::Usage { failure } => of(DeployStatus::BadRequest, failure),
            Refusal::BegunBefore { failure, .. } => of(DeployStatus::Unknown, failure),
            Refusal::NoImage { failure } => of(DeployStatus::ImageNotPulled, failure),
            Refusal::Failed { failure } => of(unchanged(failure, false), failure),
            Refusal::Held { failure, .. } | Refusal::Busy { failure } => of(DeployStatus::Held, failure),
            Refusal::Journal { failure } | Refusal::Illegal { failure } => of(DeployStatus::Failed, failure),
            Refusal::LeaseLost { failure } | Refusal::Midway { failure } | Refusal::CutOff { failure } => {
                of(DeployStatus::Unknown, failure)
            }
            Refusal::Stuck { run: earlier, outcome, plan } => {
                let before = Self::of_outcome(*earlier, &plan.release, outcome, false);
                let message = format!("nothing was begun, because an earlier run, {earlier}, is stuck");
                let error = DeployError {
                    kind: FailureKind::Conflict,
                    message,
                    hints: before.error.map(|error| error.hints).unwrap_or_default(),
                };
                Self { error: Some(error), ..Self::new(DeployStatus::Stuck) }
            }
            Refusal::Abandoned { .. } => Self::stopping(),
        };
        answer.of_run(run).bounded()
    }

    /// The daemon stops.
    #[must_use]
    pub fn stopping() -> Self {
        Self::refused(
            DeployStatus::Stopping,
            FailureKind::Cancelled,
            "this daemon stops; whoever comes next takes the call up",
        )
        .hint("send the same call again in a moment: it has one effect")
    }

    /// It takes longer than its caller is kept waiting.
    #[must_use]
    pub fn still_running(run: RunId, waited: Millis) -> Self {
        let message = format!("it is not at its end after {waited}; it goes on");
        Self::refused(DeployStatus::StillRunning, FailureKind::TimedOut, message)
            .hint(format!("ask again for what became of it: `GET /runs/{run}`"))
            .of_run(run)
    }

    /// Kept, and not at its end.
    #[must_use]
    pub fn accepted(run: RunId) -> Self {
        Self::new(DeployStatus::Accepted).of_run(run)
    }

    /// Named so.
    #[must_use]
    pub fn of_run(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }

    /// With what was to be live.
    #[must_use]
    pub fn about(self, release: &Release) -> Self {
        let release = DeployRelease { tag: release.tag.clone(), digest: release.digest.clone() };
        Self { release: Some(release), ..self }
    }

    /// With a hint behind those that are there; only of one that has an error.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(error) = &mut self.error {
            error.hints.add(hint);
        }
        self
    }

    /// Without secrets, and within its bounds.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        self.logs = mask.hide_all(self.logs);
        self.error = self.error.map(|error| DeployError {
            kind: error.kind,
            message: mask.hide(error.message),
            hints: error.hints.map(|hint| mask.hide(hint)),
        });
        self.bounded()
    }

    /// Within its bounds: of log lines the latest are kept.
    #[must_use]
    fn bounded(mut self) -> Self {
        let lines = self.logs.len().saturating_sub(LOG_LINES_MAX);
        let mut left = LOGS_BYTES_MAX;
        let mut logs: Vec<String> = Vec::new();
        for line in self.logs.drain(..).skip(lines).rev() {
            let line = in_bytes(&line, LOG_LINE_BYTES_MAX);
            let bytes = json_bytes(&line);
            if bytes > left {
                break;
            }
            left -= bytes;
            logs.push(line);
        }
        logs.reverse();
        self.logs = logs;
        self.error = self.error.map(|error| DeployError {
            kind: error.kind,
            message: in_bytes(&error.message, MESSAGE_BYTES_MAX),
            hints: error.hints.map(|hint| in_bytes(&hint, HINT_BYTES_MAX)),
        });
        self
    }
}

/// Of a failure before which nothing was changed.
fn unchanged(failure: &Failure, no_image: bool) -> DeployStatus {
    match failure.kind {
        FailureKind::GateFailed => DeployStatus::GateFailed,
        FailureKind::GateNotYet => DeployStatus::NotYet,
        FailureKind::NotFound
        | FailureKind::Unauthorized
        | FailureKind::Unreachable
        | FailureKind::TimedOut
        | FailureKind::Unhealthy
        | FailureKind::HookFailed
        | FailureKind::Conflict
        | FailureKind::LeaseLost
        | FailureKind::Cancelled
        | FailureKind::DiskFull
        | FailureKind::TooLarge
        | FailureKind::Refused
        | FailureKind::Other => match no_image {
            true => DeployStatus::ImageNotPulled,
            false => DeployStatus::Failed,
        },
    }
}

fn seen(evidence: &Evidence) -> String {
    let Evidence { check, wanted, seen, ok } = evidence;
    let mark = if *ok { "ok" } else { "not ok" };
    format!("{mark}: {check}: wanted {wanted}, saw {seen}")
}

/// Of a text on one line, with its quotes and the comma behind it.
fn json_bytes(line: &str) -> usize {
    line.bytes().map(|byte| 1 + usize::from(matches!(byte, b'"' | b'\\'))).sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use crate::{ANSWER_BYTES_MAX, Secret, Stuck, WhoIsLive};

    use super::*;
    use crate::Exit;

    fn run() -> RunId {
        RunId(uuid::Uuid::from_u128(7))
    }

    fn release() -> Release {
        Release {
            service: crate::ServiceName::new("web").unwrap(),
            tag: Tag::new("v2").unwrap(),
            digest: Digest::of(b"v2"),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    #[test]
    fn each_end_of_a_run_has_its_status_and_exit() {
        let failure = |kind| Failure::new(kind, "x");
        let stuck = Stuck {
            failure: failure(FailureKind::Unhealthy),
            undo_failures: vec![failure(FailureKind::Other)],
            seen: WhoIsLive::default(),
            commands: vec!["lockgate status web".into()],
        };
        let failed = |kind| Outcome::Failed { failure: failure(kind) };
        let table = [
            (Outcome::Succeeded { warnings: vec![failure(FailureKind::Other)] }, DeployStatus::Deployed),
            (failed(FailureKind::GateFailed), DeployStatus::GateFailed),
            (failed(FailureKind::GateNotYet), DeployStatus::NotYet),
            (failed(FailureKind::Unreachable), DeployStatus::Failed),
            (Outcome::RolledBack { failure: failure(FailureKind::GateFailed) }, DeployStatus::RolledBack),
            (Outcome::Stuck(stuck), DeployStatus::Stuck),
        ];
        for (outcome, status) in table {
            let answer = DeployAnswer::of_outcome(run(), &release(), &outcome, false);
            assert_eq!(answer.status, status);
            assert_eq!(status.exit(), Exit::from(&outcome), "{status:?}");
        }
        let answer = DeployAnswer::of_outcome(run(), &release(), &failed(FailureKind::NotFound), true);
        assert_eq!(answer.status, DeployStatus::ImageNotPulled);
    }

    #[test]
    fn an_answer_is_bounded_masked_and_on_one_line_and_reads_back() {
        let failure =
            Failure::new(FailureKind::Unhealthy, format!("\u{1b}[2J hunter2 {}", "m".repeat(99_999)))
                .hint("h".repeat(99_999))
                .hint("look at hunter2")
                .logs(
                    (0..1_000).map(|line| format!("{line} \"hunter2\"\r\n{}", "\\".repeat(9_999))).collect(),
                );
        let outcome = Outcome::RolledBack { failure };
        let secret = Secret::new("hunter2");
        let answer =
            DeployAnswer::of_outcome(run(), &release(), &outcome, false).masked(&Mask::of([&secret]));
        let text = serde_json::to_string(&answer).unwrap();
        assert!(text.len() < ANSWER_BYTES_MAX, "{}", text.len());
        assert!(!text.contains("hunter2") && !text.contains('\u{1b}'), "{text}");
        assert!(answer.logs.last().unwrap().starts_with("999 "), "the latest are kept: {:?}", answer.logs);
        assert_eq!(serde_json::from_str::<DeployAnswer>(&text).unwrap(), answer);
    }

    #[test]
    fn an_answer_has_these_members() {
        let outcome = Outcome::Succeeded { warnings: Vec::new() };
        let answer = DeployAnswer::of_outcome(run(), &release(), &outcome, false);
        let wanted = format!(
            r#"{{"run":"00000000-0000-0000-0000-000000000007","status":"deployed","release":{{"tag":"v2","digest":"{}"}},"dark_ms":null,"logs":[],"error":null}}"#,
            release().digest
        );
        assert_eq!(serde_json::to_string(&answer).unwrap(), wanted);
        let held = Failure::new(FailureKind::Conflict, "lee@laptop deploys").hint("wait");
        let answer = DeployAnswer::of_refusal(run(), &Refusal::Busy { failure: held });
        assert_eq!(answer.retry_after, Some(Millis::from_secs(15)));
        let wanted = r#"{"run":"00000000-0000-0000-0000-000000000007","status":"held","release":null,"dark_ms":null,"logs":[],"error":{"kind":"conflict","message":"lee@laptop deploys","hint":"wait"}}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), wanted);
    }
}
