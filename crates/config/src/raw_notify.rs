//! `notify` as it stands in the file.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::{At, Entries};

/// One of `slack`, `webhook`, `email` and `github`, and of what it is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `slack`, `webhook`, `email` or `github`")]
pub struct Notify {
    pub slack: Option<At<Slack>>,
    pub webhook: Option<At<Webhook>>,
    pub email: Option<At<Email>>,
    pub github: Option<At<GitHub>>,
    /// Of what: `starting`, `success`, `rolled_back`, `failed`, `critical`, `unknown`. Default: of everything.
    pub on: Option<At<Vec<At<String>>>>,
    /// Of which environments. Default: of all.
    pub environments: Option<At<Vec<At<String>>>>,
}

/// A Slack channel, by `token` or by `webhook`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `token` and `channel`, or with `webhook`")]
pub struct Slack {
    /// A bot's token with the scope `chat:write`, best as `${SLACK_BOT_TOKEN:-}`: one message for each run, which is updated.
    /// Empty: nobody is told.
    pub token: Option<At<String>>,
    /// The incoming webhook's URL, best as `${SLACK_WEBHOOK_URL:-}`: a message for each start and each end. Empty: nobody
    /// is told.
    pub webhook: Option<At<String>>,
    /// A name (`#deploys`) or an id; it needs the token. The webhooks of an app have their own and ignore this one.
    pub channel: Option<At<String>>,
    /// Where the Web API is, for `token`. Default: `${SLACK_API_URL}`, else `https://slack.com/api/`.
    pub api: Option<At<String>>,
}

/// Any URL: events are sent as JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `url`")]
pub struct Webhook {
    /// Where events are sent.
    pub url: At<String>,
    /// Headers to send along; values are treated as secrets.
    #[serde(default)]
    pub headers: Entries<At<String>>,
    /// With what messages are signed, as Standard Webhooks has it: `whsec_` and base64, or any text of 16 bytes or more.
    /// Default: they are not signed.
    pub secret: Option<At<String>>,
}

/// Mail, by an SMTP server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `smtp`, `from` and `to`")]
pub struct Email {
    /// `smtps://HOST`, or `smtp://HOST` for STARTTLS, with a port where it is another one: best as `${SMTP_URL:-}`. Empty: nobody
    /// is told.
    pub smtp: At<String>,
    /// The account's name. Default: no login.
    pub user: Option<At<String>>,
    /// Its password, best as `${SMTP_PASSWORD}`.
    pub password: Option<At<String>>,
    /// The sender: `Deploys <deploys@example.com>`.
    pub from: At<String>,
    /// The receivers.
    pub to: At<Vec<At<String>>>,
}

/// Deployments and their statuses in a repository of GitHub's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `token`")]
pub struct GitHub {
    /// A token that may write deployments, best as `${GITHUB_TOKEN:-}`. Empty: nothing is told.
    pub token: At<String>,
    /// `owner/name`. Default: `${GITHUB_REPOSITORY}`.
    pub repository: Option<At<String>>,
    /// Where the REST API is. Default: `${GITHUB_API_URL}`, else `https://api.github.com`.
    pub api: Option<At<String>>,
}
