//! A program that runs once in a release's image, beside what the slots hold.

mod support;

use lockgate_compose::ComposeCli;
use lockgate_model::{FailureKind, HookMoment, Millis, Release, RunId, Slot};
use lockgate_ports::{Line, OneOff, OneOffId, OneOffState, OneOffs, Runtime};
use support::{World, docker, ready, tag, wait_for};

const GRACE: Millis = Millis::from_secs(1);

fn id(number: u64) -> OneOffId {
    let run: RunId = format!("00000000-0000-0000-0000-{number:012}").parse().unwrap();
    OneOffId { run, moment: HookMoment::BeforeSwitch }
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec()
}

async fn fetched(runtime: &dyn Runtime, name: &str) -> Release {
    let release = runtime.resolve(&tag(name)).await.unwrap();
    runtime.fetch(&release).await.unwrap();
    release
}

async fn said(one_offs: &dyn OneOffs, id: OneOffId) -> Vec<String> {
    let mut lines = Vec::new();
    one_offs.follow(id, &mut |line: Line| lines.push(line.text)).await.unwrap();
    lines
}

#[tokio::test]
async fn it_has_the_new_release_and_its_environment_and_touches_no_slot() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        world.publish("v2");
        let compose = world.compose(world.folders()).compose_cli(cli);
        let (v1, v2) = (fetched(&compose, "v1").await, fetched(&compose, "v2").await);
        compose.start(Slot::Blue, &v1).await.unwrap();
        let before =
            docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &format!("{}-blue", world.name)]);

        let one_offs = compose.one_offs().unwrap();
        assert_eq!(one_offs.seen().await.unwrap(), []);
        let script = "echo \"$TOKEN in $LOCKGATE_SLOT\"; cat /www/index.html; echo broken >&2; exit 3";
        let argv = shell(script);
        let wanted = OneOff { id: id(7), slot: Slot::Green, release: &v2, argv: &argv };
        one_offs.begin(&wanted).await.unwrap();
        let mut lines = said(one_offs, id(7)).await;
        lines.sort();
        let mut all =
            ["a$b ${HOME} \"q\" in green".to_owned(), format!("{} v2", world.name), "broken".to_owned()];
        all.sort();
        assert_eq!(lines, all, "{cli:?}");
        assert_eq!(one_offs.seen().await.unwrap(), [(id(7), OneOffState::Ended(3))]);
        let refused = one_offs.begin(&wanted).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Conflict, "{refused}");

        let name = format!("lockgate-before_switch-{}", id(7).run);
        let made = "{{.HostConfig.PortBindings}}|{{.HostConfig.RestartPolicy.Name}}";
        let made = docker(&["inspect", "-f", made, &name]);
        assert!(["map[]|", "map[]|no"].contains(&made.as_str()), "{made}");
        let slots = compose.slots().await.unwrap();
        assert_eq!(slots.iter().map(|seen| seen.slot).collect::<Vec<_>>(), [Slot::Blue], "no slot has it");
        let after =
            docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &format!("{}-blue", world.name)]);
        assert_eq!(after, before, "what serves goes on");

        one_offs.end(id(7), GRACE).await.unwrap();
        one_offs.end(id(7), GRACE).await.unwrap();
        assert_eq!(one_offs.seen().await.unwrap(), []);
        // The slot that it was run for starts as ever.
        compose.start(Slot::Green, &v2).await.unwrap();
        assert_eq!(compose.slots().await.unwrap().len(), 2);
    }
}

/// Who comes later, from another machine, finds it and can end it.
#[tokio::test]
async fn it_outlives_who_began_it() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let layout = world.folders();
    let compose = world.compose(layout.clone());
    let v1 = fetched(&compose, "v1").await;
    let argv = shell("echo begun; sleep 300");
    let wanted = OneOff { id: id(8), slot: Slot::Blue, release: &v1, argv: &argv };
    compose.one_offs().unwrap().begin(&wanted).await.unwrap();
    drop(compose);
    let later = world.compose(layout);
    let one_offs = later.one_offs().unwrap();
    assert_eq!(one_offs.seen().await.unwrap(), [(id(8), OneOffState::Runs)]);
    let heard = tokio::time::timeout(std::time::Duration::from_secs(5), said(one_offs, id(8))).await;
    assert!(heard.is_err(), "it is followed until it ends");
    one_offs.end(id(8), GRACE).await.unwrap();
    assert_eq!(one_offs.seen().await.unwrap(), []);
}

#[tokio::test]
async fn a_program_that_the_image_does_not_have_is_said_and_leaves_nothing_that_runs() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders());
    let v1 = fetched(&compose, "v1").await;
    let argv = vec!["python".to_owned(), "manage.py".to_owned()];
    let wanted = OneOff { id: id(9), slot: Slot::Blue, release: &v1, argv: &argv };
    let one_offs = compose.one_offs().unwrap();
    let error = one_offs.begin(&wanted).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
    assert!(error.hints().to_string().contains("is python in the image"), "{error:?}");
    let seen = one_offs.seen().await.unwrap();
    assert!(seen.iter().all(|(_, state)| *state == OneOffState::Made), "{seen:?}");
    one_offs.end(id(9), GRACE).await.unwrap();
    wait_for("nothing left", || {
        docker(&["ps", "-aq", "--filter", &format!("name={}", id(9).run)]).is_empty()
    });
}

/// A person's program, by the commands that `exec` runs.
#[tokio::test]
async fn a_persons_program_runs_in_the_slots_container_or_in_one_of_its_own() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let compose = world.compose(world.folders()).compose_cli(cli);
        let v1 = fetched(&compose, "v1").await;
        let mut argv = shell("echo \"$1 $TOKEN $LOCKGATE_SLOT\"; exit 9");
        argv.extend(["sh", "it's $HOME"].map(str::to_owned));
        let gone = compose.entering(Slot::Blue, &argv, false).await.unwrap_err();
        assert_eq!(gone.kind, FailureKind::NotFound, "{gone}");
        compose.start(Slot::Blue, &v1).await.unwrap();
        let inside = compose.entering(Slot::Blue, &argv, false).await.unwrap();
        let beside = compose.beside(Slot::Blue, &v1, &argv, false).await.unwrap();
        for command in [inside, beside] {
            let output = world.host.exec(&command.timeout(Millis::from_secs(60))).await.unwrap();
            assert_eq!(output.code, 9, "{cli:?}: {}", output.stderr_text());
            assert_eq!(output.stdout_text(), "it's $HOME a$b ${HOME} \"q\" blue\n", "{cli:?}");
        }
        assert_eq!(compose.slots().await.unwrap().len(), 1);
        assert_eq!(compose.one_offs().unwrap().seen().await.unwrap(), []);
    }
}
