//! What a run changes, as Slack shows it.

use lockgate_model::{Changes, Commit, Commits};
use lockgate_ports::Message;

use super::bounded::Bounded;
use super::markup::{NAME_CHARS_MAX, code, escape};

/// Room that the one line has which is there in any case.
pub(crate) const CHANGE_CHARS_MAX: usize = NAME_CHARS_MAX + 1;
/// With less room the commits are not listed.
const LIST_CHARS_MIN: usize = 400;
/// Longest subject.
const SUBJECT_CHARS_MAX: usize = 120;
/// Longest author.
const AUTHOR_CHARS_MAX: usize = 60;

/// The commits, where they are known; the release's own alone, where they are not.
pub(crate) fn push(text: &mut Bounded, message: &Message) {
    let release = message.release.as_ref();
    let id = release.and_then(|release| release.commit.as_deref());
    let id = id.or_else(|| message.commit.as_ref().map(|commit| commit.id.as_str()));
    let changes = message.changes.as_ref().filter(|_| text.room() >= LIST_CHARS_MIN);
    let is_named = changes.is_some_and(|changes| id.is_some_and(|id| changes.names(id)));
    let own = match (release, &message.commit) {
        (Some(release), _) => release.provenance.as_ref().and_then(|known| known.change()),
        (None, Some(commit)) => commit.change(),
        (None, None) => None,
    };
    if let Some(own) = own.filter(|_| !is_named) {
        text.line(&code(&own, NAME_CHARS_MAX));
    }
    match changes {
        None => {}
        Some(Changes::Unknown { unknown }) => {
            text.line(&format!("_What changed is not known: {}_", escape(unknown)));
        }
        Some(Changes::Known { brought, taken_back, .. }) if brought.count + taken_back.count == 0 => {
            text.line("_The commit that was live before_");
        }
        Some(Changes::Known { since, brought, taken_back }) => {
            list(text, brought, &format!("since `{}`", since.short()));
            list(text, taken_back, "taken back");
        }
    }
}

fn list(text: &mut Bounded, commits: &Commits, which: &str) {
    let head = match commits.count {
        0 => return,
        1 => format!("*1 commit* {which}:"),
        count => format!("*{count} commits* {which}:"),
    };
    if !text.line(&head) {
        return;
    }
    let lines: Vec<String> = commits.newest.iter().map(line).collect();
    text.list(&lines, commits.beside(lines.len()), |count| format!("• and {count} more"));
}

fn line(commit: &Commit) -> String {
    let mut line = format!("• {}", code(&commit.short(), SUBJECT_CHARS_MAX));
    if let Some(subject) = &commit.subject {
        line = format!("{line} {}", code(subject, SUBJECT_CHARS_MAX));
    }
    if let Some(author) = &commit.author {
        line = format!("{line} by {}", code(author, AUTHOR_CHARS_MAX));
    }
    line
}
