//! Where a daemon is asked.

use std::fmt;
use std::net::IpAddr;

use lockgate_model::{RunId, quoted};
use reqwest::Url;

/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_000;
/// Of an address that is refused, so much is shown.
const SHOWN_CHARS_MAX: usize = 100;

/// The URL of an endpoint: `https://deploy.shop.example/deploy`. It has no user, password, query or fragment, and is plain HTTP
/// only where that was allowed or leads to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress {
    /// One sentence without a full stop; no user or password is in it.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Address {
    /// `plain`: plain HTTP may also leave this machine, where whoever is on the way can read and hold back a call, but not
    /// change it.
    ///
    /// # Errors
    /// [`BadAddress`], which says what to write.
    pub fn new(text: &str, plain: bool) -> Result<Self, BadAddress> {
        let bad = |message: String, hint: &str| Err(BadAddress { message, hint: hint.to_owned() });
        const EXAMPLE: &str = "it looks like https://deploy.shop.example/deploy";
        if text.len() > ADDRESS_BYTES_MAX {
            return bad(format!("an address of more than {ADDRESS_BYTES_MAX} bytes is no endpoint"), EXAMPLE);
        }
        // With `user:password@` in it the text is not shown.
        let shown = match text.contains('@') {
            true => "the address".to_owned(),
            false => format!("\"{}\"", quoted(text, SHOWN_CHARS_MAX)),
        };
        let Ok(url) = Url::parse(text) else {
            return bad(format!("{shown} is no URL"), EXAMPLE);
        };
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return bad(format!("{shown} is not the URL of a web server"), EXAMPLE);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad(
                "the address has a user or a password in it".to_owned(),
                "leave them out: a call is known by its signature, whose secret is in LOCKGATE_WEBHOOK_SECRET",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad(
                format!("{shown} has more than a path"),
                "an endpoint is a path without `?` and `#`; what to deploy is said with --service and --sha",
            );
        }
        if url.scheme() == "http" && !plain && !is_loopback(&url) {
            return bad(
                format!("{shown} is plain HTTP and leaves this machine"),
                "write https://…; --plain-http allows it where the way there is safe, such as a tunnel",
            );
        }
        Ok(Self(url))
    }

    /// Where the run is looked at, on the same host.
    pub(crate) fn of_run(&self, run: RunId) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("/runs/{run}"));
        Self(url)
    }

    /// Where a `Location` leads to. `None` where that is another host, scheme or port.
    pub(crate) fn joined(&self, location: &str) -> Option<Self> {
        let url = self.0.join(location).ok()?;
        let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
        (origin(&url) == origin(&self.0) && url.username().is_empty() && url.password().is_none())
            .then_some(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The same place, by TLS where this is without, and the other way round.
    pub(crate) fn otherwise(&self) -> Option<Self> {
        let (scheme, port) = (if self.is_plain() { "https" } else { "http" }, self.0.port_or_known_default());
        let mut url = self.0.clone();
        url.set_scheme(scheme).ok()?;
        url.set_port(port).ok()?;
        Some(Self(url))
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    pub(crate) fn is_here(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Past any proxy of the environment: what is on this machine, and whatever is not encrypted.
    pub(crate) fn is_direct(&self) -> bool {
        self.0.scheme() == "http" || is_loopback(&self.0)
    }
}

/// As it was typed, but for default ports and the like.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Address::new(text, false).unwrap_err().message
    }

    #[test]
    fn an_endpoint_is_https_or_on_this_machine() {
        for text in [
            "https://deploy.shop.example/deploy",
            "https://deploy.shop.example:8443/a/b",
            "http://127.0.0.1:8443/deploy",
            "http://[::1]:8443/deploy",
            "http://localhost/deploy",
        ] {
            assert_eq!(Address::new(text, false).unwrap().to_string(), text);
        }
        let plain = "http://deploy.shop.example/deploy";
        assert_eq!(refused(plain), format!("\"{plain}\" is plain HTTP and leaves this machine"));
        for other in
            ["http://localhost.evil.example/deploy", "http://127.0.0.1.evil.example/", "http://10.0.0.7/"]
        {
            assert!(refused(other).ends_with("leaves this machine"), "{other}");
            assert!(Address::new(other, true).is_ok(), "{other}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_no_password_is_told() {
        for (text, message) in [
            ("", "\"\" is no URL"),
            ("deploy", "\"deploy\" is no URL"),
            ("ftp://shop.example/x", "\"ftp://shop.example/x\" is not the URL of a web server"),
            ("file:///etc/passwd", "\"file:///etc/passwd\" is not the URL of a web server"),
            ("https://kim:hunter2@shop.example/x", "the address has a user or a password in it"),
            ("kim:hunter2@shop.example", "the address is not the URL of a web server"),
            ("https://shop.example/x?sha=1", "\"https://shop.example/x?sha=1\" has more than a path"),
            ("https://shop.example/x#y", "\"https://shop.example/x#y\" has more than a path"),
            (
                "https://shop.example/\u{1b}[2J x?",
                "\"https://shop.example/\\x1b[2J x?\" has more than a path",
            ),
        ] {
            assert_eq!(refused(text), message);
        }
        assert!(refused(&format!("https://shop.example/{}", "x".repeat(5_000))).len() < 100);
    }

    #[test]
    fn the_other_way_to_speak_http_is_at_the_same_port() {
        for (one, other) in [
            ("https://shop.example/deploy", "http://shop.example:443/deploy"),
            ("http://127.0.0.1:8443/deploy", "https://127.0.0.1:8443/deploy"),
            ("http://localhost/deploy", "https://localhost:80/deploy"),
        ] {
            let address = Address::new(one, false).unwrap().otherwise().unwrap();
            assert_eq!(address.to_string(), other);
            assert_eq!(address.otherwise().unwrap().to_string(), one);
        }
    }

    #[test]
    fn a_run_is_looked_at_on_the_same_host_only() {
        let address = Address::new("https://shop.example:8443/hooks/deploy", false).unwrap();
        let run = RunId(uuid::Uuid::from_u128(7));
        let wanted = "https://shop.example:8443/runs/00000000-0000-0000-0000-000000000007";
        assert_eq!(address.of_run(run).to_string(), wanted);
        assert_eq!(address.joined("/runs/x").unwrap().to_string(), "https://shop.example:8443/runs/x");
        for other in [
            "https://evil.example:8443/runs/x",
            "//evil.example/runs/x",
            "http://shop.example:8443/runs/x",
            "https://shop.example/runs/x",
            "https://a:b@shop.example:8443/runs/x",
        ] {
            assert_eq!(address.joined(other), None, "{other}");
        }
    }
}
