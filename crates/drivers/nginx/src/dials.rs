//! What a `proxy_pass` leads to. Pure.

use std::collections::BTreeMap;

use lockgate_model::Slot;

use crate::scope::is_whole;
use crate::syntax::Directive;

const HTTP_PORT: &str = "80";
const HTTPS_PORT: &str = "443";

/// Directives that send a request on.
const PASSES: &[&str] =
    &["proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"];

pub(crate) fn is_pass(directive: &Directive) -> bool {
    PASSES.contains(&directive.name.as_str())
}

/// The addresses of the two slots, written as [`normal`] does; before they are [`resolved`](Dials::resolved), what somebody
/// configured: an address, or an upstream group's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dials {
    pub blue: String,
    pub green: String,
}

impl Dials {
    pub(crate) fn of(&self, slot: Slot) -> &str {
        if slot == Slot::Green { &self.green } else { &self.blue }
    }

    /// What names a group is the address of the group's one server.
    pub(crate) fn resolved(&self, groups: &BTreeMap<String, Group>) -> Dials {
        let address = |dial: &String| match groups.get(dial).map(|group| group.servers.as_slice()) {
            Some([server]) => server.clone(),
            _ => written(dial),
        };
        Dials { blue: address(&self.blue), green: address(&self.green) }
    }

    fn slot(&self, address: &str) -> Option<Slot> {
        [Slot::Blue, Slot::Green].into_iter().find(|slot| self.of(*slot) == address)
    }
}

/// An upstream group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    /// As [`normal`] writes them, but for those that are `down`.
    pub servers: Vec<String>,
    /// What `keepalive` says; `None` where it says nothing.
    pub keepalive: Option<u64>,
    /// A server's name is looked up again while nginx runs.
    pub resolves: bool,
}

/// By their names.
pub(crate) fn groups(section: &[Directive]) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    for one in section.iter().filter(|one| one.name == "upstream") {
        let mut group = Group::default();
        for line in one.children() {
            match line.name.as_str() {
                "server" if !line.args.iter().any(|arg| arg == "down") => {
                    group.servers.push(normal(line.first(), HTTP_PORT));
                    group.resolves |= line.args.iter().any(|arg| arg == "resolve");
                }
                "keepalive" => group.keepalive = line.first().parse().ok(),
                _ => {}
            }
        }
        groups.insert(one.first().to_ascii_lowercase(), group);
    }
    groups
}

/// Where a request ends up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// It does not get here.
    Nowhere,
    /// To one slot and nobody else; the upstream group by which, where it is one.
    Slot(Slot, Option<String>),
    /// To a slot and to somebody else: what it says.
    Mixed(String),
    /// To no slot.
    Elsewhere(String),
    /// What it says holds variables of which nobody knows here what they hold.
    Unclear(String),
}

/// `filled`: the argument of a pass, variables filled in.
pub(crate) fn leads(filled: &str, groups: &BTreeMap<String, Group>, dials: &Dials) -> Leads {
    let (scheme, rest) = filled.split_once("://").unwrap_or(("", filled));
    let authority = match rest.strip_prefix("unix:") {
        Some(path) => format!("unix:{}", path.split(':').next().unwrap_or(path)),
        None => rest.split('/').next().unwrap_or(rest).to_ascii_lowercase(),
    };
    if !is_whole(&authority) {
        return Leads::Unclear(filled.to_owned());
    }
    let port = if matches!(scheme, "https" | "grpcs") { HTTPS_PORT } else { HTTP_PORT };
    let Some(group) = groups.get(&authority) else {
        let address = normal(&authority, port);
        return match dials.slot(&address) {
            Some(slot) => Leads::Slot(slot, None),
            None => Leads::Elsewhere(address),
        };
    };
    let slots: Vec<Option<Slot>> = group.servers.iter().map(|server| dials.slot(server)).collect();
    match slots.first() {
        Some(Some(slot)) if slots.iter().all(|other| other == &Some(*slot)) => {
            Leads::Slot(*slot, Some(authority))
        }
        _ if slots.iter().any(Option::is_some) => Leads::Mixed(authority),
        _ => Leads::Elsewhere(authority),
    }
}

/// An address in the one spelling that others are compared in: with a port, in small letters, this machine as `127.0.0.1`.
pub(crate) fn normal(address: &str, port: &str) -> String {
    if address.starts_with("unix:") {
        return address.to_owned();
    }
    let lower = address.to_ascii_lowercase();
    let after_bracket = lower.rsplit_once(']').map_or(lower.as_str(), |(_, rest)| rest);
    let whole = if after_bracket.contains(':') { lower } else { format!("{lower}:{port}") };
    match whole.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => whole,
    }
}

/// An address as somebody wrote it in `router.nginx.dial`.
pub(crate) fn written(dial: &str) -> String {
    normal(dial, HTTP_PORT)
}

/// Whether it can only be an upstream group's name: it has no port.
pub(crate) fn is_group(dial: &str) -> bool {
    !dial.contains(':')
}

/// A name that has to be looked up; `None` for an address and for a socket.
pub(crate) fn name_of(address: &str) -> Option<&str> {
    if address.starts_with("unix:") || address.parse::<std::net::SocketAddr>().is_ok() {
        return None;
    }
    address.rsplit_once(':').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    fn dials() -> Dials {
        Dials { blue: written("127.0.0.1:5001"), green: written("web-green:5000") }
    }

    #[test]
    fn an_address_is_a_slots_in_whatever_spelling() {
        let text = "upstream b { server LOCALHOST:5001; keepalive 8; } upstream both { server 127.0.0.1:5001; server web-green:5000 backup; } \
                    upstream g { server web-green:5000 resolve; server old:1 down; } upstream x { server 10.0.0.1; }";
        let groups = groups(&parse("/x", text).unwrap());
        let leads = |text: &str| leads(text, &groups, &dials());
        assert_eq!(leads("http://127.0.0.1:5001"), Leads::Slot(Slot::Blue, None));
        assert_eq!(leads("http://localhost:5001/api/"), Leads::Slot(Slot::Blue, None));
        assert_eq!(
            leads("https://Web-Green:5000$request_uri"),
            Leads::Unclear("https://Web-Green:5000$request_uri".into())
        );
        assert_eq!(leads("https://Web-Green:5000/$request_uri"), Leads::Slot(Slot::Green, None));
        assert_eq!(leads("http://b"), Leads::Slot(Slot::Blue, Some("b".into())));
        assert_eq!(leads("grpc://g"), Leads::Slot(Slot::Green, Some("g".into())));
        assert_eq!(leads("http://both/"), Leads::Mixed("both".into()));
        assert_eq!(leads("http://x"), Leads::Elsewhere("x".into()));
        assert_eq!(leads("http://10.0.0.1"), Leads::Elsewhere("10.0.0.1:80".into()));
        assert_eq!(leads("https://[::1]"), Leads::Elsewhere("[::1]:443".into()));
        assert_eq!(leads("http://$backend"), Leads::Unclear("http://$backend".into()));
        assert_eq!(leads("http://unix:/run/a.sock:/x"), Leads::Elsewhere("unix:/run/a.sock".into()));
        assert_eq!(groups["b"].keepalive, Some(8));
        assert!(groups["g"].resolves && !groups["b"].resolves);
    }

    #[test]
    fn only_names_are_looked_up() {
        assert_eq!(name_of("web-green:5000"), Some("web-green"));
        assert_eq!(name_of("127.0.0.1:80"), None);
        assert_eq!(name_of("[::1]:80"), None);
    }
}
