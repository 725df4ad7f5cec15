//! Slots that Lockgate did not make, must not touch, or that do not answer.

mod support;

use std::process::Command;

use lockgate_compose::Compose;
use lockgate_model::{ComposeLayout, FailureKind, Millis, Release, Slot, SlotState, Template};
use lockgate_ports::{CheckState, Runtime, RuntimeSlot};
use support::{World, docker, free_port, ready, tag, wait_for};

async fn fetched(compose: &Compose, name: &str) -> Release {
    let release = compose.resolve(&tag(name)).await.unwrap();
    compose.fetch(&release).await.unwrap();
    release
}

async fn seen(compose: &Compose, slot: Slot) -> RuntimeSlot {
    let all = compose.slots().await.unwrap();
    all.iter().find(|seen| seen.slot == slot).cloned().unwrap_or_else(|| panic!("{slot} is not in {all:?}"))
}

/// As system A's scripts do it: in the slot's folder, with Compose's default project name.
fn up_by_hand(world: &World, slot: &str, image_tag: &str) {
    let output = Command::new("docker")
        .args(["compose", "up", "-d"])
        .current_dir(world.path(&format!("srv apps/{}/{slot}", world.name)))
        .env("IMAGE_TAG", image_tag)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn containers_that_a_script_made_are_recognised_stopped_and_replaced() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    world.publish("v2");
    let compose = world.compose(world.folders());
    up_by_hand(&world, "blue", "v1");
    let blue = seen(&compose, Slot::Blue).await;
    let v1 = compose.resolve(&tag("v1")).await.unwrap();
    assert_eq!(blue.release, Some(v1.clone()), "the release is derived from the image");
    assert_eq!(blue.state, SlotState::Running);
    world.body(blue.endpoint.as_ref().unwrap(), "/").await;

    compose.start(Slot::Blue, &v1).await.unwrap();
    assert_eq!(seen(&compose, Slot::Blue).await, blue, "the same bytes run already");
    compose.stop(Slot::Blue, Millis::from_secs(5)).await.unwrap();
    assert_eq!(seen(&compose, Slot::Blue).await.state, SlotState::Stopped);

    let v2 = fetched(&compose, "v2").await;
    compose.start(Slot::Blue, &v2).await.unwrap();
    let all = compose.slots().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].release.as_ref().unwrap().same_bytes(&v2), "{all:?}");
    let body = world.body(all[0].endpoint.as_ref().unwrap(), "/").await;
    assert_eq!(body, format!("{} v2\n", world.name));
    // Another test may still use it; then it stays.
    Command::new("docker").args(["network", "rm", "blue_default"]).output().unwrap();
}

#[tokio::test]
async fn secrets_reach_the_container_as_they_are_and_their_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders());
    let release = fetched(&compose, "v1").await;
    compose.start(Slot::Green, &release).await.unwrap();
    let endpoint = seen(&compose, Slot::Green).await.endpoint.unwrap();
    assert_eq!(world.body(&endpoint, "/token").await, "[a$b ${HOME} \"q\"]\n");
    let folder = world.path(&format!("srv apps/{}/green/.lockgate", world.name));
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn a_wrong_port_and_a_crash_are_explained() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders());
    let release = fetched(&compose, "v1").await;
    compose.start(Slot::Blue, &release).await.unwrap();
    world.body(seen(&compose, Slot::Blue).await.endpoint.as_ref().unwrap(), "/").await;
    assert_eq!(compose.diagnose(Slot::Blue, None).await.findings, Vec::<String>::new());
    let wanted = "nothing listens on port 5000; the container listens on 8080: `port: 8080` in lockgate.yaml, if that is \
                  the app";
    assert_eq!(compose.diagnose(Slot::Blue, Some(5000)).await.findings, [wanted]);

    let id = docker(&["ps", "-q", "--filter", &format!("name=^/{}-blue$", world.name)]);
    docker(&["kill", &id]);
    wait_for("the end of the container", || docker(&["inspect", "-f", "{{.State.Running}}", &id]) == "false");
    let findings = compose.diagnose(Slot::Blue, None).await.findings;
    assert!(findings[0].contains("ended with code 137 (SIGKILL)"), "{findings:?}");
    let findings = compose.diagnose(Slot::Green, None).await.findings;
    assert!(findings[0].contains("there is no container"), "{findings:?}");
}

#[tokio::test]
async fn slots_that_want_the_same_name_or_port_conflict() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let port = free_port();
    for slot in ["blue", "green"] {
        let content = format!(
            "services:\n  app:\n    image: {}\n    container_name: {}-app\n    ports: ['127.0.0.1:${{PORT}}:8080']\n",
            world.repository(),
            world.name
        );
        world.write(&format!("same/{slot}/compose.yaml"), &content);
        world.write(&format!("same/{slot}/.env"), &format!("PORT={port}\n"));
    }
    let layout =
        ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", world.path("same").display())).unwrap());
    for cli in [lockgate_compose::ComposeCli::Plugin, lockgate_compose::ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let found = world.compose(layout.clone()).compose_cli(cli).conflicts().await.unwrap();
        assert_eq!(found.len(), 2, "{cli:?}: {found:?}");
        assert!(
            found[0].contains("compose.yaml") && found[0].contains(&format!("{}-app", world.name)),
            "{found:?}"
        );
        let service = &world.name;
        let free = format!("take `container_name` out, or name them `{service}-blue` and `{service}-green`");
        assert!(found[0].ends_with(&free), "{found:?}");
        assert!(found[1].contains(&format!("host port {port}/tcp")), "{found:?}");
    }
    let dialled = [Slot::Blue, Slot::Green].map(|slot| (slot, format!("dialled-{slot}"))).into();
    let found = world.compose(layout.clone()).dialled(dialled).conflicts().await.unwrap();
    let wanted =
        "name them `dialled-blue` and `dialled-green`: that is what the router dials (`router.caddy.dial`)";
    assert!(found[0].ends_with(wanted), "{found:?}");
    let compose = world.compose(layout);
    let release = fetched(&compose, "v1").await;
    compose.start(Slot::Blue, &release).await.unwrap();
    let error = compose.start(Slot::Green, &release).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict, "{error}");
    assert_eq!(seen(&compose, Slot::Blue).await.state, SlotState::Running);
}

#[tokio::test]
async fn on_this_machine_the_plugin_is_called_without_dockers_cli() {
    if !ready(Some(lockgate_compose::ComposeCli::Plugin)) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders()).compose_cli(lockgate_compose::ComposeCli::Plugin);
    let release = fetched(&compose, "v1").await;
    compose.start(Slot::Blue, &release).await.unwrap();
    assert_eq!(seen(&compose, Slot::Blue).await.state, SlotState::Running);
    let remembered =
        std::fs::read(world.path(&format!("srv apps/{}/blue/.lockgate/compose-cli.json", world.name)))
            .unwrap();
    let remembered: serde_json::Value = serde_json::from_slice(&remembered).unwrap();
    let program = remembered["found"]["program"].as_str().unwrap();
    assert!(program.starts_with('/') && program.ends_with("/cli-plugins/docker-compose"), "{program}");
}

#[tokio::test]
async fn a_start_that_would_replace_the_other_slot_or_environment_is_refused() {
    if !ready(None) {
        return;
    }
    for layout in [World::folders, World::file] {
        refuses_what_is_not_its_own(layout).await;
    }
}

async fn refuses_what_is_not_its_own(layout: fn(&World) -> ComposeLayout) {
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(layout(&world));
    let release = fetched(&compose, "v1").await;
    compose.start(Slot::Blue, &release).await.unwrap();
    let before = compose.slots().await.unwrap();

    let mut options = world.options(layout(&world));
    options.environment = lockgate_model::EnvironmentName::new("staging").unwrap();
    let staging = Compose::new(options);
    let error = staging.start(Slot::Blue, &release).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    let name = &world.name;
    assert!(
        error.message.contains(&format!("the service {name}"))
            || error.message.contains(&format!("{name}-blue"))
    );
    assert!(error.message.ends_with(&format!(" of {name}/prod/{name} already")), "{error}");
    let wanted = format!("`project: \"{name}-{{environment}}-{{service}}-{{slot}}\"`");
    assert!(error.hints().to_string().ends_with(&wanted), "{error:?}");
    let mut options = world.options(layout(&world));
    options.project = lockgate_model::ProjectName::new("other").unwrap();
    let error = Compose::new(options).start(Slot::Blue, &release).await.unwrap_err();
    assert!(error.hints().to_string().ends_with("`project: \"other-{service}-{slot}\"`"), "{error:?}");
    assert_eq!(staging.slots().await.unwrap(), Vec::new(), "production's containers are not staging's");

    let mut options = world.options(layout(&world));
    options.runtime.project = Some(Template::new("{service}-same").unwrap());
    options.runtime.service = matches!(options.runtime.layout, ComposeLayout::File(_))
        .then(|| Template::new(format!("{}-blue", world.name)).unwrap());
    let error = Compose::new(options).start(Slot::Green, &release).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert_eq!(compose.slots().await.unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_missing_or_has_no_such_service_says_what_to_do() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    let folders = |name: &str| {
        ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", world.path(name).display())).unwrap())
    };
    let missing = world.compose(folders("nowhere")).conflicts().await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "{missing}");
    assert!(missing.message.contains("docker-compose.yml") && !missing.hints().is_empty(), "{missing:?}");
    for slot in ["blue", "green"] {
        world.write(
            &format!("two/{slot}/docker-compose.yml"),
            "services: { api: {image: a}, redis: {image: b} }\n",
        );
    }
    let unknown = world.compose(folders("two")).conflicts().await.unwrap_err();
    assert_eq!(unknown.kind, FailureKind::NotFound, "{unknown}");
    assert!(unknown.message.contains("api, redis") && !unknown.hints().is_empty(), "{unknown:?}");
}

#[tokio::test]
async fn doctor_says_when_another_program_has_a_port_that_a_slot_publishes() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (slot, ports) in [("blue", format!("['127.0.0.1:{port}:8080']")), ("green", "['8080']".to_owned())] {
        let image = format!("{}:${{IMAGE_TAG:-v1}}", world.repository());
        let content = format!("services:\n  app:\n    image: {image}\n    ports: {ports}\n");
        world.write(&format!("ports/{slot}/compose.yaml"), &content);
    }
    let layout =
        ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", world.path("ports").display())).unwrap());
    let compose = world.compose(layout);
    let ports = async || {
        let checks = compose.check().await;
        checks.into_iter().filter(|check| check.what.starts_with("host ports")).collect::<Vec<_>>()
    };
    let before = ports().await;
    assert_eq!(before.len(), 1, "green lets Docker pick: {before:?}");
    assert_eq!(before[0].state, CheckState::Bad, "{before:?}");
    assert!(before[0].seen.contains(&format!("127.0.0.1:{port}")), "{before:?}");
    drop(taken);
    let freed = ports().await;
    assert_eq!(freed[0].state, CheckState::Ok, "{freed:?}");

    let v1 = fetched(&compose, "v1").await;
    compose.start(Slot::Blue, &v1).await.unwrap();
    let running = ports().await;
    assert!(running.is_empty(), "what a slot has it may keep: {running:?}");
}

#[tokio::test]
async fn doctor_says_what_the_slots_do_not_share_and_what_nobody_starts() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    let name = &world.name;
    for slot in ["blue", "green"] {
        let content = format!(
            "version: '3.8'\nservices:\n  {name}: {{ image: a, volumes: ['uploads:/u', 'shared:/s'], depends_on: [db] }}\n  \
             db: {{ image: b }}\nvolumes:\n  uploads: {{}}\n  shared: {{ name: shared-{name} }}\n"
        );
        world.write(&format!("apart/{slot}/compose.yaml"), &content);
    }
    let layout =
        ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", world.path("apart").display())).unwrap());
    for cli in [lockgate_compose::ComposeCli::Plugin, lockgate_compose::ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let checks = world.compose(layout.clone()).compose_cli(cli).check().await;
        let of = |what: &str| checks.iter().find(|check| check.what == what).unwrap();
        let volumes = of("named volumes");
        assert_eq!(volumes.state, CheckState::Warn, "{volumes:?}");
        let wanted =
            format!("uploads is another one in each slot: {name}-blue_uploads and {name}-green_uploads");
        assert_eq!(volumes.seen, wanted, "{cli:?}");
        let beside = of("services beside it");
        assert_eq!(beside.state, CheckState::Warn, "{beside:?}");
        assert!(beside.seen.ends_with("and db does not run"), "{cli:?}: {beside:?}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_unreachable_with_a_hint() {
    let world_dir = tempfile::tempdir().unwrap();
    let socket = world_dir.path().join("docker.sock");
    if !ready(None) {
        return;
    }
    let world = World::new();
    let mut options = world.options(world.folders());
    options.runtime.docker_host = Some(format!("unix://{}", socket.display()));
    let compose = Compose::new(options);
    let error = compose.slots().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.message.contains("docker.sock") && !error.hints().is_empty(), "{error:?}");
    let checks = compose.check().await;
    assert_eq!(checks[0].state, CheckState::Bad, "{checks:?}");
}

/// P4: wherever a start is cut off, the next one finishes it, and the other slot never notices.
#[tokio::test]
async fn a_start_that_was_cut_off_anywhere_is_finished_by_the_next() {
    for cli in [lockgate_compose::ComposeCli::Plugin, lockgate_compose::ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        world.publish("v2");
        let compose = world.compose(world.folders()).compose_cli(cli);
        let releases = [fetched(&compose, "v1").await, fetched(&compose, "v2").await];
        compose.start(Slot::Green, &releases[0]).await.unwrap();
        let green = seen(&compose, Slot::Green).await;
        for (round, after_ms) in [150, 350, 550, 800].into_iter().enumerate() {
            let release = &releases[round % 2];
            let limit = std::time::Duration::from_millis(after_ms);
            // Cut off or not, both are fine: it depends on how fast the machine is.
            let cut = tokio::time::timeout(limit, compose.start(Slot::Blue, release)).await;
            assert!(!matches!(cut, Ok(Err(_))), "{cli:?}, cut after {after_ms} ms: {cut:?}");
            let started = compose.start(Slot::Blue, release).await;
            assert!(started.is_ok(), "{cli:?}, cut after {after_ms} ms: {started:?}");
            let blue = seen(&compose, Slot::Blue).await;
            assert_eq!(blue.state, SlotState::Running, "{cli:?}, cut after {after_ms} ms");
            assert!(blue.release.unwrap().same_bytes(release), "{cli:?}, cut after {after_ms} ms");
            let body = world.body(blue.endpoint.as_ref().unwrap(), "/").await;
            assert_eq!(body, format!("{} {}\n", world.name, release.tag));
            assert_eq!(seen(&compose, Slot::Green).await, green);
        }
    }
}
