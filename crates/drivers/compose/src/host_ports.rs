//! Fixed ports of the host: which a slot publishes, and who has them now.

use std::net::{IpAddr, SocketAddr};

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Endpoint, PortError, listens};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{ContainerSummary, ListedPort};
use crate::compose::Compose;
use crate::held::runs;
use crate::labels::{PROJECT_LABEL, SERVICE_LABEL, SLOT_LABEL, label};

/// How long a look at a port may take.
const CONNECT_MILLIS_MAX: u64 = 1000;

/// A port of the host that a slot publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostPort {
    /// Empty: every address.
    pub ip: String,
    pub port: u16,
    pub protocol: String,
}

/// A port that somebody else has.
#[derive(Debug)]
pub(crate) struct Taken {
    pub port: HostPort,
    pub who: String,
    /// How it becomes free.
    pub mend: String,
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

    pub(crate) fn collides(&self, other: &HostPort) -> bool {
        let everywhere = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || everywhere(&self.ip) || everywhere(&other.ip))
    }

    /// A program's that listens there.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            ip if ip.is_unspecified() => String::new(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => ip.to_string(),
        };
        Self { ip, port: address.port(), protocol: "tcp".to_owned() }
    }

    /// A fixed host port; `None` for one that Docker picks, alone or from a range. v2 writes mappings, v1 also
    /// `127.0.0.1:18080:8080/tcp`.
    pub(crate) fn read(value: &Value) -> Option<Self> {
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
        Some(Self { ip, port, protocol })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip.as_str() {
            "" => write!(f, "{}/{}", self.port, self.protocol),
            ip if ip.contains(':') => write!(f, "[{ip}]:{}/{}", self.port, self.protocol),
            ip => write!(f, "{ip}:{}/{}", self.port, self.protocol),
        }
    }
}

/// Where a container publishes a port now.
fn published(listed: &ListedPort) -> Option<HostPort> {
    let ip = match listed.ip.as_deref().unwrap_or_default() {
        "0.0.0.0" | "::" => "",
        ip => ip,
    };
    Some(HostPort { ip: ip.to_owned(), port: listed.public_port?, protocol: listed.protocol.clone() })
}

fn publishes(container: &ContainerSummary, wanted: &HostPort) -> bool {
    runs(&container.state)
        && container.ports.iter().filter_map(published).any(|published| published.collides(wanted))
}

impl Compose {
    /// The slot whose running container publishes this address of the host.
    pub(crate) async fn published_by(&self, address: SocketAddr) -> Result<Option<Slot>, PortError> {
        let wanted = HostPort::of(address);
        let held = self.held().await?;
        Ok(held.iter().find(|one| publishes(&one.summary, &wanted)).map(|one| one.slot))
    }

    /// Those of the slot's `ports` that somebody else has now. What its own container publishes becomes free with it. Of an
    /// engine on another machine only other containers are known of.
    pub(crate) async fn taken(&self, slot: Slot, ports: &[HostPort]) -> Result<Vec<Taken>, PortError> {
        let mut taken = Vec::new();
        if ports.is_empty() {
            return Ok(taken);
        }
        let held = self.held_in(slot).await?;
        let own = |port: &&HostPort| held.iter().any(|one| publishes(&one.summary, port));
        let ports: Vec<&HostPort> = ports.iter().filter(|port| !own(port)).collect();
        if ports.is_empty() {
            return Ok(taken);
        }
        let all = self.engine.containers(None).await?;
        let is_here = self.engine.address().await?.elsewhere.is_none();
        for port in ports {
            let found = match all.iter().find(|container| publishes(container, port)) {
                Some(container) => Some(self.by_container(container)),
                None if is_here => self.by_program(port).await?,
                None => None,
            };
            taken.extend(found.map(|(who, mend)| Taken { port: port.clone(), who, mend }));
        }
        Ok(taken)
    }

    fn by_container(&self, container: &ContainerSummary) -> (String, String) {
        let name = container.names.first().map_or(container.id.as_str(), |name| name.trim_start_matches('/'));
        let is_ours = label(container, PROJECT_LABEL) == Some(self.project.as_str())
            && label(container, SERVICE_LABEL) == Some(self.service.name.as_str());
        let who = match label(container, SLOT_LABEL).filter(|_| is_ours) {
            Some(slot) => format!(
                "the container {name}, which is {slot} of {} by another configuration",
                self.service.name
            ),
            None => format!("the container {name}"),
        };
        (who, format!("stop it (`docker stop {name}`), or have the service publish another port"))
    }

    async fn by_program(&self, port: &HostPort) -> Result<Option<(String, String)>, PortError> {
        let Some(endpoint) = port.endpoint() else { return Ok(None) };
        if !listens(&*self.host, &endpoint, Millis(CONNECT_MILLIS_MAX)).await? {
            return Ok(None);
        }
        let ours = match &self.occupants {
            Some(occupants) => occupants.on(port.port).await,
            None => None,
        };
        Ok(Some(ours.map_or_else(
            || {
                let mend = "stop it (`ss -ltnp` names it), or take the port out of `ports`".to_owned();
                ("another program".to_owned(), mend)
            },
            |ours| (ours.who, ours.mend),
        )))
    }

    /// A slot that publishes what its router is to listen on.
    pub(crate) fn in_the_routers_place(&self, service: &str, ports: &[HostPort]) -> Option<String> {
        let listen = self.proxied?;
        let place = HostPort::of(listen);
        ports.iter().find(|port| port.collides(&place)).map(|port| {
            format!(
                "{service} publishes the host port {port} itself, where its router is to listen (`router.builtin.listen`, \
                 {listen}): take it out of `ports`, for the router reaches containers without it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(value: Value) -> Option<(String, u16, String)> {
        HostPort::read(&value).map(|port| (port.ip, port.port, port.protocol))
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

    #[test]
    fn what_a_running_container_publishes_is_read_from_the_list_of_containers() {
        let listed = serde_json::json!({ "Id": "1", "State": "running", "Ports": [
            { "PrivatePort": 5000, "Type": "tcp" },
            { "IP": "0.0.0.0", "PrivatePort": 5000, "PublicPort": 8080, "Type": "tcp" },
            { "IP": "::", "PrivatePort": 5000, "PublicPort": 8080, "Type": "tcp" } ] });
        let mut container: ContainerSummary = serde_json::from_value(listed).unwrap();
        let on = |address: &str| HostPort::of(address.parse().unwrap());
        for (address, is_published) in
            [("0.0.0.0:8080", true), ("127.0.0.1:8080", true), ("[::]:8080", true), ("0.0.0.0:5000", false)]
        {
            assert_eq!(publishes(&container, &on(address)), is_published, "{address}");
        }
        container.state = "exited".into();
        assert!(!publishes(&container, &on("0.0.0.0:8080")));
    }
}
