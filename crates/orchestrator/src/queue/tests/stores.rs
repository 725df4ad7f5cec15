//! A store that is slow, full or gone.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_kept_is_refused_and_may_be_sent_again() {
    for (day, kind) in [(StoreDay::Gone, "unreachable"), (StoreDay::Full, "disk_full")] {
        let world = World::new();
        let queue = world.daemon().await;
        world.store.has(day);
        let told = refused(&queue, named("v1", "a")).await;
        assert_eq!((told.status, told.status.http()), (DeployStatus::Unavailable, 503));
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.contains(kind), "{text}");
        assert!(told.retry_after.is_some());
        world.store.has(StoreDay::Good);
        assert_eq!(comes_to(&queue, named("v1", "a")).await, DeployStatus::Deployed);
        assert_eq!(queue.counts().store_failures, 1);
    }
}

/// Returns when every call has its answer.
async fn all_are_answered(world: &World) {
    let answered = async {
        while !world.store.unanswered(&project(), 9).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(answered).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_kept_although_nobody_said_so_is_done_once() {
    let world = World::new();
    let queue = world.daemon().await;
    world.store.has(StoreDay::AnswerLost);
    assert_eq!(refused(&queue, named("v1", "a")).await.status, DeployStatus::Unavailable);
    world.store.has(StoreDay::Good);
    let again = accepted(&queue, named("v1", "a")).await;
    assert_eq!((again.repeated, status(&again).await), (true, DeployStatus::Deployed));
    world.store.has(StoreDay::AnswerLost);
    assert_eq!(refused(&queue, call("v2")).await.status, DeployStatus::Unavailable);
    // It is found although nobody asks for it again.
    world.store.has(StoreDay::Good);
    refused(&queue, named("v9", "a")).await;
    all_are_answered(&world).await;
    assert_eq!(started(&world), ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_found_after_a_newer_one_has_had_its_turn_is_too_late() {
    let world = World::new();
    let queue = world.daemon().await;
    world.store.has(StoreDay::AnswerLost);
    refused(&queue, named("v1", "a")).await;
    world.store.has(StoreDay::Good);
    assert_eq!(comes_to(&queue, named("v2", "b")).await, DeployStatus::Deployed);
    all_are_answered(&world).await;
    assert_eq!(comes_to(&queue, named("v1", "a")).await, DeployStatus::Superseded);
    assert_eq!(started(&world), ["v2"]);
    // Also where the daemon died before it found it.
    world.store.has(StoreDay::AnswerLost);
    refused(&queue, named("v3", "c")).await;
    world.store.has(StoreDay::Good);
    world.scripted.holds("v4");
    accepted(&queue, named("v4", "d")).await;
    world.scripted.has_begun(2).await;
    world.kill(queue).await;
    world.scripted.lets_go("v4");
    let queue = world.daemon().await;
    all_are_answered(&world).await;
    assert_eq!(comes_to(&queue, named("v3", "c")).await, DeployStatus::Superseded);
    assert_eq!(comes_to(&queue, named("v4", "d")).await, DeployStatus::Deployed);
    assert_eq!(started(&world), ["v2", "v4"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_holds_nothing_up_but_what_it_keeps() {
    let world = World::new();
    let queue = world.daemon().await;
    world.store.has(StoreDay::Slow(Millis::from_secs(10)));
    let began = tokio::time::Instant::now();
    let calls = (0..100).map(|number| queue.submit(call(&format!("v{number}"))));
    let tickets: Vec<Ticket> =
        soon(futures_util::future::join_all(calls)).await.into_iter().map(Result::unwrap).collect();
    assert!(began.elapsed() <= Duration::from_secs(20), "they are kept together: {:?}", began.elapsed());
    for ticket in &tickets {
        answer(ticket).await;
    }
    assert_eq!(started(&world), ["v0", "v99"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_can_wait_is_told_so() {
    let world = World::new();
    let queue = world.daemon().await;
    world.store.has(StoreDay::Slow(Millis::from_secs(10)));
    let calls = (0..2_000).map(|number| queue.submit(call(&format!("v{number}"))));
    let came = soon(futures_util::future::join_all(calls)).await;
    let refused: Vec<DeployStatus> = came.into_iter().filter_map(Result::err).map(|one| one.status).collect();
    assert!(refused.len() > 500 && refused.iter().all(|one| *one == DeployStatus::TooMany), "{refused:?}");
    assert_eq!(queue.counts().refused.get(&DeployStatus::TooMany), Some(&(refused.len() as u64)));
}
