//! Messages as plain text.

use std::fmt::Write;

use lockgate_model::{Failure, is_mark};
use lockgate_ports::{Message, MessageKind};

/// Longest message or hint of a failure.
const SENTENCE_CHARS_MAX: usize = 600;
/// Checks and commands shown; more than that is looked up with `lockgate status`.
const LINES_MAX: usize = 40;

/// What happened to what, in one line without a full stop.
pub(crate) fn headline(message: &Message) -> String {
    let (service, environment) = (&message.service, &message.environment);
    let tag = match (&message.release, &message.asked) {
        (Some(release), _) => release.tag.to_string(),
        (None, Some(asked)) => line(asked),
        (None, None) => "the previous release".to_owned(),
    };
    match message.kind {
        MessageKind::Starting => format!("{service} {tag} goes to {environment}"),
        MessageKind::Success => format!("{service} {tag} is live in {environment}"),
        MessageKind::RolledBack => {
            format!("{service} {tag} was rolled back in {environment}: the previous release is live")
        }
        MessageKind::Failed if message.release.is_none() && message.asked.is_none() => {
            format!("{service} was not rolled back in {environment}: nothing was changed")
        }
        MessageKind::Failed => format!("{service} {tag} did not get to {environment}: nothing was changed"),
        MessageKind::Critical => {
            format!("{service} is stuck in {environment}: {tag} failed and the rollback failed too. Look now")
        }
        MessageKind::Unknown => format!(
            "{service} {tag} was left in the middle in {environment}: what it came to is not known. Look now"
        ),
    }
}

/// All of it, in lines. An application's log lines are not in it.
pub(crate) fn whole(message: &Message) -> String {
    let hosts = message.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("{}.\n\nby:    {}\n", headline(message), line(&message.owner));
    let _ = writeln!(text, "hosts: {hosts}");
    let _ = match message.run {
        Some(run) => writeln!(text, "run:   {run}"),
        None => writeln!(text, "run:   none, it failed before one began"),
    };
    if let Some(release) = &message.release {
        let _ = writeln!(text, "bytes: {}", release.digest);
    }
    if let Some(failure) = &message.failure {
        let _ = write!(text, "\n{}", failure_text(failure));
    }
    if !message.commands.is_empty() {
        text.push_str("\nType, in this order:\n");
        for command in message.commands.iter().take(LINES_MAX) {
            let _ = writeln!(text, "  {}", command.replace(char::is_control, " "));
        }
        if message.commands.len() > LINES_MAX {
            let _ =
                writeln!(text, "  # and {} more: see `lockgate status`", message.commands.len() - LINES_MAX);
        }
    }
    text
}

fn failure_text(failure: &Failure) -> String {
    let mut text = failure.kind.as_str().to_owned();
    if let Some(host) = &failure.host {
        let _ = write!(text, " on {host}");
    }
    if let Some(slot) = failure.slot {
        let _ = write!(text, " in {slot}");
    }
    let _ = writeln!(text, ": {}", line(&failure.message));
    for one in failure.evidence.iter().filter(|one| !one.ok).take(LINES_MAX) {
        let _ =
            writeln!(text, "- {}: wanted {}, saw {}", line(&one.check), line(&one.wanted), line(&one.seen));
    }
    for hint in failure.hints.iter() {
        let _ = writeln!(text, "hint: {}", line(hint));
    }
    text
}

/// On one line, and not for ever.
fn line(text: &str) -> String {
    let text = text.replace(|one: char| one.is_control() || is_mark(one), " ");
    match text.char_indices().nth(SENTENCE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{FailureKind, HostId, Slot};

    use super::*;
    use crate::fixtures::message;

    #[test]
    fn a_failure_is_told_with_what_to_do_and_without_the_apps_log() {
        let failure = Failure::new(FailureKind::Unhealthy, "green does not answer\r\nBcc: all@example.com")
            .at(&HostId::new("web1").unwrap())
            .slot(Slot::Green)
            .logs(vec!["password=hunter2".into()])
            .hint("look at the log: lockgate logs web");
        let commands = vec!["lockgate resume web".to_owned()];
        let told = Message { failure: Some(failure), commands, ..message(MessageKind::Critical) };
        insta::assert_snapshot!(whole(&told));
    }

    #[test]
    fn every_kind_has_its_headline() {
        let lines: Vec<String> = MessageKind::ALL.into_iter().map(|kind| headline(&message(kind))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
