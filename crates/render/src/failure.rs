//! A failure as text.

use std::fmt::Write;

use lockgate_model::{Evidence, Failure};

use crate::{Paint, clean};

/// Evidence shown of one failure.
const EVIDENCE_LINES_MAX: usize = 20;
/// Log lines shown of one failure, the last ones.
const LOG_LINES_MAX: usize = 50;

/// Kind and message, then indented by two: the place, what was seen and not wanted, the slot's last log lines, the
/// hints. Without a line feed at the end.
///
/// ```text
/// unhealthy: green does not answer its health check
///   at host web1, slot green
///   ✗ GET /health: wanted 200, saw 500
///   its last log lines:
///     | cannot open database
///   hint: look at the database's address
/// ```
#[must_use]
pub fn failure_text(failure: &Failure, paint: Paint) -> String {
    let mut text = format!("{}: {}", paint.red(failure.kind.as_str()), indented(&failure.message));
    match (&failure.host, failure.slot) {
        (Some(host), Some(slot)) => line(&mut text, &format!("at host {host}, slot {slot}")),
        (Some(host), None) => line(&mut text, &format!("at host {host}")),
        (None, Some(slot)) => line(&mut text, &format!("in slot {slot}")),
        (None, None) => {}
    }
    push_evidence(&mut text, &failure.evidence, paint);
    push_logs(&mut text, &failure.logs, paint);
    for hint in failure.hints.iter() {
        line(&mut text, &format!("{} {}", paint.bold("hint:"), indented(hint)));
    }
    text
}

/// One line of what was looked at.
pub(crate) fn evidence_line(one: &Evidence, paint: Paint) -> String {
    let flat = |text: &str| clean(text).replace('\n', " ");
    let mark = if one.ok { paint.green("✓") } else { paint.red("✗") };
    format!("{mark} {}: wanted {}, saw {}", flat(&one.check), flat(&one.wanted), flat(&one.seen))
}

fn push_evidence(text: &mut String, evidence: &[Evidence], paint: Paint) {
    let bad: Vec<&Evidence> = evidence.iter().filter(|one| !one.ok).collect();
    for one in bad.iter().take(EVIDENCE_LINES_MAX) {
        line(text, &evidence_line(one, paint));
    }
    if bad.len() > EVIDENCE_LINES_MAX {
        line(text, &paint.faint(&format!("and {} more that failed", bad.len() - EVIDENCE_LINES_MAX)));
    }
    match evidence.len() - bad.len() {
        0 => {}
        1 => line(text, &paint.faint("1 other check passed")),
        passed => line(text, &paint.faint(&format!("{passed} other checks passed"))),
    }
}

fn push_logs(text: &mut String, logs: &[String], paint: Paint) {
    if logs.is_empty() {
        return;
    }
    line(text, "its last log lines:");
    for log in logs.iter().skip(logs.len().saturating_sub(LOG_LINES_MAX)) {
        for part in clean(log).trim_end().split('\n') {
            let _ = write!(text, "\n    {} {part}", paint.faint("|"));
        }
    }
}

fn line(text: &mut String, content: &str) {
    let _ = write!(text, "\n  {content}");
}

/// Text from elsewhere whose further lines stand under its first.
fn indented(text: &str) -> String {
    clean(text).trim_end().replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use lockgate_model::{FailureKind, Slot};

    use super::*;
    use crate::fixtures::{evidence, host, unhealthy};

    #[test]
    fn a_failure_says_kind_message_place_evidence_logs_and_hint() {
        insta::assert_snapshot!(failure_text(&unhealthy(), Paint::plain()), @r"
        unhealthy: green does not answer its health check within 60s
          at host web1, slot green
          ✗ GET /health: wanted 200, saw 500
          1 other check passed
          its last log lines:
            | starting
            | cannot open database
          hint: look at the database's address
        ");
    }

    #[test]
    fn a_bare_failure_is_one_line_and_more_lines_are_indented() {
        let bare = Failure::new(FailureKind::NotFound, "no tag v2");
        assert_eq!(failure_text(&bare, Paint::plain()), "not found: no tag v2");
        let more = Failure::new(FailureKind::Other, "two\nlines\x1b[2J\n").at(&host("web1"));
        assert_eq!(failure_text(&more, Paint::plain()), "failed: two\n  lines\n  at host web1");
        let slot = Failure::new(FailureKind::Other, "x").slot(Slot::Blue);
        assert_eq!(failure_text(&slot, Paint::plain()), "failed: x\n  in slot blue");
    }

    #[test]
    fn each_hint_has_its_own_line() {
        let failure = Failure::new(FailureKind::Unreachable, "no route").hint("is it up?").hint("a\nb");
        let text = failure_text(&failure, Paint::plain());
        assert_eq!(text, "unreachable: no route\n  hint: is it up?\n  hint: a\n  b");
    }

    #[test]
    fn a_flood_of_evidence_and_logs_is_cut_and_says_so() {
        let failure = Failure::new(FailureKind::GateFailed, "smoke")
            .evidence((0..100).map(|_| evidence(false)).collect())
            .logs((0..1_000).map(|index| format!("line {index}")).collect());
        let text = failure_text(&failure, Paint::plain());
        assert!(text.contains("and 80 more that failed"), "{text}");
        assert!(text.contains("| line 999") && !text.contains("| line 949\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + 20 + 1 + 1 + 50);
    }
}
