//! Bodies of answers that should be JSON.

use lockgate_model::RegistryHost;
use lockgate_ports::PortError;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::wire::{Reply, shown};

/// # Errors
/// `Other` for a page for people and for what is not the JSON that it should be. What it says is not repeated.
pub(crate) fn json<T: DeserializeOwned>(reply: &Reply, what: &str) -> Result<T, PortError> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        if is_page(reply) {
            return page(what);
        }
        let (line, column) = (error.line(), error.column());
        PortError::other(format!("{what} is not as it should be at line {line} column {column}"))
            .hint("the registry, or a proxy before it, gave something else than the OCI distribution specification says")
    })
}

/// Whether it is a page for people, as of a login form or a captive portal.
pub(crate) fn is_page(reply: &Reply) -> bool {
    let kind = reply.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let start = reply.body.iter().find(|byte| !byte.is_ascii_whitespace());
    kind.starts_with("text/html") || start == Some(&b'<')
}

pub(crate) fn page(what: &str) -> PortError {
    PortError::other(format!("{what} is a page for people (HTML), not what a registry answers"))
        .hint("check the registry's name; a proxy, a login page or another service may answer in its place")
}

/// How to look at what has answered there.
pub(crate) fn look_at(answered: &Url) -> String {
    format!("see what answers there: `curl -sSi {}/v2/`", shown(answered))
}

/// How to look at what answers, where nothing has yet.
pub(crate) fn look(registry: &RegistryHost) -> String {
    format!("see what answers there: `curl -sSi {}/v2/`", address(registry))
}

fn address(registry: &RegistryHost) -> String {
    match (registry.is_docker_hub(), registry.is_loopback()) {
        (true, _) => "https://registry-1.docker.io".to_owned(),
        (false, true) => format!("http://{registry}"),
        (false, false) => format!("https://{registry}"),
    }
}
