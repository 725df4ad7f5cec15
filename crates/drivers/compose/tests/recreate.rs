//! One slot: a service of an existing Compose file, replaced in place, and its own health.

mod support;

use std::process::Command;

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{
    ComposeLayout, DockerHealth, FailureKind, Health, Millis, Release, Slot, SlotState, Strategy, Template,
};
use lockgate_ports::{CheckState, OwnHealthState, Runtime, RuntimeSlot};
use support::{World, docker, ready, tag};

const GRACE: Millis = Millis::from_secs(5);
/// Docker asks a HEALTHCHECK of these tests each second.
const HEALTHY_SECONDS_MAX: u64 = 20;
const LOOK_MILLIS: u64 = 50;

/// What the file makes of `IMAGE_TAG`, beside the image itself.
const TOLD_TAG: &str = "    environment: { TOLD_TAG: '${IMAGE_TAG}' }\n";

/// As a user has it: the service with a name of its own, and what it depends on.
fn existing(world: &World, image: &str, more: &str) -> ComposeLayout {
    let name = &world.name;
    world.publish("db");
    let content = format!(
        "version: '3.8'\nservices:\n  app:\n    image: {image}\n    container_name: {name}-app\n    depends_on: [db]\n{more}  \
         db:\n    image: {}:db\n    container_name: {name}-db\n",
        world.repository()
    );
    let path = world.write(&format!("{name}-existing/docker-compose.yml"), &content);
    ComposeLayout::File(Template::new(path).unwrap())
}

fn one_slot(world: &World, layout: ComposeLayout, health: Option<Health>) -> Compose {
    let mut options = world.options(layout);
    options.slots = Strategy::Recreate.slots();
    options.runtime.service = Some(Template::new("app").unwrap());
    if let Some(health) = health {
        options.service.health = health;
    }
    Compose::new(options)
}

fn up_by_hand(world: &World, cli: ComposeCli) {
    let argv: &[&str] = match cli {
        ComposeCli::Plugin => &["docker", "compose"],
        ComposeCli::Standalone => &["docker-compose"],
    };
    let output = Command::new(argv[0])
        .args(&argv[1..])
        .args(["up", "-d"])
        .current_dir(world.path(&format!("{}-existing", world.name)))
        .env("IMAGE_TAG", "v1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn main_slot(compose: &Compose) -> RuntimeSlot {
    let all = compose.slots().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].slot, Slot::Main);
    all[0].clone()
}

async fn fetched(compose: &Compose, name: &str) -> Release {
    let release = compose.resolve(&tag(name)).await.unwrap();
    compose.fetch(&release).await.unwrap();
    release
}

async fn serves(world: &World, compose: &Compose, wanted: &str) {
    let seen = main_slot(compose).await;
    assert_eq!(seen.state, SlotState::Running);
    let body = world.body(seen.endpoint.as_ref().unwrap(), "/").await;
    assert_eq!(body, format!("{} {wanted}\n", world.name));
}

fn id_of(container: &str) -> String {
    docker(&["inspect", "-f", "{{.Id}}", container])
}

fn clean(world: &World) {
    let path = world.path(&format!("{}-existing", world.name));
    Command::new("docker")
        .args(["compose", "down", "-t", "1"])
        .env("IMAGE_TAG", "v1")
        .current_dir(path)
        .output()
        .unwrap();
}

#[tokio::test]
async fn a_service_of_an_existing_file_is_replaced_in_place_and_nothing_else() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        world.publish("v2");
        let layout = existing(&world, &format!("{}:${{IMAGE_TAG}}", world.repository()), TOLD_TAG);
        let compose = one_slot(&world, layout, None).compose_cli(cli);
        assert_eq!(compose.slots().await.unwrap(), Vec::new());
        up_by_hand(&world, cli);
        let (app, db) = (format!("{}-app", world.name), format!("{}-db", world.name));
        let beside = id_of(&db);
        serves(&world, &compose, "v1").await;
        assert_eq!(compose.conflicts().await.unwrap(), Vec::<String>::new());
        let old = main_slot(&compose).await.release.unwrap();
        let (v1, v2) = (fetched(&compose, "v1").await, fetched(&compose, "v2").await);
        assert!(old.same_bytes(&v1), "{old}");
        let by_hand = id_of(&app);

        compose.stop(Slot::Main, GRACE).await.unwrap();
        assert_eq!(main_slot(&compose).await.state, SlotState::Stopped);
        compose.start(Slot::Main, &v2).await.unwrap();
        serves(&world, &compose, "v2").await;
        assert_ne!(id_of(&app), by_hand, "under the same name");
        let env = docker(&["inspect", "-f", "{{.Config.Env}}", &app]);
        assert!(env.contains("LOCKGATE_RELEASE=v2") && env.contains("LOCKGATE_SLOT=main"), "{env}");
        // The tag reaches what interpolates it, and the image is pinned by its digest all the same.
        assert!(env.contains("TOLD_TAG=v2"), "{env}");
        let image = docker(&["inspect", "-f", "{{.Config.Image}}", &app]);
        assert!(image.ends_with(v2.digest.as_str()), "{image}");

        compose.stop(Slot::Main, GRACE).await.unwrap();
        compose.start(Slot::Main, &old).await.unwrap();
        serves(&world, &compose, "v1").await;
        assert_eq!(id_of(&db), beside, "{cli:?}: what it depends on is not touched");
        assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &db]), "true");
        clean(&world);
    }
}

/// By the registry's digest, and, once its names are gone from the host too, by Docker's own id of it.
#[tokio::test]
async fn a_release_that_is_known_by_its_digest_alone_is_started_again() {
    if !ready(None) {
        return;
    }
    for nameless in [false, true] {
        let world = World::new();
        world.publish("v1");
        world.publish("v2");
        let first = one_slot(&world, existing(&world, "none", ""), None);
        let v1 = first.resolve(&tag("v1")).await.unwrap();
        let reference = format!("{}@{}", world.repository(), v1.digest);
        let compose = one_slot(&world, existing(&world, &reference, ""), None);
        up_by_hand(&world, ComposeCli::Plugin);
        let v2 = fetched(&compose, "v2").await;
        if nameless {
            docker(&["rmi", "-f", &reference]);
        }
        let id = docker(&["inspect", "-f", "{{.Image}}", &format!("{}-app", world.name)]);
        let digest = if nameless { id.as_str() } else { v1.digest.as_str() };
        let old = main_slot(&compose).await.release.unwrap();
        assert_eq!((old.digest.as_str(), old.tag.as_str()), (digest, old.digest.short()));
        compose.fetch(&old).await.unwrap();
        compose.stop(Slot::Main, GRACE).await.unwrap();
        compose.start(Slot::Main, &v2).await.unwrap();
        serves(&world, &compose, "v2").await;
        compose.stop(Slot::Main, GRACE).await.unwrap();
        compose.start(Slot::Main, &old).await.unwrap();
        serves(&world, &compose, "v1").await;
        clean(&world);
    }
}

#[tokio::test]
async fn the_containers_own_health_is_followed_and_programs_run_inside_it() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if ready(Some(cli)) {
            own_health_with(cli).await;
        }
    }
}

async fn own_health_with(cli: ComposeCli) {
    let world = World::new();
    world.publish("v1");
    let check = "    healthcheck: { test: [CMD, /bin/busybox, test, -e, /www/ready], interval: 1s, timeout: 2s, \
                 start_period: 4s, retries: 2 }\n";
    let layout = existing(&world, &format!("{}:${{IMAGE_TAG}}", world.repository()), check);
    let own = Health::Docker(DockerHealth { timeout: None, passes: 1 });
    let compose = one_slot(&world, layout, Some(own)).compose_cli(cli);
    up_by_hand(&world, cli);
    let v1 = fetched(&compose, "v1").await;
    compose.stop(Slot::Main, GRACE).await.unwrap();
    assert_eq!(compose.health(Slot::Main).await.unwrap_err().kind, FailureKind::NotFound);
    compose.start(Slot::Main, &v1).await.unwrap();
    let seen = compose.health(Slot::Main).await.unwrap();
    assert_eq!((seen.state, seen.patience), (OwnHealthState::Starting, Millis::from_secs(4 + 2 * 3)));

    let argv = |words: &[&str]| words.iter().map(|word| Template::new(*word).unwrap()).collect::<Vec<_>>();
    let touch = argv(&["/bin/busybox", "touch", "/www/ready"]);
    let touched = compose.run_in(Slot::Main, &touch, GRACE).await.unwrap();
    assert!(touched.ok(), "{touched:?}");
    let says =
        argv(&["/bin/busybox", "sh", "-c", "echo $LOCKGATE_SLOT has $0; echo no >&2; exit 3", "{tag}"]);
    let said = compose.run_in(Slot::Main, &says, GRACE).await.unwrap();
    // Which of its two streams Docker hands over first is not said.
    let mut lines: Vec<String> = said.stdout_text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!((said.code, lines), (3, vec!["main has v1".to_owned(), "no".to_owned()]));
    let missing = compose.run_in(Slot::Main, &argv(&["/no/such"]), GRACE).await;
    assert!(missing.as_ref().map_or(true, |output| !output.ok()), "{missing:?}");

    let limit = std::time::Instant::now() + std::time::Duration::from_secs(HEALTHY_SECONDS_MAX);
    while compose.health(Slot::Main).await.unwrap().state != OwnHealthState::Healthy {
        assert!(std::time::Instant::now() < limit, "it is never healthy");
        tokio::time::sleep(std::time::Duration::from_millis(LOOK_MILLIS)).await;
    }
    clean(&world);
}

#[tokio::test]
async fn a_container_without_a_healthcheck_is_refused_before_anything_is_changed() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if ready(Some(cli)) {
            no_healthcheck_with(cli).await;
        }
    }
}

async fn no_healthcheck_with(cli: ComposeCli) {
    let world = World::new();
    world.publish("v1");
    world.publish("v2");
    let layout = existing(&world, &format!("{}:${{IMAGE_TAG}}", world.repository()), "");
    let own = Health::Docker(DockerHealth { timeout: None, passes: 1 });
    let compose = one_slot(&world, layout, Some(own)).compose_cli(cli);
    up_by_hand(&world, cli);
    let v2 = compose.resolve(&tag("v2")).await.unwrap();
    let refused = compose.fetch(&v2).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused}");
    assert!(refused.message.contains("v2") && refused.message.contains("HEALTHCHECK"), "{refused}");
    assert!(!refused.hints().is_empty());
    let checks = compose.check().await;
    let own = checks.iter().find(|check| check.what == "health check of the container").unwrap();
    assert_eq!(own.state, CheckState::Bad, "{own:?}");
    serves(&world, &compose, "v1").await;
    clean(&world);
}
