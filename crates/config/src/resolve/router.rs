//! What sends traffic to a slot.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lockgate_model::{
    BuiltinRouter, CaddyRouter, CaddySwitch, Millis, Router, Service, ServiceName, Template,
};

use super::named::short;
use super::nginx;
use super::reader::{Holes, Reader, quote, variable};
use crate::at::{At, Either};
use crate::error::Place;
use crate::raw;

const LISTEN: &str = "127.0.0.1:8080";
/// The proxy's own, should what is written not be valid.
const RESPONSE_SECONDS: u64 = 60;
const STALL_SECONDS: u64 = 60;
/// What the proxy takes.
const TRUSTED_PROXIES_MAX: usize = 64;
const CADDY_ADMIN: &str = "http://127.0.0.1:2019";
const CADDY_ID: &str = "{service}_upstream";

type Services = BTreeMap<ServiceName, Service>;

pub fn builtin_default() -> Router {
    Router::Builtin(BuiltinRouter::on(LISTEN))
}

pub fn resolve(
    reader: &mut Reader<'_>,
    source: &At<Either<raw::Router>>,
    services: &Services,
) -> Option<Router> {
    let Either::Full(raw) = &source.value else {
        return match short(reader, "router", source, &["builtin", "caddy", "nginx", "none"])? {
            0 => Some(builtin_default()),
            2 => nginx::resolve(reader, &nginx::DEFAULT, source.place, services).map(Router::Nginx),
            3 => Some(Router::None),
            _ => caddy(reader, &CADDY_DEFAULT, source.place, services).map(Router::Caddy),
        };
    };
    match (&raw.builtin, &raw.caddy, &raw.nginx) {
        (Some(raw), None, None) => builtin(reader, &raw.value).map(Router::Builtin),
        (None, Some(raw), None) => caddy(reader, &raw.value, raw.place, services).map(Router::Caddy),
        (None, None, Some(raw)) => nginx::resolve(reader, &raw.value, raw.place, services).map(Router::Nginx),
        _ => {
            let what = "a router is one of `builtin`, `caddy` and `nginx`";
            reader.invalid(source.place, what, "write exactly one");
            None
        }
    }
}

fn builtin(reader: &mut Reader<'_>, raw: &raw::Builtin) -> Option<BuiltinRouter> {
    let listen = match &raw.listen {
        Some(source) => listen(reader, source)?,
        None => LISTEN.to_owned(),
    };
    if let (Some(_), Some(hosts)) = (&raw.host, &raw.hosts) {
        reader.conflict(
            hosts.place,
            "`host` and `hosts` exclude each other",
            "write all of them under `hosts`",
        );
    }
    let sources = raw.host.iter().chain(raw.hosts.iter().flat_map(|hosts| &hosts.value));
    let hosts = sources.filter_map(|source| route_host(reader, source)).collect();
    let path = match &raw.path {
        Some(path) => Some(reader.url_path("`path`", path)?),
        None => None,
    };
    let dir = raw.dir.as_ref().and_then(|dir| reader.file("`dir`", dir, Holes::Fixed));
    let response_timeout = raw.response_timeout.as_ref().map(|source| {
        reader.span("`response_timeout`", Some(source), Millis(1), Millis::from_secs(RESPONSE_SECONDS))
    });
    let stall_timeout = raw.stall_timeout.as_ref().map(|source| {
        reader.span("`stall_timeout`", Some(source), Millis(1), Millis::from_secs(STALL_SECONDS))
    });
    let sources = raw.trusted_proxies.iter().flat_map(|sources| &sources.value);
    let trusted_proxies: Vec<IpNet> = sources.filter_map(|source| network(reader, source)).collect();
    if let Some(sources) = raw.trusted_proxies.as_ref().filter(|all| all.value.len() > TRUSTED_PROXIES_MAX) {
        let what = format!("`trusted_proxies` has more than {TRUSTED_PROXIES_MAX} networks");
        reader.invalid(sources.place, what, "write wider networks, such as 10.0.0.0/8");
    }
    Some(BuiltinRouter { listen, hosts, path, response_timeout, stall_timeout, trusted_proxies, dir })
}

/// An address is a network of one.
fn network(reader: &mut Reader<'_>, source: &At<String>) -> Option<IpNet> {
    let text = reader.line("`trusted_proxies`", source)?;
    let found = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    if found.is_none() {
        let what = format!("`trusted_proxies` {} is not valid", quote(source));
        reader.invalid(source.place, what, "write an address or a network, such as 10.0.0.1 or 10.0.0.0/8");
    }
    found
}

/// The proxy takes addresses only: a name could mean several, or another one tomorrow.
fn listen(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.line("`listen`", source)?;
    if text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) {
        return Some(text);
    }
    let hint = match text.strip_prefix("localhost:") {
        Some(port) => format!("write an address instead of a name: 127.0.0.1:{port}"),
        None => "write address and port, such as 127.0.0.1:8080 or [::]:80".to_owned(),
    };
    reader.invalid(source.place, format!("`listen` {} is not valid", quote(source)), hint);
    None
}

/// A host name as it stands in a request, without port.
fn route_host(reader: &mut Reader<'_>, source: &At<String>) -> Option<Template> {
    let template = reader.template("`host`", source, Holes::Fixed)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_{}*".contains(c);
    if !template.as_str().chars().all(legal) {
        let hint = "write a name such as app.example.com, without scheme, port and path";
        reader.invalid(source.place, format!("host {} is not valid", quote(source)), hint);
        return None;
    }
    Some(template)
}

/// System A's `<service>-<colour>:<port>`.
const CADDY_DIAL: &str = "{service}-{slot}:{port}";
const CADDY_DEFAULT: raw::Caddy = raw::Caddy {
    admin: None,
    id: None,
    dial: None,
    ask: None,
    snippet: None,
    switch: None,
    active_color: None,
    config: None,
};

fn caddy(
    reader: &mut Reader<'_>,
    raw: &raw::Caddy,
    place: Place,
    services: &Services,
) -> Option<CaddyRouter> {
    let admin = match &raw.admin {
        Some(source) => admin(reader, "`admin`", source)?,
        None => {
            let value = variable(reader.env, "DEPLOY_CADDY_API").unwrap_or_else(|| CADDY_ADMIN.to_owned());
            let source = At { value: value.replace('$', "$$"), place };
            admin(reader, "`admin` (from DEPLOY_CADDY_API)", &source)?
        }
    };
    let id = match &raw.id {
        Some(id) if id.value.is_empty() => None,
        Some(id) => Some(caddy_id(reader, id)?),
        None => Some(reader.template_of("`id`", CADDY_ID.to_owned(), place, Holes::Fixed)?),
    };
    let dial = match &raw.dial {
        Some(source) => dial(reader, source)?,
        None => reader.template_of("`dial`", CADDY_DIAL.to_owned(), place, Holes::Address)?,
    };
    dialled_ports(reader, "Caddy", &dial, place, services)?;
    let ask = match &raw.ask {
        Some(source) => {
            reader.url("`ask`", source)?;
            Some(reader.template("`ask`", source, Holes::Fixed)?)
        }
        None => None,
    };
    let snippet = raw.snippet.as_ref().and_then(|snippet| reader.file("`snippet`", snippet, Holes::Fixed));
    let switch = match &raw.switch {
        Some(source) => Some(switch(reader, source)?),
        None => None,
    };
    if let (Some(CaddySwitch::File), Some(snippet)) = (switch, &raw.snippet) {
        let hint = "leave `snippet` out: with `switch: file` Caddy's configuration never changes";
        reader.conflict(snippet.place, "`switch: file` and `snippet` exclude each other", hint);
    }
    let active_color =
        raw.active_color.as_ref().and_then(|path| reader.file("`active_color`", path, Holes::Fixed));
    let config = raw.config.as_ref().and_then(|path| reader.file("`config`", path, Holes::Fixed));
    Some(CaddyRouter { switch, active_color, config, admin, id, dial, ask, snippet })
}

fn switch(reader: &mut Reader<'_>, source: &At<String>) -> Option<CaddySwitch> {
    match source.value.as_str() {
        "file" => Some(CaddySwitch::File),
        "admin" => Some(CaddySwitch::Admin),
        _ => {
            let what = format!("`switch` {} is not known", quote(source));
            reader.invalid(source.place, what, "write `file` or `admin`");
            None
        }
    }
}

/// A URL, or a Unix socket as Caddy itself writes it: `unix//run/caddy/admin.sock`.
fn admin(reader: &mut Reader<'_>, what: &str, source: &At<String>) -> Option<String> {
    if source.value.starts_with("unix/") || source.value.starts_with("unix:") {
        return reader.line(what, source);
    }
    reader.url(what, source)
}

/// An id is a part of the admin API's path: `/id/<id>`.
fn caddy_id(reader: &mut Reader<'_>, source: &At<String>) -> Option<Template> {
    let template = reader.template("`id`", source, Holes::Fixed)?;
    if template.as_str().contains([' ', '/', '?', '#', '%', '"', '\\']) {
        reader.invalid(
            source.place,
            format!("`id` {} is not valid", quote(source)),
            "use letters, digits, `_`, `-`",
        );
        return None;
    }
    Some(template)
}

fn dial(reader: &mut Reader<'_>, source: &At<String>) -> Option<Template> {
    let template = reader.template("`dial`", source, Holes::Address)?;
    if !template.names("slot") {
        let hint = "write it like {service}-{slot}:{port}";
        reader.conflict(source.place, "both slots would have the same `dial`", hint);
        return None;
    }
    let text = template.as_str();
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port > 0);
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-{}:[]/".contains(c));
    if !legal || (port.is_none() && !text.ends_with(":{port}") && !text.starts_with("unix/")) {
        let hint = "write host and port, like {service}-{slot}:{port}";
        reader.invalid(source.place, format!("`dial` {} is not valid", quote(source)), hint);
        return None;
    }
    Some(template)
}

/// A dial that names `{port}` needs every service to have one.
pub fn dialled_ports(
    reader: &mut Reader<'_>,
    router: &str,
    dial: &Template,
    place: Place,
    services: &Services,
) -> Option<()> {
    let without: Vec<&str> = services
        .values()
        .filter(|service| dial.names("port") && service.port.is_none())
        .map(|service| service.name.as_str())
        .collect();
    if without.is_empty() {
        return Some(());
    }
    reader.conflict(
        place,
        format!("{router} has no port to dial: {} has no `port`", without.join(", ")),
        "add `port:` to the service, or `dial: \"{service}-{slot}:5000\"` here",
    );
    None
}
