//! Caddy's configuration as a tree: where the `reverse_proxy` handlers are and what they dial. Pure.

use serde_json::Value;

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
            for byte in segment.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        url.push(char::from(byte))
                    }
                    _ => url.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        url
    }

    pub(crate) fn get<'a>(&self, config: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(config, |value, segment| match value {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            other => other.get(segment),
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
    /// The upstreams come from elsewhere (DNS), so that changing the list would change nothing.
    pub dynamic: bool,
    /// `flush_interval -1`.
    pub flushes_at_once: bool,
}

impl Handler {
    /// `/config/…/handle/0 (dials web-blue:5000)`.
    pub(crate) fn describe(&self) -> String {
        match self.dials.as_slice() {
            [] => format!("{} (dials nothing)", self.path),
            dials => format!("{} (dials {})", self.path, dials.join(", ")),
        }
    }

    pub(crate) fn upstreams_path(&self) -> Path {
        self.path.join("upstreams")
    }
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
fn visit(value: &Value, path: &Path, look: &mut impl FnMut(&Value, &Path) -> bool) {
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
    let flush = value.get("flush_interval");
    Handler {
        path,
        dials: dials(&upstreams),
        upstreams,
        dynamic: value.get("dynamic_upstreams").is_some_and(|dynamic| !dynamic.is_null()),
        // A duration in nanoseconds or as text.
        flushes_at_once: flush.is_some_and(|flush| {
            flush.as_f64().is_some_and(|nanos| nanos < 0.0)
                || flush.as_str().is_some_and(|text| text.starts_with('-'))
        }),
    }
}

/// How a search ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Search {
    Found {
        handler: Handler,
        by: By,
    },
    /// What `reverse_proxy` handlers there are instead.
    None {
        others: Vec<Handler>,
        id: IdSeen,
    },
    Several(Vec<Handler>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Id,
    /// By what it dials; no id is configured.
    Dial,
    /// By what it dials; an id is configured and nothing has it.
    DialForLostId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdSeen {
    NotConfigured,
    Missing,
    /// Something has the id, but there is no `reverse_proxy` in it.
    WithoutHandler,
}

/// The service's handler: the one in (or around) the object with `id`, else the one that dials one of `slots`.
pub(crate) fn search(config: &Value, id: Option<&str>, slots: &[&str]) -> Search {
    let all = handlers(config);
    let dials_a_slot = |handler: &Handler| handler.dials.iter().any(|dial| slots.contains(&dial.as_str()));
    let place = id.and_then(|id| object(config, id));
    let Some(place) = place else {
        let matching: Vec<Handler> = all.iter().filter(|handler| dials_a_slot(handler)).cloned().collect();
        let (by, id) = match id {
            Some(_) => (By::DialForLostId, IdSeen::Missing),
            None => (By::Dial, IdSeen::NotConfigured),
        };
        return one_of(matching, by).unwrap_or(Search::None { others: all, id });
    };
    let inside: Vec<Handler> = all
        .iter()
        // The id may also be on an upstream inside the handler.
        .filter(|handler| place.holds(&handler.path) || handler.path.holds(&place))
        .cloned()
        .collect();
    let dialling: Vec<Handler> = inside.iter().filter(|handler| dials_a_slot(handler)).cloned().collect();
    // A route that asks an authorising service first has two handlers; the one that dials a slot is meant.
    let inside = if inside.len() > 1 && dialling.len() == 1 { dialling } else { inside };
    one_of(inside, By::Id).unwrap_or(Search::None { others: all, id: IdSeen::WithoutHandler })
}

fn one_of(mut handlers: Vec<Handler>, by: By) -> Option<Search> {
    match handlers.len() {
        0 => None,
        1 => handlers.pop().map(|handler| Search::Found { handler, by }),
        _ => Some(Search::Several(handlers)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proxy(dial: &str) -> Value {
        json!({"handler": "reverse_proxy", "upstreams": [{"dial": dial}]})
    }

    fn config(routes: Value) -> Value {
        json!({"apps": {"http": {"servers": {"srv 0": {"routes": routes}}}}})
    }

    #[test]
    fn a_route_with_the_id_leads_to_its_one_handler_however_deep() {
        let config = config(json!([
            {"handle": [proxy("other:1")]},
            {"@id": "web_upstream", "handle": [{"handler": "subroute", "routes": [{"handle": [proxy("anything:1")]}]}]},
        ]));
        let Search::Found { handler, by: By::Id } = search(&config, Some("web_upstream"), &["web-blue:1"])
        else {
            panic!("found by id")
        };
        assert_eq!(
            handler.upstreams_path().url(),
            "/config/apps/http/servers/srv%200/routes/1/handle/0/routes/0/handle/0/upstreams"
        );
        assert_eq!(handler.path.route().get(&config).and_then(id_of), Some("web_upstream"));
    }

    #[test]
    fn of_two_handlers_under_the_id_the_one_that_dials_a_slot_is_meant() {
        let config = config(json!([{"@id": "x", "handle": [proxy("auth:1"), proxy("web-blue:1")]}]));
        let found = search(&config, Some("x"), &["web-blue:1", "web-green:1"]);
        assert!(
            matches!(&found, Search::Found { handler, .. } if handler.dials == ["web-blue:1"]),
            "{found:?}"
        );
        let found = search(&config, Some("x"), &["elsewhere:1"]);
        assert!(matches!(&found, Search::Several(both) if both.len() == 2), "{found:?}");
    }

    #[test]
    fn the_ghost_is_never_taken_for_the_route() {
        let config = config(json!([
            {"@id": "lockgate_ghost_web", "handle": [proxy("web-blue:1")]},
            {"handle": [proxy("web-blue:1")]},
        ]));
        let found = search(&config, None, &["web-blue:1"]);
        assert!(
            matches!(&found, Search::Found { handler, by: By::Dial } if handler.path.0[5] == "1"),
            "{found:?}"
        );
    }

    #[test]
    fn none_and_several_say_what_there_is() {
        let config = config(json!([{"handle": [proxy("a:1")]}, {"handle": [proxy("a:1")]}]));
        assert!(matches!(search(&config, None, &["a:1"]), Search::Several(both) if both.len() == 2));
        let found = search(&config, Some("gone"), &["b:1"]);
        assert!(
            matches!(&found, Search::None { others, id: IdSeen::Missing } if others.len() == 2),
            "{found:?}"
        );
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
