//! The ghost route: no user's request matches it, and it dials both slots, so that Caddy keeps counting their requests and
//! a slot can be asked through Caddy before it gets any.

use std::collections::BTreeSet;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{PortError, Request};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::admin::{Admin, Change};
use crate::dials::Dials;
use crate::tree::{self, GHOST_PREFIX, Handler, Path};

/// Tries to add the ghost while others change the same server, or connections break.
const TRIES_MAX: usize = 5;
/// Who asks names the slot and a token in it. Caddy keeps it out of its logs and does not pass it on.
const ASK_HEADER: &str = "Proxy-Authorization";
const ASK_SCHEME: &str = "Lockgate";
/// A response has it if a slot gave it, and not Caddy in its place.
const ANSWERED_HEADER: &str = "X-Lockgate-Tried";
const TOKEN_CHARS: usize = 32;
/// What of a handler's settings decides whether it reaches an upstream.
const KEPT: [&str; 2] = ["transport", "trusted_proxies"];

pub(crate) struct Ghost {
    id: String,
}

/// What the ghost dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub slots: Dials,
    /// Other addresses of what runs in the slots: another port, another spelling.
    pub others: BTreeSet<String>,
}

/// One slot, and how it is asked through the ghost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asking {
    header: String,
}

impl Asking {
    pub(crate) fn of(&self, request: Request) -> Request {
        request.header(ASK_HEADER.to_ascii_lowercase(), &self.header)
    }

    /// Whether a slot gave the answer.
    pub(crate) fn is_answered(answer: &lockgate_ports::Answer) -> bool {
        answer.header(&ANSWERED_HEADER.to_ascii_lowercase()).is_some()
    }
}

impl Ghost {
    pub(crate) fn new(label: &str) -> Self {
        Self { id: format!("{GHOST_PREFIX}{label}") }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// `:` is in no name of a service, so that no label and slot look like another label.
    fn slot_id(&self, slot: Slot) -> String {
        format!("{}:{slot}", self.id)
    }

    /// What the ghost in `config` dials for each slot; empty when there is no ghost.
    pub(crate) fn dials(&self, config: &Value) -> Dials {
        let Some(ghost) = self.place(config).and_then(|path| path.get(config)) else { return Dials::new() };
        let dial_of = |slot: Slot| {
            let upstream = tree::object(ghost, &self.slot_id(slot))?;
            Some((slot, upstream.get(ghost)?.get("dial")?.as_str()?.to_owned()))
        };
        [Slot::Blue, Slot::Green].into_iter().filter_map(dial_of).collect()
    }

    fn place(&self, config: &Value) -> Option<Path> {
        tree::object(config, &self.id)
    }

    /// How to ask `slot` through the ghost in `config`; `None` where that has none that can be asked for it.
    pub(crate) fn asking(&self, config: &Value, slot: Slot) -> Option<Asking> {
        let ghost = self.place(config)?.get(config)?;
        let token = token_in(ghost)?;
        self.dials(config).contains_key(&slot).then(|| Asking { header: header_for(token, slot) })
    }

    /// It matches nobody who does not know its token. A never-true `host` would make Caddy's automatic HTTPS ask for a
    /// certificate.
    fn route(&self, known: &Known, token: &str, model: &Handler, config: &Value) -> Value {
        let settings = model.path.get(config).unwrap_or(&Value::Null);
        let answering = |(slot, dial): (&Slot, &String)| {
            json!({
                "match": [{"header": {ASK_HEADER: [header_for(token, *slot)]}}],
                "handle": [self.proxy(settings, *slot, dial)],
                "terminal": true,
            })
        };
        let mut routes: Vec<Value> = known.slots.iter().map(answering).collect();
        if !known.others.is_empty() {
            let upstreams: Vec<Value> = known.others.iter().map(|dial| json!({"dial": dial})).collect();
            // A set without matchers matches everything, so its negation matches nothing.
            let counted = json!({"handler": "reverse_proxy", "upstreams": upstreams});
            routes.push(json!({"match": [{"not": [{}]}], "handle": [counted]}));
        }
        routes.push(json!({"handle": [{"handler": "static_response", "status_code": 404}]}));
        json!({
            "@id": self.id,
            "match": [{"header": {ASK_HEADER: [format!("{ASK_SCHEME} {token}*")]}}],
            "handle": [{"handler": "subroute", "routes": routes}],
            "terminal": true,
        })
    }

    /// Reaches the slot as the service's own handler would.
    fn proxy(&self, settings: &Value, slot: Slot, dial: &str) -> Value {
        let mut proxy = Map::new();
        for key in KEPT {
            proxy.extend(settings.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        let mut headers = json!({"response": {"set": {ANSWERED_HEADER: [slot.as_str()]}}});
        if let Some(request) = settings.pointer("/headers/request") {
            headers["request"] = request.clone();
        }
        proxy.insert("handler".to_owned(), json!("reverse_proxy"));
        proxy.insert("headers".to_owned(), headers);
        proxy.insert("upstreams".to_owned(), json!([{"@id": self.slot_id(slot), "dial": dial}]));
        Value::Object(proxy)
    }

    /// Has the ghost in the configuration, before all routes of users in the server of `model`, whose settings it has. Does
    /// nothing when it is there and dials just what is known. It may move the routes behind it.
    pub(crate) async fn ensure(
        &self,
        admin: &Admin,
        config: &Value,
        model: &Handler,
        known: &Known,
    ) -> Result<(), PortError> {
        let server = model.path.server();
        let routes = server.join("routes");
        let held = self.place(config).and_then(|path| token_in(path.get(config)?));
        let token = held.map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned);
        let wanted = self.route(known, &token, model, config);
        let mut reread = None;
        for _ in 0..TRIES_MAX {
            let config = reread.as_ref().unwrap_or(config);
            let done = match self.place(config) {
                Some(path) if !is_in_front(config, &routes, &path) => {
                    self.put_in_front(admin, &routes, &path, &wanted).await
                }
                Some(path) if path.get(config) == Some(&wanted) => return Ok(()),
                Some(path) => self.replace(admin, &path, &wanted).await,
                None => self.insert(admin, &routes, &wanted).await,
            };
            match done {
                Err(error) if error.kind == FailureKind::Conflict => {
                    reread = Some(admin.get("/config/").await?.value)
                }
                done => {
                    return done
                        .map_err(|error| error.context("adding the route that keeps the request counts"));
                }
            }
        }
        Err(PortError::new(
            FailureKind::Conflict,
            format!(
                "Caddy's configuration at {server} keeps changing; the route {} could not be added",
                self.id
            ),
        )
        .hint("something else changes this Caddy again and again; find it, then repeat"))
    }

    async fn replace(&self, admin: &Admin, path: &Path, wanted: &Value) -> Result<(), PortError> {
        let seen = admin.get(&path.url()).await?;
        if tree::id_of(&seen.value) != Some(&self.id) {
            return Err(self.moved_away(path));
        }
        admin.change(Change::Patch, &path.url(), wanted, seen.etag.as_deref()).await
    }

    fn moved_away(&self, path: &Path) -> PortError {
        PortError::new(FailureKind::Conflict, format!("{} moved away from {path}", self.id))
    }

    async fn insert(&self, admin: &Admin, routes: &Path, wanted: &Value) -> Result<(), PortError> {
        let seen = admin.get(&routes.url()).await?;
        let (place, value) = match seen.value.as_array() {
            Some(there) if !there.is_empty() => (routes.join("0"), wanted.clone()),
            Some(_) => {
                return admin
                    .change(Change::Patch, &routes.url(), &json!([wanted]), seen.etag.as_deref())
                    .await;
            }
            None => (routes.clone(), json!([wanted])),
        };
        admin.change(Change::Put, &place.url(), &value, seen.etag.as_deref()).await
    }

    /// From where an older Lockgate put it, or from another server.
    async fn put_in_front(
        &self,
        admin: &Admin,
        routes: &Path,
        from: &Path,
        wanted: &Value,
    ) -> Result<(), PortError> {
        let seen = admin.get(&routes.url()).await?;
        let Some(there) = seen.value.as_array() else { return Err(self.moved_away(from)) };
        if !routes.holds(from) {
            // An id may be in a configuration once.
            let old = admin.get(&from.url()).await?;
            if tree::id_of(&old.value) == Some(&self.id) {
                admin.change(Change::Delete, &from.url(), &Value::Null, old.etag.as_deref()).await?;
            }
            return self.insert(admin, routes, wanted).await;
        }
        let others = there.iter().filter(|route| tree::id_of(route) != Some(&self.id)).cloned();
        let all: Vec<Value> = std::iter::once(wanted.clone()).chain(others).collect();
        admin.change(Change::Patch, &routes.url(), &Value::Array(all), seen.etag.as_deref()).await
    }
}

fn header_for(token: &str, slot: Slot) -> String {
    format!("{ASK_SCHEME} {token}.{slot}")
}

/// The token that the ghost asks for; `None` for one that an older Lockgate made.
fn token_in(ghost: &Value) -> Option<&str> {
    let header = ghost.pointer("/match/0/header")?.get(ASK_HEADER)?.get(0)?.as_str()?;
    let token = header.strip_prefix(ASK_SCHEME)?.strip_prefix(' ')?.strip_suffix('*')?;
    (token.len() == TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(token)
}

/// No route of users is before it.
fn is_in_front(config: &Value, routes: &Path, ghost: &Path) -> bool {
    let Some(index) = ghost.0.get(routes.0.len()).and_then(|index| index.parse::<usize>().ok()) else {
        return false;
    };
    let is_ghost = |route: &Value| tree::id_of(route).is_some_and(|id| id.starts_with(GHOST_PREFIX));
    let before = routes.get(config).and_then(Value::as_array);
    routes.holds(ghost) && before.is_some_and(|routes| routes.iter().take(index).all(is_ghost))
}
