//! A `server` block: where it listens, under which names, and how it is asked. Pure.

use lockgate_asking::{DataPath, host_within};
use lockgate_ports::Endpoint;

use crate::syntax::{At, Directive};

const HTTP_PORT: u16 = 80;

/// A server that sends the service's requests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub at: At,
    listens: Vec<Listen>,
    /// The `Host` under which it is asked; `None` where any leads to it, or none that can be told.
    pub host: Option<String>,
    /// The path at which nginx itself says which slot it goes to.
    pub probe: Option<String>,
    /// The locations that go by the marker.
    pub places: Vec<Place>,
}

/// A location that sends requests to the slot that the marker names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub at: At,
    pub takes: Takes,
    /// The upstream groups by which it gets there; none where it dials addresses.
    pub groups: Vec<String>,
    /// nginx reads a request's body to its end before it connects to the slot.
    pub buffers: bool,
}

/// Which paths a location takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Takes {
    Prefix(String),
    Exact(String),
    /// A regular expression, or what others lead to by a name.
    Some(String),
}

impl Takes {
    pub(crate) fn of(location: &Directive) -> Takes {
        match location.args.as_slice() {
            [path] if path.starts_with('@') => Takes::Some(path.clone()),
            [path] => Takes::Prefix(path.clone()),
            [modifier, path] if modifier == "=" => Takes::Exact(path.clone()),
            [modifier, path] if modifier == "^~" => Takes::Prefix(path.clone()),
            args => Takes::Some(args.join(" ")),
        }
    }

    /// How well it fits; `None` where it does not. The longest prefix is best, and an exact one better.
    fn fits(&self, path: &str) -> Option<usize> {
        match self {
            Takes::Exact(own) => (own == path).then_some(usize::MAX),
            Takes::Prefix(own) => path.starts_with(own.as_str()).then_some(own.len() + 1),
            Takes::Some(_) => Some(0),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Takes::Prefix(text) | Takes::Exact(text) | Takes::Some(text) => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listen {
    endpoint: Endpoint,
    is_tls: bool,
}

impl Site {
    /// Without places and probe.
    pub(crate) fn of(server: &Directive) -> Site {
        let lines = || server.children().iter();
        let all_tls = lines().any(|line| line.name == "ssl" && line.first() == "on");
        let mut listens: Vec<Listen> =
            lines().filter(|line| line.name == "listen").filter_map(|line| listen(line, all_tls)).collect();
        if !lines().any(|line| line.name == "listen") {
            listens.push(Listen { endpoint: Endpoint::Tcp("127.0.0.1:80".to_owned()), is_tls: all_tls });
        }
        let names: Vec<&str> = lines()
            .filter(|line| line.name == "server_name")
            .flat_map(|line| line.args.iter().map(String::as_str))
            .collect();
        Site { at: server.at.clone(), listens, host: host(&names), probe: None, places: Vec::new() }
    }

    /// How well it fits a path; `None` where none of its places takes it.
    pub(crate) fn fits(&self, target: &str) -> Option<usize> {
        let path = target.split(['?', '#']).next().unwrap_or(target);
        self.places.iter().filter_map(|place| place.takes.fits(path)).max()
    }

    /// Where it is asked on the host: without TLS where it can be. `None` where it listens nowhere that can be asked.
    /// `address`: what stands for this machine, which is the container's for an nginx in one.
    pub(crate) fn data_path(&self, address: Option<&str>) -> Option<DataPath> {
        let plain = self.listens.iter().find(|listen| !listen.is_tls);
        let tls = || self.listens.iter().find(|_| self.host.is_some());
        let listen = plain.or_else(tls)?;
        let endpoint = match (&listen.endpoint, address) {
            (Endpoint::Tcp(own), Some(address)) => {
                let port = own.rsplit_once(':').map_or("80", |(_, port)| port);
                Endpoint::Tcp(format!("{address}:{port}"))
            }
            (own, _) => own.clone(),
        };
        Some(DataPath {
            endpoint,
            tls: if listen.is_tls { self.host.clone() } else { None },
            host: self.host.clone(),
            prefix: String::new(),
        })
    }
}

/// `80`, `*:80`, `127.0.0.1:8080`, `10.0.0.5`, `[::]:80`, `unix:/run/site.sock`. `None` for what cannot be asked as a user.
fn listen(line: &Directive, all_tls: bool) -> Option<Listen> {
    let has = |word: &str| line.args.iter().skip(1).any(|arg| arg == word);
    if has("proxy_protocol") || has("quic") {
        return None;
    }
    let is_tls = all_tls || has("ssl");
    let text = line.first();
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(Listen { endpoint: Endpoint::Unix(path.to_owned()), is_tls });
    }
    let (host, port) = match text.parse::<u16>() {
        Ok(port) => ("*", port),
        Err(_) => match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some((host, Ok(port))) => (host, port),
            _ => (text, HTTP_PORT),
        },
    };
    let host = match host {
        "*" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Some(Listen { endpoint: Endpoint::Tcp(format!("{host}:{port}")), is_tls })
}

/// The first name that can be asked for, one without a wildcard if there is any.
fn host(names: &[&str]) -> Option<String> {
    let usable =
        |name: &&&str| !(name.is_empty() || **name == "_" || name.starts_with('~') || name.contains('$'));
    let mut usable = names.iter().filter(usable);
    let exact = usable.clone().find(|name| !name.contains('*') && !name.starts_with('.'));
    let name = exact.or_else(|| usable.next())?;
    // `.example.com` is `example.com` and all below it.
    Some(host_within(name.strip_prefix('.').unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    fn asked(server: &str) -> Option<String> {
        let directives = parse("/x", &format!("server {{ {server} }}")).unwrap();
        Site::of(&directives[0]).data_path(None).map(|path| path.to_string())
    }

    #[test]
    fn a_server_is_asked_where_it_listens_under_a_name_that_is_its_own() {
        for (server, wanted) in [
            ("", "http://127.0.0.1:80/"),
            ("listen 8080; server_name a.test b.test;", "http://127.0.0.1:8080/ as a.test"),
            ("listen 127.0.0.1; server_name _;", "http://127.0.0.1:80/"),
            ("listen [::]:81; server_name ~^www\\d *.a.test;", "http://[::1]:81/ as lockgate.a.test"),
            ("listen 443 ssl; listen 80; server_name .a.test;", "http://127.0.0.1:80/ as a.test"),
            ("listen *:443 ssl http2; server_name a.*;", "https://127.0.0.1:443/ as a.lockgate"),
            ("listen 443; ssl on; server_name a.test;", "https://127.0.0.1:443/ as a.test"),
            ("listen unix:/run/x.sock; listen 81 proxy_protocol;", "http://unix:/run/x.sock/"),
        ] {
            assert_eq!(asked(server).as_deref(), Some(wanted), "{server}");
        }
        assert_eq!(asked("listen 443 ssl;"), None, "TLS needs a name");
        assert_eq!(asked("listen 81 proxy_protocol;"), None);
    }

    #[test]
    fn an_nginx_in_a_container_is_asked_at_the_containers_address() {
        let directives = parse("/x", "server { listen 8080; }").unwrap();
        let path = Site::of(&directives[0]).data_path(Some("172.17.0.5")).unwrap();
        assert_eq!(path.to_string(), "http://172.17.0.5:8080/");
    }
}
