//! What of a slot's definition two slots cannot both have, beside names and ports of the host: addresses, the network of another
//! container, a port of their own each. And what no container outside of Swarm can have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::place::Place;

/// Of one slot, from Compose's own document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exclusive {
    /// Network and address in it, that are written down: `ipv4_address`, `ipv6_address`, `link_local_ips`.
    addresses: BTreeSet<(String, String)>,
    mac_addresses: BTreeSet<String>,
    /// `container:NAME` or `service:NAME`: whose network it shares.
    shares_network: Option<String>,
    /// Networks that Compose makes for the slot, and the subnet that is written down for each.
    subnets: BTreeSet<(String, String)>,
    /// Ports in the container by `ports` and `expose`.
    listens_on: BTreeSet<u16>,
    /// What `PORT` in its environment says.
    port_variable: Option<String>,
    /// `the secret NAME`, `the config NAME`: those that only Swarm has.
    external: Vec<String>,
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `external: true`, and version 1's `external: { name: … }`.
fn is_external(definition: Option<&Value>) -> bool {
    let external = definition.and_then(|definition| definition.get("external"));
    external.is_some_and(|external| !matches!(external, Value::Bool(false)))
}

/// As Docker calls the network that the file calls `key`.
fn full_name(document: &Value, place: &Place, key: &str) -> String {
    let definition = document.get("networks").and_then(|networks| networks.get(key));
    let field = |name: &str| definition.and_then(|network| network.get(name));
    let named = field("name").and_then(Value::as_str).or_else(|| field("external")?.get("name")?.as_str());
    let project = document.get("name").and_then(Value::as_str).or(place.project.as_deref());
    match (named, project) {
        (Some(name), _) => name.to_owned(),
        (None, _) if is_external(definition) => key.to_owned(),
        (None, Some(project)) => format!("{project}_{key}"),
        // The folder's own project: two files in two folders have two.
        (None, None) => format!("{}_{key}", place.dir),
    }
}

/// The port in the container of one entry of `ports` or `expose`; `None` for ranges.
fn container_port(value: &Value) -> Option<u16> {
    match value {
        Value::Object(long) => text(long.get("target"))?.parse().ok(),
        _ => {
            let short = text(Some(value))?;
            let without_protocol = short.split('/').next()?;
            without_protocol.rsplit(':').next()?.parse().ok()
        }
    }
}

impl Exclusive {
    pub(crate) fn of(document: &Value, service: &Value, place: &Place) -> Self {
        let mut found = Self::default();
        found.mac_addresses.extend(text(service.get("mac_address")));
        let networks = service.get("networks").and_then(Value::as_object);
        for (key, network) in networks.into_iter().flatten() {
            let name = full_name(document, place, key);
            let fixed = ["ipv4_address", "ipv6_address"].map(|field| text(network.get(field)));
            let local = strings(network.get("link_local_ips")).map(str::to_owned);
            let addresses = fixed.into_iter().flatten().chain(local);
            found.addresses.extend(addresses.map(|address| (name.clone(), address)));
            found.mac_addresses.extend(text(network.get("mac_address")));
            let definition = document.get("networks").and_then(|networks| networks.get(key));
            let pools = definition.and_then(|network| network.get("ipam")?.get("config")?.as_array());
            let subnets = pools
                .into_iter()
                .flatten()
                .filter_map(|pool| text(pool.get("subnet")))
                .map(|subnet| (name.clone(), subnet));
            if !is_external(definition) {
                found.subnets.extend(subnets);
            }
        }
        let mode = text(service.get("network_mode"));
        found.shares_network =
            mode.filter(|mode| mode.starts_with("container:") || mode.starts_with("service:"));
        for key in ["ports", "expose"] {
            let entries = service.get(key).and_then(Value::as_array);
            found.listens_on.extend(entries.into_iter().flatten().filter_map(container_port));
        }
        found.port_variable = match service.get("environment") {
            Some(Value::Object(map)) => text(map.get("PORT")),
            list => strings(list).find_map(|entry| entry.strip_prefix("PORT=")).map(str::to_owned),
        };
        for (key, what) in [("secrets", "secret"), ("configs", "config")] {
            let used = service.get(key).and_then(Value::as_array).into_iter().flatten();
            let names = used.filter_map(|one| one.as_str().or_else(|| one.get("source")?.as_str()));
            let external = names.filter(|name| is_external(document.get(key).and_then(|all| all.get(name))));
            found.external.extend(external.map(|name| format!("the {what} {name}")));
        }
        found
    }

    /// What only Swarm has, and Compose refuses or leaves out without a word.
    pub(crate) fn for_swarm(&self) -> Option<String> {
        (!self.external.is_empty()).then(|| self.external.join(" and "))
    }

    /// Why the two cannot run beside each other. `both` are their names, `port` is the service's in lockgate.yaml.
    pub(crate) fn conflicts(&self, other: &Exclusive, both: &str, port: Option<u16>) -> Vec<String> {
        let mut found = Vec::new();
        for (network, address) in self.addresses.intersection(&other.addresses) {
            found.push(format!(
                "{both} both want the address {address} in the network {network}, which one container can have: take it out \
                 of `networks`, for the router finds each slot on its own"
            ));
        }
        for mac in self.mac_addresses.intersection(&other.mac_addresses) {
            found.push(format!("{both} both have the `mac_address` {mac}: take it out"));
        }
        let modes: BTreeSet<&String> =
            [&self.shares_network, &other.shares_network].into_iter().flatten().collect();
        for mode in modes {
            let port = port.map_or("the app's port".to_owned(), |port| format!("port {port}"));
            found.push(format!(
                "{both}: `network_mode: {mode}` is the network of another container, where {port} is there once for both and \
                 no slot has an address: give the slots `networks` of their own"
            ));
        }
        for (name, subnet) in &self.subnets {
            let overlaps = other.subnets.iter().any(|(theirs, same)| theirs != name && same == subnet);
            if overlaps {
                found.push(format!(
                    "{both} each have a network with the subnet {subnet}, which Docker makes once: take `ipam` out, or give \
                     both the same network (`external: true`)"
                ));
            }
        }
        found.extend(port.and_then(|port| self.other_port(other, both, port)));
        found
    }

    /// Each slot listens on a port of its own, and the configuration names one for both.
    fn other_port(&self, other: &Exclusive, both: &str, port: u16) -> Option<String> {
        let said = |ports: &BTreeSet<u16>| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
        let mend = format!(
            "`port: {port}` in lockgate.yaml is the same for both slots. Let both listen on {port}: each has an address of its \
             own, so they do not meet"
        );
        if let (Some(one), Some(two)) = (&self.port_variable, &other.port_variable)
            && one != two
        {
            return Some(format!("{both} have PORT {one} and {two} in their environments, and {mend}"));
        }
        let (one, two) = (&self.listens_on, &other.listens_on);
        let both_say = !one.is_empty() && !two.is_empty();
        (both_say && one.contains(&port) != two.contains(&port)).then(|| {
            format!("{both} listen on {} and {} (`ports`, `expose`), and {mend}", said(one), said(two))
        })
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::Slot;
    use serde_json::json;

    use super::*;

    fn place(slot: Slot) -> Place {
        Place {
            slot,
            dir: format!("/srv/{slot}"),
            files: vec!["compose.yaml".into()],
            contents: Vec::new(),
            dot_env: None,
            service: "web".into(),
            project: Some(format!("web-{slot}")),
        }
    }

    /// What is said of two slots whose services, and networks, are these.
    fn said(services: [Value; 2], networks: &Value, port: Option<u16>) -> Vec<String> {
        let [blue, green] = [Slot::Blue, Slot::Green].map(place);
        let document = json!({ "networks": networks });
        let one = Exclusive::of(&document, &services[0], &blue);
        let two = Exclusive::of(&document, &services[1], &green);
        one.conflicts(&two, "blue and green", port)
    }

    fn same(service: &Value, networks: &Value) -> String {
        said([service.clone(), service.clone()], networks, Some(3000)).join("; ")
    }

    #[test]
    fn an_address_is_one_containers_in_a_network_that_both_are_in() {
        let service = json!({ "networks": { "front": { "ipv4_address": "10.9.0.7" } } });
        let shared = json!({ "front": { "name": "edge", "external": true } });
        let text = same(&service, &shared);
        assert!(text.contains("both want the address 10.9.0.7 in the network edge"), "{text}");
        let v1 = json!({ "front": { "external": { "name": "edge" } } });
        assert!(same(&service, &v1).contains("in the network edge"));
        assert_eq!(same(&service, &json!({ "front": {} })), "", "each project has a network of its own");
        let mac = json!({ "mac_address": "02:42:ac:11:65:43" });
        assert!(same(&mac, &json!({})).contains("`mac_address` 02:42:ac:11:65:43"));
    }

    #[test]
    fn a_subnet_that_two_networks_want_is_made_once() {
        let service = json!({ "networks": { "front": null } });
        let front = json!({ "front": { "ipam": { "config": [{ "subnet": "10.9.0.0/24" }] } } });
        assert!(same(&service, &front).contains("the subnet 10.9.0.0/24, which Docker makes once"));
        let named =
            json!({ "front": { "name": "edge", "ipam": { "config": [{ "subnet": "10.9.0.0/24" }] } } });
        assert_eq!(same(&service, &named), "", "it is one network");
    }

    #[test]
    fn the_network_of_another_container_has_one_of_each_port() {
        for mode in ["container:vpn", "service:vpn"] {
            let text = same(&json!({ "network_mode": mode }), &json!({}));
            assert!(
                text.contains(&format!("`network_mode: {mode}`")) && text.contains("port 3000"),
                "{text}"
            );
        }
        for mode in ["bridge", "host", "none"] {
            assert_eq!(same(&json!({ "network_mode": mode }), &json!({})), "", "{mode}");
        }
    }

    #[test]
    fn ports_that_differ_between_the_slots_are_told_where_the_configuration_has_one() {
        let with = |port: u16| json!({ "environment": { "PORT": port } });
        let text = said([with(3001), with(3002)], &json!({}), Some(3001)).join("; ");
        assert!(text.contains("PORT 3001 and 3002") && text.contains("`port: 3001`"), "{text}");
        let listed = |entry: Value| json!({ "ports": [entry] });
        let (long, short) =
            (json!({ "target": 3001, "published": "8001" }), json!("127.0.0.1:8002:3002/tcp"));
        let text = said([listed(long.clone()), listed(short.clone())], &json!({}), Some(3001)).join("; ");
        assert!(text.contains("listen on 3001 and 3002"), "{text}");
        // Without `port` each slot's own is found, and one that lists none may listen on any.
        assert!(said([listed(long.clone()), listed(short)], &json!({}), None).is_empty());
        assert!(said([listed(long), json!({ "expose": [] })], &json!({}), Some(3001)).is_empty());
        let exposed = |port: &str| json!({ "expose": [port] });
        assert_eq!(said([exposed("3001"), exposed("3002")], &json!({}), Some(3002)).len(), 1);
    }

    #[test]
    fn what_only_swarm_has_is_named() {
        let document = json!({
            "secrets": { "token": { "external": true }, "key": { "file": "./key" } },
            "configs": { "site": { "external": { "name": "site_v1" } } },
        });
        let service = json!({ "secrets": [{ "source": "token" }, "key"], "configs": [{ "source": "site", "target": "/x" }] });
        let found = Exclusive::of(&document, &service, &place(Slot::Blue));
        assert_eq!(found.for_swarm().as_deref(), Some("the secret token and the config site"));
        assert_eq!(
            Exclusive::of(&document, &json!({ "secrets": ["key"] }), &place(Slot::Blue)).for_swarm(),
            None
        );
    }
}
