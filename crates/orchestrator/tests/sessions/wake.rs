//! After a reboot: what was live on this host runs again, and nothing else.

use std::time::Duration;

use lockgate_model::{By, Leftover, Outcome, Refusal, Requester};
use lockgate_orchestrator::{Orchestrator, Woken};

use crate::scene::{Scene, deploy, kim};

/// Virtual time; less than an engine is waited for.
const ENGINE_COMES_SECONDS: u64 = 60;

fn daemon() -> Requester {
    Requester::new(By::Person, "lockgate serve")
}

async fn deployed(scene: &Scene, tag: &str) {
    let report = scene.orchestrator.start(&deploy(tag), &kim()).await.unwrap().end().await.unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded { warnings: Vec::new() });
}

/// The one service in the one environment that has a slot here.
async fn woken(scene: &Scene) -> Woken {
    let mut all = scene.orchestrator.wake(&daemon()).await;
    assert_eq!(all.len(), 1, "one that is only checked has nothing to bring back: {all:?}");
    all.remove(0)
}

#[tokio::test(start_paused = true)]
async fn what_was_live_runs_again_and_nothing_else() {
    let scene = Scene::here();
    deployed(&scene, "v1").await;
    deployed(&scene, "v2").await;
    scene.lose_power();
    assert_eq!(scene.live(), None);
    let woken = woken(&scene).await;
    assert!(woken.is_well(), "{woken:?}");
    assert_eq!(woken.said(), "web in prod: the live release: succeeded");
    assert_eq!((scene.live().as_deref(), scene.running()), (Some("v2"), vec!["v2 in blue".to_owned()]));
    let resumed = woken.end.unwrap().unwrap();
    assert_eq!(resumed.ended.iter().map(|end| end.what).collect::<Vec<_>>(), [Leftover::Died]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_live_and_where_all_is_well_nothing_is_touched() {
    let scene = Scene::here();
    let before = scene.world();
    let first = woken(&scene).await;
    assert_eq!((first.is_well(), first.said().as_str()), (true, "web in prod: nothing was live there yet"));
    assert_eq!(scene.world(), before, "not so much as a folder is made");
    deployed(&scene, "v1").await;
    let before = scene.world();
    let second = woken(&scene).await;
    assert_eq!((second.is_well(), second.said().as_str()), (true, "web in prod: as it should be"));
    assert_eq!(scene.world(), before, "no lease is taken");
}

#[tokio::test(start_paused = true)]
async fn another_machines_slots_are_its_own() {
    let scene = Scene::new();
    deployed(&scene, "v1").await;
    scene.lose_power();
    let before = scene.world();
    assert_eq!(scene.orchestrator.wake(&daemon()).await.len(), 0);
    assert_eq!(scene.world(), before);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_is_brought_to_its_end() {
    let scene = Scene::here();
    deployed(&scene, "v1").await;
    scene.door.shut();
    let mut left = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    left.stop.leave();
    left.end().await.unwrap_err();
    let run = left.run.now();
    drop(left);
    scene.door.is_met_by(0).await;
    scene.door.open();
    scene.lose_power();
    let woken = woken(&scene).await;
    assert!(woken.is_well(), "{woken:?}");
    let resumed = woken.end.unwrap().unwrap();
    assert_eq!((resumed.ended[0].what, Some(resumed.ended[0].run)), (Leftover::CutOff, run));
    assert_eq!(scene.running().len(), 1, "{:?}", scene.running());
    assert!(scene.live().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_up_beside_us_is_waited_for_and_one_that_does_not_is_told() {
    let scene = Scene::here();
    deployed(&scene, "v1").await;
    scene.lose_power();
    scene.door.silent(true);
    let late = async {
        tokio::time::sleep(Duration::from_secs(ENGINE_COMES_SECONDS)).await;
        scene.door.silent(false);
    };
    let (first, ()) = tokio::join!(woken(&scene), late);
    assert!(first.is_well(), "{first:?}");
    assert_eq!(scene.live().as_deref(), Some("v1"));

    scene.lose_power();
    scene.door.silent(true);
    let second = woken(&scene).await;
    assert!(!second.is_well());
    let said = second.said();
    assert!(
        said.starts_with("web in prod: not brought back: ") && said.contains("does not answer"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_person_goes_on_waiting() {
    let scene = Scene::here();
    deployed(&scene, "v1").await;
    scene.door.broken(true);
    let report = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap().end().await.unwrap();
    assert!(matches!(report.outcome, Outcome::Stuck(_)), "{report:?}");
    scene.door.broken(false);
    let before = scene.world();
    let first = woken(&scene).await;
    let Err(Refusal::Failed { failure }) = &first.end else { panic!("{first:?}") };
    assert!(failure.message.contains("waits for a person"), "{failure}");
    assert!(failure.hints.to_string().contains("lockgate --env prod resume web"), "{failure:?}");
    assert_eq!(scene.world(), before);

    // But not over a dark site: what could not be undone is tried once more.
    scene.lose_power();
    let second = woken(&scene).await;
    assert_eq!(scene.live().as_deref(), Some("v1"), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_is_at_work_on_it_is_left_alone() {
    let scene = Scene::here();
    deployed(&scene, "v1").await;
    scene.door.shut();
    let mut working = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    let woken = woken(&scene).await;
    assert!(woken.is_well(), "{woken:?}");
    scene.door.open();
    assert_eq!(working.end().await.unwrap().outcome, Outcome::Succeeded { warnings: Vec::new() });
    assert_eq!(scene.live().as_deref(), Some("v2"));
}
