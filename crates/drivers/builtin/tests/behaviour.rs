//! The built-in router against the real proxy, in this process and as a process of its own.

mod support;

use std::time::{Duration, Instant};

use lockgate_builtin::BuiltinOptions;
use lockgate_model::{FailureKind, HoldBounds, Millis, Slot, Split};
use lockgate_ports::conformance::router::{RouterFixture, holding_within_bounds, suite};
use lockgate_ports::{CheckState, Owner, Request, Route, Router};
use lockgate_proxy::{ProxyConfig, ProxyHandle, start};
use support::{Reaper, World, example, free_address, launch_by_example};

const WAIT_SECONDS_MAX: u64 = 10;
const HOLD: HoldBounds = HoldBounds { time: Millis::from_secs(60), requests_max: 10 };

/// A world with a proxy that runs in this process.
async fn with_proxy(change: impl FnOnce(&mut BuiltinOptions)) -> (World, ProxyHandle) {
    let dir = tempfile::tempdir().unwrap();
    let config = ProxyConfig::new(dir.path().join("proxy")).listen(["127.0.0.1:0".parse().unwrap()]);
    let proxy = start(config).await.unwrap();
    let listen = proxy.addresses()[0].to_string();
    (World::new(dir, listen, change).await, proxy)
}

async fn switch(world: &World, slot: Slot) {
    let version = world.router.route().await.unwrap().version;
    world.router.set(&Split::all_to(world.upstream(slot)), &version).await.unwrap();
}

fn ask(path: &str) -> Request {
    Request::get(path, Millis::from_secs(5))
}

#[tokio::test]
async fn it_passes_the_suite() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    suite(&world).await;
}

#[tokio::test]
async fn it_holds_within_bounds() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    holding_within_bounds(&world).await;
}

#[tokio::test]
async fn without_a_route_there_is_nothing_to_hold() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    world.router.hold(&HOLD).await.unwrap();
    assert_eq!(world.router.route().await.unwrap(), Route::default());
    world.router.let_go().await.unwrap();
    // And without a proxy none is started for it.
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), launch_by_example).await;
    world.router.hold(&HOLD).await.unwrap();
    world.router.let_go().await.unwrap();
    assert!(!world.folder().exists());
}

#[tokio::test]
async fn a_hold_outlives_the_proxys_death() {
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), launch_by_example).await;
    let reaper = Reaper(world.folder());
    switch(&world, Slot::Blue).await;
    world.router.hold(&HOLD).await.unwrap();
    reaper.kill();
    let limit = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
    while world.router.route().await.is_ok() {
        assert!(Instant::now() < limit, "it still answers");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = world.router.let_go().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "a route that nobody serves cannot be let go: {error}");
    world.router.revive().await.unwrap();
    assert!(world.router.route().await.unwrap().held);
    let (asked, let_go) = (ask("/slot"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.router.let_go().await
    });
    let (answer, let_go) = tokio::join!(world.router.ask(&asked), let_go);
    let_go.unwrap();
    assert_eq!(answer.unwrap().answer.text(), "blue");
    assert!(!world.router.route().await.unwrap().held);
}

/// One that was started before this program was brought up to date.
#[tokio::test]
async fn a_proxy_that_is_too_old_to_hold_is_to_be_upgraded() {
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), |_| ()).await;
    std::fs::create_dir_all(world.folder()).unwrap();
    let socket = tokio::net::UnixListener::bind(world.folder().join("admin.sock")).unwrap();
    let old = tokio::spawn(support::old_proxy(socket));
    let error = world.router.hold(&HOLD).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(error.message.contains("is older than this Lockgate and cannot hold requests"), "{error}");
    let hint = format!("lockgate proxy --upgrade --dir {}", world.folder().display());
    assert!(error.hints().first().is_some_and(|found| found.ends_with(&hint)), "{error:?}");
    // What it cannot hold it need not let go.
    world.router.let_go().await.unwrap();
    old.abort();
}

#[tokio::test]
async fn every_answer_says_which_release_gave_it() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    switch(&world, Slot::Green).await;
    let seen = world.router.ask(&ask("/")).await.unwrap();
    assert_eq!(seen.slot, Some(Slot::Green));
    let digest = world.upstream(Slot::Green).release.digest;
    assert_eq!(seen.release.as_deref(), Some(digest.as_str()));
}

#[tokio::test]
async fn it_asks_within_its_own_hosts_and_path() {
    let (world, _proxy) = with_proxy(|options| {
        options.hosts = vec!["shop.example".into(), "www.shop.example".into()];
        options.path = Some("/api".into());
    })
    .await;
    switch(&world, Slot::Blue).await;
    for (asked, wanted) in [("/health", "/api/health"), ("/api/health", "/api/health"), ("/", "/api/")] {
        let seen = world.router.ask(&ask(asked)).await.unwrap();
        assert_eq!((seen.answer.status, seen.slot), (200, Some(Slot::Blue)), "{asked}");
        assert_eq!(seen.answer.header("x-path"), Some(wanted));
    }
    // Of the names that users have only its own lead to it.
    for host in ["www.shop.example", "other.example"] {
        let seen = world.router.ask(&ask("/health").header("host", host)).await.unwrap();
        assert_eq!((seen.answer.status, seen.slot), (200, Some(Slot::Blue)), "{host}");
    }
}

#[tokio::test]
async fn the_route_gets_what_the_configuration_says_of_it() {
    let (world, proxy) = with_proxy(|options| {
        options.response_timeout = Some(Millis::from_secs(300));
        options.stall_timeout = Some(Millis::from_secs(120));
        options.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    switch(&world, Slot::Blue).await;
    let stored = std::fs::read(world.folder().join("routes.json")).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    let route = &stored["routes"][0]["spec"];
    assert_eq!(route["response_timeout_ms"], 300_000, "{stored:#}");
    assert_eq!(route["stall_timeout_ms"], 120_000, "{stored:#}");
    assert_eq!(route["trusted_proxies"], serde_json::json!(["10.0.0.0/8"]), "{stored:#}");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_route_that_another_service_has_is_refused_and_not_a_race() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    switch(&world, Slot::Blue).await;
    let listen = world.listen.clone();
    let other = World::new(world.dir, listen, |options| options.route_id = "shop-api-prod".into()).await;
    let route = other.router.route().await.unwrap();
    assert_eq!(route, Route::default(), "another service's route is not this one's");
    let error =
        other.router.set(&Split::all_to(other.upstream(Slot::Blue)), &route.version).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(!error.hints().is_empty() && error.message.contains("shop-web-prod"), "{error}");
}

#[tokio::test]
async fn a_switch_whose_answer_was_lost_can_be_asked_for_again() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    let before = world.router.route().await.unwrap().version;
    world.router.set(&Split::all_to(world.upstream(Slot::Blue)), &before).await.unwrap();
    world.router.set(&Split::all_to(world.upstream(Slot::Blue)), &before).await.unwrap();
    let error = world.router.set(&Split::all_to(world.upstream(Slot::Green)), &before).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict);
}

#[tokio::test]
async fn withdrawing_takes_the_route_away_or_points_it_elsewhere() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    switch(&world, Slot::Green).await;
    let dial = world.upstream(Slot::Blue).endpoint.to_string();
    let live = world.router.route().await.unwrap();
    world.router.withdraw(Some(&dial), &live.version).await.unwrap();
    let outside = world.router.route().await.unwrap();
    assert_eq!((outside.only(), outside.dial.as_deref()), (None, Some(dial.as_str())));
    assert_eq!(world.router.withdraw(None, &live.version).await.unwrap_err().kind, FailureKind::Conflict);
    for time in ["once", "twice"] {
        let withdrawn = world.router.withdraw(None, &outside.version).await;
        withdrawn.unwrap_or_else(|error| panic!("{time}: {error}"));
        assert_eq!(world.router.route().await.unwrap(), Route::default());
    }
}

#[tokio::test]
async fn looking_starts_nothing() {
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), launch_by_example).await;
    assert_eq!(world.router.route().await.unwrap(), Route::default());
    assert_eq!(world.router.in_flight(Slot::Blue).await.unwrap().requests, 0);
    world.router.withdraw(None, &Route::default().version).await.unwrap();
    assert_eq!(world.router.ask(&ask("/")).await.unwrap_err().kind, FailureKind::Unreachable);
    let checks = world.router.check().await;
    assert!(checks.iter().all(|one| one.state == CheckState::Ok), "{checks:?}");
    assert!(!world.folder().exists());
}

#[tokio::test]
async fn the_first_switch_starts_the_proxy_and_an_upgrade_replaces_it() {
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), launch_by_example).await;
    let reaper = Reaper(world.folder());
    switch(&world, Slot::Blue).await;
    assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "blue");
    assert_eq!(reaper.processes().len(), 1);
    let environ = std::fs::read_to_string(format!("/proc/{}/environ", reaper.processes()[0])).unwrap();
    assert!(environ.contains("PATH=") && !environ.contains("CARGO_"), "only what it needs: {environ}");

    let held = world.hold_request().await;
    world.router.upgrade(&example()).await.unwrap();
    assert_eq!(
        world.router.in_flight(Slot::Blue).await.unwrap().requests,
        1,
        "the old process still has one"
    );
    switch(&world, Slot::Green).await;
    assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "green");
    assert_eq!(held.finish().await.as_deref(), Ok("blue"));
    all_well_but_no_supervisor(&world).await;
}

/// The example that is launched has none, and that is said.
async fn all_well_but_no_supervisor(world: &World) {
    let checks = world.router.check().await;
    let (supervisor, others): (Vec<_>, Vec<_>) =
        checks.iter().partition(|one| one.what == "proxy supervisor");
    assert!(others.iter().all(|one| one.state == CheckState::Ok), "{checks:?}");
    assert_eq!(supervisor.iter().map(|one| one.state).collect::<Vec<_>>(), [CheckState::Warn], "{checks:?}");
}

#[tokio::test]
async fn a_proxy_that_died_with_our_route_is_an_error_that_says_how_to_start_it() {
    let world = World::new(tempfile::tempdir().unwrap(), free_address(), launch_by_example).await;
    let reaper = Reaper(world.folder());
    switch(&world, Slot::Blue).await;
    let live = world.router.route().await.unwrap();
    reaper.kill();
    let limit = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
    let error = loop {
        match world.router.route().await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < limit, "it still answers"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert!(
        error.hints().first().is_some_and(|hint| hint.starts_with("`lockgate resume` starts it")),
        "{error:?}"
    );
    // It comes back with the route it had, so a switch from there is one from what was read before.
    world.router.set(&Split::all_to(world.upstream(Slot::Green)), &live.version).await.unwrap();
    assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "green");
}

#[tokio::test]
async fn a_proxy_that_does_not_come_up_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let world = World::new(tempfile::tempdir().unwrap(), listen, launch_by_example).await;
    let _reaper = Reaper(world.folder());
    let checks = world.router.check().await;
    assert!(
        checks.iter().any(|one| one.state == CheckState::Bad && one.what == "proxy address"),
        "{checks:?}"
    );
    let error = world
        .router
        .set(&Split::all_to(world.upstream(Slot::Blue)), &Route::default().version)
        .await
        .unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "nobody waits for what cannot listen: {error}");
    assert!(error.message.contains("another program listens"), "{error}");

    // An address for documentation (RFC 5737), which is no machine's.
    let world = World::new(tempfile::tempdir().unwrap(), "192.0.2.1:9".to_owned(), launch_by_example).await;
    let _reaper = Reaper(world.folder());
    let error = world
        .router
        .set(&Split::all_to(world.upstream(Slot::Blue)), &Route::default().version)
        .await
        .unwrap_err();
    assert_eq!(error.kind, FailureKind::TimedOut);
    assert!(error.message.contains("192.0.2.1:9"), "the end of its log: {error}");
}

/// Two first deployments at once: the proxy of one listens before its admin socket answers the other.
#[tokio::test]
async fn a_proxy_that_another_is_just_starting_is_waited_for() {
    let (world, _proxy) = with_proxy(launch_by_example).await;
    let _reaper = Reaper(world.folder());
    let (socket, hidden) = (world.folder().join("admin.sock"), world.folder().join("not-yet"));
    std::fs::rename(&socket, &hidden).unwrap();
    let ready = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::fs::rename(&hidden, &socket).unwrap();
    };
    let (upstream, version) = (world.upstream(Slot::Blue), Route::default().version);
    let split = Split::all_to(upstream);
    let (switched, ()) = tokio::join!(world.router.set(&split, &version), ready);
    switched.unwrap();
    assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "blue");
    assert!(Reaper(world.folder()).processes().is_empty(), "no second one was started");
}

/// `listen` was changed in lockgate.yaml, or two environments share the proxy's folder.
#[tokio::test]
async fn behind_a_proxy_that_listens_elsewhere_no_run_begins() {
    let (world, _proxy) = with_proxy(launch_by_example).await;
    let _reaper = Reaper(world.folder());
    let (bound, wanted) = (world.listen.clone(), free_address());
    let moved = World::new(world.dir, wanted.clone(), launch_by_example).await;
    let error = moved.router.revive().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(error.message.contains(&format!("listens on {bound}, not on {wanted}")), "{error}");
    let hint = error.hints().to_string();
    assert!(hint.contains(&format!("(kill {})", std::process::id())), "{hint}");
    assert_eq!(moved.router.route().await.unwrap(), Route::default(), "nothing was changed");
    assert_eq!(moved.router.ask(&ask("/")).await.unwrap_err().kind, FailureKind::Refused);
    let checks = moved.router.check().await;
    let said = checks.iter().find(|check| check.what == "proxy address").unwrap();
    assert_eq!((said.state, said.mend.as_deref()), (CheckState::Bad, Some(hint.as_str())), "{checks:?}");
}

#[tokio::test]
async fn a_listener_for_all_addresses_serves_a_specific_one_and_port_0_is_any() {
    let dir = tempfile::tempdir().unwrap();
    let config = ProxyConfig::new(dir.path().join("proxy")).listen(["0.0.0.0:0".parse().unwrap()]);
    let proxy = start(config).await.unwrap();
    let port = proxy.addresses()[0].port();
    let mut dir = dir;
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), "127.0.0.1:0".to_owned()] {
        let world = World::new(dir, listen, |_| ()).await;
        switch(&world, Slot::Blue).await;
        assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "blue", "{}", world.listen);
        dir = world.dir;
    }
}

/// The proxy's socket as an older one has it.
async fn behind_an_older_proxy(world: &World) {
    let socket = world.folder().join("admin.sock");
    let moved = world.folder().join("real.sock");
    std::fs::rename(&socket, &moved).unwrap();
    tokio::spawn(support::without_replicas(tokio::net::UnixListener::bind(&socket).unwrap(), moved));
}

#[tokio::test]
async fn an_older_proxy_is_told_the_address_alone_and_refuses_several() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    behind_an_older_proxy(&world).await;
    switch(&world, Slot::Blue).await;
    assert_eq!(world.router.ask(&ask("/slot")).await.unwrap().answer.text(), "blue");
    let checks = world.router.check().await;
    let said = checks.iter().find(|check| check.what == "addresses of the route").unwrap();
    assert!(said.state == CheckState::Warn && said.seen.contains("nobody asks"), "{said:?}");
    let mut green = world.upstream(Slot::Green);
    let other = world.upstream(Slot::Blue).replicas;
    green.replicas.extend(other);
    let version = world.router.route().await.unwrap().version;
    let refused = world.router.set(&Split::all_to(green), &version).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.hints().to_string().contains("lockgate proxy --upgrade"), "{refused:?}");
    assert_eq!(world.router.route().await.unwrap().only(), Some(Slot::Blue), "nothing has changed");
}

#[tokio::test]
async fn each_replica_is_asked_and_what_nobody_has_any_more_is_not_said_to_be_dialled() {
    let (world, _proxy) = with_proxy(|_| ()).await;
    let mut both = world.upstream(Slot::Blue);
    both.replicas.extend(world.upstream(Slot::Green).replicas);
    let version = world.router.route().await.unwrap().version;
    world.router.set(&Split::all_to(both.clone()), &version).await.unwrap();
    let answers = world.router.ask_each(&ask("/slot")).await.unwrap();
    let said: Vec<String> = answers.iter().map(|answer| answer.answer.text()).collect();
    assert_eq!(said, ["blue", "green"]);
    let dials: Vec<String> =
        both.replicas.iter().map(|one| one.endpoint.as_ref().unwrap().to_string()).collect();
    let route = world.router.route().await.unwrap();
    assert_eq!(route.dial, lockgate_ports::all_dials(dials.iter().map(String::as_str)));
    all_well_but_no_supervisor(&world).await;

    // The same again changes nothing.
    world.router.set(&Split::all_to(both.clone()), &route.version).await.unwrap();
    assert_eq!(world.router.route().await.unwrap().version, route.version);
    let Some(Owner::Process { began, .. }) = &mut both.replicas[1].owner else { panic!() };
    *began -= 1;
    world.router.set(&Split::all_to(both), &route.version).await.unwrap();
    let dial = world.router.route().await.unwrap().dial.unwrap();
    assert!(dial.contains(&format!("{} (whose that is now is not known)", dials[1])), "{dial}");
    let checks = world.router.check().await;
    assert!(
        checks.iter().any(|check| check.state == CheckState::Bad && check.seen.contains(&dials[1])),
        "{checks:?}"
    );
}
