//! The five messages, in Slack's mrkdwn.

use std::fmt::Write;

use lockgate_model::{Evidence, Failure};
use lockgate_ports::{Message, MessageKind};

/// Longest piece of text taken over from elsewhere, in characters. Slack cuts the whole at 40,000.
const PIECE_CHARS_MAX: usize = 1_000;
/// Checks shown of a gate that failed.
const EVIDENCE_LINES_MAX: usize = 5;
/// Commands shown; more than that is looked up with `lockgate status`.
const COMMANDS_MAX: usize = 40;

/// The message's text, at most some 45 short lines.
pub(crate) fn text(message: &Message) -> String {
    let mut text = headline(message);
    let _ = match message.run {
        Some(run) => write!(text, "\n{} · run `{run}`", escape(&message.owner)),
        None => write!(text, "\n{} · before a run began", escape(&message.owner)),
    };
    if let Some(failure) = &message.failure {
        push_failure(&mut text, failure);
    }
    push_commands(&mut text, &message.commands);
    text
}

fn headline(message: &Message) -> String {
    let (service, environment) = (&message.service, &message.environment);
    let tag = match (&message.release, &message.asked) {
        (Some(release), _) => format!("`{}`", release.tag),
        (None, Some(asked)) => format!("`{}`", piece(&asked.replace('`', ""))),
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

fn push_failure(text: &mut String, failure: &Failure) {
    let _ = write!(text, "\n*{}*", failure.kind.as_str());
    if let Some(host) = &failure.host {
        let _ = write!(text, " on {}", escape(host.as_str()));
    }
    if let Some(slot) = failure.slot {
        let _ = write!(text, " in {slot}");
    }
    let _ = write!(text, ": {}", piece(&failure.message));
    let failed: Vec<&Evidence> = failure.evidence.iter().filter(|one| !one.ok).collect();
    for one in failed.iter().take(EVIDENCE_LINES_MAX) {
        let _ = write!(
            text,
            "\n• {}: wanted {}, saw {}",
            piece(&one.check),
            piece(&one.wanted),
            piece(&one.seen)
        );
    }
    if failed.len() > EVIDENCE_LINES_MAX {
        let _ = write!(text, "\n• and {} more", failed.len() - EVIDENCE_LINES_MAX);
    }
    for hint in failure.hints.iter() {
        let _ = write!(text, "\n_Hint:_ {}", piece(hint));
    }
}

fn push_commands(text: &mut String, commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    text.push_str("\nType, in this order:\n```\n");
    for command in commands.iter().take(COMMANDS_MAX) {
        // Three backticks would end the block; no command that Lockgate prints has them.
        let _ = writeln!(text, "{}", piece(&command.replace("```", "")));
    }
    if commands.len() > COMMANDS_MAX {
        let _ = writeln!(text, "# and {} more: see `lockgate status`", commands.len() - COMMANDS_MAX);
    }
    text.push_str("```");
}

/// Text from elsewhere: cut to [`PIECE_CHARS_MAX`] and escaped.
fn piece(text: &str) -> String {
    match text.char_indices().nth(PIECE_CHARS_MAX) {
        None => escape(text),
        Some((end, _)) => format!("{}…", escape(&text[..end])),
    }
}

/// `&`, `<` and `>` as Slack asks for; they would otherwise make links and mentions (`<!channel>`).
/// Source: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
        insta::assert_snapshot!(text(&message(MessageKind::Starting)), @r"
        :hourglass_flowing_sand: *web* `v2` → *prod* (2 hosts): starting
        lee@laptop · run `00000000-0000-0000-0000-000000000007`
        ");
        insta::assert_snapshot!(text(&message(MessageKind::Success)), @r"
        :white_check_mark: *web* `v2` is live in *prod* (2 hosts)
        lee@laptop · run `00000000-0000-0000-0000-000000000007`
        ");
    }

    #[test]
    fn rolled_back_and_failed_say_why_without_log_lines() {
        let mut rolled_back = message(MessageKind::RolledBack);
        rolled_back.failure = Some(unhealthy());
        insta::assert_snapshot!(text(&rolled_back), @r"
        :leftwards_arrow_with_hook: *web* `v2` was rolled back in *prod* (2 hosts): the previous release is live
        lee@laptop · run `00000000-0000-0000-0000-000000000007`
        *unhealthy* on web1 in green: green does not answer &lt;health&gt; &amp; more
        • GET /health: wanted 200, saw 500
        _Hint:_ look at the log: lockgate logs web
        ");
        let mut failed = message(MessageKind::Failed);
        failed.hosts.truncate(1);
        failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v2"));
        insta::assert_snapshot!(text(&failed), @r"
        :x: *web* `v2` did not get to *prod* (1 host): nothing was changed
        lee@laptop · run `00000000-0000-0000-0000-000000000007`
        *not found*: no tag v2
        ");
    }

    #[test]
    fn what_failed_before_its_run_began_says_what_was_asked_for() {
        let mut failed = message(MessageKind::Failed);
        (failed.release, failed.run, failed.asked) = (None, None, Some("v9".into()));
        failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v9"));
        insta::assert_snapshot!(text(&failed), @r"
        :x: *web* `v9` did not get to *prod* (2 hosts): nothing was changed
        lee@laptop · before a run began
        *not found*: no tag v9
        ");
        failed.asked = None;
        insta::assert_snapshot!(text(&failed), @r"
        :x: *web* was not rolled back in *prod* (2 hosts): nothing was changed
        lee@laptop · before a run began
        *not found*: no tag v9
        ");
    }

    #[test]
    fn a_run_that_was_left_in_the_middle_is_not_said_to_have_ended() {
        let mut left = message(MessageKind::Unknown);
        left.commands = vec!["lockgate --env prod resume web".into()];
        let text = text(&left);
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
        insta::assert_snapshot!(text(&critical), @r"
        :rotating_light: *web* is stuck in *prod* (2 hosts): `v2` failed and the rollback failed too. Look now.
        lee@laptop · run `00000000-0000-0000-0000-000000000007`
        *unhealthy* on web1 in green: green does not answer &lt;health&gt; &amp; more
        • GET /health: wanted 200, saw 500
        _Hint:_ look at the log: lockgate logs web
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
        let shown = text(&failed);
        assert!(!shown.contains('<') && !shown.contains('>'), "{shown}");
        assert!(shown.chars().count() < 40_000, "{}", shown.chars().count());
        assert_eq!(shown.matches("```").count(), 2);
    }
}
