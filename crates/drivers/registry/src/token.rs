//! A token server: <https://distribution.github.io/distribution/spec/auth/token/> (GET), and for identity tokens
//! <https://distribution.github.io/distribution/spec/auth/oauth/> (POST).

use std::time::Duration;

use lockgate_model::{FailureKind, Secret, TOLD_CHARS_MAX, quoted};
use lockgate_ports::PortError;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::authorization::{self, Scope};
use crate::logins::{Login, Proof};
use crate::wire::{Ask, Reply, Wire, is_loopback, shown};
use crate::{body, refusal};

/// Largest answer of a token server.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// How long a token holds whose server does not say.
const HOLDS_SECONDS_DEFAULT: u64 = 60;
/// A token is taken for at most so long.
const HOLDS_SECONDS_MAX: u64 = 3_600;
/// A token is not used any more for so long before its end: clocks and requests take their time.
const MARGIN_SECONDS: u64 = 10;
/// Who we are, for a token server that keeps accounts of it.
const CLIENT_ID: &str = "lockgate";

/// What the registry said is wanted.
pub(crate) struct Wanted<'a> {
    pub realm: &'a str,
    pub service: Option<&'a str>,
    /// The scope that the registry named.
    pub asked: Option<&'a str>,
    pub scope: &'a Scope,
}

pub(crate) struct Token {
    pub secret: Secret,
    /// How long it can be used from now on; may be nothing.
    pub holds: Duration,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// A token for what is wanted.
///
/// # Errors
/// `Refused` for a realm that must not be told a login, `Unauthorized` when the server refuses the login, and those of
/// every exchange.
pub(crate) async fn fetch(
    wire: &Wire,
    registry: &Url,
    wanted: &Wanted<'_>,
    login: &Login,
) -> Result<Token, PortError> {
    let realm = realm(wanted, registry)?;
    let place = format!("the token server {}", shown(&realm));
    let (ask, authorization) = match &login.proof {
        Proof::IdentityToken(token) => (exchange(realm, wanted, token)?, None),
        Proof::Password { user, password } => {
            let value = format!("Basic {}", authorization::basic(user, password).reveal());
            (request(realm, wanted), Some(authorization::header(&value, login)?))
        }
        Proof::None => (request(realm, wanted), None),
    };
    let reply = wire.ask(&ask.url, &ask, authorization.as_ref()).await?;
    if reply.status != 200 {
        return Err(refused(&reply, &place, wanted, login));
    }
    let answer: Answer = body::json(&reply, &format!("the answer of {place}"))?;
    let Some(token) = answer.token.or(answer.access_token).filter(|token| !token.is_empty()) else {
        return Err(
            PortError::other(format!("{place} gave no token")).hint(body::look(&wanted.scope.registry))
        );
    };
    let seconds = answer.expires_in.unwrap_or(HOLDS_SECONDS_DEFAULT).min(HOLDS_SECONDS_MAX);
    Ok(Token {
        secret: Secret::new(token),
        holds: Duration::from_secs(seconds.saturating_sub(MARGIN_SECONDS)),
    })
}

/// Where tokens are given: with TLS, or on this machine for a registry that is here without it.
fn realm(wanted: &Wanted<'_>, registry: &Url) -> Result<Url, PortError> {
    let refused = |why: &str| {
        let realm = quoted(wanted.realm, TOLD_CHARS_MAX);
        let message = format!("{} sends for a token to \"{realm}\", {why}", wanted.scope.registry);
        PortError::new(FailureKind::Refused, message)
            .hint("nothing was sent there; the registry's token server must have an https:// address")
    };
    let mut url = Url::parse(wanted.realm).map_err(|_| refused("which is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() || url.host_str().is_none() {
        return Err(refused("which is no place to send a login to"));
    }
    let is_here = url.scheme() == "http" && registry.scheme() == "http" && is_loopback(&url);
    if url.scheme() != "https" && !is_here {
        return Err(refused("where a login could be read on its way"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// What is asked for: what the registry named, unless that is too little for what is to be done.
fn scope_text(wanted: &Wanted<'_>) -> Option<String> {
    let Scope { path, push, .. } = wanted.scope;
    let path = path.as_ref()?;
    let own = format!("repository:{path}:{}", if *push { "pull,push" } else { "pull" });
    let Some(asked) = wanted.asked.filter(|asked| !asked.is_empty()) else { return Some(own) };
    let Some(actions) = asked.strip_prefix("repository:").and_then(|rest| rest.strip_prefix(path.as_str()))
    else {
        // The registry knows the repository by another name.
        return Some(asked.to_owned());
    };
    let allows = |action: &str| actions.trim_start_matches(':').split(',').any(|one| one == action);
    Some(if allows("pull") && (!push || allows("push")) { asked.to_owned() } else { own })
}

fn request(mut realm: Url, wanted: &Wanted<'_>) -> Ask {
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = wanted.service {
            query.append_pair("service", service);
        }
        if let Some(scope) = scope_text(wanted) {
            query.append_pair("scope", &scope);
        }
        query.append_pair("client_id", CLIENT_ID);
    }
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    ask(Method::GET, realm, headers, Vec::new())
}

/// An identity token is told in the body.
fn exchange(realm: Url, wanted: &Wanted<'_>, token: &Secret) -> Result<Ask, PortError> {
    let mut form = realm.clone();
    form.set_query(None);
    {
        let mut pairs = form.query_pairs_mut();
        pairs.append_pair("grant_type", "refresh_token");
        pairs.append_pair("service", wanted.service.unwrap_or_default());
        pairs.append_pair("client_id", CLIENT_ID);
        if let Some(scope) = scope_text(wanted) {
            pairs.append_pair("scope", &scope);
        }
        pairs.append_pair("refresh_token", token.reveal());
    }
    let body = form.query().unwrap_or_default().as_bytes().to_vec();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    Ok(ask(Method::POST, realm, HeaderMap::from_iter([(CONTENT_TYPE, kind)]), body))
}

/// A token more does no harm, so it may be asked for again.
fn ask(method: Method, url: Url, headers: HeaderMap, body: Vec<u8>) -> Ask {
    Ask { method, url, headers, body, bytes_max: TOKEN_BYTES_MAX, is_safe: true, follows: false }
}

fn refused(reply: &Reply, place: &str, wanted: &Wanted<'_>, login: &Login) -> PortError {
    let registry = &wanted.scope.registry;
    let secrets: Vec<Secret> = login.secret().cloned().into_iter().collect();
    let said = refusal::said(reply, &secrets);
    match reply.status {
        401 | 403 if login.is_none() => refusal::no_login(registry, login),
        403 => {
            let to = wanted
                .scope
                .path
                .as_ref()
                .map_or_else(|| registry.to_string(), |path| format!("{registry}/{path}"));
            let message = format!("{place} gives {} no access to {to}{said}", login.who());
            PortError::new(FailureKind::Unauthorized, message).hint(format!(
                "check the name, and that this account may use it; for another one: {}",
                refusal::log_in(registry)
            ))
        }
        // OAuth2's word for a token that does not hold is a 400.
        400 | 401 => {
            let message = format!("{place} of {registry} refuses the login of {}{said}", login.who());
            PortError::new(FailureKind::Unauthorized, message).hint(refusal::refused_login(registry, login))
        }
        _ => refusal::status(reply, place, registry, login, &said),
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::RegistryHost;

    use super::*;

    fn scope(push: bool) -> Scope {
        let registry = RegistryHost::new("registry.test").unwrap();
        Scope { registry, path: Some("acme/web".to_owned()), push }
    }

    #[test]
    fn the_scope_is_the_registry_s_unless_it_is_too_little() {
        for (asked, push, wanted) in [
            (None, false, "repository:acme/web:pull"),
            (None, true, "repository:acme/web:pull,push"),
            (Some(""), false, "repository:acme/web:pull"),
            (Some("repository:acme/web:pull"), false, "repository:acme/web:pull"),
            (Some("repository:acme/web:pull"), true, "repository:acme/web:pull,push"),
            (Some("repository:acme/web:push,pull"), true, "repository:acme/web:push,pull"),
            (Some("repository:acme/web:pull,push,delete"), false, "repository:acme/web:pull,push,delete"),
            (Some("repository:mirror/acme/web:pull"), true, "repository:mirror/acme/web:pull"),
        ] {
            let scope = scope(push);
            let asked = Wanted { realm: "", service: None, asked, scope: &scope };
            assert_eq!(scope_text(&asked).unwrap(), wanted);
        }
        let whole = Scope { path: None, ..scope(false) };
        let asked =
            Wanted { realm: "", service: None, asked: Some("repository:user/image:pull"), scope: &whole };
        assert_eq!(scope_text(&asked), None, "a login alone is tried without a repository");
    }

    #[test]
    fn a_realm_has_tls_or_is_here_with_its_registry() {
        let scope = scope(false);
        let try_realm = |text: &str, registry: &str| {
            realm(
                &Wanted { realm: text, service: None, asked: None, scope: &scope },
                &Url::parse(registry).unwrap(),
            )
        };
        for (text, registry) in [
            ("https://auth.test/token?a=b#c", "https://registry.test"),
            ("https://auth.test/token", "http://127.0.0.1:5000"),
            ("http://localhost:5001/token", "http://127.0.0.1:5000"),
            ("http://[::1]:5001/token", "http://127.0.0.1:5000"),
        ] {
            assert_eq!(try_realm(text, registry).unwrap().fragment(), None, "{text}");
        }
        for (text, registry) in [
            ("http://auth.test/token", "https://registry.test"),
            ("http://auth.test/token", "http://127.0.0.1:5000"),
            ("http://127.0.0.1.evil.test/token", "http://127.0.0.1:5000"),
            ("http://127.0.0.1:5001/token", "https://registry.test"),
            ("https://ann:pw@auth.test/token", "https://registry.test"),
            ("file:///etc/passwd", "https://registry.test"),
            ("/token", "https://registry.test"),
        ] {
            let error = try_realm(text, registry).unwrap_err();
            assert_eq!(error.kind, FailureKind::Refused, "{text}: {error}");
        }
    }
}
