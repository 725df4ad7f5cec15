//! Daemons that are killed, and daemons that stop.

use lockgate_model::{EventKind, Incoming, Refusal, WebhookDelivery};
use lockgate_ports::Batch;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_that_was_under_way_is_brought_to_its_end_by_the_next_daemon() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let first = accepted(&queue, call("v1")).await;
    world.scripted.has_begun(1).await;
    let waiting = accepted(&queue, call("v2")).await;
    let gone = accepted(&queue, call("v0")).await;
    drop(gone);
    let last = accepted(&queue, call("v3")).await;
    assert_eq!(status(&waiting).await, DeployStatus::Superseded);
    let heard_first = soon(Box::pin(first.told(None)).next()).await.unwrap();
    world.kill(queue).await;

    world.scripted.lets_go("v1");
    let queue = world.daemon().await;
    let again = queue.ticket(first.run).await.unwrap().unwrap();
    assert_eq!(status(&again).await, DeployStatus::Deployed);
    let all = heard(&again, None).await;
    assert_eq!(all[0], heard_first, "with the number that it had");
    assert!(all.iter().any(
        |(_, told)| matches!(told, Told::Event(event) if matches!(event.kind, EventKind::Adopted { .. }))
    ));
    let last = queue.ticket(last.run).await.unwrap().unwrap();
    assert_eq!(status(&last).await, DeployStatus::Deployed);
    assert_eq!((started(&world), world.scripted.resumed()), (vec!["v1".to_owned(), "v3".to_owned()], 1));
    assert_eq!(world.scripted.runs(), [first.run, last.run]);
    // Also after a restart it is the same delivery.
    let repeated = accepted(&queue, call("v3")).await;
    assert_eq!((repeated.repeated, repeated.run), (true, last.run));
}

#[tokio::test(start_paused = true)]
async fn what_had_not_begun_is_queued_again_in_the_order_of_its_arrival() {
    let world = World::new();
    let queue = world.daemon().await;
    // Nothing is begun, for nobody answers when it is asked whether it has.
    world.scripted.journal_fails(true);
    let mut runs = Vec::new();
    for tag in ["v1", "v2", "v3", "v4"] {
        runs.push(accepted(&queue, call(tag)).await.run);
    }
    world.kill(queue).await;
    world.scripted.journal_fails(false);
    let queue = world.daemon().await;
    let mut statuses = Vec::new();
    for run in &runs {
        statuses.push(status(&queue.ticket(*run).await.unwrap().unwrap()).await);
    }
    let superseded = DeployStatus::Superseded;
    assert_eq!(statuses, [DeployStatus::Deployed, superseded, superseded, DeployStatus::Deployed]);
    assert_eq!(world.scripted.runs(), [runs[0], runs[3]]);
}

/// It was kept although its caller was told that it could not be, and the daemon died before it found that.
#[tokio::test(start_paused = true)]
async fn an_older_call_does_not_begin_behind_a_newer_one_whose_run_a_daemon_has_left() {
    let world = World::new();
    let queue = world.daemon().await;
    let older = WebhookDelivery {
        project: project(),
        endpoint: "/deploy".into(),
        id: DeliveryId::new("older"),
        body: Digest::of(b"v1"),
        at: world.now(),
        run: run(1_000),
        call: Some(call("v1")),
    };
    let incoming = Incoming { delivery: older.clone(), same_since: None, only_known: false, entry: None };
    world.store.keep(&Batch { incoming: vec![incoming], ..Batch::default() }).await.unwrap();
    world.scripted.holds("v2");
    let newer = accepted(&queue, call("v2")).await;
    world.scripted.has_begun(1).await;
    world.kill(queue).await;
    world.scripted.lets_go("v2");
    let queue = world.daemon().await;
    let told = answer(&queue.ticket(older.run).await.unwrap().unwrap()).await;
    assert_eq!(told.status, DeployStatus::Superseded, "{told:?}");
    assert_eq!(status(&queue.ticket(newer.run).await.unwrap().unwrap()).await, DeployStatus::Deployed);
    assert_eq!(world.scripted.runs(), [newer.run]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_before_its_answer_was_kept_is_answered_by_what_the_journal_has() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let ticket = accepted(&queue, named("v1", "a")).await;
    world.scripted.has_begun(1).await;
    world.store.has(StoreDay::Gone);
    world.scripted.lets_go("v1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ticket.now(), None, "nobody is told what is not kept");
    world.kill(queue).await;
    world.store.has(StoreDay::Good);
    let queue = world.daemon().await;
    let again = accepted(&queue, named("v1", "a")).await;
    assert_eq!((again.repeated, again.run), (true, ticket.run));
    assert_eq!(status(&again).await, DeployStatus::Deployed);
    assert_eq!((started(&world).len(), world.scripted.resumed()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_leaves_its_runs_and_tells_whoever_waits() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let running = accepted(&queue, call("v1")).await;
    world.scripted.has_begun(1).await;
    let waiting = accepted(&queue, call("v2")).await;
    soon(queue.leave()).await;
    for ticket in [&running, &waiting] {
        let told = answer(ticket).await;
        assert_eq!((told.status, told.run), (DeployStatus::Stopping, Some(ticket.run)));
    }
    assert_eq!(refused(&queue, call("v3")).await.status, DeployStatus::Stopping);
    assert_eq!(started(&world), ["v1"], "what waits is not begun");
    assert_eq!(world.store.unanswered(&project(), 9).await.unwrap().len(), 2, "no answer was kept");
    world.scripted.lets_go("v1");
    let queue = world.daemon().await;
    for run in [running.run, waiting.run] {
        assert_eq!(status(&queue.ticket(run).await.unwrap().unwrap()).await, DeployStatus::Deployed);
    }
    assert_eq!(started(&world), ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_without_a_word_is_looked_after_in_the_same_daemon() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let ticket = accepted(&queue, call("v1")).await;
    world.scripted.has_begun(1).await;
    world.scripted.is_killed();
    world.scripted.lets_go("v1");
    assert_eq!(status(&ticket).await, DeployStatus::Deployed);
    assert_eq!((world.scripted.resumed(), started(&world).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_by_a_daemon_that_is_going_is_waited_for_and_what_has_just_come_is_not() {
    let world = World::new();
    let old = world.daemon().await;
    world.scripted.journal_fails(true);
    let ticket = accepted(&old, call("v1")).await;
    world.kill(old).await;
    world.scripted.journal_fails(false);
    let held = Refusal::Busy {
        failure: lockgate_model::Failure::new(lockgate_model::FailureKind::Conflict, "lee deploys"),
    };
    world.scripted.ends("v1", Ending::Refused(Box::new(held.clone())));
    world.scripted.ends("v2", Ending::Refused(Box::new(held)));
    let new = world.daemon().await;
    let again = new.ticket(ticket.run).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(again.now(), None);
    let succeeded = lockgate_model::Outcome::Succeeded { warnings: Vec::new() };
    world.scripted.ends("v1", Ending::Run(succeeded));
    assert_eq!(status(&again).await, DeployStatus::Deployed);
    assert_eq!(comes_to(&new, call("v2")).await, DeployStatus::Held);
}
