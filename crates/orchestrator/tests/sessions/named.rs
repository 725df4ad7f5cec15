//! Runs that whoever asks for them has named before they begin.

use lockgate_model::{EventKind, Refusal, RunId};
use lockgate_orchestrator::Orchestrator;

use crate::scene::{Scene, deploy, kim};

fn name(number: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number << 64))
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_named_has_that_name_and_begins_once() {
    let scene = Scene::new();
    let want = deploy("v1").named(name(1));
    let report = scene.orchestrator.start(&want, &kim()).await.unwrap().end().await.unwrap();
    assert_eq!((report.run, report.outcome.as_str()), (Some(name(1)), "succeeded"));
    // Also where what is wanted is live, and where it would have to be done again.
    for tag in ["v1", "v2"] {
        let again = deploy(tag).named(name(1));
        let refusal = scene.orchestrator.start(&again, &kim()).await.unwrap().end().await.unwrap_err();
        assert!(matches!(refusal, Refusal::BegunBefore { run, .. } if run == name(1)), "{refusal:?}");
        assert_eq!(refusal.exit().code(), 1);
    }
    assert_eq!(scene.live().as_deref(), Some("v1"));
    let report = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap().end().await.unwrap();
    assert_eq!(report.outcome.as_str(), "succeeded", "the lease was given back");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_named_and_cut_off_is_brought_to_its_end_by_asking_for_it_again() {
    for journal_is_lost in [false, true] {
        let scene = Scene::new();
        scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
        scene.door.shut();
        let want = deploy("v2").named(name(7));
        let mut first = scene.orchestrator.start(&want, &kim()).await.unwrap();
        scene.door.is_met_by(1).await;
        first.stop.leave();
        first.end().await.unwrap_err();
        drop(first);
        scene.door.open();
        if journal_is_lost {
            scene.journal.forget(name(7));
        }
        let report = scene.orchestrator.start(&want, &kim()).await.unwrap().end().await.unwrap();
        assert_eq!((report.run, report.outcome.as_str()), (Some(name(7)), "succeeded"), "{journal_is_lost}");
        assert_eq!(report.plan.release.tag.as_str(), "v2");
        assert_eq!(scene.live().as_deref(), Some("v2"));
        let events = scene.orchestrator.events_of(name(7)).await.unwrap();
        let began = events.iter().filter(|event| matches!(event.kind, EventKind::RunStarted { .. })).count();
        assert!(began <= 1, "{events:?}");
        assert!(matches!(events.last().unwrap().kind, EventKind::RunEnded { .. }), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_tag_is_not_there_is_told_apart_from_other_failures() {
    let scene = Scene::new();
    let want = deploy("v9").named(name(1));
    let refusal = scene.orchestrator.start(&want, &kim()).await.unwrap().end().await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoImage { .. }), "{refusal:?}");
    assert_eq!(refusal.exit().code(), 1);
    assert_eq!(scene.orchestrator.events_of(name(1)).await.unwrap(), [], "nothing has begun");
}
