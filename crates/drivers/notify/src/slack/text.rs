//! The messages, in Slack's mrkdwn.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use lockgate_ports::{Message, MessageKind};

use super::bounded::Bounded;
use super::markup::{NAME_CHARS_MAX, code, escape, link};
use super::{changes, details};

/// Longest text in characters, escaped: `chat.update` takes no more, and a longer one that is posted may be broken into
/// several messages. Source: <https://docs.slack.dev/reference/methods/chat.update> (`msg_too_long`) and
/// <https://docs.slack.dev/reference/methods/chat.postMessage> ("Truncating content").
pub(crate) const TEXT_CHARS_MAX: usize = 4_000;
/// Warnings shown.
const WARNINGS_MAX: usize = 3;
/// Longest of them.
const WARNING_CHARS_MAX: usize = 200;

/// A message in its two parts, each of at most [`TEXT_CHARS_MAX`].
pub(crate) struct Texts {
    /// What happened to what, who did it, and what it changes.
    pub head: String,
    /// Why, and what to type; absent where nothing went wrong.
    pub details: Option<String>,
}

impl Texts {
    pub(crate) fn of(message: &Message) -> Texts {
        let mut head = head(message);
        changes::push(&mut head, message);
        let mut why = Bounded::new(TEXT_CHARS_MAX);
        details::push(&mut why, message);
        Texts { head: head.into_text(), details: Some(why.into_text()).filter(|text| !text.is_empty()) }
    }
}

/// All in one, at most [`TEXT_CHARS_MAX`]. Why something failed comes last, and has its room before the commits have theirs.
pub(crate) fn whole(message: &Message) -> String {
    let mut whole = head(message);
    let mut why = Bounded::new(whole.room().saturating_sub(changes::CHANGE_CHARS_MAX));
    details::push(&mut why, message);
    let why = why.into_text();
    whole.reserve(&why);
    changes::push(&mut whole, message);
    whole.release();
    if !why.is_empty() {
        whole.line(&why);
    }
    whole.into_text()
}

/// What happened, who did it, and what to know of it besides.
fn head(message: &Message) -> Bounded {
    let mut head = Bounded::new(TEXT_CHARS_MAX);
    head.line(&headline(message));
    head.line(&who(message));
    for warning in message.warnings.iter().take(WARNINGS_MAX) {
        head.line(&format!(":warning: {}", code(&warning.message, WARNING_CHARS_MAX)));
    }
    if message.warnings.len() > WARNINGS_MAX {
        head.line(&format!(":warning: and {} more", message.warnings.len() - WARNINGS_MAX));
    }
    head
}

/// Who asked, by which run, for how long, and where more is to be seen.
fn who(message: &Message) -> String {
    let mut who = match &message.requester {
        Some(requester) => code(&requester.to_string(), NAME_CHARS_MAX),
        None => code(&message.owner, NAME_CHARS_MAX),
    };
    let _ = match message.run {
        Some(run) => write!(who, " · run `{run}`"),
        None => write!(who, " · before a run began"),
    };
    if let Some(took) = message.took {
        let _ = write!(who, " · {took}");
    }
    let job = message.requester.as_ref().and_then(|requester| requester.link.as_ref());
    let job = job.and_then(|page| link(page, "its job"));
    let url = message.url.as_ref().and_then(|url| link(url, url.host()));
    for link in [job, url].into_iter().flatten() {
        let _ = write!(who, " · {link}");
    }
    who
}

fn headline(message: &Message) -> String {
    let (service, environment) = (escape(message.service.as_str()), escape(message.environment.as_str()));
    let tag = match (&message.release, &message.asked) {
        (Some(release), _) => code(release.tag.as_str(), NAME_CHARS_MAX),
        (None, Some(asked)) => code(asked, NAME_CHARS_MAX),
        (None, None) => "the previous release".to_owned(),
    };
    let hosts = match message.hosts.len() {
        1 => "1 host".to_owned(),
        count => format!("{count} hosts"),
    };
    match message.kind {
        MessageKind::Starting => {
            format!(":hourglass_flowing_sand: *{service}* {tag} → *{environment}* ({hosts}): starting")
        }
        MessageKind::Success => {
            format!(":white_check_mark: *{service}* {tag} is live in *{environment}* ({hosts})")
        }
        MessageKind::RolledBack => format!(
            ":leftwards_arrow_with_hook: *{service}* {tag} was rolled back in *{environment}* ({hosts}): \
             the previous release is live"
        ),
        MessageKind::Failed if message.release.is_none() && message.asked.is_none() => {
            format!(":x: *{service}* was not rolled back in *{environment}* ({hosts}): nothing was changed")
        }
        MessageKind::Failed => {
            format!(":x: *{service}* {tag} did not get to *{environment}* ({hosts}): nothing was changed")
        }
        MessageKind::Critical => format!(
            ":rotating_light: *{service}* is stuck in *{environment}* ({hosts}): {tag} failed and the rollback \
             failed too. Look now."
        ),
        MessageKind::Unknown => format!(
            ":rotating_light: *{service}* {tag} was left in the middle in *{environment}* ({hosts}): what it came to \
             is not known. Look now."
        ),
    }
}
