//! A daemon that takes another one's place while that still has runs.

use tokio::sync::oneshot;

use super::*;

impl World {
    /// A successor, and what gives it the turn.
    fn successor(&self) -> (Queue, oneshot::Sender<()>) {
        let (give, turn) = oneshot::channel();
        let turn = Box::pin(async move { drop(turn.await) });
        (Queue::open_before(self.parts(), turn), give)
    }
}

/// Of the queue, a moment later: what can begin has begun.
async fn nothing_begins(world: &World, begun: usize) {
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(started(world).len(), begun);
}

/// A daemon that has `v1` under way, which is held, and `v2` waiting.
async fn half_way(world: &World) -> (Queue, Ticket, Ticket) {
    world.scripted.holds("v1");
    let old = world.daemon().await;
    let running = accepted(&old, call("v1")).await;
    world.scripted.has_begun(1).await;
    let waiting = accepted(&old, call("v2")).await;
    (old, running, waiting)
}

#[tokio::test(start_paused = true)]
async fn it_keeps_calls_at_once_and_begins_them_when_the_other_has_ended_its_own() {
    let world = World::new();
    let (old, running, waiting) = half_way(&world).await;

    let (new, give) = world.successor();
    let kept = accepted(&new, call("v3")).await;
    let newest = accepted(&new, call("v4")).await;
    assert_eq!(status(&kept).await, DeployStatus::Superseded, "of what waits here the newest stays");
    // The other's are known, and nothing gives way to them.
    let seen = new.ticket(running.run).await.unwrap().unwrap();
    let again = accepted(&new, call("v2")).await;
    assert_eq!((again.repeated, again.run, again.now()), (true, waiting.run, None));
    assert_eq!((seen.now(), newest.now()), (None, None));
    nothing_begins(&world, 1).await;

    world.scripted.lets_go("v1");
    assert_eq!(status(&running).await, DeployStatus::Deployed);
    assert_eq!(status(&waiting).await, DeployStatus::Deployed, "the old daemon ends what it accepted");
    assert_eq!((old.counts().running, old.counts().waiting), (0, 0));
    nothing_begins(&world, 2).await;

    give.send(()).unwrap();
    assert_eq!(status(&newest).await, DeployStatus::Deployed);
    for ticket in [&seen, &again] {
        assert_eq!(status(ticket).await, DeployStatus::Deployed, "as the old daemon has kept it");
    }
    assert_eq!(started(&world), ["v1", "v2", "v4"]);
    assert_eq!(world.scripted.runs(), [running.run, waiting.run, newest.run]);
    assert_eq!(comes_to(&new, call("v5")).await, DeployStatus::Deployed);
}

#[tokio::test(start_paused = true)]
async fn what_the_other_has_left_is_taken_up_before_what_was_kept_meanwhile() {
    let world = World::new();
    let (old, running, waiting) = half_way(&world).await;
    let (new, give) = world.successor();
    let kept = accepted(&new, call("v3")).await;
    // Somebody has no time for the old one's end.
    soon(old.leave()).await;
    world.scripted.lets_go("v1");
    nothing_begins(&world, 1).await;
    give.send(()).unwrap();
    assert_eq!(status(&kept).await, DeployStatus::Deployed);
    let told = |run| {
        let new = &new;
        async move { status(&new.ticket(run).await.unwrap().unwrap()).await }
    };
    assert_eq!(told(running.run).await, DeployStatus::Deployed);
    assert_eq!(told(waiting.run).await, DeployStatus::Superseded, "by the one that came after it");
    assert_eq!((started(&world), world.scripted.resumed()), (vec!["v1".to_owned(), "v3".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_when_the_turn_comes_is_waited_for() {
    let world = World::new();
    let (new, give) = world.successor();
    let kept = accepted(&new, call("v1")).await;
    world.store.has(StoreDay::Gone);
    give.send(()).unwrap();
    nothing_begins(&world, 0).await;
    world.store.has(StoreDay::Good);
    assert_eq!(status(&kept).await, DeployStatus::Deployed);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stopped_before_its_turn_leaves_what_it_kept() {
    let world = World::new();
    let (new, _give) = world.successor();
    let kept = accepted(&new, call("v1")).await;
    soon(new.leave()).await;
    assert_eq!(status(&kept).await, DeployStatus::Stopping);
    let next = world.daemon().await;
    assert_eq!(status(&next.ticket(kept.run).await.unwrap().unwrap()).await, DeployStatus::Deployed);
    assert_eq!(world.scripted.runs(), [kept.run]);
}
