//! `serve:` as it is written. As in [`crate::raw`], the doc comments are the schema's descriptions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::{At, Entries, Span, Words};

/// `lockgate serve`: where it listens, and which signed calls deploy what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `endpoints`")]
pub struct Serve {
    /// Address and port, `unix:` and the path of a socket, or a list of them. Sockets that systemd passes go before.
    /// Default: `127.0.0.1:8443`.
    pub listen: Option<At<Words>>,
    /// The certificate for all addresses; Unix sockets have plain HTTP.
    pub tls: Option<At<Tls>>,
    /// Plain HTTP also on addresses that others can reach, where something in front has the certificate. Default: false.
    pub plain_http: Option<At<bool>>,
    /// What signed calls deploy, by path.
    pub endpoints: At<Entries<At<Endpoint>>>,
}

/// A certificate and its key, as PEM files. They are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `cert` and `key`")]
pub struct Tls {
    /// The certificate and those that lead to its authority. Relative paths start at this file's folder.
    pub cert: At<String>,
    /// The private key; nobody else may be able to read it.
    pub key: At<String>,
}

/// What a signed call to a path deploys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `environment` and `secrets`")]
pub struct Endpoint {
    /// Where to.
    pub environment: At<String>,
    /// What may be deployed. Default: all services.
    pub services: Option<At<Vec<At<String>>>>,
    /// What calls are signed with, best as `${WEBHOOK_SECRET}`: one to four, any of which is good, each of 16 bytes or more.
    /// Other commands than `lockgate serve` do not need them.
    pub secrets: At<Vec<At<String>>>,
    /// How a commit's image is tagged; `{image_sha:.8}` is the first 8 digits of the commit. Default: `{image_sha}`.
    pub tag: Option<At<String>>,
    /// How long a caller waits for the end, 1s to 1h; the run goes on after that. Default: 10m.
    pub timeout: Option<At<Span>>,
    /// How long the same body without an id is the same call, 1s to 24h. Default: 10m.
    pub repeated: Option<At<Span>>,
    /// The branches whose GitHub events (`push`, `workflow_run`) deploy. Default: the repository's default branch.
    pub branches: Option<At<Vec<At<String>>>>,
    /// What a client that sends `container_name` must send, with `{service}` and `{environment}`. Default: what the
    /// configuration tells, else such a client is refused.
    pub container_name: Option<At<String>>,
    /// What a client that sends `healthcheck_url` must send, with `{service}` and `{environment}`. Default: what the
    /// configuration tells, else such a client is refused.
    pub healthcheck_url: Option<At<String>>,
}
