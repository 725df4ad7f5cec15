//! A base URL that somebody configured for asking.

use lockgate_model::FailureKind;
use lockgate_ports::{Endpoint, PortError};

use crate::authority::{name_of, with_port};
use crate::entrance::Entrance;
use crate::path::DataPath;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Scheme, authority and path prefix, as seen from the router's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    https: bool,
    authority: String,
    prefix: String,
}

impl BaseUrl {
    /// `http://127.0.0.1:8080`, `https://example.com/app`.
    ///
    /// # Errors
    /// `Refused` for anything else, with the key that it stands under.
    pub fn parse(url: &str, entrance: &Entrance) -> Result<BaseUrl, PortError> {
        let bad = || {
            let Entrance { router, key, .. } = entrance;
            PortError::new(
                FailureKind::Refused,
                format!("the URL for asking through {router}, {url:?}, cannot be used"),
            )
            .hint(format!("set `{key}` to a base URL as seen from the host, such as `http://127.0.0.1:8080`"))
        };
        let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(bad()),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if authority.is_empty() || authority.contains('@') || rest.contains(['?', '#']) || rest.contains(odd)
        {
            return Err(bad());
        }
        Ok(BaseUrl { https, authority: authority.to_owned(), prefix: path.trim_end_matches('/').to_owned() })
    }

    /// True when the URL's name cannot be the site's name, so that the route's own host is wanted.
    #[must_use]
    pub fn is_bare_address(&self) -> bool {
        let name = name_of(&self.authority);
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
    }

    /// `route_host`: the host that the route matches, where the URL itself names none.
    #[must_use]
    pub fn data_path(&self, route_host: Option<String>) -> DataPath {
        let host = if self.is_bare_address() { route_host } else { Some(self.authority.clone()) };
        let name = name_of(host.as_deref().unwrap_or(&self.authority)).to_owned();
        let port = if self.https { HTTPS_PORT } else { HTTP_PORT };
        let address = with_port(&self.authority, port);
        // The router is on the host itself: its public name may lead elsewhere (a load balancer, another address).
        let address = match (self.https, self.is_bare_address(), address.rsplit_once(':')) {
            (true, false, Some((_, port))) => format!("127.0.0.1:{port}"),
            _ => address,
        };
        DataPath {
            endpoint: Endpoint::Tcp(address),
            tls: self.https.then_some(name),
            host,
            prefix: self.prefix.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_url_keeps_its_name_and_a_bare_address_takes_the_routes_host() {
        let entrance = Entrance { router: "Caddy", key: "router.caddy.ask", log: "journalctl -u caddy" };
        let url = |text: &str, host: Option<&str>| {
            BaseUrl::parse(text, &entrance).unwrap().data_path(host.map(str::to_owned)).to_string()
        };
        assert_eq!(url("http://127.0.0.1:8080", Some("a.test")), "http://127.0.0.1:8080/ as a.test");
        assert_eq!(url("http://localhost/base/", None), "http://localhost:80/base/");
        assert_eq!(
            url("http://app.internal:81", Some("a.test")),
            "http://app.internal:81/ as app.internal:81"
        );
        assert_eq!(url("https://a.test", None), "https://127.0.0.1:443/ as a.test");
        for bad in ["", "a.test", "ftp://a", "http://", "http://u:p@a/", "http://a/?x", "http://a /"] {
            let error = BaseUrl::parse(bad, &entrance).unwrap_err();
            assert!(error.hints().to_string().contains("router.caddy.ask"), "{bad:?}");
        }
    }
}
