//! Who is told.

use std::collections::BTreeMap;

use lockgate_model::{Notify, RegistryHost, Secret};

use super::named::header_name;
use super::reader::{Reader, missing_hint, variable};
use crate::at::At;
use crate::error::{Kind, Place, Problem};
use crate::raw;

/// Slack's own Web API.
const SLACK_API: &str = "https://slack.com/api/";
const SLACK_API_VARIABLE: &str = "SLACK_API_URL";
const SLACK_TOKEN_VARIABLE: &str = "SLACK_BOT_TOKEN";
const SLACK_WEBHOOK_VARIABLE: &str = "SLACK_WEBHOOK_URL";
const SLACK_CHANNEL_VARIABLE: &str = "SLACK_CHANNEL";
/// Longest name of a channel in Slack, with the `#`.
const CHANNEL_CHARS_MAX: usize = 81;
const CHANNEL_HINT: &str = "write a channel's name or id, such as \"#deploys\" or C024BE91L";

pub fn resolve(reader: &mut Reader<'_>, entries: Option<&[At<raw::Notify>]>) -> Vec<Notify> {
    let Some(entries) = entries else { return from_variables(reader).into_iter().collect() };
    let mut notifiers = Vec::new();
    for entry in entries {
        match (&entry.value.slack, &entry.value.webhook) {
            (Some(slack), None) => notifiers.extend(slack_notifier(reader, slack)),
            (None, Some(webhook)) => notifiers.extend(webhook_notifier(reader, &webhook.value)),
            _ => reader.invalid(
                entry.place,
                "a notifier is either `slack` or `webhook`",
                "write one list item for each",
            ),
        }
    }
    notifiers
}

/// Where the file says nothing. A channel needs a token, so where both are set they come before the webhook.
fn from_variables(reader: &mut Reader<'_>) -> Option<Notify> {
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
        return Some(Notify::SlackBot { token: Secret::new(token), channel: known?, api: api? });
    }
    let webhook = variable(reader.env, SLACK_WEBHOOK_VARIABLE).map(Secret::new);
    webhook.map(|webhook| Notify::Slack { webhook, channel })
}

fn slack_notifier(reader: &mut Reader<'_>, slack: &At<raw::Slack>) -> Option<Notify> {
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

fn slack_webhook(reader: &mut Reader<'_>, slack: &raw::Slack, source: &At<String>) -> Option<Notify> {
    if let Some(api) = &slack.api {
        reader.conflict(api.place, "`api` goes with `token`, not with `webhook`", "remove it");
    }
    let webhook = receiver(reader, "`webhook`", source)?;
    let channel = match &slack.channel {
        Some(channel) => Some(reader.text(channel)?).filter(|channel| !channel.trim().is_empty()),
        None => None,
    };
    Some(Notify::Slack { webhook: webhook?, channel })
}

fn slack_bot(reader: &mut Reader<'_>, slack: &At<raw::Slack>, source: &At<String>) -> Option<Notify> {
    let token = reader.fill_or(&source.value, source.place, optional(source));
    if token.as_ref().is_some_and(|token| token.trim().is_empty()) {
        return None;
    }
    let Some(channel) = &slack.value.channel else {
        let problem = Problem::new(Kind::MissingKey, slack.place, "`token` needs a `channel` to post to");
        reader.report(problem.hint(CHANNEL_HINT));
        return None;
    };
    let channel = channel_name(reader, channel, None);
    let api = slack_api(reader, slack.value.api.as_ref());
    let token = token?;
    if token.contains(|one: char| one.is_control() || one.is_whitespace()) {
        let hint = "write the token alone; where it comes from a file, mind the line break at its end";
        reader.invalid(source.place, "`token` has a blank or control character", hint);
        return None;
    }
    Some(Notify::SlackBot { token: Secret::new(token), channel: channel?, api: api? })
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

/// The Web API's base URL, with a slash at its end. A token goes there, so it is encrypted unless it stays on this machine.
fn slack_api(reader: &mut Reader<'_>, source: Option<&At<String>>) -> Option<String> {
    let from_file = source.is_some();
    let source = match source {
        Some(source) => source.clone(),
        None => match variable(reader.env, SLACK_API_VARIABLE) {
            Some(_) => At { value: format!("${{{SLACK_API_VARIABLE}}}"), place: Place::default() },
            None => return Some(SLACK_API.to_owned()),
        },
    };
    let what = match from_file {
        true => "`api`".to_owned(),
        false => format!("the variable {SLACK_API_VARIABLE}"),
    };
    let text = reader.url(&what, &source)?;
    let host = text.split('/').nth(2).unwrap_or_default();
    let stays_here = RegistryHost::new(host).is_ok_and(|host| host.is_loopback());
    if !text.starts_with("https://") && !stays_here {
        let hint = "write https://: the token would be readable on the way";
        reader.invalid(source.place, format!("{what} is not a https:// URL"), hint);
        return None;
    }
    if text.contains(['?', '#']) {
        reader.invalid(source.place, format!("{what} has more than a path"), "leave `?…` and `#…` out");
        return None;
    }
    Some(format!("{}/", text.trim_end_matches('/')))
}

fn webhook_notifier(reader: &mut Reader<'_>, webhook: &raw::Webhook) -> Option<Notify> {
    let url = receiver(reader, "`url`", &webhook.url)?;
    let mut headers = BTreeMap::new();
    for (name, value) in &webhook.headers.0 {
        if let Some(header) = header_name(reader, name)
            && let Some(value) = reader.line("the header's value", value)
        {
            headers.insert(header, Secret::new(value));
        }
    }
    Some(Notify::Webhook { url: url?, headers })
}

/// Where messages go: `None` is nowhere, `Some(None)` is wrong. Empty text is nowhere, so that `${NAME:-}` makes a
/// notifier optional on each machine.
fn receiver(reader: &mut Reader<'_>, what: &str, source: &At<String>) -> Option<Option<Secret>> {
    let Some(text) = reader.fill_or(&source.value, source.place, optional(source)) else { return Some(None) };
    if text.trim().is_empty() {
        return None;
    }
    Some(reader.secret_url(what, source).map(Secret::new))
}

/// What to do about a variable that is not set.
fn optional(source: &At<String>) -> impl FnOnce(&str) -> String {
    let is_all = source.value.starts_with("${");
    move |name| match is_all {
        true => format!("export {name}=…, or write ${{{name}:-}} to tell nobody where it is not set"),
        false => missing_hint(name),
    }
}
