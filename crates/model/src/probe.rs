//! How a slot is probed, and as whom users' requests come to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Environment, Health, Service};

const HOST: &str = "host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// Ports that browsers leave out of `Host`.
const DEFAULT_PORTS: [(&str, &str); 2] = [("https", ":443"), ("http", ":80")];

/// How a slot is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probe {
    /// What is asked, and what a good answer is.
    pub health: Health,
    /// The service's own port where it is fixed; absent: wherever the runtime put it.
    pub port: Option<u16>,
    /// Scheme and host under which users reach it (`https://shop.example`), as which it is asked: an app may refuse other
    /// hosts, and send who comes without https elsewhere. Absent: it is asked under its own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Probe {
    /// How the service is probed in the environment: as from its URL there.
    #[must_use]
    pub fn of(service: &Service, environment: &Environment) -> Probe {
        let url = service.urls.get(&environment.name).or(environment.url.as_ref());
        Probe { health: service.health.clone(), port: service.port, origin: url.and_then(|url| origin(url)) }
    }

    /// What is sent with each request, names in lower case: what users' requests have, and before that what the health
    /// check has of its own.
    #[must_use]
    pub fn headers(&self) -> BTreeMap<String, String> {
        let origin = self.origin.as_deref().and_then(|origin| origin.split_once("://"));
        let mut headers: BTreeMap<String, String> = origin
            .map(|(scheme, host)| [(HOST, host), (FORWARDED_PROTO, scheme)])
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let own = self.health.http().map(|http| &http.headers);
        headers.extend(own.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        headers
    }

    /// What is sent, for people: `Host: shop.example, X-Forwarded-Proto: https, X-Tenant`. Of others than the first two only
    /// the names. `None` when nothing is.
    #[must_use]
    pub fn sent(&self) -> Option<String> {
        let headers = self.headers();
        let shown = |(name, value): (&String, &String)| match name.as_str() {
            HOST | FORWARDED_PROTO => format!("{}: {value}", capital(name)),
            _ => capital(name),
        };
        let all: Vec<String> = headers.iter().map(shown).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// `https://shop.example` of `https://shop.example:443/de?x`. `None` for what is no URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    let port = DEFAULT_PORTS.iter().find(|(of, _)| *of == scheme)?.1;
    Some(format!("{scheme}://{}", host.strip_suffix(port).unwrap_or(host)))
}

/// `X-Forwarded-Proto` of `x-forwarded-proto`.
fn capital(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpHealth, Millis, StatusRange};

    fn probe(url: Option<&str>, own: &[(&str, &str)]) -> Probe {
        let headers = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let health = Health::Http(HttpHealth {
            path: "/health".into(),
            timeout: Millis(1),
            passes: 1,
            status: StatusRange::OK,
            body: None,
            headers,
        });
        Probe { health, port: None, origin: url.and_then(origin) }
    }

    #[test]
    fn an_app_is_asked_under_the_name_and_scheme_that_users_have() {
        for (url, sent) in [
            ("https://shop.example", "Host: shop.example, X-Forwarded-Proto: https"),
            ("https://shop.example/de?x#y", "Host: shop.example, X-Forwarded-Proto: https"),
            ("HTTPS://shop.example:443/", "Host: shop.example, X-Forwarded-Proto: https"),
            ("https://shop.example:80", "Host: shop.example:80, X-Forwarded-Proto: https"),
            ("http://127.0.0.1:8080", "Host: 127.0.0.1:8080, X-Forwarded-Proto: http"),
            ("http://[::1]:80/", "Host: [::1], X-Forwarded-Proto: http"),
        ] {
            assert_eq!(probe(Some(url), &[]).sent().as_deref(), Some(sent), "{url}");
        }
        assert_eq!(probe(None, &[]).sent(), None);
        assert!(probe(Some("ftp://x"), &[]).headers().is_empty());
    }

    #[test]
    fn the_checks_own_headers_come_first_and_their_values_are_not_shown() {
        let own = probe(Some("https://shop.example"), &[("host", "inner.test"), ("x-tenant", "acme")]);
        assert_eq!(own.sent().unwrap(), "Host: inner.test, X-Forwarded-Proto: https, X-Tenant");
        assert_eq!(own.headers()["x-tenant"], "acme");
    }

    /// Plans of before lie in journals and on hosts.
    #[test]
    fn one_without_headers_and_origin_is_written_as_ever() {
        let old = r#"{"health":{"path":"/health","timeout":1,"passes":1,"status":{"from":200,"to":299},"body":null},"port":null}"#;
        assert_eq!(serde_json::to_string(&probe(None, &[])).unwrap(), old);
        assert_eq!(serde_json::from_str::<Probe>(old).unwrap(), probe(None, &[]));
    }
}
