//! A daemon's answer to a call, as text.

use std::fmt::Write;

use lockgate_model::{DeployAnswer, DeployRelease, DeployStatus, Failure, Millis};

use crate::failure::failure_text;
use crate::{Paint, clean};

/// What became of the call, why, and how long nothing was live. Without a line feed at the end.
#[must_use]
pub fn answer_text(answer: &DeployAnswer, paint: Paint) -> String {
    let head = answer_head(answer);
    let painted = match mood(answer.status) {
        Mood::Good => paint.green(&head),
        Mood::Later => paint.yellow(&head),
        Mood::Bad => paint.red(&head),
    };
    let mut text = painted;
    match &answer.error {
        Some(_) => {
            let _ = write!(text, "\n{}", failure_text(&answer_failure(answer), paint));
        }
        None => {
            for line in &answer.logs {
                let _ = write!(text, "\n{} {}", paint.yellow("note:"), clean(line).replace('\n', " "));
            }
        }
    }
    if let Some(dark) = answer.dark_ms.filter(|dark| *dark > 0) {
        let _ = write!(text, "\ndark: {}", Millis(dark));
    }
    if let Some(run) = answer.run {
        let _ = write!(text, "\n{}", paint.faint(&format!("run {run}")));
    }
    text
}

/// Whether somebody has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Later,
    Bad,
}

pub(crate) fn mood(status: DeployStatus) -> Mood {
    match status {
        DeployStatus::Deployed
        | DeployStatus::LiveAlready
        | DeployStatus::Ignored
        | DeployStatus::Accepted => Mood::Good,
        DeployStatus::Held
        | DeployStatus::NotYet
        | DeployStatus::TooMany
        | DeployStatus::Superseded
        | DeployStatus::Older
        | DeployStatus::Repeated
        | DeployStatus::RolledBack => Mood::Later,
        DeployStatus::BadRequest
        | DeployStatus::ImageNotPulled
        | DeployStatus::Unauthorized
        | DeployStatus::NotFound
        | DeployStatus::MethodNotAllowed
        | DeployStatus::RequestTimeout
        | DeployStatus::Differs
        | DeployStatus::TooLarge
        | DeployStatus::UnsupportedMediaType
        | DeployStatus::GateFailed
        | DeployStatus::HeadersTooLarge
        | DeployStatus::Stuck
        | DeployStatus::Unknown
        | DeployStatus::Failed
        | DeployStatus::Stopping
        | DeployStatus::Unavailable
        | DeployStatus::StillRunning => Mood::Bad,
    }
}

/// On one line: what became of the call.
pub(crate) fn answer_head(answer: &DeployAnswer) -> String {
    let release = |release: &DeployRelease| format!("{} ({})", release.tag, release.digest.short());
    let what = answer.release.as_ref().map_or_else(|| "the release".to_owned(), release);
    match answer.status {
        DeployStatus::Deployed => format!("succeeded: {what} is live"),
        DeployStatus::LiveAlready => format!("nothing to do: {what} is live already"),
        DeployStatus::Ignored => "ignored: nothing was asked for".to_owned(),
        DeployStatus::Accepted => "accepted: it goes on".to_owned(),
        DeployStatus::RolledBack => format!("rolled back: {what} is not live, the release from before is"),
        DeployStatus::Stuck => "stuck: look now".to_owned(),
        DeployStatus::NotYet => "not yet: nothing was changed".to_owned(),
        DeployStatus::Held | DeployStatus::TooMany => "held: nothing was changed".to_owned(),
        DeployStatus::Superseded => "superseded: a newer call took its place".to_owned(),
        DeployStatus::ImageNotPulled | DeployStatus::GateFailed | DeployStatus::Failed => {
            "failed: nothing was changed".to_owned()
        }
        DeployStatus::Unknown
        | DeployStatus::Stopping
        | DeployStatus::Unavailable
        | DeployStatus::StillRunning => "not known: it may still go on".to_owned(),
        DeployStatus::BadRequest
        | DeployStatus::Unauthorized
        | DeployStatus::NotFound
        | DeployStatus::MethodNotAllowed
        | DeployStatus::RequestTimeout
        | DeployStatus::Older
        | DeployStatus::Repeated
        | DeployStatus::Differs
        | DeployStatus::TooLarge
        | DeployStatus::UnsupportedMediaType
        | DeployStatus::HeadersTooLarge => "refused: nothing was changed".to_owned(),
    }
}

/// The error of an answer that has one, with its log lines.
pub(crate) fn answer_failure(answer: &DeployAnswer) -> Failure {
    match &answer.error {
        Some(error) => {
            Failure { hints: error.hints.clone(), ..Failure::new(error.kind, error.message.clone()) }
                .logs(answer.logs.clone())
        }
        None => Failure::new(lockgate_model::FailureKind::Other, answer_head(answer)),
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{FailureKind, Outcome, RunId};

    use super::*;
    use crate::fixtures::{release, unhealthy};

    fn run() -> RunId {
        RunId(uuid::Uuid::from_u128(7))
    }

    fn shown(answer: &DeployAnswer) -> String {
        answer_text(answer, Paint::plain())
    }

    #[test]
    fn a_good_end_is_the_release_and_what_was_left_over() {
        let warnings = vec![Failure::new(FailureKind::TimedOut, "blue does not stop")];
        let answer = DeployAnswer::of_outcome(run(), &release("v2"), &Outcome::Succeeded { warnings }, false);
        insta::assert_snapshot!(shown(&DeployAnswer { dark_ms: Some(1_230), ..answer }), @r"
        succeeded: v2 (1f3a5b7c9d0e) is live
        note: left over: blue does not stop
        dark: 1.23s
        run 00000000-0000-0000-0000-000000000007
        ");
        let already = DeployAnswer::new(DeployStatus::LiveAlready).about(&release("v2"));
        insta::assert_snapshot!(shown(&already), @"nothing to do: v2 (1f3a5b7c9d0e) is live already");
    }

    #[test]
    fn a_bad_end_is_why_with_the_log_and_what_to_do() {
        let outcome = Outcome::RolledBack { failure: unhealthy() };
        let answer = DeployAnswer::of_outcome(run(), &release("v2"), &outcome, false);
        insta::assert_snapshot!(shown(&answer), @r"
        rolled back: v2 (1f3a5b7c9d0e) is not live, the release from before is
        unhealthy: green does not answer its health check within 60s (on web1)
          its last log lines:
            | starting
            | \x1b[31mcannot open database\x1b[0m\r
            | ok: GET /health: wanted 200, saw 200
            | not ok: GET /health: wanted 200, saw 500
          hint: look at the database's address
        run 00000000-0000-0000-0000-000000000007
        ");
    }

    #[test]
    fn every_status_has_a_head_that_says_as_much_as_its_exit_code() {
        for status in DeployStatus::ALL {
            let head = answer_head(&DeployAnswer::new(status));
            let is_good = mood(status) == Mood::Good;
            assert_eq!(is_good, status.exit().code() == 0 || status == DeployStatus::Accepted, "{status:?}");
            assert_eq!(head.contains("may still go on"), status.exit().code() == 7 && !is_good, "{status:?}");
            assert_eq!(head.starts_with("rolled back"), status.exit().code() == 3, "{status:?}");
        }
    }
}
