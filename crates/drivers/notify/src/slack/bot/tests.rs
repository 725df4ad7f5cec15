//! The bot against the double for Slack's Web API, which answers as Slack does, and as it should not.

use std::time::{Duration, Instant};

use lockgate_model::{Failure, FailureKind, Secret};
use lockgate_ports::{CheckState, Message, MessageKind, Notifier, PortError, Posted};

use super::SlackBot;
use crate::fixtures::{install_tls, job_failed, message, told};
use double::{Bad, CHANNEL, CHANNEL_ID, SlackDouble, TOKEN};

#[path = "../../../../../../tests/support/slack.rs"]
mod double;

fn bot_with(double: &SlackDouble, token: &str, channel: &str) -> SlackBot {
    install_tls();
    SlackBot::new(Secret::new(token), channel.to_owned(), double.api())
}

fn bot(double: &SlackDouble) -> SlackBot {
    bot_with(double, TOKEN, CHANNEL)
}

fn failing(kind: MessageKind) -> Message {
    Message { failure: Some(Failure::new(FailureKind::Unhealthy, "no answer")), ..message(kind) }
}

async fn started(bot: &SlackBot) -> Posted {
    bot.send(&message(MessageKind::Starting), None).await.unwrap().expect("it says where it is")
}

fn assert_secret_kept(error: &PortError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(TOKEN) && !shown.contains("127.0.0.1"), "{shown}");
}

#[tokio::test]
async fn a_run_that_succeeds_is_one_message_which_is_changed() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    let place = started(&bot).await;
    let there = bot.send(&message(MessageKind::Success), Some(&place)).await.unwrap();
    assert_eq!(there, Some(place));
    let said = double.said();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].text.starts_with(":white_check_mark: *web* `v2` is live"), "{said:#?}");
    assert!(said[0].earlier[0].contains("starting"), "{said:#?}");
    assert_eq!(double.methods(), ["chat.postMessage", "chat.update"]);
    assert!(double.warnings().is_empty(), "{:?}", double.warnings());
    for call in double.calls() {
        assert_eq!(
            (&call.arguments["parse"], &call.arguments["link_names"]),
            (&"none".into(), &false.into())
        );
    }
}

#[tokio::test]
async fn why_a_run_failed_is_in_the_thread_below_and_calls_the_channel_only_when_somebody_has_to_look() {
    for (kind, loud) in [
        (MessageKind::RolledBack, false),
        (MessageKind::Failed, false),
        (MessageKind::Critical, true),
        (MessageKind::Unknown, true),
    ] {
        let double = SlackDouble::start();
        let bot = bot(&double);
        let place = started(&bot).await;
        bot.send(&failing(kind), Some(&place)).await.unwrap();
        let top = double.top();
        assert_eq!(top.len(), 1, "{top:#?}");
        assert!(!top[0].text.contains("no answer"), "{top:#?}");
        let replies = double.replies(&top[0]);
        assert_eq!(replies.len(), 1, "{:#?}", double.said());
        assert!(replies[0].text.contains("*unhealthy*: `no answer`"), "{replies:#?}");
        assert_eq!(replies[0].is_broadcast, loud, "{kind:?}");
    }
}

#[tokio::test]
async fn an_end_without_a_start_is_a_new_message_with_its_thread() {
    let double = SlackDouble::start();
    bot(&double).send(&failing(MessageKind::Critical), None).await.unwrap();
    let top = double.top();
    assert_eq!((top.len(), double.replies(&top[0]).len()), (1, 1), "{:#?}", double.said());
    assert!(!double.replies(&top[0])[0].is_broadcast, "a new message calls by itself");
}

#[tokio::test]
async fn a_start_that_was_deleted_or_may_not_be_changed_any_more_is_followed_by_a_new_message() {
    for word in ["message_not_found", "edit_window_closed", "cant_update_message"] {
        let double = SlackDouble::start();
        let bot = bot(&double);
        let place = started(&bot).await;
        match word {
            "message_not_found" => double.delete(&double.said()[0].ts),
            _ => double.next_is("chat.update", Bad::Word(word)),
        }
        bot.send(&failing(MessageKind::Failed), Some(&place)).await.unwrap();
        let top = double.top();
        let end = top.last().unwrap();
        assert!(end.text.starts_with(":x:") && end.earlier.is_empty(), "{word}: {top:#?}");
        assert_eq!(double.replies(end).len(), 1, "{word}");
    }
}

#[tokio::test]
async fn nothing_from_elsewhere_mentions_links_or_is_too_long_to_be_changed() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    let hostile =
        "<!channel> <@U1> <https://evil.example|click> https://evil.example mail@evil.example `*x*` "
            .repeat(500);
    let mut start = message(MessageKind::Starting);
    (start.owner, start.release, start.asked) = (hostile.clone(), None, Some(hostile.clone()));
    let place = bot.send(&start, None).await.unwrap().unwrap();
    let mut end = Message { kind: MessageKind::Critical, ..start };
    let failure = Failure::new(FailureKind::Other, hostile.clone()).hint(hostile.clone());
    end.failure = Some(failure);
    end.commands = vec![format!("lockgate resume {hostile}"), "lockgate status".into()];
    bot.send(&end, Some(&place)).await.unwrap();
    assert_eq!(double.said().len(), 2);
    for said in double.said() {
        assert!(said.finds().is_empty(), "{:?} in {}", said.finds(), said.text);
        assert!(said.text.chars().count() <= 4_000, "{}", said.text.chars().count());
        assert!(said.text.contains("&lt;!channel&gt;"), "{}", said.text);
    }
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_and_bounded() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    double.next_is("chat.postMessage", Bad::RateLimited(1));
    let began = Instant::now();
    started(&bot).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((double.calls().len(), double.said().len()), (2, 1));

    let double = SlackDouble::start();
    let bot = bot_with(&double, TOKEN, CHANNEL);
    double.next_is("chat.postMessage", Bad::RateLimited(3_600));
    let error = bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
    assert!(error.message.contains("ratelimited") && error.message.contains("3600 s"), "{error}");
    let error = bot.send(&message(MessageKind::Success), None).await.unwrap_err();
    assert!(error.message.contains("again in 35"), "{error}");
    assert_eq!(double.calls().len(), 1, "the next message does not ask before that");

    let double = SlackDouble::start();
    let bot = bot_with(&double, TOKEN, CHANNEL);
    (0..10).for_each(|_| double.next_is("chat.postMessage", Bad::RateLimited(0)));
    bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
    assert_eq!(double.calls().len(), 3, "tries are bounded");
}

#[tokio::test]
async fn what_may_have_arrived_is_told_again_only_where_twice_is_the_same_as_once() {
    let troubles = [Bad::Lost, Bad::Status("500 Internal Server Error"), Bad::Word("fatal_error")];
    for bad in troubles {
        let double = SlackDouble::start();
        let bot = bot(&double);
        double.next_is("chat.postMessage", bad.clone());
        let error = bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unreachable, "{bad:?}: {error}");
        assert_secret_kept(&error);
        assert_eq!(double.calls().len(), 1, "{bad:?}");

        let place = started(&bot).await;
        double.next_is("chat.update", bad.clone());
        bot.send(&message(MessageKind::Success), Some(&place)).await.unwrap();
        assert_eq!(double.methods()[2..], ["chat.update", "chat.update"], "{bad:?}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart_with_what_to_do_and_without_the_token() {
    let double = SlackDouble::start();
    for (token, channel, kind, word, hint) in [
        ("xoxb-wrong", CHANNEL, FailureKind::Unauthorized, "invalid_auth", "xoxb-"),
        (TOKEN, "#nowhere", FailureKind::NotFound, "channel_not_found", "/invite"),
        (TOKEN, "#elsewhere", FailureKind::Unauthorized, "not_in_channel", "/invite"),
        (TOKEN, "#old", FailureKind::NotFound, "is_archived", "another one"),
    ] {
        let before = double.calls().len();
        let bot = bot_with(&double, token, channel);
        let error = bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(error.message, format!("Slack answers {word}"));
        assert!(error.hints().to_string().contains(hint), "{error:?}");
        assert_secret_kept(&error);
        assert!(!format!("{bot:?}").contains(token));
        assert_eq!(double.calls().len(), before + 1, "{word} is not asked twice");
    }
    for word in ["token_revoked", "missing_scope", "msg_too_long"] {
        double.next_is("chat.postMessage", Bad::Word(word));
        let error = bot(&double).send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert!(error.message.ends_with(word) && !error.hints().is_empty(), "{error:?}");
    }
}

#[tokio::test]
async fn answers_that_slack_would_not_give_are_errors_that_repeat_nothing() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    for body in [
        format!("<html>{TOKEN}</html>"),
        String::new(),
        "[]".into(),
        format!("{{\"ok\":false,\"error\":\"{TOKEN} \\u001b[2J\"}}"),
        "{\"ok\":\"yes\"}".into(),
        "{".repeat(100_000),
    ] {
        double.next_is("chat.postMessage", Bad::Body(body.clone()));
        let error = bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert_secret_kept(&error);
        assert!(!error.message.contains('\u{1b}') && error.message.len() < 200, "{error}");
    }
    double.next_is("chat.postMessage", Bad::Status("302 Found\r\nlocation: http://127.0.0.1:1/"));
    bot.send(&message(MessageKind::Starting), None).await.unwrap_err();
}

#[tokio::test]
async fn a_place_that_slack_would_not_name_is_none_and_the_end_is_a_new_message() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    for answer in ["{\"ok\":true}", "{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.1 <!channel>\"}"] {
        double.next_is("chat.postMessage", Bad::Body(answer.into()));
        assert_eq!(bot.send(&message(MessageKind::Starting), None).await.unwrap(), None, "{answer}");
    }
    bot.send(&message(MessageKind::Success), Some(&Posted::new("no place"))).await.unwrap();
    assert_eq!(double.top().len(), 1);
}

#[tokio::test]
async fn details_that_do_not_arrive_are_an_error_although_the_end_was_told() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    let place = started(&bot).await;
    double.next_is("chat.postMessage", Bad::Word("restricted_action_non_threadable_channel"));
    let error = bot.send(&failing(MessageKind::Failed), Some(&place)).await.unwrap_err();
    assert!(error.message.contains("not why"), "{error}");
    assert!(double.top()[0].text.starts_with(":x:"));
}

#[tokio::test]
async fn a_place_is_the_channels_id_because_a_name_cannot_be_changed_in() {
    let double = SlackDouble::start();
    let place = started(&bot(&double)).await;
    assert!(place.as_str().starts_with(CHANNEL_ID), "{place:?}");
}

#[tokio::test]
async fn doctor_learns_whose_the_token_is_and_what_it_may_not() {
    let double = SlackDouble::start();
    let check = bot(&double).check().await;
    assert_eq!((check.what.as_str(), check.state), ("slack #deploys", CheckState::Ok), "{check:?}");
    assert_eq!(
        check.seen,
        "the token is \"lockgate\"'s in the workspace \"Acme\"; whether it may write to #deploys shows with the first message"
    );
    assert!(double.said().is_empty(), "nobody is told anything");

    double.set_scopes(Some("channels:read,users:read"));
    let check = bot(&double).check().await;
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
    assert!(check.seen.contains("has not the scope chat:write"), "{check:?}");
    double.set_scopes(None);
    assert_eq!(bot(&double).check().await.state, CheckState::Ok);

    let check = bot_with(&double, "xoxb-wrong", CHANNEL).check().await;
    assert_eq!((check.state, check.seen.as_str()), (CheckState::Bad, "Slack answers invalid_auth"));
    let gone = SlackBot::new(Secret::new(TOKEN), CHANNEL.into(), "http://127.0.0.1:1/api/".into());
    let check = gone.check().await;
    assert_eq!(check.state, CheckState::Warn, "a deployment works all the same: {check:?}");
}

#[tokio::test]
async fn all_that_is_known_of_a_run_is_in_its_message_and_why_it_failed_below() {
    let double = SlackDouble::start();
    let bot = bot(&double);
    let place = bot.send(&told(MessageKind::Starting), None).await.unwrap().unwrap();
    let failure = Some(Failure::new(FailureKind::Unhealthy, "no answer").hint("look at the log"));
    let ended = Message { failure, ..told(MessageKind::RolledBack) };
    bot.send(&ended, Some(&place)).await.unwrap();
    bot.send(&job_failed(), None).await.unwrap();
    let said = double.said();
    let shown = said.iter().map(|said| {
        let earlier = said.earlier.iter().map(|text| format!("{text}\n=== changed to\n"));
        let below = if said.thread_ts.is_some() { "(in the thread)\n" } else { "" };
        format!("{below}{}{}", earlier.collect::<String>(), said.text)
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n\n"));
    for said in &said {
        let links = said.finds();
        assert!(links.iter().all(|link| link.starts_with("<https://")), "{links:?} in {}", said.text);
    }
}
