//! A slot's addresses and their owners, in the proxy's words and in ours.

use std::path::PathBuf;

use lockgate_ports::{Owner, Replica, Upstream, all_dials};
use lockgate_proxy as proxy;
use lockgate_proxy::RouteView;

/// What the proxy is told of an upstream. Its dial, the first of them, comes first.
pub(crate) fn told(to: &Upstream) -> Vec<proxy::Replica> {
    let mut told: Vec<proxy::Replica> = to.replicas.iter().filter_map(one).collect();
    let dial = to.endpoint.to_string();
    told.sort_by_key(|replica| replica.dial != dial);
    // A runtime that has found none has at least the address.
    if told.first().is_some_and(|first| first.dial == dial) { told } else { Vec::new() }
}

fn one(replica: &Replica) -> Option<proxy::Replica> {
    let dial = replica.endpoint.as_ref().filter(|_| replica.runs())?.to_string();
    Some(proxy::Replica { dial, owner: replica.owner.as_ref().map(owner) })
}

fn owner(owner: &Owner) -> proxy::Owner {
    match owner.clone() {
        Owner::Container { engine, id, labels, network, port } => {
            // The proxy itself looks for the container's process, as it sees processes.
            let engine = PathBuf::from(engine);
            proxy::Owner::Container(proxy::ContainerOwner {
                engine,
                id,
                labels,
                network,
                port,
                process: None,
            })
        }
        Owner::Process { pid, began, boot_id } => {
            proxy::Owner::Process(proxy::ProcessOwner { pid, began, boot_id })
        }
    }
}

/// The same addresses and owners, whatever the proxy has found out about their processes.
pub(crate) fn same(one: &[proxy::Replica], other: &[proxy::Replica]) -> bool {
    let plain = |replica: &proxy::Replica| {
        let mut replica = replica.clone();
        if let Some(proxy::Owner::Container(container)) = &mut replica.owner {
            container.process = None;
        }
        replica
    };
    one.iter().map(plain).eq(other.iter().map(plain))
}

/// What the route dials. Where it sends no requests, because nobody vouches for the address, that is said in its place.
pub(crate) fn dialled(view: &RouteView) -> Option<String> {
    if view.told.is_empty() {
        return Some(view.target.dial.clone());
    }
    let dials: Vec<String> = view
        .replicas
        .iter()
        .map(|replica| match replica.trusted {
            true => replica.dial.clone(),
            false => format!("{} (whose that is now is not known)", replica.dial),
        })
        .collect();
    let nowhere = || "nothing, for no container of the slot runs".to_owned();
    Some(all_dials(dials.iter().map(String::as_str)).unwrap_or_else(nowhere))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view(replicas: &[(&str, bool)], told: usize) -> RouteView {
        let replica = |(dial, trusted): &(&str, bool)| proxy::ReplicaView {
            dial: (*dial).to_owned(),
            container: None,
            trusted: *trusted,
            requests: 0,
        };
        RouteView {
            id: "web".into(),
            version: 1,
            hosts: Vec::new(),
            path_prefix: None,
            target: proxy::Target { slot: "blue".into(), release: "r".into(), dial: "10.0.0.9:80".into() },
            response_timeout_ms: None,
            stall_timeout_ms: None,
            trusted_proxies: Vec::new(),
            replicas: replicas.iter().map(replica).collect(),
            told: vec![proxy::Replica { dial: "10.0.0.9:80".into(), owner: None }; told],
            trouble: None,
            in_flight: BTreeMap::new(),
            hold: None,
        }
    }

    #[test]
    fn what_is_dialled_is_what_gets_requests() {
        let dials = |replicas: &[(&str, bool)], told| dialled(&view(replicas, told)).unwrap();
        assert_eq!(dials(&[], 0), "10.0.0.9:80", "a route that names no owner");
        assert_eq!(dials(&[("10.0.0.3:80", true), ("10.0.0.2:80", true)], 2), "10.0.0.2:80, 10.0.0.3:80");
        assert!(dials(&[("10.0.0.2:80", false)], 1).starts_with("10.0.0.2:80 (whose"));
        assert!(dials(&[], 1).starts_with("nothing"));
    }

    #[test]
    fn what_the_proxy_found_out_makes_no_other_owner() {
        let container = |id: &str, process| proxy::Replica {
            dial: "10.0.0.2:80".into(),
            owner: Some(proxy::Owner::Container(proxy::ContainerOwner {
                engine: "/run/docker.sock".into(),
                id: id.into(),
                labels: BTreeMap::new(),
                network: None,
                port: 80,
                process,
            })),
        };
        let process = proxy::ProcessOwner { pid: 2, began: 3, boot_id: "b".into() };
        assert!(same(&[container("a", None)], &[container("a", Some(process))]));
        assert!(
            !same(&[container("a", None)], &[container("b", None)]) && !same(&[container("a", None)], &[])
        );
    }
}
