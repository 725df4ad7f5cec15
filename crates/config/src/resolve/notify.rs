//! Who is told, and of what.

mod email;
mod github;
mod slack;

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{MessageKind, Notify, NotifyAbout, NotifyTo, RegistryHost, Secret};

use super::named::{self, header_name};
use super::reader::{Reader, missing_hint, quote, variable};
use super::serve_secret;
use crate::at::At;
use crate::error::Place;
use crate::raw_notify as raw;
use crate::words;

/// `environments`: those of the file.
pub fn resolve(
    reader: &mut Reader<'_>,
    entries: Option<&[At<raw::Notify>]>,
    environments: &[&str],
) -> Vec<Notify> {
    let Some(entries) = entries else {
        let to = slack::from_variables(reader);
        return to.map(|to| Notify { to, about: NotifyAbout::default() }).into_iter().collect();
    };
    let mut notifiers = Vec::new();
    for entry in entries {
        let about = about(reader, &entry.value, environments);
        let raw::Notify { slack, webhook, email, github, .. } = &entry.value;
        let to = match (slack, webhook, email, github) {
            (Some(slack), None, None, None) => slack::notifier(reader, slack),
            (None, Some(webhook), None, None) => webhook_notifier(reader, &webhook.value),
            (None, None, Some(email), None) => email::notifier(reader, &email.value),
            (None, None, None, Some(github)) => github::notifier(reader, github),
            _ => {
                let message = "a notifier is one of `slack`, `webhook`, `email` and `github`";
                reader.invalid(entry.place, message, "write one list item for each");
                None
            }
        };
        notifiers.extend(to.map(|to| Notify { to, about }));
    }
    notifiers
}

fn about(reader: &mut Reader<'_>, raw: &raw::Notify, environments: &[&str]) -> NotifyAbout {
    let kinds = raw.on.as_ref().map(|list| {
        is_not_empty(reader, "`on`", list);
        list.value.iter().filter_map(|source| kind(reader, source)).collect::<BTreeSet<_>>()
    });
    let environments = raw.environments.as_ref().map(|list| {
        is_not_empty(reader, "`environments`", list);
        list.value
            .iter()
            .filter_map(|source| named::environment(reader, source, environments))
            .collect::<BTreeSet<_>>()
    });
    NotifyAbout { kinds, environments }
}

fn is_not_empty(reader: &mut Reader<'_>, what: &str, list: &At<Vec<At<String>>>) {
    if list.value.is_empty() {
        reader.invalid(
            list.place,
            format!("{what} is an empty list, so nothing is told"),
            "leave it out to be told of all",
        );
    }
}

fn kind(reader: &mut Reader<'_>, source: &At<String>) -> Option<MessageKind> {
    let text = reader.text(source)?;
    let known = MessageKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    if known.is_none() {
        let all = MessageKind::ALL.map(MessageKind::as_str);
        let hint = match words::nearest(&text, all.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("what can be told: {}", all.join(", ")),
        };
        reader.invalid(source.place, format!("nothing is told as {}", quote(source)), hint);
    }
    known
}

fn webhook_notifier(reader: &mut Reader<'_>, webhook: &raw::Webhook) -> Option<NotifyTo> {
    let url = receiver(reader, "`url`", &webhook.url)?;
    let mut headers = BTreeMap::new();
    for (name, value) in &webhook.headers.0 {
        if let Some(header) = header_name(reader, name)
            && let Some(value) = reader.line("the header's value", value)
        {
            headers.insert(header, Secret::new(value));
        }
    }
    let secret = match &webhook.secret {
        Some(source) => Some(serve_secret::secret(reader, source)?),
        None => None,
    };
    Some(NotifyTo::Webhook { url: url?, headers, secret })
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

/// The base URL of an API, without a slash at its end: as the file says it, else as the variable does, else `otherwise`. A
/// token goes there, so it is encrypted unless it stays on this machine.
fn encrypted_api(
    reader: &mut Reader<'_>,
    source: Option<&At<String>>,
    name: &str,
    otherwise: &str,
) -> Option<String> {
    let from_file = source.is_some();
    let source = match source {
        Some(source) => source.clone(),
        None => match variable(reader.env, name) {
            Some(_) => At { value: format!("${{{name}}}"), place: Place::default() },
            None => return Some(otherwise.trim_end_matches('/').to_owned()),
        },
    };
    let what = match from_file {
        true => "`api`".to_owned(),
        false => format!("the variable {name}"),
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
    Some(text.trim_end_matches('/').to_owned())
}

/// A token as it is sent in a header: `None` is none, or a wrong one, which was reported.
pub(super) fn token(reader: &mut Reader<'_>, source: &At<String>) -> Option<Secret> {
    let token = reader.fill_or(&source.value, source.place, optional(source))?;
    if token.trim().is_empty() {
        return None;
    }
    if token.contains(|one: char| one.is_control() || one.is_whitespace()) {
        let hint = "write the token alone; where it comes from a file, mind the line break at its end";
        reader.invalid(source.place, "`token` has a blank or control character", hint);
        return None;
    }
    Some(Secret::new(token))
}
