//! Messages as plain text.

use std::fmt::Write;

use lockgate_model::{Changes, Commits, Failure, is_mark};
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

/// All of it, in lines. An application's log lines are not in it; of a job that failed its last ones are.
pub(crate) fn whole(message: &Message) -> String {
    let mut text = format!("{}.\n\n{}", headline(message), facts(message));
    for warning in message.warnings.iter().take(LINES_MAX) {
        let _ = writeln!(text, "warning: {}", line(&warning.message));
    }
    if message.warnings.len() > LINES_MAX {
        let _ = writeln!(text, "and {} warnings more", message.warnings.len() - LINES_MAX);
    }
    if let Some(changes) = &message.changes {
        let _ = write!(text, "\n{}", changes_text(changes));
    }
    if let Some(failure) = &message.failure {
        let _ = write!(text, "\n{}", failure_text(message, failure));
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

/// Who, where, by which run, and of what, a line each.
fn facts(message: &Message) -> String {
    let hosts = message.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    match &message.requester {
        Some(requester) => {
            let _ = writeln!(text, "by:    {}", line(&requester.to_string()));
            let _ = writeln!(text, "on:    {}", line(&message.owner));
            if let Some(link) = &requester.link {
                let _ = writeln!(text, "job:   {link}");
            }
        }
        None => {
            let _ = writeln!(text, "by:    {}", line(&message.owner));
        }
    }
    let _ = writeln!(text, "hosts: {hosts}");
    if let Some(url) = &message.url {
        let _ = writeln!(text, "url:   {url}");
    }
    let _ = match (message.run, message.took) {
        (Some(run), Some(took)) => writeln!(text, "run:   {run}, {took}"),
        (Some(run), None) => writeln!(text, "run:   {run}"),
        (None, _) => writeln!(text, "run:   none, it failed before one began"),
    };
    if let Some(release) = &message.release {
        let _ = writeln!(text, "bytes: {}", release.digest);
    }
    let own = match (&message.release, &message.commit) {
        (Some(release), _) => release.provenance.as_ref().and_then(|known| known.change()),
        (None, Some(commit)) => commit.change().map(|change| format!("{} {change}", commit.short())),
        (None, None) => None,
    };
    if let Some(own) = own {
        let _ = writeln!(text, "what:  {}", line(&own));
    }
    text
}

fn changes_text(changes: &Changes) -> String {
    match changes {
        Changes::Unknown { unknown } => format!("What changed is not known: {}.\n", line(unknown)),
        Changes::Known { brought, taken_back, .. } if brought.count + taken_back.count == 0 => {
            "The commit that was live before.\n".to_owned()
        }
        Changes::Known { since, brought, taken_back } => {
            commits_text(brought, &format!("since {}", since.short()))
                + &commits_text(taken_back, "taken back")
        }
    }
}

fn commits_text(commits: &Commits, which: &str) -> String {
    let mut text = match commits.count {
        0 => return String::new(),
        1 => format!("1 commit {which}:\n"),
        count => format!("{count} commits {which}:\n"),
    };
    for commit in &commits.newest {
        let change = commit.change().unwrap_or_default();
        let _ = writeln!(text, "  {} {}", line(&commit.short()), line(&change));
    }
    let others = commits.beside(commits.newest.len());
    if others > 0 {
        let _ = writeln!(text, "  and {others} more");
    }
    text
}

fn failure_text(message: &Message, failure: &Failure) -> String {
    let mut text = failure.kind.as_str().to_owned();
    if let Some(job) = message.job {
        let _ = write!(text, " in the job {}", job.as_str());
    }
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
    if message.job.is_some() && !failure.logs.is_empty() {
        text.push_str("\nIts last lines:\n");
        for said in &failure.logs[failure.logs.len().saturating_sub(LINES_MAX)..] {
            let _ = writeln!(text, "  {}", line(said));
        }
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
