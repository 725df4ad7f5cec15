//! Caddy's configuration as a tree: where the `reverse_proxy` handlers are and what they dial. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// In a segment of a URL: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Start of the `@id` of every ghost route; handlers inside are nobody's route.
pub(crate) const GHOST_PREFIX: &str = "lockgate_ghost_";

/// Keys and indices from the root of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub Vec<String>);

impl Path {
    pub(crate) fn of<const N: usize>(segments: [&str; N]) -> Path {
        Path(segments.map(str::to_owned).to_vec())
    }

    pub(crate) fn join(&self, segment: &str) -> Path {
        let mut segments = self.0.clone();
        segments.push(segment.to_owned());
        Path(segments)
    }

    /// `/config/apps/http/…`, each segment percent-encoded.
    pub(crate) fn url(&self) -> String {
        let mut url = "/config".to_owned();
        for segment in &self.0 {
            url.push('/');
            url.extend(utf8_percent_encode(segment, RESERVED));
        }
        url
    }

    pub(crate) fn get<'a>(&self, config: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(config, |value, segment| match value {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            other => other.get(segment),
        })
    }

    pub(crate) fn get_mut<'a>(&self, config: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(config, |value, segment| match value {
            Value::Array(items) => items.get_mut(segment.parse::<usize>().ok()?),
            other => other.get_mut(segment),
        })
    }

    /// True when `self` is `inner` or holds it.
    pub(crate) fn holds(&self, inner: &Path) -> bool {
        inner.0.starts_with(&self.0)
    }

    /// The server and the top-level route: `apps/http/servers/<name>/routes/<index>`.
    pub(crate) fn route(&self) -> Path {
        Path(self.0.iter().take(6).cloned().collect())
    }

    /// `apps/http/servers/<name>`.
    pub(crate) fn server(&self) -> Path {
        Path(self.0.iter().take(4).cloned().collect())
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url())
    }
}

/// A `reverse_proxy` handler.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handler {
    pub path: Path,
    /// The list as it stands; `Null` when there is none.
    pub upstreams: Value,
    pub dials: Vec<String>,
    /// Where the upstreams come from instead (DNS), so that changing the list would change nothing; `None`: nowhere.
    pub dynamic: Option<Value>,
    /// What the active health check asks instead of what is dialled.
    pub health_upstream: Option<String>,
    /// `flush_interval -1`.
    pub flushes_at_once: bool,
    /// It has a `stream_close_delay`, so that a change of configuration does not cut its WebSockets at once.
    pub spares_streams: bool,
}

impl Handler {
    /// `/config/…/handle/0 (dials web-blue:5000)`.
    pub(crate) fn describe(&self) -> String {
        match (self.dials.as_slice(), &self.dynamic) {
            (_, Some(source)) => format!("{} (dials {})", self.path, dynamic_text(source)),
            ([], None) => format!("{} (dials nothing)", self.path),
            (dials, None) => format!("{} (dials {})", self.path, dials.join(", ")),
        }
    }

    pub(crate) fn upstreams_path(&self) -> Path {
        self.path.join("upstreams")
    }
}

/// `dynamic a web:3000`.
fn dynamic_text(source: &Value) -> String {
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = [text("name"), text("port")].join(":");
    format!("dynamic {} {}", text("source"), name.trim_matches(':')).trim_end().to_owned()
}

/// All `reverse_proxy` handlers of the HTTP app in order, ghosts left out.
pub(crate) fn handlers(config: &Value) -> Vec<Handler> {
    let servers = Path::of(["apps", "http", "servers"]);
    let mut found = Vec::new();
    if let Some(value) = servers.get(config) {
        visit(value, &servers, &mut |value, path| {
            if id_of(value).is_some_and(|id| id.starts_with(GHOST_PREFIX)) {
                return false;
            }
            if value.get("handler").and_then(Value::as_str) == Some("reverse_proxy") {
                found.push(handler(value, path.clone()));
            }
            true
        });
    }
    found
}

/// Where the object with this `@id` is.
pub(crate) fn object(config: &Value, id: &str) -> Option<Path> {
    let mut found = None;
    visit(config, &Path(Vec::new()), &mut |value, path| {
        if found.is_none() && id_of(value) == Some(id) {
            found = Some(path.clone());
        }
        found.is_none()
    });
    found
}

pub(crate) fn id_of(value: &Value) -> Option<&str> {
    value.get("@id").and_then(Value::as_str)
}

/// What a list of upstreams dials.
pub(crate) fn dials(upstreams: &Value) -> Vec<String> {
    let items = upstreams.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.get("dial").and_then(Value::as_str)).map(str::to_owned).collect()
}

/// Visits `value` and all below it in order, depth first; `look` says whether to go deeper.
pub(crate) fn visit(value: &Value, path: &Path, look: &mut impl FnMut(&Value, &Path) -> bool) {
    if !look(value, path) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                visit(inner, &path.join(key), look);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                visit(inner, &path.join(&index.to_string()), look);
            }
        }
        _ => {}
    }
}

fn handler(value: &Value, path: Path) -> Handler {
    let upstreams = value.get("upstreams").cloned().unwrap_or(Value::Null);
    let given = |key: &str| value.get(key).filter(|value| !value.is_null());
    let health_upstream = value.pointer("/health_checks/active/upstream").and_then(Value::as_str);
    Handler {
        path,
        dials: dials(&upstreams),
        upstreams,
        dynamic: given("dynamic_upstreams").cloned(),
        health_upstream: health_upstream.filter(|upstream| !upstream.is_empty()).map(str::to_owned),
        flushes_at_once: given("flush_interval").is_some_and(is_negative),
        spares_streams: given("stream_close_delay").is_some_and(|delay| delay.as_f64() != Some(0.0)),
    }
}

/// Of a duration in nanoseconds or as text.
fn is_negative(duration: &Value) -> bool {
    duration.as_f64().is_some_and(|nanos| nanos < 0.0)
        || duration.as_str().is_some_and(|text| text.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(routes: Value) -> Value {
        json!({"apps": {"http": {"servers": {"srv 0": {"routes": routes}}}}})
    }

    #[test]
    fn a_negative_flush_interval_is_seen_as_number_and_as_text() {
        for (flush, wanted) in
            [(json!(-1), true), (json!("-1"), true), (json!(0), false), (json!("1s"), false)]
        {
            let value = json!({"handler": "reverse_proxy", "flush_interval": flush});
            let config = config(json!([{"handle": [value]}]));
            assert_eq!(handlers(&config)[0].flushes_at_once, wanted, "{flush}");
        }
    }
}
