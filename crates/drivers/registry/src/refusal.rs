//! What a status and its error codes mean for people, and what they can do. The codes are those of the OCI distribution
//! specification ("Error Codes"), and a few that Docker's registry has besides.

use lockgate_model::{
    FailureKind, Mask, Millis, Reference, RegistryHost, Repository, Secret, TOLD_CHARS_MAX, quoted,
};
use lockgate_ports::PortError;
use reqwest::header::WWW_AUTHENTICATE;
use serde::Deserialize;

use crate::authorization::Authorization;
use crate::body;
use crate::challenge::{self, Challenge};
use crate::logins::{Login, Proof};
use crate::retry;
use crate::wire::Reply;

/// What was asked about.
pub(crate) struct About<'a> {
    pub repository: &'a Repository,
    pub reference: Option<&'a Reference>,
    /// Whether something was put there.
    pub push: bool,
}

impl About<'_> {
    fn what(&self) -> String {
        let reference = self.reference.map(ToString::to_string).unwrap_or_default();
        format!("{}{reference}", self.repository)
    }
}

#[derive(Deserialize)]
struct Refusals {
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

fn first(reply: &Reply) -> Option<Refusal> {
    let refusals: Refusals = serde_json::from_slice(&reply.body).ok()?;
    refusals.errors.into_iter().next()
}

/// The registry's own words in brackets, as a part of a sentence; empty where it has none.
pub(crate) fn said(reply: &Reply, secrets: &[Secret]) -> String {
    let Some(Refusal { code, message }) = first(reply) else { return String::new() };
    let words = match message.filter(|text| !text.trim().is_empty()) {
        Some(message) if code.is_empty() => message,
        // Several registries say the code once more, in small letters.
        Some(message) if same_words(&code, &message) => code,
        Some(message) => format!("{code}, {message}"),
        None => code,
    };
    if words.is_empty() {
        return String::new();
    }
    // Hidden first: what is cut could leave a part of a secret.
    format!(" (\"{}\")", quoted(&Mask::of(secrets).hide(words), TOLD_CHARS_MAX))
}

fn same_words(code: &str, message: &str) -> bool {
    code.replace('_', " ").eq_ignore_ascii_case(message.trim().trim_end_matches('.'))
}

/// The answer to a repository's request that is none of those wanted.
pub(crate) fn of(reply: &Reply, about: &About<'_>, authorization: Option<&Authorization>) -> PortError {
    let registry = about.repository.registry();
    let anybody = Login { proof: Proof::None, source: String::new(), trouble: None };
    let login = authorization.map_or(&anybody, |authorization| &authorization.login);
    let said = said(reply, &authorization.map(Authorization::secrets).unwrap_or_default());
    let code = first(reply).map(|refusal| refusal.code.to_ascii_uppercase()).unwrap_or_default();
    let what = about.what();
    match (reply.status, code.as_str()) {
        (401 | 403, _) => may_not(reply, about, login, &said),
        (404, "NAME_UNKNOWN") => no_repository(about, login, &said),
        (400 | 404, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN") if about.push => {
            let message = format!("{} has not all that the manifest of {what} names{said}", about.repository);
            PortError::not_found(message).hint(format!("push the image to {} first", about.repository))
        }
        (404, "") if body::is_page(reply) => body::page(&format!("what {registry} answers about {what}")),
        (404, _) if about.reference.is_none() || about.push => no_repository(about, login, &said),
        (404, _) => PortError::not_found(format!("{registry} has no {what}{said}"))
            .hint("push it first, or check the name: capitals count, and a build may still be under way"),
        _ => status(reply, &registry.to_string(), registry, login, &said),
    }
}

/// A status that says the same wherever it comes from. `place` answered for `registry`.
pub(crate) fn status(
    reply: &Reply,
    place: &str,
    registry: &RegistryHost,
    login: &Login,
    said: &str,
) -> PortError {
    match reply.status {
        429 => too_many(reply, place, registry, login, said),
        // What was asked may have been done.
        500..=599 => {
            let wait = retry::after(&reply.headers);
            let again = wait.map(|wait| format!("; it wants to be asked again in {}", Millis::from(wait)));
            let message = format!("{place} fails with {}{said}{}", reply.status, again.unwrap_or_default());
            PortError::unreachable(message)
                .asks_to_wait(wait)
                .hint("try again later; whoever runs the registry can see why in its log")
        }
        300..=399 => PortError::new(
            FailureKind::Refused,
            format!("{place} answers {} and leads elsewhere, which is not followed here", reply.status),
        )
        .hint(body::look_at(&reply.url)),
        _ if body::is_page(reply) => body::page(&format!("the answer of {place} ({})", reply.status)),
        other => {
            let error =
                PortError::other(format!("{place} answers {other}{said}")).hint(body::look_at(&reply.url));
            if (400..500).contains(&other) { error.without_effect() } else { error }
        }
    }
}

fn too_many(reply: &Reply, place: &str, registry: &RegistryHost, login: &Login, said: &str) -> PortError {
    let wait = retry::after(&reply.headers);
    let when = wait.map(|wait| format!("; again in {}", Millis::from(wait))).unwrap_or_default();
    let error = PortError::other(format!("{place} says that there were too many requests{said}{when}"))
        .without_effect()
        .asks_to_wait(wait);
    error.hint(match (login.is_none(), registry.is_docker_hub()) {
        (true, _) => format!("whoever is logged in may ask more often: {}", log_in(registry)),
        (false, true) => "Docker Hub counts pulls by account: wait, or take a plan with more, \
                          https://docs.docker.com/docker-hub/usage/"
            .to_owned(),
        (false, false) => "wait, and ask less often".to_owned(),
    })
}

/// 401 after all that could be shown, or 403.
fn may_not(reply: &Reply, about: &About<'_>, login: &Login, said: &str) -> PortError {
    let registry = about.repository.registry();
    let repository = about.repository;
    let doing = if about.push { "push to" } else { "read" };
    let is_scope = matches!(
        challenge::choose(reply.all(WWW_AUTHENTICATE)),
        Some(Challenge::Bearer { error: Some(error), .. }) if error == "insufficient_scope"
    );
    if login.is_none() {
        let message = format!("{registry} lets nobody {doing} {repository} without a login{said}");
        return unauthorized(message, login).hint(log_in(registry));
    }
    if reply.status == 401 && !is_scope {
        let message = format!("{registry} refuses the login of {}{said}", login.who());
        return unauthorized(message, login).hint(refused_login(registry, login));
    }
    let message = format!("{} may not {doing} {repository}{said}", login.who());
    let right = match (registry.as_str(), about.push) {
        ("ghcr.io", true) => {
            "give the token `write:packages`, or in a workflow `permissions: { packages: write }`".to_owned()
        }
        ("ghcr.io", false) => {
            "give the token `read:packages`, or in a workflow `permissions: { packages: read }`".to_owned()
        }
        _ => format!("let this account {doing} {repository}, or use another one: {}", log_in(registry)),
    };
    unauthorized(message, login).hint(right)
}

fn no_repository(about: &About<'_>, login: &Login, said: &str) -> PortError {
    let (registry, repository) = (about.repository.registry(), about.repository);
    let error = PortError::not_found(format!("{registry} has no repository {}{said}", repository.path()));
    error.hint(match login.is_none() {
        true => format!(
            "check `image:` in lockgate.yaml, and push to it first; a private one may be shown only after {}",
            log_in(registry)
        ),
        false => "check `image:` in lockgate.yaml, push to it first, and see that this login may read it"
            .to_owned(),
    })
}

/// A login is wanted and there is none.
pub(crate) fn no_login(registry: &RegistryHost, login: &Login) -> PortError {
    unauthorized(format!("{registry} wants a login, and there is none for it"), login).hint(log_in(registry))
}

fn unauthorized(message: String, login: &Login) -> PortError {
    let trouble = login.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default();
    PortError::new(FailureKind::Unauthorized, format!("{message}{trouble}"))
}

/// What to do about a login that is there and is not taken, for a hint.
pub(crate) fn refused_login(registry: &RegistryHost, login: &Login) -> String {
    match login.source.starts_with("registries:") {
        true => format!(
            "check user and password of {registry} below `registries`, and the variables that they are from"
        ),
        false => log_in(registry),
    }
}

/// How to log in, for a hint.
pub(crate) fn log_in(registry: &RegistryHost) -> String {
    let docker = match registry.is_docker_hub() {
        true => "`docker login`".to_owned(),
        false => format!("`docker login {registry}`"),
    };
    let github = if registry.as_str() == "ghcr.io" { ", or GITHUB_TOKEN in the environment" } else { "" };
    format!(
        "{docker}{github}, or in lockgate.yaml `registries: {{ \"{registry}\": {{ user: NAME, password: \
         \"${{REGISTRY_PASSWORD}}\" }} }}`"
    )
}

/// The answer to a greeting that is not a welcome.
pub(crate) fn greeting(
    reply: &Reply,
    registry: &RegistryHost,
    authorization: Option<&Authorization>,
) -> PortError {
    let said = said(reply, &authorization.map(Authorization::secrets).unwrap_or_default());
    let anybody = Login { proof: Proof::None, source: String::new(), trouble: None };
    let login = authorization.map_or(&anybody, |authorization| &authorization.login);
    match (reply.status, login.is_none()) {
        (401 | 403, true) => no_login(registry, login),
        (401 | 403, false) => {
            let message = format!("{registry} refuses the login of {}{said}", login.who());
            unauthorized(message, login).hint(refused_login(registry, login))
        }
        _ => status(reply, &registry.to_string(), registry, login, &said),
    }
}
