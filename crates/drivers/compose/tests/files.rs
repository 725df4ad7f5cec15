//! What a Compose file and an image say of a slot's end and of its volumes.

mod support;

use std::time::{Duration, Instant, SystemTime};

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{ComposeLayout, Millis, Release, Slot, Template};
use lockgate_ports::{CheckState, Runtime, RuntimeSlot};
use support::{PORT, World, docker, ready, tag};

const CLIS: [ComposeCli; 2] = [ComposeCli::Plugin, ComposeCli::Standalone];
/// Longer than any of these apps needs, and shorter than Docker's own 10 s.
const GRACE: Millis = Millis::from_secs(5);

/// A folder for each slot, whose service has these lines more.
fn folders(world: &World, blue: &str, green: &str) -> ComposeLayout {
    for (slot, more) in [("blue", blue), ("green", green)] {
        let content = format!(
            "version: '3.8'\nservices:\n  {0}:\n    image: {1}:${{IMAGE_TAG}}\n    container_name: {0}-{slot}\n{more}",
            world.name,
            world.repository(),
        );
        world.write(&format!("{}-files/{slot}/docker-compose.yml", world.name), &content);
    }
    let root = world.path(&format!("{}-files", world.name));
    ComposeLayout::Folders(Template::new(format!("{}/{{slot}}", root.display())).unwrap())
}

async fn started(compose: &Compose, slot: Slot, name: &str) -> (Release, RuntimeSlot) {
    let release = compose.resolve(&tag(name)).await.unwrap();
    compose.fetch(&release).await.unwrap();
    compose.start(slot, &release).await.unwrap();
    let all = compose.slots().await.unwrap();
    let seen = all.into_iter().find(|seen| seen.slot == slot).unwrap();
    assert!(seen.release.as_ref().is_some_and(|held| held.same_bytes(&release)), "{seen:?}");
    (release, seen)
}

/// A program that does this on signals and serves until it ends.
fn command(traps: &str) -> String {
    let script = format!("{traps}; /bin/busybox httpd -f -p {PORT} -h /www & while :; do wait; done");
    format!("    command: [/bin/busybox, sh, -c, \"{script}\"]\n")
}

#[tokio::test]
async fn how_long_and_by_which_signal_a_slot_is_stopped_is_the_files_to_say() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let polite = command("trap 'exit 42' USR1; trap '' TERM");
        let blue = format!("    stop_signal: SIGUSR1\n    stop_grace_period: 1m30s\n{polite}");
        let green = format!("    stop_grace_period: 1s\n{}", command("trap '' TERM"));
        let compose = world.compose(folders(&world, &blue, &green)).compose_cli(cli);

        let (_, seen) = started(&compose, Slot::Blue, "v1").await;
        assert_eq!(seen.stop_grace, Some(Millis::from_secs(90)), "{cli:?}");
        world.body(seen.endpoint.as_ref().unwrap(), "/").await;
        compose.stop(Slot::Blue, GRACE).await.unwrap();
        let end = compose.end_of(Slot::Blue).await.unwrap().unwrap();
        assert_eq!(end.exit_code, 42, "{cli:?}: it was asked by SIGUSR1");

        let (_, seen) = started(&compose, Slot::Green, "v1").await;
        let own = seen.stop_grace.unwrap();
        assert_eq!(own, Millis::from_secs(1), "{cli:?}");
        world.body(seen.endpoint.as_ref().unwrap(), "/").await;
        let begin = Instant::now();
        compose.stop(Slot::Green, own).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        let end = compose.end_of(Slot::Green).await.unwrap().unwrap();
        assert_eq!(end.exit_code, 137, "{cli:?}: it was killed, which its end tells");
    }
}

#[tokio::test]
async fn a_file_that_says_nothing_of_it_leaves_the_grace_to_others() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(folders(&world, "", ""));
    let (_, seen) = started(&compose, Slot::Blue, "v1").await;
    assert_eq!(seen.stop_grace, None);
}

#[tokio::test]
async fn a_release_serves_its_own_images_files_and_not_those_that_the_one_before_left_in_a_volume() {
    for cli in CLIS {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        for name in ["v1", "v2"] {
            world.publish_with(name, &["VOLUME /www"]);
        }
        let compose = world.compose(folders(&world, "", "")).compose_cli(cli);
        for name in ["v1", "v2"] {
            let (_, seen) = started(&compose, Slot::Blue, name).await;
            let body = world.body(seen.endpoint.as_ref().unwrap(), "/").await;
            assert_eq!(body, format!("{} {name}\n", world.name), "{cli:?}");
            compose.stop(Slot::Blue, GRACE).await.unwrap();
        }
        // What runs is what counts for `doctor`.
        let nameless = async |compose: &Compose| {
            let checks = compose.check().await;
            checks.into_iter().find(|check| check.what == "volumes without a name")
        };
        assert_eq!(nameless(&compose).await, None);
        started(&compose, Slot::Green, "v1").await;
        let check = nameless(&compose).await.unwrap();
        assert_eq!(check.state, CheckState::Warn);
        let wanted =
            "green keeps /www in a volume without a name (`VOLUME` in its image, or a mount that names none)";
        assert_eq!(check.seen, wanted);
    }
}

/// To replace one, version 1 asks an engine from API 1.45 on for what it does not have any more. It gives the old container
/// another name first, by which that is seen.
#[tokio::test]
async fn version_1_of_compose_never_has_a_container_to_replace() {
    if !ready(Some(ComposeCli::Standalone)) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    world.publish("v2");
    let compose = world.compose(folders(&world, "", "")).compose_cli(ComposeCli::Standalone);
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let since = seconds().to_string();
    for name in ["v1", "v2", "v1"] {
        let (_, seen) = started(&compose, Slot::Blue, name).await;
        let body = world.body(seen.endpoint.as_ref().unwrap(), "/").await;
        assert_eq!(body, format!("{} {name}\n", world.name));
    }
    let until = (seconds() + 1).to_string();
    let events = |event: &str| {
        let filter = format!("event={event}");
        let format = "{{.Actor.Attributes.name}}";
        let all = docker(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "type=container",
            "--filter",
            &filter,
            "--format",
            format,
        ]);
        all.lines().filter(|line| line.contains(&world.name)).count()
    };
    assert_eq!((events("create"), events("rename")), (3, 0));
}
