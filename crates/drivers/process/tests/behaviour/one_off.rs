//! A program that runs once beside the slots.

use lockgate_model::{FailureKind, HookMoment, RunId};
use lockgate_ports::{Line, OneOff, OneOffId, OneOffState, OneOffs};

use super::*;

fn id(number: u128) -> OneOffId {
    OneOffId { run: RunId(uuid::Uuid::from_u128(number)), moment: HookMoment::BeforeSwitch }
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

async fn said(one_offs: &dyn OneOffs, id: OneOffId) -> Vec<String> {
    let mut lines = Vec::new();
    one_offs.follow(id, &mut |line: Line| lines.push(line.text)).await.unwrap();
    lines
}

fn shape() -> Shape {
    Shape {
        env: BTreeMap::from([("TOKEN".to_owned(), Secret::new("a$b 'q'\nline two"))]),
        ..Shape::default()
    }
}

#[tokio::test]
async fn a_program_that_runs_once_has_the_slots_environment_and_is_told_to_its_end() {
    for host in [here(), elsewhere()] {
        let is_local = host.id().is_local();
        let world = World::new(host, shape());
        let release = world.runtime.resolve(&tag("v2")).await.unwrap();
        let one_offs = world.runtime.one_offs().unwrap();
        assert_eq!(one_offs.seen().await.unwrap(), []);
        let script = "echo \"$TOKEN|$LOCKGATE_SLOT|$LOCKGATE_TAG|${PORT-none}|${CARGO_MANIFEST_DIR-none}\"; pwd; sleep 0.3; echo bad >&2; exit 3";
        let argv = shell(script);
        let wanted = OneOff { id: id(7), slot: Slot::Green, release: &release, argv: &argv };
        one_offs.begin(&wanted).await.unwrap();
        let lines = said(one_offs, id(7)).await;
        let root = std::fs::canonicalize(world.root.path()).unwrap().display().to_string();
        assert_eq!(lines[0], "a$b 'q'");
        assert!(lines[1].starts_with("line two|green|v2|none|"), "{lines:?}");
        assert!(
            !is_local || lines[1].ends_with("|none"),
            "what else is in our environment is not its: {lines:?}"
        );
        assert_eq!(lines[2..], [root, "bad".to_owned()]);
        assert_eq!(one_offs.seen().await.unwrap(), [(id(7), OneOffState::Ended(3))]);
        assert_eq!(one_offs.begin(&wanted).await.unwrap_err().kind, FailureKind::Conflict);
        assert!(world.runtime.slots().await.unwrap().is_empty(), "no slot has it");
        one_offs.end(id(7), GRACE).await.unwrap();
        one_offs.end(id(7), GRACE).await.unwrap();
        assert_eq!(one_offs.seen().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_program_that_runs_once_outlives_who_began_it_and_is_ended_with_all_that_it_started() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, shape());
        let release = world.runtime.resolve(&tag("v1")).await.unwrap();
        let one_offs = world.runtime.one_offs().unwrap();
        let argv = shell("trap '' TERM; sleep 300 & echo begun; wait; wait");
        let wanted = OneOff { id: id(8), slot: Slot::Blue, release: &release, argv: &argv };
        one_offs.begin(&wanted).await.unwrap();
        assert_eq!(one_offs.seen().await.unwrap(), [(id(8), OneOffState::Runs)]);
        let heard = tokio::time::timeout(Duration::from_millis(700), said(one_offs, id(8))).await;
        assert!(heard.is_err(), "it is followed until it ends");
        one_offs.end(id(8), Millis(200)).await.unwrap();
        eventually("nothing of it runs", async || world.processes().is_empty()).await;
        assert_eq!(one_offs.seen().await.unwrap(), []);
    }
}

/// What was killed without a word has come to nothing that anybody could say.
#[tokio::test]
async fn a_program_that_vanished_is_not_seen() {
    let world = World::new(here(), shape());
    let release = world.runtime.resolve(&tag("v1")).await.unwrap();
    let one_offs = world.runtime.one_offs().unwrap();
    let argv = shell("sleep 300");
    one_offs.begin(&OneOff { id: id(9), slot: Slot::Blue, release: &release, argv: &argv }).await.unwrap();
    for pid in world.processes() {
        std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    }
    eventually("it is gone", async || one_offs.seen().await.unwrap().is_empty()).await;
    one_offs.end(id(9), GRACE).await.unwrap();
}

/// P5: it runs in the very bytes that are deployed, or not at all.
#[tokio::test]
async fn a_program_of_a_release_whose_bytes_have_changed_is_not_begun() {
    let world = World::new(here(), shape());
    let release = world.runtime.resolve(&tag("v1")).await.unwrap();
    executable(&world.root.path().join("serve-v1"), b"#!/bin/sh\n");
    let argv = shell("true");
    let wanted = OneOff { id: id(10), slot: Slot::Blue, release: &release, argv: &argv };
    let error = world.runtime.one_offs().unwrap().begin(&wanted).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
    assert_eq!(world.runtime.one_offs().unwrap().seen().await.unwrap(), []);
}
