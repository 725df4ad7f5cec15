//! Where and how a user's request for a service reaches a router.

use lockgate_ports::{Answer, Endpoint, Host, PortError, Request, http};

use crate::authority::name_of;
use crate::entrance::Entrance;
use crate::tls::TlsHost;

/// What stands for `*` in a host that is asked for.
const ANY: &str = "lockgate";

/// How to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPath {
    /// Where the router listens, as seen from its host.
    pub endpoint: Endpoint,
    /// The server's name for TLS; `None`: plain HTTP.
    pub tls: Option<String>,
    /// The `Host` header; `None`: the endpoint's address.
    pub host: Option<String>,
    /// Put before the path that is asked, as the route strips it.
    pub prefix: String,
}

impl DataPath {
    /// The way to a route that strips nothing.
    #[must_use]
    pub fn without_prefix(self) -> DataPath {
        DataPath { prefix: String::new(), ..self }
    }

    /// Asks. The route's own host takes the place of the request's, for under another name another site would answer. One that
    /// a wildcard of the route stands for may stay.
    ///
    /// # Errors
    /// `Unreachable` and `TimedOut` when nobody answers there; `Refused` for a name that TLS cannot ask for.
    pub async fn ask(
        &self,
        host: &dyn Host,
        entrance: &Entrance,
        mut request: Request,
    ) -> Result<Answer, PortError> {
        request.target.insert_str(0, &self.prefix);
        if let Some(own) = &self.host
            && !request.headers.iter().any(|(name, given)| name == "host" && is_within(given, own))
        {
            request.headers.retain(|(name, _)| name != "host");
            request = request.header("host", own);
        }
        let answer = match &self.tls {
            None => http::send(host, &self.endpoint, request).await,
            Some(name) => http::send(&TlsHost::new(host, name, entrance)?, &self.endpoint, request).await,
        };
        answer.map_err(|error| {
            let Entrance { router, key, .. } = entrance;
            error
                .or_hint(|| format!("was asked at {self}; is that where {router} serves it? `{key}` sets it"))
        })
    }
}

impl std::fmt::Display for DataPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}/", self.endpoint, self.prefix)?;
        match &self.host {
            Some(host) => write!(f, " as {host}"),
            None => Ok(()),
        }
    }
}

/// A host that can be asked for under what a route matches: `*.example.com` becomes a name under it.
#[must_use]
pub fn host_within(pattern: &str) -> String {
    pattern.replace('*', ANY)
}

/// Whether `given` is one of the names that `host` was made of `*.example.com` for.
fn is_within(given: &str, host: &str) -> bool {
    let site = host.strip_prefix(ANY).filter(|site| site.starts_with('.'));
    site.is_some_and(|site| name_of(given).strip_suffix(site).is_some_and(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route for `*.example.com` is asked under the service's own name there.
    #[test]
    fn a_name_within_what_a_wildcard_stands_for_is_kept() {
        assert_eq!(host_within("*.example.com"), "lockgate.example.com");
        for (given, host, within) in [
            ("shop.example.com", "lockgate.example.com", true),
            ("shop.example.com:8443", "lockgate.example.com", true),
            ("example.com", "lockgate.example.com", false),
            (".example.com", "lockgate.example.com", false),
            ("shop.example.org", "lockgate.example.com", false),
            ("shop.example.com", "www.example.com", false),
            ("shop.lockgate", "lockgate", false),
        ] {
            assert_eq!(is_within(given, host), within, "{given} {host}");
        }
    }
}
