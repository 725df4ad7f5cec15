//! The data path: where and how a user's request for this service reaches Caddy. Pure.

use lockgate_asking::{DataPath, Entrance, host_within};
use lockgate_model::{FailureKind, without_query};
use lockgate_ports::{Endpoint, PortError};
use serde_json::Value;

use crate::tree::Path;

const HTTP_PORT_DEFAULT: u64 = 80;

/// What people are told of the way through Caddy.
pub(crate) const ENTRANCE: Entrance =
    Entrance { router: "Caddy", key: "router.caddy.ask", log: "journalctl -u caddy" };

/// What the routes around a handler want of a request.
struct Wanted {
    host: Option<String>,
    prefix: String,
}

/// # Errors
/// `Refused` when no path leads to the handler for `target`.
fn wanted(config: &Value, handler: &Path, target: &str) -> Result<Wanted, PortError> {
    let levels = levels(config, handler);
    let prefix: String = levels.iter().map(|level| level.strip.as_str()).collect();
    match host_for(&levels, &format!("{prefix}{target}")) {
        Ok(host) => Ok(Wanted { host, prefix }),
        Err(paths) => Err(PortError::new(
            FailureKind::Refused,
            format!(
                "{} cannot be asked through Caddy: the route takes only {}",
                without_query(target),
                paths.join(", ")
            ),
        )
        .hint(
            "ask for a path that the route takes, or set `router.caddy.ask` to a base URL that leads there",
        )),
    }
}

/// The host that the routes around the handler match for `target`, where they match any and the path.
pub(crate) fn host(config: &Value, handler: &Path, target: &str) -> Option<String> {
    host_for(&levels(config, handler), target).ok().flatten()
}

/// `Err`: the paths that the first route that does not take `target` takes instead.
fn host_for<'a>(levels: &[Level<'a>], target: &str) -> Result<Option<String>, Vec<&'a str>> {
    let mut left = target.split(['?', '#']).next().unwrap_or(target);
    let mut host = None;
    for level in levels {
        let fitting = level.matchers.iter().find(|set| takes(set, left));
        if fitting.is_none() && !level.matchers.is_empty() {
            return Err(level.matchers.iter().flat_map(|set| texts(set, "path")).collect());
        }
        host = host.or_else(|| fitting.and_then(host_of));
        left = left.strip_prefix(level.strip.as_str()).unwrap_or(left);
    }
    Ok(host)
}

/// One route on the way from the server to the handler.
struct Level<'a> {
    /// Sets of matchers, of which one must match; empty: anything matches.
    matchers: Vec<&'a Value>,
    /// What a `rewrite` on the way takes off the front of the path, after the matchers have looked.
    strip: String,
}

fn levels<'a>(config: &'a Value, handler: &Path) -> Vec<Level<'a>> {
    let mut levels = Vec::new();
    for at in 0..handler.0.len().saturating_sub(3) {
        let [routes, place, handle, index] = &handler.0[at..at + 4] else { continue };
        let list = Path(handler.0[..=at].to_vec()).get(config).and_then(Value::as_array);
        let (Some(list), Ok(place), Ok(index)) = (list, place.parse::<usize>(), index.parse::<usize>())
        else {
            continue;
        };
        if routes != "routes" || handle != "handle" {
            continue;
        }
        // `handle_path` puts its rewrite into a route of its own, before the handler's.
        let before = list.iter().take(place).filter(|route| route.get("match").is_none());
        let strip = before.map(|route| strips(route, usize::MAX)).collect();
        levels.push(Level { matchers: Vec::new(), strip });
        let Some(route) = list.get(place) else { continue };
        let matchers = route.get("match").and_then(Value::as_array).map(|sets| sets.iter().collect());
        levels.push(Level { matchers: matchers.unwrap_or_default(), strip: strips(route, index) });
    }
    levels
}

/// What the route's first `count` handlers strip off a path.
fn strips(route: &Value, count: usize) -> String {
    let handlers = route.get("handle").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    handlers.iter().take(count).filter_map(strip_of).collect()
}

/// What `handler` strips off a path, being a `rewrite`.
fn strip_of(handler: &Value) -> Option<&str> {
    match handler.get("handler")?.as_str()? {
        "rewrite" => handler.get("strip_path_prefix")?.as_str(),
        _ => None,
    }
}

fn texts<'a>(set: &'a Value, matcher: &str) -> Vec<&'a str> {
    let list = set.get(matcher).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

/// The first host that can be asked for; `*.example.com` becomes a name under it.
fn host_of(set: &&Value) -> Option<String> {
    let usable: Vec<&str> = texts(set, "host").into_iter().filter(|host| !host.contains('{')).collect();
    let exact = usable.iter().find(|host| !host.contains('*'));
    exact.or(usable.first()).map(|host| host_within(host))
}

/// Caddy's path matcher, as far as it can be told without being Caddy: without regard to case, `*` at either end.
fn takes(set: &Value, path: &str) -> bool {
    let patterns = texts(set, "path");
    let path = path.to_ascii_lowercase();
    let fits = |pattern: &&str| {
        let pattern = pattern.to_ascii_lowercase();
        let (front, back) = (pattern.strip_prefix('*'), pattern.strip_suffix('*'));
        match (front, back) {
            (Some(_), Some(_)) => path.contains(pattern.trim_matches('*')),
            (Some(end), None) => path.ends_with(end),
            (None, Some(start)) => path.starts_with(start),
            // A `*` in the middle is left to Caddy.
            (None, None) => pattern.contains('*') || path == pattern,
        }
    };
    patterns.is_empty() || patterns.iter().any(fits)
}

/// The data path to the handler as the configuration has it.
///
/// # Errors
/// `Refused` when the server listens nowhere that can be asked.
pub(crate) fn derive(config: &Value, handler: &Path, target: &str) -> Result<DataPath, PortError> {
    let Wanted { host, prefix } = wanted(config, handler, target)?;
    let server_path = handler.server();
    let server = server_path.get(config).unwrap_or(&Value::Null);
    let listeners: Vec<Listener> = texts(server, "listen").into_iter().filter_map(Listener::parse).collect();
    let http_port =
        config.pointer("/apps/http/http_port").and_then(Value::as_u64).unwrap_or(HTTP_PORT_DEFAULT);
    let encrypts = encrypts(server);
    let plain = |listener: &&Listener| match encrypts {
        Encrypts::Nothing => true,
        Encrypts::AllButHttpPort => listener.port.is_some_and(|port| u64::from(port) == http_port),
        Encrypts::All => false,
    };
    // With automatic HTTPS the HTTP port only redirects, unless it is all the server has.
    let only_http = listeners.iter().all(|listener| plain(&listener));
    if let Some(listener) = listeners.iter().find(plain)
        && only_http
    {
        return Ok(DataPath { endpoint: listener.endpoint.clone(), tls: None, host, prefix });
    }
    match (listeners.iter().find(|listener| !plain(listener)), host) {
        (Some(listener), Some(host)) => {
            Ok(DataPath { endpoint: listener.endpoint.clone(), tls: Some(host.clone()), host: Some(host), prefix })
        }
        (seen, _) => Err(PortError::new(
            FailureKind::Refused,
            match seen {
                Some(_) => format!("how to ask through Caddy cannot be told: {server_path} is HTTPS and its route names no host"),
                None => format!("how to ask through Caddy cannot be told: {server_path} listens on no address that can be asked"),
            },
        )
        .hint("set `router.caddy.ask` to a URL that reaches the service as seen from the host, such as `https://example.com` or `http://127.0.0.1:8080`")),
    }
}

enum Encrypts {
    Nothing,
    AllButHttpPort,
    All,
}

/// As Caddy's automatic HTTPS decides: it encrypts a server that has a host to get a certificate for.
fn encrypts(server: &Value) -> Encrypts {
    if server
        .get("tls_connection_policies")
        .and_then(Value::as_array)
        .is_some_and(|policies| !policies.is_empty())
    {
        return Encrypts::All;
    }
    let automatic = server.get("automatic_https").unwrap_or(&Value::Null);
    if automatic.get("disable").and_then(Value::as_bool) == Some(true) {
        return Encrypts::Nothing;
    }
    let skipped = texts(automatic, "skip");
    let routes = server.get("routes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sets = routes.iter().filter_map(|route| route.get("match")?.as_array()).flatten();
    let named = sets.flat_map(|set| texts(set, "host")).any(|host| !skipped.contains(&host));
    if named { Encrypts::AllButHttpPort } else { Encrypts::Nothing }
}

struct Listener {
    endpoint: Endpoint,
    port: Option<u16>,
}

impl Listener {
    /// `:80`, `127.0.0.1:8080`, `tcp/[::]:80`, `:8000-8010` (its first), `unix//run/site.sock`.
    fn parse(text: &str) -> Option<Listener> {
        if let Some(path) = text.strip_prefix("unix/") {
            let path = path.split('|').next().unwrap_or(path);
            return Some(Listener { endpoint: Endpoint::Unix(path.to_owned()), port: None });
        }
        let address =
            ["tcp/", "tcp4/", "tcp6/"].iter().find_map(|net| text.strip_prefix(net)).unwrap_or(text);
        let (host, ports) = address.rsplit_once(':')?;
        let port: u16 = ports.split('-').next()?.parse().ok()?;
        if host.contains('/') {
            return None;
        }
        let host = match host {
            "" | "0.0.0.0" | "[::]" => "127.0.0.1",
            host => host,
        };
        Some(Listener { endpoint: Endpoint::Tcp(format!("{host}:{port}")), port: Some(port) })
    }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
