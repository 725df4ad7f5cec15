//! Whose turn it is, and which calls are one.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_is_done_under_the_name_that_it_was_given_and_answered() {
    let world = World::new();
    let queue = world.daemon().await;
    let ticket = accepted(&queue, call("v1")).await;
    assert!(!ticket.repeated);
    let told = answer(&ticket).await;
    assert_eq!((told.status, told.run), (DeployStatus::Deployed, Some(ticket.run)));
    assert_eq!(told.release.as_ref().unwrap().tag.as_str(), "v1");
    assert_eq!(told.dark_ms, Some(0));
    assert_eq!((world.scripted.runs(), started(&world)), (vec![ticket.run], vec!["v1".to_owned()]));
    assert_eq!(world.scripted.requesters(), [call("v1").requester]);
    let (_, kept) = world.store.delivery_of(&project(), ticket.run).await.unwrap().unwrap();
    let kept = kept.unwrap();
    assert_eq!((kept.status, kept.live), (200, Some(Digest::of(b"v1"))));
    let counts = queue.counts();
    assert_eq!((counts.accepted, counts.running, counts.waiting), (1, 0, 0));
    assert_eq!(counts.ended.get(&DeployStatus::Deployed), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn one_runs_one_waits_and_a_newer_one_takes_the_place_of_the_one_that_waits() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let mut tickets = Vec::new();
    for tag in ["v1", "v2", "v3", "v4"] {
        tickets.push(accepted(&queue, call(tag)).await);
        world.scripted.has_begun(1).await;
    }
    let superseded = answer(&tickets[1]).await;
    assert_eq!(superseded.status, DeployStatus::Superseded);
    assert_eq!(superseded.run, Some(tickets[1].run));
    let error = superseded.error.unwrap();
    assert!(error.hints[0].contains(&tickets[2].run.to_string()), "{error:?}");
    assert_eq!(status(&tickets[2]).await, DeployStatus::Superseded);
    assert_eq!((queue.counts().running, queue.counts().waiting), (1, 1));
    assert!(tickets[0].now().is_none() && tickets[3].now().is_none());
    world.scripted.lets_go("v1");
    assert_eq!(status(&tickets[3]).await, DeployStatus::Deployed);
    assert_eq!(status(&tickets[0]).await, DeployStatus::Deployed);
    assert_eq!(started(&world), ["v1", "v4"], "a superseded one makes no run");
}

#[tokio::test(start_paused = true)]
async fn services_and_environments_do_not_wait_for_one_another() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let web = accepted(&queue, call("v1")).await;
    let api = DeployCall { service: ServiceName::new("api").unwrap(), ..call("v2") };
    let test = DeployCall { environment: EnvironmentName::new("test").unwrap(), ..call("v3") };
    assert_eq!(comes_to(&queue, api).await, DeployStatus::Deployed);
    assert_eq!(comes_to(&queue, test).await, DeployStatus::Deployed);
    assert!(web.now().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_same_delivery_joins_the_run_under_way_and_gets_the_first_answer_afterwards() {
    for first in [call("v1"), named("v1", "a")] {
        let world = World::new();
        world.scripted.holds("v1");
        let queue = world.daemon().await;
        let (one, other) = tokio::join!(queue.submit(first.clone()), queue.submit(first.clone()));
        let tickets = [one.unwrap(), other.unwrap()];
        assert_eq!(tickets.iter().filter(|ticket| ticket.repeated).count(), 1);
        assert_eq!(tickets[0].run, tickets[1].run);
        world.scripted.lets_go("v1");
        let answers = [answer(&tickets[0]).await, answer(&tickets[1]).await];
        assert_eq!(answers[0], answers[1]);
        let again = accepted(&queue, first).await;
        assert_eq!(
            (again.repeated, again.run, answer(&again).await),
            (true, tickets[0].run, answers[0].clone())
        );
        assert_eq!(started(&world).len(), 1);
        assert_eq!(queue.counts().repeated, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_at_once_make_two_runs_in_the_order_of_their_arrival() {
    let world = World::new();
    world.scripted.holds("v000");
    let queue = world.daemon().await;
    let calls = (0..100).map(|number| queue.submit(call(&format!("v{number:03}"))));
    let tickets: Vec<Ticket> =
        futures_util::future::join_all(calls).await.into_iter().map(Result::unwrap).collect();
    world.scripted.lets_go("v000");
    let mut statuses = Vec::new();
    for ticket in &tickets {
        statuses.push(status(ticket).await);
    }
    let deployed = statuses.iter().filter(|status| **status == DeployStatus::Deployed).count();
    let superseded = statuses.iter().filter(|status| **status == DeployStatus::Superseded).count();
    assert_eq!((deployed, superseded), (2, 98));
    assert_eq!(started(&world), ["v000", "v099"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_body_after_another_call_is_refused_unless_it_has_a_name() {
    let world = World::new();
    let queue = world.daemon().await;
    assert_eq!(comes_to(&queue, call("v1")).await, DeployStatus::Deployed);
    assert_eq!(comes_to(&queue, call("v2")).await, DeployStatus::Deployed);
    let repeated = refused(&queue, call("v1")).await;
    assert_eq!(repeated.status, DeployStatus::Repeated);
    assert!(repeated.error.unwrap().hints[0].contains("add `sent_at`"));
    assert!(!accepted(&queue, named("v1", "a")).await.repeated);
    // With another body, such as one that says `force`.
    let forced =
        DeployCall { body: Digest::of(b"forced"), force: true, sent_at: Some(world.now()), ..call("v1") };
    let first = accepted(&queue, forced.clone()).await;
    assert!(!first.repeated);
    assert_eq!(accepted(&queue, forced).await.run, first.run, "sent again, it is the same");
    world.later(Millis::from_secs(601));
    assert!(!accepted(&queue, call("v2")).await.repeated, "long ago");
}

#[tokio::test(start_paused = true)]
async fn an_id_with_another_body_is_refused() {
    let world = World::new();
    let queue = world.daemon().await;
    assert_eq!(comes_to(&queue, named("v1", "a")).await, DeployStatus::Deployed);
    assert_eq!(refused(&queue, named("v2", "a")).await.status, DeployStatus::Differs);
    assert_eq!(started(&world), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_from_another_time_is_refused_unless_it_is_known() {
    let world = World::new();
    let queue = world.daemon().await;
    let sent = |tag: &str, at: i64| DeployCall { sent_at: Some(Timestamp(at)), ..named(tag, tag) };
    for (tag, at) in [("v1", NOON - 300_001), ("v2", NOON + 300_001), ("v3", i64::MIN), ("v4", i64::MAX)] {
        let stale = refused(&queue, sent(tag, at)).await;
        assert_eq!(stale.status, DeployStatus::BadRequest, "{tag}");
        assert!(stale.error.unwrap().hints[0].contains("clock"));
    }
    assert!(world.store.deliveries(&project(), 9).await.unwrap().is_empty(), "nothing was let in");
    let good = sent("v5", NOON - 300_000);
    assert_eq!(comes_to(&queue, good.clone()).await, DeployStatus::Deployed);
    world.later(Millis::from_secs(86_400));
    let again = accepted(&queue, good).await;
    assert_eq!((again.repeated, status(&again).await), (true, DeployStatus::Deployed));
    let unforced = DeployCall { force: true, ..call("v6") };
    assert_eq!(refused(&queue, unforced).await.status, DeployStatus::BadRequest);
    assert_eq!(started(&world), ["v5"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_commit_than_the_live_one_is_refused_unless_it_is_forced() {
    let world = World::new();
    let queue = world.daemon().await;
    let made = |tag: &str, at: i64| DeployCall { committed_at: Some(Timestamp(at)), ..call(tag) };
    assert_eq!(comes_to(&queue, made("v2", 20)).await, DeployStatus::Deployed);
    let release = |tag: &str| lockgate_model::Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::of(tag.as_bytes()),
        image: None,
        commit: None,
        provenance: None,
    };
    let live = async |tag: &str, at: i64| {
        let seen = lockgate_model::SeenLive {
            project: project(),
            environment: EnvironmentName::new("prod").unwrap(),
            release: release(tag),
            at: Timestamp(at),
            run: None,
        };
        world.store.saw_live(&seen).await.unwrap();
    };
    live("v2", 1).await;
    let older = answer(&accepted(&queue, made("v1", 10)).await).await;
    assert_eq!(older.status, DeployStatus::Older);
    assert!(older.error.unwrap().message.contains("that of v2, which is live"));
    assert_eq!(comes_to(&queue, made("v2b", 20)).await, DeployStatus::Deployed, "as old as it");
    let forced = DeployCall { force: true, sent_at: Some(world.now()), ..made("v0", 5) };
    assert_eq!(comes_to(&queue, forced).await, DeployStatus::Deployed);
    // Somebody has gone back to what no call has made live.
    live("v0x", 2).await;
    assert_eq!(comes_to(&queue, made("v0c", 6)).await, DeployStatus::Deployed);
    assert_eq!(started(&world), ["v2", "v2b", "v0", "v0c"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_commit_does_not_take_the_place_of_a_newer_one_that_waits() {
    let world = World::new();
    world.scripted.holds("v1");
    let queue = world.daemon().await;
    let made = |tag: &str, at: i64| DeployCall { committed_at: Some(Timestamp(at)), ..call(tag) };
    let running = accepted(&queue, made("v1", 1)).await;
    world.scripted.has_begun(1).await;
    let newer = accepted(&queue, made("v3", 30)).await;
    assert_eq!(comes_to(&queue, made("v2", 20)).await, DeployStatus::Older);
    world.scripted.lets_go("v1");
    assert_eq!(status(&newer).await, DeployStatus::Deployed);
    assert_eq!(status(&running).await, DeployStatus::Deployed);
    assert_eq!(started(&world), ["v1", "v3"]);
}
