//! What an address leads to, in whatever spelling Caddy takes it. Pure.

use std::collections::BTreeMap;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;
use serde_json::Value;

/// The two slots' addresses as far as they are known, as Caddy is told them.
pub(crate) type Dials = BTreeMap<Slot, String>;

/// Caddy's own default for a port that a URL does not name.
const PORT_DEFAULT: &str = "80";
/// Sources inside sources of `dynamic multi`.
const SOURCES_DEPTH_MAX: usize = 8;

/// An address so that two spellings of it are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Normal {
    /// Lower case, without brackets and final dot; every spelling of this machine is `localhost`.
    Tcp {
        host: String,
        port: String,
    },
    Unix(String),
}

impl Normal {
    fn of(dial: &str) -> Normal {
        let dial = ["http://", "https://", "h2c://"]
            .iter()
            .find_map(|scheme| dial.strip_prefix(scheme))
            .unwrap_or(dial);
        let address = match dial.split_once('/') {
            Some((network, path)) if network.starts_with("unix") => return Normal::Unix(path.to_owned()),
            Some((network, address)) if network.starts_with("tcp") => address,
            _ => dial.trim_end_matches('/'),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (address, PORT_DEFAULT),
        };
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        let host = if is_this_machine(&host) { "localhost".to_owned() } else { host };
        let port = match port.to_ascii_lowercase().as_str() {
            "http" => "80".to_owned(),
            "https" => "443".to_owned(),
            port => port.to_owned(),
        };
        Normal::Tcp { host, port }
    }
}

fn is_this_machine(host: &str) -> bool {
    matches!(host, "" | "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "::")
}

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To the slot's own address.
    To(Slot),
    /// To another port of what runs in the slot.
    Beside {
        slot: Slot,
        port: String,
    },
    Elsewhere,
    /// To a slot at times, by a rule that is not a plain address. Why.
    AtTimes(String),
    /// It depends on what cannot be seen. Why.
    Anywhere(String),
}

impl Leads {
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Leads::To(slot) | Leads::Beside { slot, .. } => Some(*slot),
            Leads::Elsewhere | Leads::AtTimes(_) | Leads::Anywhere(_) => None,
        }
    }
}

/// An address that is compared with the slots'.
pub(crate) fn leads(dials: &Dials, dial: &str) -> Leads {
    if dial.contains('{') {
        return placeholder_leads(dials, dial);
    }
    let wanted = Normal::of(dial);
    let at = dials.iter().find(|(_, known)| Normal::of(known) == wanted);
    if let Some((slot, _)) = at {
        return Leads::To(*slot);
    }
    let Normal::Tcp { host, port } = wanted else { return Leads::Elsewhere };
    match own_hosts(dials).into_iter().find(|(_, own)| *own == host) {
        Some((slot, _)) => Leads::Beside { slot, port },
        None => Leads::Elsewhere,
    }
}

/// The hosts that are one slot's alone; empty where both are at one host, or only one is known.
fn own_hosts(dials: &Dials) -> Vec<(Slot, String)> {
    let mut hosts: Vec<(Slot, String)> = dials
        .iter()
        .filter_map(|(slot, dial)| match Normal::of(dial) {
            Normal::Tcp { host, .. } => Some((*slot, host)),
            Normal::Unix(_) => None,
        })
        .collect();
    if hosts.len() != 2 || hosts[0].1 == hosts[1].1 {
        hosts.clear();
    }
    hosts
}

/// `web-{http.vars.color}:5000`: what is between the placeholders must fit.
fn placeholder_leads(dials: &Dials, dial: &str) -> Leads {
    let pieces = literals(dial);
    let host_says = dial.rsplit_once(':').map_or(dial, |(host, _)| host);
    let says_nothing =
        literals(host_says).iter().all(|piece| !piece.contains(|c: char| c.is_ascii_alphanumeric()));
    let fits = |known: &String| fits(&pieces, &known.to_ascii_lowercase());
    let why = |how: &str| format!("{dial} {how}");
    match (dials.values().any(fits), says_nothing) {
        (true, false) => Leads::AtTimes(why("is a slot's address for some requests")),
        (_, true) if may_be_port(dials, dial) => Leads::Anywhere(why("is whatever its placeholder says")),
        _ => Leads::Elsewhere,
    }
}

/// False where the port is written down and neither slot's.
fn may_be_port(dials: &Dials, dial: &str) -> bool {
    let after = dial.rsplit_once('}').map_or("", |(_, after)| after);
    let Some(port) = after.strip_prefix(':') else { return true };
    let is = |known: &String| matches!(Normal::of(known), Normal::Tcp { port: own, .. } if own == port);
    dials.is_empty() || dials.values().any(is)
}

/// The text outside of `{…}`, lower case, first and last piece included though they may be empty.
fn literals(dial: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = dial;
    while let Some((before, inside)) = rest.split_once('{') {
        pieces.push(before.to_ascii_lowercase());
        rest = inside.split_once('}').map_or("", |(_, after)| after);
    }
    pieces.push(rest.to_ascii_lowercase());
    pieces
}

/// Whether `text` is the pieces in order with anything in between.
fn fits(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last.as_str())
}

/// What a source of `dynamic_upstreams` leads to.
pub(crate) fn source_leads(dials: &Dials, source: &Value) -> Leads {
    source_leads_in(dials, source, SOURCES_DEPTH_MAX)
}

fn source_leads_in(dials: &Dials, source: &Value, depth: usize) -> Leads {
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("source");
    let shown = format!("`dynamic {kind}`");
    match kind {
        "a" => {
            let port = if text("port").is_empty() { PORT_DEFAULT } else { text("port") };
            match leads(dials, &format!("{}:{port}", text("name"))) {
                Leads::To(slot) | Leads::Beside { slot, .. } => {
                    Leads::AtTimes(format!("{shown} looks up {}, which is {slot}", text("name")))
                }
                Leads::AtTimes(why) | Leads::Anywhere(why) => Leads::Anywhere(format!("{shown}: {why}")),
                Leads::Elsewhere => Leads::Elsewhere,
            }
        }
        "multi" if depth > 0 => {
            let none = Vec::new();
            let sources = source.get("sources").and_then(Value::as_array).unwrap_or(&none);
            sources
                .iter()
                .map(|source| source_leads_in(dials, source, depth - 1))
                .fold(Leads::Elsewhere, worse)
        }
        "srv" => srv_leads(dials, text("name")),
        _ => Leads::Anywhere(format!("{shown} gives its addresses for each request")),
    }
}

/// What a name of an SRV record leads to: its answer names hosts and ports that are not known.
pub(crate) fn srv_leads(dials: &Dials, name: &str) -> Leads {
    let asked = name.to_ascii_lowercase();
    let names = |host: &str| host != "localhost" && asked.split(['.', ' ']).any(|label| label == host);
    match own_hosts(dials).iter().find(|(_, host)| names(host)) {
        Some((slot, _)) => Leads::AtTimes(format!("the SRV record {name} names {slot}")),
        None => Leads::Anywhere(format!("the SRV record {name} says where to")),
    }
}

/// The one of two that stands more in the way.
fn worse(one: Leads, other: Leads) -> Leads {
    let rank = |leads: &Leads| match leads {
        Leads::Elsewhere => 0,
        Leads::Anywhere(_) => 1,
        Leads::Beside { .. } => 2,
        Leads::To(_) => 3,
        Leads::AtTimes(_) => 4,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

/// Where an upstream at `dial`, which leads as `leads`, is once the service is in `slot` at `to`; `None` where it is there
/// already.
pub(crate) fn moved(dial: &str, leads: &Leads, to: &str) -> Option<String> {
    let wanted = match (leads, Normal::of(to)) {
        (Leads::Beside { port, .. }, Normal::Tcp { .. }) => with_port_of(to, port),
        _ => to.to_owned(),
    };
    (Normal::of(dial) != Normal::of(&wanted)).then_some(wanted)
}

fn with_port_of(to: &str, port: &str) -> String {
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
    format!("{host}:{port}")
}

/// An address from `lockgate.yaml`, as Caddy's JSON has it.
///
/// # Errors
/// `Refused` for a scheme that is the transport's, and for a placeholder.
pub(crate) fn written(dial: &str) -> Result<String, PortError> {
    let refused = |why: &str, hint: &str| {
        Err(PortError::new(FailureKind::Refused, format!("`router.caddy.dial` gives {dial:?}: {why}"))
            .hint(hint))
    };
    if dial.contains('{') || dial.chars().any(char::is_whitespace) {
        return refused(
            "a placeholder of Caddy's is not an address",
            "write host and port, such as `{service}-{slot}:5000`; Lockgate itself fills in `{service}`, `{slot}` and `{environment}`",
        );
    }
    for scheme in ["https://", "h2c://"] {
        if dial.starts_with(scheme) {
            return refused(
                "how to speak to it is the handler's transport in Caddy's own configuration",
                "write host and port alone, and keep the scheme in the Caddyfile's `reverse_proxy`",
            );
        }
    }
    let bare = dial.strip_prefix("http://").unwrap_or(dial);
    let bare = if bare.starts_with("unix") { bare } else { bare.trim_end_matches('/') };
    match bare.split_once('/') {
        Some((network, _)) if network.starts_with("unix") || network.starts_with("tcp") => {
            Ok(bare.to_owned())
        }
        Some(_) => {
            refused("an address has no path", "write host and port alone, such as `{service}-{slot}:5000`")
        }
        None => Ok(lockgate_asking::with_port(bare, 80)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slots(blue: &str, green: &str) -> Dials {
        Dials::from([(Slot::Blue, blue.to_owned()), (Slot::Green, green.to_owned())])
    }

    #[test]
    fn a_slot_is_known_in_every_spelling() {
        let named = slots("web-blue:80", "web-green:80");
        for dial in [
            "web-blue:80",
            "Web-Blue:80",
            "web-blue.:http",
            "tcp/web-blue:80",
            "http://web-blue",
            "http://web-blue:80/",
        ] {
            assert_eq!(leads(&named, dial), Leads::To(Slot::Blue), "{dial}");
        }
        let local = slots("127.0.0.1:3001", "127.0.0.1:3002");
        for dial in [":3001", "localhost:3001", "[::1]:3001", "0.0.0.0:3001"] {
            assert_eq!(leads(&local, dial), Leads::To(Slot::Blue), "{dial}");
        }
        let sockets = slots("unix//run/blue.sock", "unix//run/green.sock");
        for dial in ["unix//run/green.sock", "unix+h2c//run/green.sock"] {
            assert_eq!(leads(&sockets, dial), Leads::To(Slot::Green), "{dial}");
        }
        for (dials, dial) in
            [(&named, "web:80"), (&local, ":3003"), (&sockets, "unix//run/web.sock"), (&local, "unix//3001")]
        {
            assert_eq!(leads(dials, dial), Leads::Elsewhere, "{dial}");
        }
    }

    #[test]
    fn another_port_of_a_slot_goes_with_it_where_each_slot_has_a_host_of_its_own() {
        let named = slots("web-blue:80", "web-green:80");
        let metrics = leads(&named, "web-blue:9090");
        assert_eq!(metrics, Leads::Beside { slot: Slot::Blue, port: "9090".into() });
        assert_eq!(moved("web-blue:9090", &metrics, "web-green:80").as_deref(), Some("web-green:9090"));
        assert_eq!(moved("web-green:9090", &leads(&named, "web-green:9090"), "web-green:80"), None);
        assert_eq!(leads(&slots("127.0.0.1:1", "127.0.0.1:2"), "127.0.0.1:3"), Leads::Elsewhere);
        assert_eq!(
            moved("localhost:1", &Leads::To(Slot::Blue), "127.0.0.1:1"),
            None,
            "no change for a spelling"
        );
    }

    #[test]
    fn a_placeholder_may_be_a_slot_for_some_requests_for_none_or_for_who_knows() {
        let named = slots("web-blue:5000", "web-green:5000");
        for dial in ["web-{http.vars.color}:5000", "{a}-blue:5000", "web-{a}:{b}"] {
            assert!(matches!(leads(&named, dial), Leads::AtTimes(_)), "{dial}");
        }
        for dial in ["{env.BACKEND}", "{host}:{port}", "{host}:5000"] {
            assert!(matches!(leads(&named, dial), Leads::Anywhere(_)), "{dial}");
        }
        for dial in ["shop-{http.vars.color}:5000", "{host}:9000", "unix//run/{x}.sock"] {
            assert_eq!(leads(&named, dial), Leads::Elsewhere, "{dial}");
        }
    }

    #[test]
    fn dynamic_upstreams_are_judged_by_what_they_look_up() {
        let named = slots("web-blue:5000", "web-green:5000");
        let a = |name: &str| json!({"source": "a", "name": name, "port": "5000"});
        assert!(matches!(source_leads(&named, &a("web-green")), Leads::AtTimes(_)));
        assert_eq!(source_leads(&named, &a("shop")), Leads::Elsewhere);
        assert!(matches!(source_leads(&named, &a("{host}")), Leads::Anywhere(_)));
        let srv = |name: &str| json!({"source": "srv", "name": name});
        assert!(matches!(source_leads(&named, &srv("_http._tcp.web-blue")), Leads::AtTimes(_)));
        assert!(matches!(source_leads(&named, &srv("_http._tcp.web")), Leads::Anywhere(_)));
        let multi = |sources: &[Value]| json!({"source": "multi", "sources": sources});
        assert!(matches!(
            source_leads(&named, &multi(&[a("shop"), srv("x"), a("web-blue")])),
            Leads::AtTimes(_)
        ));
        assert_eq!(source_leads(&named, &multi(&[a("shop"), a("cart")])), Leads::Elsewhere);
        assert!(matches!(source_leads(&named, &json!({"source": "consul"})), Leads::Anywhere(_)));
    }

    #[test]
    fn what_lockgate_yaml_says_is_written_as_caddy_has_it_or_refused() {
        for (dial, wanted) in [
            ("web-blue:5000", "web-blue:5000"),
            ("http://web-blue:5000/", "web-blue:5000"),
            ("http://web-blue", "web-blue:80"),
            (":3001", ":3001"),
            ("unix//run/blue.sock", "unix//run/blue.sock"),
        ] {
            assert_eq!(written(dial).unwrap(), wanted);
        }
        for dial in ["https://web-blue", "h2c://web-blue:80", "{env.WEB}", "web-blue:80/api", "a b:1"] {
            let refused = written(dial).unwrap_err();
            assert!(refused.message.contains(dial) && !refused.hints().is_empty(), "{refused}");
        }
    }
}
