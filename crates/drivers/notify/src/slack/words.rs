//! Slack's error words: what each means for us, and what to do about it.
//!
//! They are those that Slack documents for the methods that are called:
//! <https://docs.slack.dev/reference/methods/chat.postMessage>, <https://docs.slack.dev/reference/methods/chat.update> and
//! <https://docs.slack.dev/reference/methods/auth.test>.

use lockgate_model::FailureKind;

/// Longest of Slack's error words that is repeated to people.
const WORD_CHARS_MAX: usize = 64;

/// What may be done after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing was done: again after the wait that Slack asks for.
    Wait,
    /// Something may have been done.
    Unsure,
    /// The message that should be changed cannot be: another one is to be sent.
    Gone,
    /// Somebody has to do something.
    Mend,
}

/// What an error word says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meaning {
    pub kind: FailureKind,
    pub hint: &'static str,
    pub remedy: Remedy,
}

/// Slack's error word as it may be shown. Anything else is not repeated: whoever answers might echo a secret.
pub(crate) fn word(text: &str) -> Option<&str> {
    let word = text.trim();
    let known_form = !word.is_empty()
        && word.len() <= WORD_CHARS_MAX
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    known_form.then_some(word)
}

pub(crate) fn meaning(word: &str) -> Meaning {
    use FailureKind::{NotFound, Other, Unauthorized, Unreachable};
    let mend = |kind, hint| Meaning { kind, hint, remedy: Remedy::Mend };
    match word {
        "ratelimited" | "rate_limited" => Meaning {
            kind: Other,
            hint: "Slack was told too much at once; it takes more later",
            remedy: Remedy::Wait,
        },
        "fatal_error"
        | "internal_error"
        | "service_unavailable"
        | "update_failed"
        | "team_added_to_org"
        | "org_login_required"
        | "external_channel_migrating" => Meaning {
            kind: Unreachable,
            hint: "Slack has trouble: see https://slack-status.com",
            remedy: Remedy::Unsure,
        },
        "message_not_found" | "cant_update_message" | "edit_window_closed" => Meaning {
            kind: NotFound,
            hint: "the run's first message was deleted or may not be changed any more",
            remedy: Remedy::Gone,
        },
        "not_authed" | "invalid_auth" => mend(
            Unauthorized,
            "check the token: it begins with xoxb- and is on the app's page \"OAuth & Permissions\"",
        ),
        "account_inactive" | "token_revoked" | "token_expired" => mend(
            Unauthorized,
            "the token is not valid any more: install the app again and copy its bot token",
        ),
        "not_allowed_token_type" => mend(Unauthorized, "use the app's bot token, which begins with xoxb-"),
        "missing_scope" | "no_permission" => mend(
            Unauthorized,
            "give the app the scope chat:write on its page \"OAuth & Permissions\", and install it again",
        ),
        "two_factor_setup_required"
        | "access_denied"
        | "accesslimited"
        | "ekm_access_denied"
        | "enterprise_is_restricted"
        | "restricted_action" => mend(Unauthorized, "the workspace forbids it: ask its administrator"),
        "restricted_action_read_only_channel"
        | "restricted_action_thread_only_channel"
        | "restricted_action_non_threadable_channel" => {
            mend(Unauthorized, "the channel does not take such messages from a bot: choose another one")
        }
        "channel_not_found" => mend(
            NotFound,
            "check `channel`; a private one is found only when the bot was invited: `/invite` there",
        ),
        "not_in_channel" => {
            mend(Unauthorized, "invite the bot: type `/invite @` and its name in the channel")
        }
        "message_limit_exceeded" => {
            mend(Other, "the workspace's plan takes no more messages for now: ask its administrator")
        }
        "is_archived" | "is_inactive" => mend(NotFound, "the channel is archived: choose another one"),
        "team_not_found" | "unknown_method" | "method_deprecated" | "deprecated_endpoint" => {
            mend(NotFound, "check `api` (SLACK_API_URL): is that Slack's Web API?")
        }
        "msg_too_long" | "no_text" | "invalid_arguments" | "invalid_arg_name" | "invalid_array_arg"
        | "invalid_charset" | "invalid_form_data" | "invalid_post_type" | "missing_post_type"
        | "request_timeout" => {
            mend(Other, "Slack does not take the message as Lockgate writes it: report that with this word")
        }
        _ => mend(Other, "https://docs.slack.dev/reference/methods/chat.postMessage explains the word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_meet_say_what_to_do() {
        for (word, kind, says) in [
            ("invalid_auth", FailureKind::Unauthorized, "xoxb-"),
            ("token_revoked", FailureKind::Unauthorized, "install the app again"),
            ("missing_scope", FailureKind::Unauthorized, "chat:write"),
            ("channel_not_found", FailureKind::NotFound, "channel"),
            ("not_in_channel", FailureKind::Unauthorized, "/invite"),
            ("is_archived", FailureKind::NotFound, "another one"),
            ("msg_too_long", FailureKind::Other, "report"),
            ("a_word_of_next_year", FailureKind::Other, "docs.slack.dev"),
        ] {
            let meaning = meaning(word);
            assert_eq!((meaning.kind, meaning.remedy), (kind, Remedy::Mend), "{word}");
            assert!(meaning.hint.contains(says), "{word}: {}", meaning.hint);
        }
    }

    #[test]
    fn only_words_are_repeated() {
        assert_eq!(word(" not_in_channel\n"), Some("not_in_channel"));
        for odd in ["", "xoxb-1", "no page at /T0", "Invalid", "\u{1b}[2J", &"a".repeat(65)] {
            assert_eq!(word(odd), None, "{odd:?}");
        }
    }
}
