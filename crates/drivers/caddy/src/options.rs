//! What the driver is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_asking::with_port;
use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Endpoint, Host, PortError};

/// Caddy's own default for a port that an admin address does not name.
const ADMIN_PORT_DEFAULT: u16 = 2019;

/// One service's route in one Caddy. All texts have their placeholders filled in.
#[derive(Clone)]
pub struct CaddyOptions {
    /// Where Caddy runs.
    pub host: Arc<dyn Host>,
    /// Tells this service's ghost route from others' in the same Caddy: `web`, or `prod_web` where one Caddy serves
    /// several environments.
    pub label: String,
    /// Admin API as seen from the host: `http://127.0.0.1:2019` or `unix//run/caddy/admin.sock`.
    pub admin: String,
    /// `@id` of the handler that has `upstreams`, or of what holds it.
    pub id: Option<String>,
    /// What Caddy dials for a slot (`web-blue:5000`); for a slot that is missing here, the upstream's own endpoint.
    pub dial: BTreeMap<Slot, String>,
    /// Base URL for asking through Caddy, as seen from the host; absent: found in Caddy's configuration.
    /// An `https` URL is asked on the host's own loopback, with the URL's name as the server's name.
    pub ask: Option<String>,
    /// Path on the host of the Caddyfile snippet to keep in step.
    pub snippet: Option<String>,
}

/// The admin address: `http://host:port`, `host:port`, `unix//path`, `unix:/path` or `unix:///path`.
pub(crate) fn admin_endpoint(text: &str) -> Result<Endpoint, PortError> {
    let bad = |why: &str| {
        PortError::new(FailureKind::Refused, format!("Caddy's admin address {text:?} cannot be used: {why}"))
            .hint("set `router.caddy.admin` to the address as seen from the host: `http://127.0.0.1:2019` or `unix//run/caddy/admin.sock`")
    };
    for prefix in ["unix://", "unix:", "unix/"] {
        if let Some(path) = text.strip_prefix(prefix) {
            return if path.starts_with('/') {
                Ok(Endpoint::Unix(path.to_owned()))
            } else {
                Err(bad("a socket's path is absolute"))
            };
        }
    }
    if text.starts_with("https://") {
        return Err(bad("HTTPS is not supported; Caddy's local admin API speaks HTTP"));
    }
    let authority = text.strip_prefix("http://").unwrap_or(text);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
        return Err(bad("it is not `http://host:port`"));
    }
    Ok(Endpoint::Tcp(with_port(authority, ADMIN_PORT_DEFAULT)))
}

/// What Caddy dials to reach `endpoint`.
pub(crate) fn dial_of(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => address.clone(),
        Endpoint::Unix(path) => format!("unix/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_addresses_are_read_in_all_their_spellings() {
        let tcp = |text: &str| Endpoint::Tcp(text.to_owned());
        assert_eq!(admin_endpoint("http://127.0.0.1:2019").unwrap(), tcp("127.0.0.1:2019"));
        assert_eq!(admin_endpoint("http://localhost/").unwrap(), tcp("localhost:2019"));
        assert_eq!(admin_endpoint("[::1]:2019").unwrap(), tcp("[::1]:2019"));
        assert_eq!(admin_endpoint("http://[::1]").unwrap(), tcp("[::1]:2019"));
        for text in ["unix//run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(admin_endpoint(text).unwrap(), Endpoint::Unix("/run/a.sock".to_owned()), "{text}");
        }
        for text in ["", "https://x", "http://a/b", "unix/run", "http://u:p@h:1"] {
            let error = admin_endpoint(text).unwrap_err();
            assert!(!error.hints().is_empty(), "{text}");
        }
    }
}
