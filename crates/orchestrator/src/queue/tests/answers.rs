//! What callers are told.

use lockgate_model::{EventKind, Failure, FailureKind, Outcome, Refusal, Release, SeenLive};

use super::*;

#[tokio::test(start_paused = true)]
async fn each_end_is_told_as_it_is() {
    let failure = |kind| Failure::new(kind, "it says hunter2");
    let run = |outcome| Ending::Run(outcome);
    let refused = |refusal| Ending::Refused(Box::new(refusal));
    let table = [
        (run(Outcome::RolledBack { failure: failure(FailureKind::Unhealthy) }), DeployStatus::RolledBack),
        (run(Outcome::Failed { failure: failure(FailureKind::GateFailed) }), DeployStatus::GateFailed),
        (run(Outcome::Failed { failure: failure(FailureKind::GateNotYet) }), DeployStatus::NotYet),
        (run(Outcome::Failed { failure: failure(FailureKind::Unreachable) }), DeployStatus::Failed),
        (refused(Refusal::NoImage { failure: failure(FailureKind::NotFound) }), DeployStatus::ImageNotPulled),
        (refused(Refusal::Failed { failure: failure(FailureKind::Unreachable) }), DeployStatus::Failed),
        (refused(Refusal::Busy { failure: failure(FailureKind::Conflict) }), DeployStatus::Held),
        (Ending::LiveAlready, DeployStatus::LiveAlready),
    ];
    for (ending, status) in table {
        let world = World::new();
        world.scripted.ends("v1", ending.clone());
        let queue = world.daemon().await;
        let ticket = accepted(&queue, call("v1")).await;
        let told = answer(&ticket).await;
        assert_eq!((told.status, told.run), (status, Some(ticket.run)), "{ending:?}");
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_try_again_is_heard_again_under_the_same_run_where_none_has_begun() {
    let world = World::new();
    let held = Refusal::Busy { failure: Failure::new(FailureKind::Conflict, "lee deploys") };
    world.scripted.ends("v1", Ending::Refused(Box::new(held)));
    let queue = world.daemon().await;
    let first = accepted(&queue, named("v1", "a")).await;
    let told = answer(&first).await;
    assert_eq!((told.status, told.retry_after), (DeployStatus::Held, Some(Millis::from_secs(15))));
    world.scripted.ends("v1", Ending::Run(Outcome::Succeeded { warnings: Vec::new() }));
    let again = accepted(&queue, named("v1", "a")).await;
    assert_eq!((again.repeated, again.run), (false, first.run));
    assert_eq!(status(&again).await, DeployStatus::Deployed);
    assert_eq!(world.scripted.runs(), [first.run]);
    let last = accepted(&queue, named("v1", "a")).await;
    assert_eq!((last.repeated, status(&last).await), (true, DeployStatus::Deployed));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_image_was_missing_looks_for_it_again() {
    for again in [named("v1", "a"), call("v1")] {
        let world = World::new();
        let missing = Refusal::NoImage { failure: Failure::new(FailureKind::NotFound, "no such tag") };
        world.scripted.ends("v1", Ending::Refused(Box::new(missing)));
        let queue = world.daemon().await;
        assert_eq!(comes_to(&queue, again.clone()).await, DeployStatus::ImageNotPulled);
        world.scripted.ends("v1", Ending::Run(Outcome::Succeeded { warnings: Vec::new() }));
        let ticket = accepted(&queue, again).await;
        assert_eq!((ticket.repeated, status(&ticket).await), (false, DeployStatus::Deployed));
        assert_eq!(world.scripted.runs(), [ticket.run]);
    }
}

/// Who goes back by hand makes no call, and then it is not true any more that the release is live.
#[tokio::test(start_paused = true)]
async fn a_repeated_call_is_not_said_to_be_deployed_when_something_else_is_live() {
    let world = World::new();
    let queue = world.daemon().await;
    assert_eq!(comes_to(&queue, call("v1")).await, DeployStatus::Deployed);
    assert_eq!(comes_to(&queue, call("v1")).await, DeployStatus::Deployed, "the first answer");
    let release = Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new("v0").unwrap(),
        digest: Digest::of(b"v0"),
        image: None,
        commit: None,
        provenance: None,
    };
    let environment = EnvironmentName::new("prod").unwrap();
    let seen = SeenLive { project: project(), environment, release, at: world.now(), run: None };
    world.store.saw_live(&seen).await.unwrap();
    let refused = soon(queue.submit(call("v1"))).await.err().unwrap();
    assert_eq!(refused.status, DeployStatus::Repeated);
    let error = refused.error.unwrap();
    assert!(error.message.contains("v0 is live since then"), "{error:?}");
    let anew = DeployCall { sent_at: Some(world.now()), body: Digest::of(b"v1 again"), ..call("v1") };
    assert_eq!(comes_to(&queue, anew).await, DeployStatus::Deployed);
}

#[tokio::test(start_paused = true)]
async fn where_a_gate_said_not_yet_a_name_gets_that_answer_and_a_body_another_run() {
    let world = World::new();
    let not_yet = Failure::new(FailureKind::GateNotYet, "too early");
    world.scripted.ends("v1", Ending::Run(Outcome::Failed { failure: not_yet }));
    let queue = world.daemon().await;
    let (with, without) = (named("v1", "a"), DeployCall { body: Digest::of(b"other"), ..call("v1") });
    assert_eq!(comes_to(&queue, with.clone()).await, DeployStatus::NotYet);
    assert_eq!(comes_to(&queue, without.clone()).await, DeployStatus::NotYet);
    world.scripted.ends("v1", Ending::Run(Outcome::Succeeded { warnings: Vec::new() }));
    let again = accepted(&queue, with).await;
    let told = answer(&again).await;
    assert_eq!((again.repeated, told.status), (true, DeployStatus::NotYet));
    assert_eq!(told.retry_after, Some(Millis::from_secs(60)), "also from the store");
    assert_eq!(comes_to(&queue, without).await, DeployStatus::Deployed);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_there_for_whoever_comes_later_and_after_the_end_from_the_journal() {
    let world = World::new();
    world.scripted.holds("v1");
    let waiting = Told::Waiting { owner: "lee hunter2".into(), up_to: Millis(1) };
    world.scripted.tells("v1", vec![waiting]);
    let queue = world.daemon().await;
    let ticket = accepted(&queue, call("v1")).await;
    world.scripted.has_begun(1).await;
    let mut live = Box::pin(ticket.told(None));
    let first = soon(live.next()).await.unwrap();
    assert!(matches!(&first.1, Told::Event(event) if matches!(event.kind, EventKind::RunStarted { .. })));
    let second = soon(live.next()).await.unwrap();
    assert_eq!(second.1, Told::Waiting { owner: "lee ***".into(), up_to: Millis(1) });
    world.scripted.lets_go("v1");
    answer(&ticket).await;
    let all = heard(&ticket, None).await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[..2], [first.clone(), second.clone()]);
    assert_eq!(soon(live.next()).await.as_ref(), all.last());
    assert_eq!(soon(live.next()).await, None);
    assert_eq!(heard(&ticket, Some(second.0)).await, all[2..]);
    let later = queue.ticket(ticket.run).await.unwrap().unwrap();
    assert_eq!(answer(&later).await.status, DeployStatus::Deployed);
    assert_eq!(heard(&later, Some(first.0)).await, all[2..], "the journal has events alone");
    assert!(queue.ticket(run(77)).await.unwrap().is_none());
}
