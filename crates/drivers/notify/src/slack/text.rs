//! The messages, in Slack's mrkdwn.

use std::fmt::Write;

use lockgate_model::{Evidence, Failure};
use lockgate_ports::{Message, MessageKind};

use super::markup::{code, escape};

/// Longest text in characters, escaped: `chat.update` takes no more, and a longer one that is posted may be broken into
/// several messages. Source: <https://docs.slack.dev/reference/methods/chat.update> (`msg_too_long`) and
/// <https://docs.slack.dev/reference/methods/chat.postMessage> ("Truncating content").
const TEXT_CHARS_MAX: usize = 4_000;
/// Longest part of a headline or its second line: what was asked for, who asked.
const NAME_CHARS_MAX: usize = 200;
/// Longest message or hint of a failure.
const SENTENCE_CHARS_MAX: usize = 600;
/// Longest of the three parts of a check.
const EVIDENCE_CHARS_MAX: usize = 80;
/// Checks shown of a gate that failed.
const EVIDENCE_LINES_MAX: usize = 5;
/// Commands shown; more than that is looked up with `lockgate status`.
const COMMANDS_MAX: usize = 40;
/// Longest command that is shown.
const COMMAND_CHARS_MAX: usize = 400;
/// Room for the line that says that commands are left out, and for the end of their block.
const COMMANDS_END_CHARS: usize = 60;

/// A message in its two parts, each of at most [`TEXT_CHARS_MAX`].
pub(crate) struct Texts {
    /// What happened to what, and who did it: two lines, and a third one for the change where it is known.
    pub head: String,
    /// Why, and what to type; absent where nothing went wrong.
    pub details: Option<String>,
}

impl Texts {
    pub(crate) fn of(message: &Message) -> Texts {
        Texts { head: head(message), details: details(message, TEXT_CHARS_MAX) }
    }
}

/// All in one, at most [`TEXT_CHARS_MAX`].
pub(crate) fn whole(message: &Message) -> String {
    let head = head(message);
    let room = TEXT_CHARS_MAX.saturating_sub(head.chars().count() + 1);
    match details(message, room) {
        Some(details) => format!("{head}\n{details}"),
        None => head,
    }
}

fn head(message: &Message) -> String {
    let mut head = headline(message);
    let owner = code(&message.owner, NAME_CHARS_MAX);
    let _ = match message.run {
        Some(run) => write!(head, "\n{owner} · run `{run}`"),
        None => write!(head, "\n{owner} · before a run began"),
    };
    let provenance = message.release.as_ref().and_then(|release| release.provenance.as_ref());
    if let Some(change) = provenance.and_then(|provenance| provenance.change()) {
        let _ = write!(head, "\n{}", code(&change, NAME_CHARS_MAX));
    }
    head
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

/// At most `room` characters, of which a failure alone needs less than 3,000.
fn details(message: &Message, room: usize) -> Option<String> {
    let mut details = message.failure.as_ref().map(failure_text).unwrap_or_default();
    push_commands(&mut details, &message.commands, room);
    (!details.is_empty()).then_some(details)
}

fn failure_text(failure: &Failure) -> String {
    let mut text = format!("*{}*", failure.kind.as_str());
    if let Some(host) = &failure.host {
        let _ = write!(text, " on {}", code(host.as_str(), NAME_CHARS_MAX));
    }
    if let Some(slot) = failure.slot {
        let _ = write!(text, " in {slot}");
    }
    let _ = write!(text, ": {}", code(&failure.message, SENTENCE_CHARS_MAX));
    let failed: Vec<&Evidence> = failure.evidence.iter().filter(|one| !one.ok).collect();
    for one in failed.iter().take(EVIDENCE_LINES_MAX) {
        let [check, wanted, seen] =
            [&one.check, &one.wanted, &one.seen].map(|part| code(part, EVIDENCE_CHARS_MAX));
        let _ = write!(text, "\n• {check}: wanted {wanted}, saw {seen}");
    }
    if failed.len() > EVIDENCE_LINES_MAX {
        let _ = write!(text, "\n• and {} more", failed.len() - EVIDENCE_LINES_MAX);
    }
    for hint in failure.hints.iter() {
        let _ = write!(text, "\n_Hint:_ {}", code(hint, SENTENCE_CHARS_MAX));
    }
    text
}

/// As many of them as there is room for until `text` has `room` characters.
fn push_commands(text: &mut String, commands: &[String], room: usize) {
    if commands.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str("Type, in this order:\n```\n");
    let mut used = text.chars().count() + COMMANDS_END_CHARS;
    let mut shown = 0;
    for command in commands.iter().take(COMMANDS_MAX) {
        // Three backticks would end the block; no command that Lockgate prints has them. One that is cut would be another.
        let line = escape(&command.replace("```", "").replace(char::is_control, " "));
        let length = line.chars().count() + 1;
        if length > COMMAND_CHARS_MAX || used + length > room {
            break;
        }
        used += length;
        let _ = writeln!(text, "{line}");
        shown += 1;
    }
    if commands.len() > shown {
        let _ = writeln!(text, "# and {} more: see `lockgate status`", commands.len() - shown);
    }
    text.push_str("```");
}

#[cfg(test)]
mod tests {
    use lockgate_model::{FailureKind, HostId, Slot};

    use super::*;
    use crate::fixtures::message;

    fn unhealthy() -> Failure {
        let check =
            |check: &str, ok| Evidence { check: check.into(), wanted: "200".into(), seen: "500".into(), ok };
        Failure::new(FailureKind::Unhealthy, "green does not answer <health> & more")
            .at(&HostId::new("web1").unwrap())
            .slot(Slot::Green)
            .logs(vec!["password=hunter2".into()])
            .evidence(vec![check("GET /", true), check("GET /health", false)])
            .hint("look at the log: lockgate logs web")
    }

    #[test]
    fn starting_and_success_are_two_lines() {
        insta::assert_snapshot!(whole(&message(MessageKind::Starting)), @r"
        :hourglass_flowing_sand: *web* `v2` → *prod* (2 hosts): starting
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        ");
        insta::assert_snapshot!(whole(&message(MessageKind::Success)), @r"
        :white_check_mark: *web* `v2` is live in *prod* (2 hosts)
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        ");
    }

    #[test]
    fn what_is_known_of_the_change_is_said_whoever_wrote_it() {
        let mut shipped = message(MessageKind::Success);
        let provenance = lockgate_model::Provenance {
            author: Some("Kim <!channel>".into()),
            subject: Some("Say `hello`".into()),
            ..lockgate_model::Provenance::default()
        };
        shipped.release.as_mut().unwrap().provenance = Some(Box::new(provenance));
        insta::assert_snapshot!(whole(&shipped), @r"
        :white_check_mark: *web* `v2` is live in *prod* (2 hosts)
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        `Say 'hello' (Kim &lt;!channel&gt;)`
        ");
    }

    #[test]
    fn rolled_back_and_failed_say_why_without_log_lines() {
        let mut rolled_back = message(MessageKind::RolledBack);
        rolled_back.failure = Some(unhealthy());
        insta::assert_snapshot!(whole(&rolled_back), @r"
        :leftwards_arrow_with_hook: *web* `v2` was rolled back in *prod* (2 hosts): the previous release is live
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        *unhealthy* on `web1` in green: `green does not answer &lt;health&gt; &amp; more`
        • `GET /health`: wanted `200`, saw `500`
        _Hint:_ `look at the log: lockgate logs web`
        ");
        let mut failed = message(MessageKind::Failed);
        failed.hosts.truncate(1);
        failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v2"));
        insta::assert_snapshot!(whole(&failed), @r"
        :x: *web* `v2` did not get to *prod* (1 host): nothing was changed
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        *not found*: `no tag v2`
        ");
    }

    #[test]
    fn what_failed_before_its_run_began_says_what_was_asked_for() {
        let mut failed = message(MessageKind::Failed);
        (failed.release, failed.run, failed.asked) = (None, None, Some("v9".into()));
        failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v9"));
        insta::assert_snapshot!(whole(&failed), @r"
        :x: *web* `v9` did not get to *prod* (2 hosts): nothing was changed
        `lee@laptop` · before a run began
        *not found*: `no tag v9`
        ");
        failed.asked = None;
        insta::assert_snapshot!(whole(&failed), @r"
        :x: *web* was not rolled back in *prod* (2 hosts): nothing was changed
        `lee@laptop` · before a run began
        *not found*: `no tag v9`
        ");
    }

    #[test]
    fn a_run_that_was_left_in_the_middle_is_not_said_to_have_ended() {
        let mut left = message(MessageKind::Unknown);
        left.commands = vec!["lockgate --env prod resume web".into()];
        let text = whole(&left);
        for wanted in ["left in the middle", "not known", "lockgate --env prod resume web"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("nothing was changed"), "{text}");
    }

    #[test]
    fn critical_says_what_to_type() {
        let mut critical = message(MessageKind::Critical);
        critical.failure = Some(unhealthy());
        critical.commands = vec!["lockgate status web".into(), "docker logs web-green 2>&1".into()];
        insta::assert_snapshot!(whole(&critical), @r"
        :rotating_light: *web* is stuck in *prod* (2 hosts): `v2` failed and the rollback failed too. Look now.
        `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
        *unhealthy* on `web1` in green: `green does not answer &lt;health&gt; &amp; more`
        • `GET /health`: wanted `200`, saw `500`
        _Hint:_ `look at the log: lockgate logs web`
        Type, in this order:
        ```
        lockgate status web
        docker logs web-green 2&gt;&amp;1
        ```
        ");
    }

    #[test]
    fn nothing_from_elsewhere_can_mention_a_channel_or_flood_it() {
        let mut failed = message(MessageKind::Failed);
        failed.owner = "<!channel>@laptop".into();
        let many = (0..1_000).map(|_| Evidence {
            check: "x".repeat(100_000),
            wanted: "<@U1>".into(),
            seen: String::new(),
            ok: false,
        });
        failed.failure =
            Some(Failure::new(FailureKind::Other, "<!here>".repeat(50_000)).evidence(many.collect()));
        failed.commands = vec!["```<!channel>".into(); 1_000];
        let shown = whole(&failed);
        assert!(!shown.contains('<') && !shown.contains('>'), "{shown}");
        assert!(shown.chars().count() <= TEXT_CHARS_MAX, "{}", shown.chars().count());
        assert_eq!(shown.matches("```").count(), 2);
    }
}
