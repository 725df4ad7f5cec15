//! Why two slots cannot run beside each other.

use futures_util::future::try_join;
use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;
use serde_json::Value;

use crate::compose::Compose;
use crate::conflict_cache::Key;
use crate::exclusive::Exclusive;
use crate::host_ports::{HostPort, Taken};
use crate::per_slot::PerSlot;
use crate::place::Place;
use crate::scale::{self, Several};

/// The key by which a file publishes ports.
const PORTS: &str = "ports";

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

/// What Compose says of both slots' files.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub conflicts: Vec<String>,
    /// The fixed ports that blue and green publish.
    pub ports: [Vec<HostPort>; 2],
    /// What blue and green do not have in common.
    pub per_slot: [PerSlot; 2],
}

/// What Compose says of the only slot's file.
#[derive(Debug)]
pub(crate) struct Alone {
    /// Whoever else has its ports is not among them.
    pub conflicts: Vec<String>,
    /// The fixed ports that it publishes.
    pub ports: Vec<HostPort>,
    pub per_slot: PerSlot,
    pub place: Place,
}

impl Compose {
    /// As Compose reads the files now, of blue and green.
    pub(crate) async fn find_conflicts(&self) -> Result<Comparison, PortError> {
        let (blue, green) = self.blue_and_green().await?;
        self.ask_compose(&blue, &green).await
    }

    /// The same, without asking Compose about files that it has found free of conflicts before: it takes 0.2 to 1 s.
    pub(crate) async fn find_new_conflicts(&self) -> Result<Vec<String>, PortError> {
        if let [only] = self.slots {
            return self.find_new_conflicts_alone(*only).await;
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

    /// Of the only slot. Its ports are looked at each time, for whoever has one of them would keep the new release from starting,
    /// and the old one, which then publishes what the same file says, from coming back.
    async fn find_new_conflicts_alone(&self, slot: Slot) -> Result<Vec<String>, PortError> {
        // That its file is there is as good to know before anything is planned.
        let place = self.place(slot).await?;
        if !scale::may_be_said(&place.contents) && !publishes(&place.contents) {
            return Ok(Vec::new());
        }
        let key = Key::of(self, &place, &place)?;
        let remembered = match &key {
            Some(key) => key.remembered_ports(self, &place).await,
            None => None,
        };
        let ports = match remembered {
            Some(ports) => ports,
            None => {
                let alone = self.ask_compose_alone(place.clone()).await?;
                if !alone.conflicts.is_empty() {
                    return Ok(alone.conflicts);
                }
                if let Some(key) = &key {
                    key.remember_ports(self, &place, &alone.ports).await;
                }
                alone.ports
            }
        };
        let taken = self.taken(slot, &ports).await?;
        Ok(taken.iter().map(|taken| wants(&place, taken)).collect())
    }

    /// As Compose reads the only slot's file now.
    pub(crate) async fn ask_compose_alone(&self, place: Place) -> Result<Alone, PortError> {
        let claims = self.claims(&place).await?;
        let mut conflicts = self.scale_conflicts(&place, &claims);
        conflicts.extend(self.in_the_routers_place(&named(&place), &claims.ports));
        Ok(Alone { conflicts, ports: claims.ports, per_slot: claims.per_slot, place })
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
        for (place, claims) in [(blue, &one), (green, &other)] {
            conflicts.extend(self.scale_conflicts(place, claims));
            conflicts.extend(self.in_the_routers_place(&named(place), &claims.ports));
        }
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
            service: named(place),
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

/// The slot's service as people find it.
fn named(place: &Place) -> String {
    format!("{} in {}", place.service, place.path())
}

/// Why the slot cannot be started.
fn wants(place: &Place, taken: &Taken) -> String {
    let Taken { port, who, mend } = taken;
    format!("{} publishes the host port {port}, which {who} has: {mend}", named(place))
}

/// Whether the files may publish a port, so that Compose is worth asking. What other files say is known only to Compose, and
/// who takes them in is asked about by [`scale::may_be_said`].
fn publishes(contents: &[Vec<u8>]) -> bool {
    contents.iter().any(|content| content.windows(PORTS.len()).any(|part| part == PORTS.as_bytes()))
}

fn claims(service: &Value, per_slot: PerSlot) -> Claims {
    let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
    let ports = service.get("ports").and_then(Value::as_array);
    Claims {
        container_name: text("container_name"),
        ports: ports.into_iter().flatten().filter_map(HostPort::read).collect(),
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
