//! Questions to a container engine: which container is where, and what happens to them.
//!
//! Source: Docker Engine API reference, v1.41. Paths carry no version, so every engine speaks its newest; fields that are
//! missing or `null` count as empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::net::UnixStream;

use crate::wire::ContainerOwner;

/// How long one answer may take. Requests of users wait for it.
const ANSWER_MILLIS_MAX: u64 = 2_000;
/// A longer answer is not read. One container's is some 10 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A longer line of events ends the stream.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine at {} does not answer: {reason}", engine.display())]
pub(crate) struct Silence {
    engine: PathBuf,
    reason: String,
}

/// An engine by its socket.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    socket: PathBuf,
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) state: State,
    #[serde(deserialize_with = "nullable")]
    host_config: HostConfig,
    #[serde(deserialize_with = "nullable")]
    network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    running: bool,
    pub(crate) pid: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    #[serde(deserialize_with = "nullable")]
    networks: BTreeMap<String, Network>,
    #[serde(deserialize_with = "nullable")]
    ports: BTreeMap<String, Option<Vec<PortBinding>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortBinding {
    host_ip: String,
    host_port: String,
}

/// An element of `GET /containers/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
    /// Seconds since 1970.
    created: i64,
}

/// What happened to a container or a network: a line of `GET /events`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    actor: Actor,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    /// A container's labels among them; of a network the id of the container that came or went.
    #[serde(rename = "Attributes", deserialize_with = "nullable")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// It is about this container, one that may take its place, or the one that has.
    pub(crate) fn concerns(&self, owner: &ContainerOwner, heir: Option<&str>) -> bool {
        let Actor { id, attributes } = &self.actor;
        let is_known = |id: &str| same_id(id, &owner.id) || heir.is_some_and(|heir| same_id(id, heir));
        if self.kind == "network" {
            return attributes.get("container").is_some_and(|id| is_known(id));
        }
        let is_heir = !owner.labels.is_empty()
            && owner.labels.iter().all(|(name, value)| attributes.get(name) == Some(value));
        is_heir || is_known(id)
    }
}

/// Short ids are the beginning of long ones.
pub(crate) fn same_id(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && (one.starts_with(other) || other.starts_with(one))
}

impl Container {
    pub(crate) fn runs(&self) -> bool {
        self.state.running
    }

    /// Where the owner's port answers as seen from this machine; `None` while it has no address.
    pub(crate) fn dial(&self, owner: &ContainerOwner) -> Option<String> {
        let port = owner.port;
        if let Some(name) = &owner.network {
            let ip = self.network_settings.networks.get(name).map(|network| network.ip_address.as_str());
            return ip.filter(|ip| !ip.is_empty()).map(|ip| format!("{ip}:{port}"));
        }
        if self.host_config.network_mode == "host" {
            return Some(format!("127.0.0.1:{port}"));
        }
        let published = self.network_settings.ports.get(&format!("{port}/tcp"))?.as_ref()?.first()?;
        let ip = match published.host_ip.as_str() {
            "" | "0.0.0.0" | "::" => "127.0.0.1",
            ip => ip,
        };
        Some(format!("{ip}:{}", published.host_port))
    }
}

impl Engine {
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// `None` when there is no container with this id.
    pub(crate) async fn container(&self, id: &str) -> Result<Option<Container>, Silence> {
        self.get(&format!("/containers/{id}/json")).await
    }

    /// The ids of running containers with these labels, the oldest first.
    pub(crate) async fn labelled(&self, labels: &BTreeMap<String, String>) -> Result<Vec<String>, Silence> {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let filters = serde_json::json!({ "label": labels, "status": ["running"] });
        let listed: Option<Vec<Listed>> =
            self.get(&format!("/containers/json?filters={}", encoded(&filters))).await?;
        let mut listed = listed.unwrap_or_default();
        listed.sort_by_key(|one| one.created);
        Ok(listed.into_iter().map(|one| one.id).collect())
    }

    /// What happens from now on to containers and to the networks that they are on. The stream ends when the engine does.
    pub(crate) async fn events(&self) -> Result<Events, Silence> {
        let filters = serde_json::json!({
            "type": ["container", "network"],
            "event": ["start", "die", "destroy", "connect", "disconnect"],
        });
        let answer = self.ask(&format!("/events?filters={}", encoded(&filters))).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.silence(format!("it answered {} when asked for events", answer.status())));
        }
        Ok(Events { body: answer.into_body(), read: BytesMut::new() })
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, Silence> {
        let read = async {
            let answer = self.ask(target).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::OK => {}
                status => return Err(self.silence(format!("it answered {status} to GET {target}"))),
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let bytes = body.map_err(|error| self.silence(error.to_string()))?.to_bytes();
            let parsed = serde_json::from_slice(&bytes);
            parsed.map(Some).map_err(|error| self.silence(format!("its answer is not understood: {error}")))
        };
        self.within(read).await
    }

    async fn ask(&self, target: &str) -> Result<Response<Incoming>, Silence> {
        let asked = async {
            let stream =
                UnixStream::connect(&self.socket).await.map_err(|error| self.silence(error.to_string()))?;
            let text = |error: hyper::Error| self.silence(error.to_string());
            let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = shaken.map_err(text)?;
            // It ends with the answer's body.
            tokio::spawn(connection);
            let request = Request::get(target).header(HOST, "docker").body(Empty::<Bytes>::new());
            let request = request.map_err(|error| self.silence(error.to_string()))?;
            sender.send_request(request).await.map_err(text)
        };
        self.within(asked).await
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, Silence>>) -> Result<T, Silence> {
        let limit = Duration::from_millis(ANSWER_MILLIS_MAX);
        let late = |_| self.silence(format!("nothing within {ANSWER_MILLIS_MAX} ms"));
        tokio::time::timeout(limit, asked).await.map_err(late)?
    }

    fn silence(&self, reason: String) -> Silence {
        Silence { engine: self.socket.clone(), reason }
    }
}

/// What an engine tells as it happens.
pub(crate) struct Events {
    body: Incoming,
    read: BytesMut,
}

impl Events {
    /// `None` when the stream has ended, which says nothing about what happened since.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    // Something did happen: whoever looks finds out what.
                    Err(error) => tracing::debug!(%error, "an event of the engine is not understood"),
                }
                continue;
            }
            if self.read.len() > EVENT_BYTES_MAX {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }
}

/// As a value of a query.
fn encoded(value: &serde_json::Value) -> String {
    utf8_percent_encode(&value.to_string(), RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(network: Option<&str>, labels: &[(&str, &str)]) -> ContainerOwner {
        ContainerOwner {
            engine: "/run/docker.sock".into(),
            id: "0123456789ab".into(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            network: network.map(str::to_owned),
            port: 80,
            process: None,
        }
    }

    #[test]
    fn a_container_answers_on_its_network_on_the_hosts_or_where_it_publishes() {
        let container = |document: serde_json::Value| serde_json::from_value::<Container>(document).unwrap();
        let bridge =
            container(serde_json::json!({ "State": { "Running": true, "Pid": 7 }, "NetworkSettings": {
            "Networks": { "a": { "IPAddress": "" }, "b": { "IPAddress": "172.18.0.2" } }, "Ports": null } }));
        assert_eq!(bridge.dial(&owner(Some("b"), &[])).as_deref(), Some("172.18.0.2:80"));
        assert_eq!(bridge.dial(&owner(Some("a"), &[])), None, "it is being connected");
        assert_eq!(bridge.dial(&owner(Some("c"), &[])), None, "it was disconnected");
        let host = container(serde_json::json!({ "HostConfig": { "NetworkMode": "host" } }));
        assert_eq!(host.dial(&owner(None, &[])).as_deref(), Some("127.0.0.1:80"));
        let published = container(serde_json::json!({ "NetworkSettings": { "Networks": {}, "Ports": {
            "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "49153" }] } } }));
        assert_eq!(published.dial(&owner(None, &[])).as_deref(), Some("127.0.0.1:49153"));
    }

    #[test]
    fn an_event_concerns_the_container_its_heirs_and_what_leaves_its_network() {
        let event = |text: &str| serde_json::from_str::<Event>(text).unwrap();
        let long = "0123456789ab".repeat(5) + "0123";
        let die = event(&format!(
            r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{long}","Attributes":null}}}}"#
        ));
        let other = event(
            r#"{"Type":"container","Action":"start","Actor":{"ID":"ffff","Attributes":{"slot":"blue","x":"y"}}}"#,
        );
        let left = event(&format!(
            r#"{{"Type":"network","Action":"disconnect","Actor":{{"ID":"n","Attributes":{{"container":"{long}"}}}}}}"#
        ));
        let nobody = owner(None, &[]);
        assert!(
            die.concerns(&nobody, None) && left.concerns(&nobody, None) && !other.concerns(&nobody, None)
        );
        assert!(other.concerns(&nobody, Some("ffff")));
        assert!(other.concerns(&owner(None, &[("slot", "blue")]), None));
        assert!(!other.concerns(&owner(None, &[("slot", "green")]), None));
        assert!(!same_id("", "0123456789ab"));
    }
}
