//! Slots with several containers, as `scale` and `deploy.replicas` of their files want them.

mod support;

use std::collections::BTreeSet;

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{ComposeLayout, Millis, Release, Slot, SlotState, Template};
use lockgate_ports::{Owner, Runtime, RuntimeSlot};
use support::{World, docker, ready, tag};

const GRACE: Millis = Millis::from_secs(5);
const CONTAINERS: usize = 3;
/// Both ways to say it, for each Compose.
const SAID: [(ComposeCli, &str); 4] = [
    (ComposeCli::Plugin, "    deploy: { replicas: 3 }\n"),
    (ComposeCli::Plugin, "    scale: 3\n"),
    (ComposeCli::Standalone, "    deploy: { replicas: 3 }\n"),
    (ComposeCli::Standalone, "    scale: 3\n"),
];

fn layout(world: &World, more: &str) -> ComposeLayout {
    for slot in ["blue", "green"] {
        let content = format!("services:\n  {}:\n    image: {}:none\n{more}", world.name, world.repository());
        world.write(&format!("{}/{}-{slot}/docker-compose.yml", world.name, world.name), &content);
    }
    let root = world.path(&world.name);
    ComposeLayout::Folders(Template::new(format!("{}/{}-{{slot}}", root.display(), world.name)).unwrap())
}

async fn seen(compose: &Compose, slot: Slot) -> RuntimeSlot {
    let all = compose.slots().await.unwrap();
    all.into_iter().find(|seen| seen.slot == slot).unwrap()
}

fn ids(seen: &RuntimeSlot) -> BTreeSet<String> {
    let id = |owner: &Option<Owner>| match owner {
        Some(Owner::Container { id, .. }) => Some(id.clone()),
        Some(Owner::Process { .. }) | None => None,
    };
    seen.replicas.iter().filter_map(|one| id(&one.owner)).collect()
}

async fn fetched(compose: &Compose, name: &str) -> Release {
    let release = compose.resolve(&tag(name)).await.unwrap();
    compose.fetch(&release).await.unwrap();
    release
}

/// Each answers at an address of its own.
async fn all_serve(world: &World, seen: &RuntimeSlot, wanted: &str) {
    assert_eq!((seen.state, seen.replicas.len()), (SlotState::Running, CONTAINERS), "{seen:?}");
    let mut endpoints = BTreeSet::new();
    for one in &seen.replicas {
        let endpoint = one.endpoint.as_ref().unwrap();
        assert_eq!(world.body(endpoint, "/").await, format!("{} {wanted}\n", world.name));
        endpoints.insert(endpoint.to_string());
    }
    assert_eq!((endpoints.len(), ids(seen).len()), (CONTAINERS, CONTAINERS), "{seen:?}");
}

#[tokio::test]
async fn all_of_a_slots_containers_are_started_seen_replaced_and_stopped() {
    for (cli, more) in SAID {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        world.publish("v2");
        let compose = world.compose(layout(&world, more)).compose_cli(cli);
        assert_eq!(compose.conflicts().await.unwrap(), Vec::<String>::new(), "{cli:?}");
        let (v1, v2) = (fetched(&compose, "v1").await, fetched(&compose, "v2").await);
        compose.start(Slot::Blue, &v1).await.unwrap();
        let blue = seen(&compose, Slot::Blue).await;
        all_serve(&world, &blue, "v1").await;
        compose.start(Slot::Blue, &v1).await.unwrap();
        assert_eq!(ids(&seen(&compose, Slot::Blue).await), ids(&blue), "nothing is started twice");
        let log = compose.logs(Slot::Blue, 30).await.unwrap();
        assert_eq!(log.iter().filter(|line| line.ends_with(" | started v1")).count(), CONTAINERS, "{log:?}");

        // One dies: the slot runs on, and its next start brings only that one back.
        let dead = ids(&blue).pop_first().unwrap();
        docker(&["stop", "-t", "1", &dead]);
        let short = seen(&compose, Slot::Blue).await;
        let stopped: Vec<_> = short.replicas.iter().filter(|one| !one.runs()).collect();
        assert_eq!((short.state, stopped.len()), (SlotState::Running, 1), "{short:?}");
        assert!(stopped[0].endpoint.is_none() && stopped[0].name.is_some(), "{short:?}");
        let said = compose.diagnose(Slot::Blue, Some(support::PORT)).await;
        let name = stopped[0].name.clone().unwrap();
        assert!(said.findings.iter().any(|finding| finding.contains(&name)), "{said:?}");
        assert_eq!(compose.end_of(Slot::Blue).await.unwrap(), None, "the others run");
        compose.start(Slot::Blue, &v1).await.unwrap();
        let again = seen(&compose, Slot::Blue).await;
        all_serve(&world, &again, "v1").await;
        assert!(ids(&short).is_subset(&ids(&again)), "those that ran were left alone");

        compose.start(Slot::Blue, &v2).await.unwrap();
        all_serve(&world, &seen(&compose, Slot::Blue).await, "v2").await;
        compose.stop(Slot::Blue, GRACE).await.unwrap();
        let stopped = seen(&compose, Slot::Blue).await;
        assert_eq!((stopped.state, stopped.replicas.len()), (SlotState::Stopped, CONTAINERS), "{stopped:?}");
        assert!(compose.end_of(Slot::Blue).await.unwrap().is_some());
        compose.start(Slot::Blue, &v2).await.unwrap();
        all_serve(&world, &seen(&compose, Slot::Blue).await, "v2").await;
    }
}

#[tokio::test]
async fn what_cannot_be_balanced_or_shared_is_a_conflict_before_anything_starts() {
    for (cli, more) in SAID {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        let compose = |more: &str| world.compose(layout(&world, more)).compose_cli(cli);
        let ports = format!("{more}    ports: ['127.0.0.1:{}:8080']\n", support::free_port());
        for (compose, wanted) in [
            (compose(more).unbalanced(Some("caddy")), "caddy cannot be asked"),
            (compose(&ports), "cannot all publish the host port"),
        ] {
            let found = compose.conflicts().await.unwrap();
            assert!(
                found.iter().any(|one| one.contains("wants 3 containers") && one.contains(wanted)),
                "{found:?}"
            );
            // Not even when it was fine with another router.
            let again = compose.conflicts().await.unwrap();
            assert_eq!(found, again);
        }
        assert!(compose(more).conflicts().await.unwrap().is_empty());
        assert_eq!(compose(more).unbalanced(Some("caddy")).conflicts().await.unwrap().len(), 2, "one a slot");
    }
}
