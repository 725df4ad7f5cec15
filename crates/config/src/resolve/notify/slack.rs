//! Slack, by a bot's token or by an incoming webhook.

use lockgate_model::{NotifyTo, Secret};

use super::super::reader::{Reader, variable};
use super::{encrypted_api, receiver, token};
use crate::at::At;
use crate::error::{Kind, Place, Problem};
use crate::raw_notify as raw;

/// Slack's own Web API.
const SLACK_API: &str = "https://slack.com/api/";
const SLACK_API_VARIABLE: &str = "SLACK_API_URL";
const SLACK_TOKEN_VARIABLE: &str = "SLACK_BOT_TOKEN";
const SLACK_WEBHOOK_VARIABLE: &str = "SLACK_WEBHOOK_URL";
const SLACK_CHANNEL_VARIABLE: &str = "SLACK_CHANNEL";
/// Longest name of a channel in Slack, with the `#`.
const CHANNEL_CHARS_MAX: usize = 81;
const CHANNEL_HINT: &str = "write a channel's name or id, such as \"#deploys\" or C024BE91L";

/// Where the file says nothing. A channel needs a token, so where both are set they come before the webhook.
pub fn from_variables(reader: &mut Reader<'_>) -> Option<NotifyTo> {
    let channel = variable(reader.env, SLACK_CHANNEL_VARIABLE);
    if let (Some(token), Some(channel)) = (variable(reader.env, SLACK_TOKEN_VARIABLE), &channel) {
        let source = |text: &str| At { value: text.to_owned(), place: Place::default() };
        let known = channel_name(reader, &source(channel), Some(SLACK_CHANNEL_VARIABLE));
        let api = slack_api(reader, None);
        if token.contains(|one: char| one.is_control() || one.is_whitespace()) {
            let message = format!("the variable {SLACK_TOKEN_VARIABLE} has a blank or control character");
            reader.invalid(Place::default(), message, "export the token alone");
            return None;
        }
        return Some(NotifyTo::SlackBot { token: Secret::new(token), channel: known?, api: api? });
    }
    let webhook = variable(reader.env, SLACK_WEBHOOK_VARIABLE).map(Secret::new);
    webhook.map(|webhook| NotifyTo::Slack { webhook, channel })
}

pub fn notifier(reader: &mut Reader<'_>, slack: &At<raw::Slack>) -> Option<NotifyTo> {
    match (&slack.value.token, &slack.value.webhook) {
        (Some(token), None) => slack_bot(reader, slack, token),
        (None, Some(webhook)) => slack_webhook(reader, &slack.value, webhook),
        (None, None) => {
            let hint = "write `token: \"${SLACK_BOT_TOKEN:-}\"` and `channel`, or `webhook: \"${SLACK_WEBHOOK_URL:-}\"`";
            let problem =
                Problem::new(Kind::MissingKey, slack.place, "`slack` has no `token` and no `webhook`");
            reader.report(problem.hint(hint));
            None
        }
        (Some(_), Some(webhook)) => {
            let hint = "keep one of them; to tell two channels write two list items";
            reader.conflict(webhook.place, "`slack` has both `token` and `webhook`", hint);
            None
        }
    }
}

fn slack_webhook(reader: &mut Reader<'_>, slack: &raw::Slack, source: &At<String>) -> Option<NotifyTo> {
    if let Some(api) = &slack.api {
        reader.conflict(api.place, "`api` goes with `token`, not with `webhook`", "remove it");
    }
    let webhook = receiver(reader, "`webhook`", source)?;
    let channel = match &slack.channel {
        Some(channel) => Some(reader.text(channel)?).filter(|channel| !channel.trim().is_empty()),
        None => None,
    };
    Some(NotifyTo::Slack { webhook: webhook?, channel })
}

fn slack_bot(reader: &mut Reader<'_>, slack: &At<raw::Slack>, source: &At<String>) -> Option<NotifyTo> {
    let token = token(reader, source)?;
    let Some(channel) = &slack.value.channel else {
        let problem = Problem::new(Kind::MissingKey, slack.place, "`token` needs a `channel` to post to");
        reader.report(problem.hint(CHANNEL_HINT));
        return None;
    };
    let channel = channel_name(reader, channel, None);
    let api = slack_api(reader, slack.value.api.as_ref());
    Some(NotifyTo::SlackBot { token, channel: channel?, api: api? })
}

/// `variable`: where it comes from, if it is not from the file.
fn channel_name(reader: &mut Reader<'_>, source: &At<String>, variable: Option<&str>) -> Option<String> {
    let channel = match variable {
        Some(_) => source.value.clone(),
        None => reader.text(source)?,
    };
    let channel = channel.trim();
    let is_odd = |one: char| one.is_control() || one.is_whitespace() || one == ',';
    if channel.is_empty()
        || channel == "#"
        || channel.contains(is_odd)
        || channel.chars().count() > CHANNEL_CHARS_MAX
    {
        let (message, hint) = match variable {
            Some(name) => (format!("the variable {name} is no channel"), format!("export {name}='#deploys'")),
            None => ("`channel` is no channel".to_owned(), CHANNEL_HINT.to_owned()),
        };
        reader.invalid(source.place, message, hint);
        return None;
    }
    Some(channel.to_owned())
}

/// The Web API's base URL, with a slash at its end.
fn slack_api(reader: &mut Reader<'_>, source: Option<&At<String>>) -> Option<String> {
    encrypted_api(reader, source, SLACK_API_VARIABLE, SLACK_API).map(|api| format!("{api}/"))
}
