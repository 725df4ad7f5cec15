//! Who is told, and of what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Secret};

/// What people are told of: system A's five messages, and one for what it did not know of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// The run has begun.
    Starting,
    /// The release is live and has passed its gates.
    Success,
    /// The previous release is live again.
    RolledBack,
    /// Nothing was changed: the run was undone before any traffic was moved, or failed before it began.
    Failed,
    /// The rollback failed too.
    Critical,
    /// The run was left in the middle: what it came to is not known.
    Unknown,
}

impl MessageKind {
    /// Every one, in the order in which they are documented.
    pub const ALL: [MessageKind; 6] = [
        MessageKind::Starting,
        MessageKind::Success,
        MessageKind::RolledBack,
        MessageKind::Failed,
        MessageKind::Critical,
        MessageKind::Unknown,
    ];

    /// True for what is told once, when a run is over; a start is told to no purpose once its end is known.
    #[must_use]
    pub fn is_end(self) -> bool {
        self != MessageKind::Starting
    }

    /// As it is written in JSON and in `lockgate.yaml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Starting => "starting",
            MessageKind::Success => "success",
            MessageKind::RolledBack => "rolled_back",
            MessageKind::Failed => "failed",
            MessageKind::Critical => "critical",
            MessageKind::Unknown => "unknown",
        }
    }
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// How.
    pub to: NotifyTo,
    /// Of what.
    pub about: NotifyAbout,
}

/// Of what somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyAbout {
    /// `None`: of everything.
    pub kinds: Option<BTreeSet<MessageKind>>,
    /// `None`: of all environments.
    pub environments: Option<BTreeSet<EnvironmentName>>,
}

impl NotifyAbout {
    /// Whether a message of this kind about this environment is told.
    #[must_use]
    pub fn has(&self, kind: MessageKind, environment: &EnvironmentName) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && self.environments.as_ref().is_none_or(|environments| environments.contains(environment))
    }
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyTo {
    /// An incoming webhook of Slack's: a message for each thing that is told. `channel` is heeded by webhooks of the older
    /// kind only.
    Slack {
        /// The webhook's URL, which is its password.
        webhook: Secret,
        /// `None`: the webhook's own.
        channel: Option<String>,
    },
    /// A bot of Slack's: one message for each run. `channel` is a name (`#deploys`) or an id, `api` the Web API's base URL.
    SlackBot {
        /// The bot's token, which is a password.
        token: Secret,
        /// Where the message goes: `#deploys`, or an id.
        channel: String,
        /// Base URL of the Web API.
        api: String,
    },
    /// A URL of the user's own.
    Webhook {
        /// Where the JSON is posted; it may hold a password.
        url: Secret,
        /// Sent with each message, by name.
        headers: BTreeMap<String, Secret>,
        /// With what messages are signed, as Standard Webhooks has it (<https://www.standardwebhooks.com>); `None`: they are not.
        secret: Option<Secret>,
    },
    /// Deployments of a repository of GitHub's.
    GitHub {
        /// A token that may write deployments.
        token: Secret,
        /// `owner/name`.
        repository: String,
        /// Base URL of the REST API, without a slash at its end.
        api: String,
    },
    /// E-mail.
    Email(Email),
}

/// Whom mail goes to, and by which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The SMTP server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: SmtpSecurity,
    /// User and password; `None`: the server asks for none.
    pub login: Option<(String, Secret)>,
    /// The sender: `Deploys <deploys@example.com>`.
    pub from: String,
    /// The receivers, at least one.
    pub to: Vec<String>,
}

/// How a connection to an SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// From the first byte on (`smtps://`).
    Tls,
    /// By STARTTLS, without which nothing is sent (`smtp://`).
    StartTls,
    /// Not at all: only to a server on this machine.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_kinds_or_environments_is_told_of_those_alone() {
        let [prod, test] = ["prod", "test"].map(|name| EnvironmentName::new(name).unwrap());
        let all = NotifyAbout::default();
        let ends = NotifyAbout { kinds: Some([MessageKind::Failed].into()), environments: None };
        let of_prod = NotifyAbout { kinds: None, environments: Some([prod.clone()].into()) };
        for (about, kind, environment, wanted) in [
            (&all, MessageKind::Starting, &test, true),
            (&ends, MessageKind::Failed, &test, true),
            (&ends, MessageKind::Starting, &prod, false),
            (&of_prod, MessageKind::Success, &prod, true),
            (&of_prod, MessageKind::Failed, &test, false),
        ] {
            assert_eq!(about.has(kind, environment), wanted, "{about:?} {kind:?} {environment}");
        }
    }
}
