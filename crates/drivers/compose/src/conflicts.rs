//! Why two slots cannot run beside each other.

use futures_util::future::try_join;
use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Endpoint, PortError};
use serde_json::Value;

use crate::compose::Compose;
use crate::conflict_cache::Key;
use crate::exclusive::Exclusive;
use crate::per_slot::PerSlot;
use crate::place::Place;
use crate::scale::{self, Several};

/// What of a slot's definition only one container on a host can have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claims {
    container_name: Option<String>,
    ports: Vec<HostPort>,
    host_network: bool,
    /// How many containers it wants.
    containers: u64,
    per_slot: PerSlot,
    exclusive: Exclusive,
}

/// A port of the host that a slot publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// Empty: every address.
    ip: String,
    port: u16,
    protocol: String,
}

impl HostPort {
    /// Where a program on the host reaches it; `None` for what nobody can connect to to see whether it is taken.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let ip = match self.ip.as_str() {
            "" | "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            ip if ip.contains(':') => format!("[{ip}]"),
            ip => ip.to_owned(),
        };
        (self.protocol == "tcp").then(|| Endpoint::Tcp(format!("{ip}:{}", self.port)))
    }

    fn collides(&self, other: &HostPort) -> bool {
        let everywhere = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || everywhere(&self.ip) || everywhere(&other.ip))
    }
}

/// What Compose says of both slots' files.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub conflicts: Vec<String>,
    /// The fixed ports that blue and green publish.
    pub ports: [Vec<HostPort>; 2],
    /// What blue and green do not have in common.
    pub per_slot: [PerSlot; 2],
}

impl Compose {
    /// As Compose reads the files now. One slot has nothing beside it.
    pub(crate) async fn find_conflicts(&self) -> Result<Comparison, PortError> {
        let (blue, green) = self.blue_and_green().await?;
        self.ask_compose(&blue, &green).await
    }

    /// The same, without asking Compose about files that it has found free of conflicts before: it takes 0.2 to 1 s.
    pub(crate) async fn find_new_conflicts(&self) -> Result<Vec<String>, PortError> {
        if let [only] = self.slots {
            // That its file is there is as good to know before anything is planned.
            let place = self.place(*only).await?;
            return match scale::may_be_said(&place.contents) {
                true => Ok(self.scale_conflicts(&place, &self.claims(&place).await?)),
                false => Ok(Vec::new()),
            };
        }
        let (blue, green) = self.blue_and_green().await?;
        let Some(key) = Key::of(self, &blue, &green)? else {
            return Ok(self.ask_compose(&blue, &green).await?.conflicts);
        };
        if key.is_remembered(self, &blue).await {
            return Ok(Vec::new());
        }
        let found = self.ask_compose(&blue, &green).await?.conflicts;
        if found.is_empty() {
            key.remember(self, &blue).await;
        }
        Ok(found)
    }

    async fn ask_compose(&self, blue: &Place, green: &Place) -> Result<Comparison, PortError> {
        if blue.same_container(green) {
            let same = format!(
                "both slots are the service {} of the same Compose project: put {{slot}} into `dir`, `service` or \
                 `project` of the compose runtime",
                blue.service
            );
            return Ok(Comparison { conflicts: vec![same], ..Comparison::default() });
        }
        let (one, other) = try_join(self.claims(blue), self.claims(green)).await?;
        for (place, claims) in [(blue, &one), (green, &other)] {
            if let Some(named) = claims.exclusive.for_swarm() {
                let message = format!("{} of {} wants {named} as `external`", place.service, place.path());
                return Err(PortError::new(FailureKind::Refused, message).hint(
                    "only Swarm keeps those, and Compose starts no container with them: give it a `file:` on the host \
                     instead",
                ));
            }
        }
        let mut conflicts: Vec<String> = self.same_name((blue, &one), (green, &other)).into_iter().collect();
        conflicts.extend(compare((blue, &one), (green, &other), self.service.port));
        conflicts.extend(self.scale_conflicts(blue, &one));
        conflicts.extend(self.scale_conflicts(green, &other));
        let (ports, per_slot) = ([one.ports, other.ports], [one.per_slot, other.per_slot]);
        Ok(Comparison { conflicts, ports, per_slot })
    }

    async fn claims(&self, place: &Place) -> Result<Claims, PortError> {
        let document = self.cli.config(place, &self.interpolation(place.slot, None)).await?;
        let service = document.get("services").and_then(|services| services.get(&place.service));
        let found = service.map(|service| Claims {
            exclusive: Exclusive::of(&document, service, place),
            ..claims(service, PerSlot::of(&document, service, place))
        });
        let typed = self.cli.found_in(&place.dir).await?.typed();
        found.ok_or_else(|| {
            PortError::not_found(format!("Compose finds no service {} in {}", place.service, place.path()))
                .hint(format!(
                    "see `{typed} -f {} config`; where it is behind a profile of another file, set COMPOSE_PROFILES in {}/.env",
                    place.path(),
                    place.dir
                ))
        })
    }

    /// Why there may not be as many containers as the slot wants.
    fn scale_conflicts(&self, place: &Place, claims: &Claims) -> Vec<String> {
        let several = Several {
            service: format!("{} in {}", place.service, place.path()),
            containers: claims.containers,
            container_name: claims.container_name.as_deref(),
            ports: claims.ports.iter().map(|port| port.port).collect(),
            host_network: claims.host_network,
            unbalanced: self.unbalanced,
        };
        several.conflicts()
    }

    /// A router that finds the slots by name finds them by the names that it dials and by no other.
    fn same_name(&self, one: (&Place, &Claims), other: (&Place, &Claims)) -> Option<String> {
        let ((blue, a), (green, b)) = (one, other);
        let name = a.container_name.as_ref().filter(|_| a.container_name == b.container_name)?;
        Some(format!("{} both want the container name {name}: {}", both(blue, green), self.other_names()))
    }

    fn other_names(&self) -> String {
        match (self.dialled.get(&Slot::Blue), self.dialled.get(&Slot::Green)) {
            (Some(blue), Some(green)) => format!(
                "name them `{blue}` and `{green}`: that is what the router dials (`router.caddy.dial`)"
            ),
            _ => {
                let service = &self.service.name;
                format!("take `container_name` out, or name them `{service}-blue` and `{service}-green`")
            }
        }
    }
}

fn claims(service: &Value, per_slot: PerSlot) -> Claims {
    let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
    let ports = service.get("ports").and_then(Value::as_array);
    Claims {
        container_name: text("container_name"),
        ports: ports.into_iter().flatten().filter_map(host_port).collect(),
        host_network: text("network_mode").as_deref() == Some("host"),
        containers: scale::wanted(service),
        per_slot,
        exclusive: Exclusive::default(),
    }
}

fn both(blue: &Place, green: &Place) -> String {
    if blue.path() == green.path() {
        format!("{} and {} in {}", blue.service, green.service, blue.path())
    } else {
        format!("{} in {} and {} in {}", blue.service, blue.path(), green.service, green.path())
    }
}

/// A fixed host port; `None` for one that Docker picks, alone or from a range. v2 writes mappings, v1 also
/// `127.0.0.1:18080:8080/tcp`.
fn host_port(value: &Value) -> Option<HostPort> {
    let (ip, port, protocol) = match value {
        Value::String(short) => {
            let (rest, protocol) = short.rsplit_once('/').unwrap_or((short, "tcp"));
            let (published, _target) = rest.rsplit_once(':')?;
            let (ip, port) = published.rsplit_once(':').unwrap_or(("", published));
            (ip.trim_matches(['[', ']']).to_owned(), port.to_owned(), protocol.to_owned())
        }
        Value::Object(long) => {
            let field = |key: &str| match long.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => String::new(),
            };
            let protocol = field("protocol");
            let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
            (field("host_ip"), field("published"), protocol)
        }
        _ => return None,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(HostPort { ip, port, protocol })
}

fn compare(one: (&Place, &Claims), other: (&Place, &Claims), port: Option<u16>) -> Vec<String> {
    let ((blue, a), (green, b)) = (one, other);
    let both = both(blue, green);
    let mut found = Vec::new();
    for wanted in a.ports.iter().filter(|wanted| b.ports.iter().any(|have| wanted.collides(have))) {
        found.push(format!(
            "{both} both publish the host port {}/{}: take it out of `ports`, for the router reaches slots without it",
            wanted.port, wanted.protocol
        ));
    }
    if a.host_network && b.host_network {
        let named = port.map_or("the same port".to_owned(), |port| format!("port {port}"));
        found.push(format!(
            "{both} both use `network_mode: host` and would listen on {named}: use a bridge network for them"
        ));
    }
    found.extend(a.exclusive.conflicts(&b.exclusive, &both, port));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(value: Value) -> Option<(String, u16, String)> {
        host_port(&value).map(|port| (port.ip, port.port, port.protocol))
    }

    #[test]
    fn host_ports_are_read_in_all_forms_and_picked_ones_left_out() {
        let wanted = Some(("127.0.0.1".to_owned(), 18080, "tcp".to_owned()));
        assert_eq!(port("127.0.0.1:18080:8080/tcp".into()), wanted);
        assert_eq!(
            port(
                serde_json::json!({ "host_ip": "127.0.0.1", "published": "18080", "target": 8080, "protocol": "tcp" })
            ),
            wanted
        );
        assert_eq!(port("53:53/udp".into()), Some((String::new(), 53, "udp".to_owned())));
        assert_eq!(port("8080".into()), None);
        assert_eq!(port("8000-8010:80".into()), None);
        assert_eq!(port(serde_json::json!({ "target": 9000 })), None);
    }

    #[test]
    fn a_port_is_looked_for_where_a_program_on_the_host_reaches_it() {
        let at = |ip: &str, protocol: &str| {
            HostPort { ip: ip.into(), port: 80, protocol: protocol.into() }
                .endpoint()
                .map(|at| at.to_string())
        };
        assert_eq!(at("", "tcp").unwrap(), "127.0.0.1:80");
        assert_eq!(at("::", "tcp").unwrap(), "[::1]:80");
        assert_eq!(at("10.1.2.3", "tcp").unwrap(), "10.1.2.3:80");
        assert_eq!(at("fe80::1", "tcp").unwrap(), "[fe80::1]:80");
        assert_eq!(at("", "udp"), None);
    }

    #[test]
    fn ports_collide_only_on_a_common_address_and_protocol() {
        let at = |ip: &str, protocol: &str| HostPort { ip: ip.into(), port: 80, protocol: protocol.into() };
        assert!(at("", "tcp").collides(&at("127.0.0.1", "tcp")));
        assert!(!at("127.0.0.1", "tcp").collides(&at("127.0.0.2", "tcp")));
        assert!(!at("", "tcp").collides(&at("", "udp")));
    }
}
