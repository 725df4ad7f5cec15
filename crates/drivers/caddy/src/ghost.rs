//! The ghost route: it never matches, and dials both slots so that Caddy keeps counting their requests.

use std::collections::BTreeMap;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;
use serde_json::{Value, json};

use crate::admin::{Admin, Change};
use crate::tree::{self, GHOST_PREFIX, Path};

/// Tries to add the ghost while others change the same server, or connections break.
const TRIES_MAX: usize = 5;

pub(crate) struct Ghost {
    id: String,
}

/// The two slots' addresses as far as they are known.
pub(crate) type Dials = BTreeMap<Slot, String>;

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
        let upstreams = self
            .place(config)
            .and_then(|path| path.get(config))
            .and_then(|route| route.pointer("/handle/0/upstreams"))
            .and_then(Value::as_array);
        let upstreams = upstreams.map(Vec::as_slice).unwrap_or_default();
        let dial_of = |slot: Slot| {
            let id = self.slot_id(slot);
            let upstream = upstreams.iter().find(|upstream| tree::id_of(upstream) == Some(&id))?;
            Some((slot, upstream.get("dial")?.as_str()?.to_owned()))
        };
        [Slot::Blue, Slot::Green].into_iter().filter_map(dial_of).collect()
    }

    fn place(&self, config: &Value) -> Option<Path> {
        tree::object(config, &self.id)
    }

    /// The matcher is `not [{}]`: a set without matchers matches everything, so its negation matches nothing. A
    /// never-true `host` would make Caddy's automatic HTTPS ask for a certificate.
    fn route(&self, dials: &Dials) -> Value {
        let upstreams: Vec<Value> =
            dials.iter().map(|(slot, dial)| json!({"@id": self.slot_id(*slot), "dial": dial})).collect();
        json!({
            "@id": self.id,
            "match": [{"not": [{}]}],
            "handle": [{"handler": "reverse_proxy", "upstreams": upstreams}],
        })
    }

    /// Has the ghost in the configuration, at the end of `server`'s routes if it is new. Does nothing when it is there
    /// and dials just `dials`.
    pub(crate) async fn ensure(
        &self,
        admin: &Admin,
        config: &Value,
        server: &Path,
        dials: &Dials,
    ) -> Result<(), PortError> {
        let wanted = self.route(dials);
        let mut reread = None;
        for _ in 0..TRIES_MAX {
            let config = reread.as_ref().unwrap_or(config);
            let done = match self.place(config) {
                Some(path) if path.get(config) == Some(&wanted) => return Ok(()),
                Some(path) => self.replace(admin, &path, &wanted).await,
                None => self.append(admin, server, &wanted).await,
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
            return Err(PortError::new(FailureKind::Conflict, format!("{} moved away from {path}", self.id)));
        }
        admin.change(Change::Patch, &path.url(), wanted, seen.etag.as_deref()).await
    }

    async fn append(&self, admin: &Admin, server: &Path, wanted: &Value) -> Result<(), PortError> {
        let routes = server.join("routes").url();
        let seen = admin.get(&routes).await?;
        if seen.value.is_array() {
            admin.change(Change::Post, &routes, wanted, seen.etag.as_deref()).await
        } else {
            admin.change(Change::Put, &routes, &json!([wanted]), seen.etag.as_deref()).await
        }
    }
}
