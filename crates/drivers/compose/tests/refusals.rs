//! What a Compose file asks for that two slots cannot both have, and what it says in ways that are easily passed over.

mod support;

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{ComposeLayout, FailureKind, Slot, SlotState, Template};
use lockgate_ports::{CheckState, Runtime};
use support::{PORT, World, docker, ready, tag};

const CLIS: [ComposeCli; 2] = [ComposeCli::Plugin, ComposeCli::Standalone];

/// The same file for each slot: these lines more of the service, and these at the end.
fn folders(world: &World, of_service: &str, at_end: &str) -> ComposeLayout {
    for slot in ["blue", "green"] {
        let content = format!(
            "version: '3.8'\nservices:\n  {0}:\n    image: {1}:${{IMAGE_TAG}}\n{of_service}{at_end}",
            world.name,
            world.repository(),
        );
        world.write(&format!("{}-files/{slot}/docker-compose.yml", world.name), &content);
    }
    let root = world.path(&format!("{}-files", world.name));
    ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", root.display())).unwrap())
}

async fn conflicts(compose: &Compose) -> String {
    let found = compose.conflicts().await.unwrap().join("; ");
    let checks = compose.check().await;
    let told = checks.iter().find(|check| check.what == "slots beside each other").unwrap();
    assert_eq!((told.state, &told.seen), (CheckState::Bad, &found), "doctor says the same");
    found
}

#[tokio::test]
async fn an_address_that_both_slots_want_is_found_before_it_is_and_told_when_somebody_has_it() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let (network, third) = (format!("{}-edge", world.name), 16 + std::process::id() % 200);
        docker(&["network", "create", "--subnet", &format!("10.213.{third}.0/24"), &network]);
        let address = format!("10.213.{third}.7");
        let layout = folders(
            &world,
            &format!("    networks: {{ edge: {{ ipv4_address: {address} }} }}\n"),
            &format!("networks: {{ edge: {{ external: true, name: {network} }} }}\n"),
        );
        let compose = world.compose(layout).compose_cli(cli);
        let found = conflicts(&compose).await;
        assert!(found.contains(&format!("want the address {address} in the network {network}")), "{found}");
        let release = compose.resolve(&tag("v1")).await.unwrap();
        compose.fetch(&release).await.unwrap();
        compose.start(Slot::Blue, &release).await.unwrap();
        let refused = compose.start(Slot::Green, &release).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Conflict, "{cli:?}: {refused}");
        assert!(refused.hints().to_string().contains("`ipv4_address`"), "{cli:?}: {refused:?}");
        drop(compose);
    }
}

#[tokio::test]
async fn the_network_of_another_container_is_named_as_what_it_is() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        let layout = folders(&world, "    network_mode: container:vpn\n", "");
        let found = conflicts(&world.compose(layout).compose_cli(cli)).await;
        assert!(
            found.contains(&format!(
                "`network_mode: container:vpn` is the network of another container, where port {PORT}"
            )),
            "{found}"
        );
    }
}

#[tokio::test]
async fn ports_that_differ_between_the_slots_are_refused_when_planning() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        let layout = folders(&world, "    environment: { PORT: \"${PORT}\" }\n", "");
        for (slot, port) in [("blue", 3001), ("green", 3002)] {
            world.write(&format!("{}-files/{slot}/.env", world.name), &format!("PORT={port}\n"));
        }
        let found = conflicts(&world.compose(layout).compose_cli(cli)).await;
        assert!(found.contains("PORT 3001 and 3002"), "{cli:?}: {found}");
    }
}

#[tokio::test]
async fn what_only_swarm_keeps_is_refused_by_name() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        let layout = folders(&world, "    secrets: [token]\n", "secrets: { token: { external: true } }\n");
        let compose = world.compose(layout).compose_cli(cli);
        let refused = compose.conflicts().await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused, "{cli:?}: {refused}");
        assert!(refused.message.contains("wants the secret token as `external`"), "{cli:?}: {refused}");
        assert!(refused.hints().to_string().contains("`file:`"), "{refused:?}");
    }
}

/// `docker compose up NAME` starts it, whatever profiles are on.
#[tokio::test]
async fn a_service_behind_a_profile_is_deployed_as_it_is_started_by_hand() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let layout = folders(&world, "    profiles: [app]\n", "");
        let compose = world.compose(layout).compose_cli(cli);
        assert_eq!(compose.conflicts().await.unwrap(), Vec::<String>::new(), "{cli:?}");
        let release = compose.resolve(&tag("v1")).await.unwrap();
        compose.fetch(&release).await.unwrap();
        compose.start(Slot::Blue, &release).await.unwrap();
        let seen = compose.slots().await.unwrap();
        assert_eq!(seen[0].state, SlotState::Running, "{cli:?}: {seen:?}");
        assert!(compose.todays_environment(Slot::Blue, &release).await.unwrap().contains_key("TOKEN"));
    }
}

#[tokio::test]
async fn the_files_that_compose_file_names_are_the_slots() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let layout = folders(&world, "", "");
        for slot in ["blue", "green"] {
            let folder = format!("{}-files/{slot}", world.name);
            let more = format!(
                "version: '3.8'\nservices:\n  {}:\n    environment: {{ FROM_SECOND: \"{slot}\" }}\n",
                world.name
            );
            world.write(&format!("{folder}/prod.yml"), &more);
            world.write(&format!("{folder}/.env"), "COMPOSE_FILE=docker-compose.yml:prod.yml\n");
        }
        let compose = world.compose(layout).compose_cli(cli);
        let release = compose.resolve(&tag("v1")).await.unwrap();
        compose.fetch(&release).await.unwrap();
        compose.start(Slot::Green, &release).await.unwrap();
        let environment = compose.environment(Slot::Green).await.unwrap().unwrap();
        assert_eq!(environment["FROM_SECOND"].reveal(), "green", "{cli:?}");
        std::fs::remove_file(world.path(&format!("{}-files/blue/prod.yml", world.name))).unwrap();
        let missing = compose.start(Slot::Blue, &release).await.unwrap_err();
        assert_eq!(missing.kind, FailureKind::NotFound, "{missing}");
        assert!(missing.message.contains("which COMPOSE_FILE in"), "{missing}");
    }
}

#[tokio::test]
async fn a_release_can_be_asked_for_by_its_digest_alone() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders());
    let by_tag = compose.resolve(&tag("v1")).await.unwrap();
    let hex = &by_tag.digest.as_str()["sha256:".len()..];
    let release = compose.resolve(&tag(hex)).await.unwrap();
    assert!(release.same_bytes(&by_tag), "{release:?}");
    assert_eq!(release.tag.as_str(), by_tag.digest.short());
    compose.fetch(&release).await.unwrap();
    compose.start(Slot::Blue, &release).await.unwrap();
    assert_eq!(
        compose.slots().await.unwrap()[0].release.as_ref(),
        Some(&compose.resolve(&tag(hex)).await.unwrap())
    );
    let missing = compose.resolve(&tag(&"0".repeat(64))).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "{missing}");
}
