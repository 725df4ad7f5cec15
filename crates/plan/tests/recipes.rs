//! Whole plans of every recipe, as people read them: each step and, behind `↩`, what takes it back.

use std::collections::BTreeMap;
use std::fmt::Write;

use lockgate_model::{
    Action, BuiltinRouter, Delivery, Digest, Environment, EnvironmentName, FailureKind, Gates, Health, Hook,
    HookMoment, Hooks, HostId, HostObserved, HttpHealth, Intent, Interruption, Millis, Observed, Plan,
    ProcessRuntime, Project, ProjectName, Recorded, Release, Router, RouterObserved, Runtime, Service,
    ServiceName, Slot, SlotDelivery, SlotObserved, SlotState, Split, Ssh, StatusRange, Strategy, Tag,
    Template, Wave,
};

fn release(tag: &str) -> Release {
    let digit = tag.chars().last().unwrap().to_string();
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    }
}

fn service() -> Service {
    Service {
        name: ServiceName::new("web").unwrap(),
        image: None,
        command: Vec::new(),
        cwd: None,
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        port: None,
        health: Health::Http(HttpHealth {
            path: "/health".into(),
            timeout: Millis::from_secs(60),
            passes: 2,
            status: StatusRange::OK,
            body: None,
            headers: BTreeMap::new(),
        }),
        critical_paths: Vec::new(),
        verify: None,
        urls: BTreeMap::new(),
        ship: lockgate_model::Ship::default(),
        hooks: lockgate_model::Hooks::default(),
    }
}

fn builtin() -> Router {
    Router::Builtin(BuiltinRouter::on("127.0.0.1:8080"))
}

fn hosts(names: &[&str]) -> Vec<HostId> {
    names.iter().map(|name| HostId::new(*name).unwrap()).collect()
}

fn environment(strategy: Strategy, router: Router, names: &[&str]) -> Environment {
    Environment {
        name: EnvironmentName::new("prod").unwrap(),
        url: None,
        from: None,
        before: Vec::new(),
        after: Vec::new(),
        schedules: BTreeMap::new(),
        soaks: Vec::new(),
        delivery: Delivery::Slots(Box::new(SlotDelivery {
            hosts: hosts(names),
            strategy,
            runtime: Runtime::Process(ProcessRuntime { dir: None }),
            router,
            waves: vec![Wave::Hosts(1), Wave::Rest],
            drain: Millis::from_secs(30),
            keep_warm: Millis(0),
            stop_grace: Some(Millis::from_secs(10)),
            keep_releases: 5,
            disk_free_mib: 0,
            setup: None,
        })),
    }
}

fn held(tag: &str, state: SlotState) -> SlotObserved {
    SlotObserved {
        release: Some(release(tag)),
        state,
        started_at: None,
        restarts: 0,
        endpoint: None,
        replicas: Vec::new(),
    }
}

/// `tag` is live in the slot; the router, where there is one, dials it.
fn live(slot: Slot, tag: &str, router: &Router) -> HostObserved {
    let absent = matches!(router, Router::None);
    HostObserved {
        slots: BTreeMap::from([(slot, held(tag, SlotState::Running))]),
        router: RouterObserved {
            target: Some(slot),
            dial: (!absent).then(|| "127.0.0.1:5000".to_owned()),
            absent,
            ..RouterObserved::default()
        },
        recorded: Recorded { active: Some(slot), previous: None },
        releases: vec![release(tag).into()],
        rejected: Vec::new(),
        conflicts: Vec::new(),
        unhealthy: None,
        own_environment: None,
    }
}

fn deploy(tag: &str) -> Intent {
    Intent::Deploy { release: release(tag), gates: Gates::All, again: false }
}

fn plan(
    environment: &Environment,
    intent: &Intent,
    seen: &[(&str, HostObserved)],
) -> Result<Plan, lockgate_model::Failure> {
    plan_of(&service(), environment, intent, seen)
}

fn plan_of(
    service: &Service,
    environment: &Environment,
    intent: &Intent,
    seen: &[(&str, HostObserved)],
) -> Result<Plan, lockgate_model::Failure> {
    let project = Project {
        name: ProjectName::new("shop").unwrap(),
        root: "/".into(),
        services: BTreeMap::new(),
        environments: vec![environment.clone()],
        notify: Vec::new(),
        registries: BTreeMap::new(),
        ssh: Ssh::default(),
        state: lockgate_model::StateLocation::of_folder("/".as_ref()),
        state_dir: None,
        serve: None,
    };
    let hosts = seen.iter().map(|(name, seen)| (HostId::new(*name).unwrap(), seen.clone())).collect();
    lockgate_plan::plan(&project, service, environment, intent, &Observed { hosts })
}

/// With a migration before the switch, and another program behind it.
fn with_hooks() -> Service {
    let argv = |words: &[&str]| words.iter().map(|word| Template::new(*word).unwrap()).collect();
    let hook = |words: &[&str]| Hook {
        argv: argv(words),
        timeout: Millis::from_secs(600),
        repeat: false,
        only_warns: false,
    };
    let before_switch = Some(hook(&["python", "manage.py", "migrate"]));
    let hooks = Hooks { before_switch, after_switch: Some(hook(&["./warm", "{tag}"])) };
    Service { hooks, ..service() }
}

fn hooks_of(plan: &Plan) -> Vec<(String, HookMoment)> {
    let hook = |(_, host, step): (usize, Option<&HostId>, &lockgate_model::Step)| match &step.action {
        Action::RunHook { moment, .. } => Some((host.unwrap().to_string(), *moment)),
        _ => None,
    };
    plan.steps().filter_map(hook).collect()
}

#[test]
fn hooks_run_once_on_the_first_host_before_any_traffic_and_behind_all_of_it() {
    let prod = environment(Strategy::BlueGreen, builtin(), &["web1", "web2"]);
    let seen = [("web1", live(Slot::Blue, "v1", &builtin())), ("web2", live(Slot::Blue, "v1", &builtin()))];
    let plan = plan_of(&with_hooks(), &prod, &deploy("v2"), &seen).unwrap();
    let before_drain = text(&plan);
    let before_drain = before_drain.split("drain\n").next().unwrap();
    insta::assert_snapshot!(before_drain, @r"
    fetch
      web1: fetch v2 (222222222222)
      web2: fetch v2 (222222222222)
    before the switch
      web1: before_switch: run `python manage.py migrate` in v2, once (up to 10m)  ↩ end before_switch if it still runs
    go live, wave 1 of 2
      web1: start v2 in green  ↩ stop green
      web1: wait until green is healthy (/health, up to 1m)
      web1: switch traffic to green  ↩ start v1 in blue, wait until blue is healthy (/health, up to 1m), switch traffic to blue, ask through the router: v1 from blue, drain green (up to 30s)
      web1: ask through the router: v2 from green
      web1: record green as active  ↩ record blue as active
    go live, wave 2 of 2
      web2: start v2 in green  ↩ stop green
      web2: wait until green is healthy (/health, up to 1m)
      web2: switch traffic to green  ↩ start v1 in blue, wait until blue is healthy (/health, up to 1m), switch traffic to blue, ask through the router: v1 from blue, drain green (up to 30s)
      web2: ask through the router: v2 from green
      web2: record green as active  ↩ record blue as active
    look again
      web1: ask through the router: v2 from green
      web2: ask through the router: v2 from green
    after the switch
      web1: after_switch: run `./warm {tag}` in v2, once (up to 10m)  ↩ end after_switch if it still runs
    look again
      web1: ask through the router: v2 from green
      web2: ask through the router: v2 from green
    ");
    let wanted =
        [HookMoment::BeforeSwitch, HookMoment::AfterSwitch].map(|moment| ("web1".to_owned(), moment));
    assert_eq!(hooks_of(&plan), wanted);
}

#[test]
fn in_one_place_a_hook_runs_before_the_old_release_is_stopped() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let seen = [("web1", live(Slot::Main, "v1", &Router::None))];
    let plan = plan_of(&with_hooks(), &prod, &deploy("v2"), &seen).unwrap();
    let titles: Vec<&str> = plan.phases.iter().map(|phase| phase.title.as_str()).collect();
    assert_eq!(titles, ["fetch", "before the switch", "go live", "after the switch", "look again", "record"]);
}

/// Nobody's database goes back with its app, and what is only started again was there before.
#[test]
fn going_back_and_bringing_back_run_no_hook() {
    let prod = environment(Strategy::BlueGreen, builtin(), &["web1"]);
    let seen = [("web1", live(Slot::Blue, "v2", &builtin()))];
    let back = Intent::Rollback { release: Some(release("v1")) };
    assert_eq!(hooks_of(&plan_of(&with_hooks(), &prod, &back, &seen).unwrap()), []);
    let mut died = live(Slot::Blue, "v2", &builtin());
    died.slots.insert(Slot::Blue, held("v2", SlotState::Stopped));
    let brought = plan_of(&with_hooks(), &prod, &deploy("v2"), &[("web1", died)]).unwrap();
    assert!(!brought.is_empty() && hooks_of(&brought).is_empty());
    let again = Intent::Deploy { release: release("v2"), gates: Gates::All, again: true };
    assert_eq!(hooks_of(&plan_of(&with_hooks(), &prod, &again, &seen).unwrap()).len(), 2, "asked for anew");
}

fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for phase in &plan.phases {
        let _ = writeln!(text, "{}{}", phase.title, if phase.committed { " (committed)" } else { "" });
        for lane in &phase.lanes {
            for step in &lane.steps {
                let undo: Vec<String> = step.undo_titles().collect();
                let back = if undo.is_empty() { String::new() } else { format!("  ↩ {}", undo.join(", ")) };
                let _ = writeln!(text, "  {}: {}{back}", lane.host.as_ref().unwrap(), step.action.title());
            }
        }
    }
    text
}

#[test]
fn recreate_without_a_router_stops_before_it_starts_and_starts_the_old_one_again() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let plan = plan(&prod, &deploy("v2"), &[("web1", live(Slot::Main, "v1", &Router::None))]).unwrap();
    assert_eq!(plan.interruption(), Some(Interruption::Dark));
    insta::assert_snapshot!(text(&plan), @r"
    fetch
      web1: fetch v2 (222222222222)
      web1: fetch v1 (111111111111)
    go live
      web1: stop main  ↩ start v1 in main, wait until main is healthy (/health, up to 1m)
      web1: start v2 in main  ↩ stop main
      web1: wait until main is healthy (/health, up to 1m)
      web1: record main as active  ↩ record main as active
    record (committed)
      web1: record main as active, v2 (222222222222) as released
    ");
}

#[test]
fn recreate_behind_a_router_that_holds_lets_requests_wait() {
    let prod = environment(Strategy::Recreate, builtin(), &["web1"]);
    let plan = plan(&prod, &deploy("v2"), &[("web1", live(Slot::Main, "v1", &builtin()))]).unwrap();
    assert!(matches!(plan.interruption(), Some(Interruption::Waits(bounds)) if bounds.requests_max == 1_000));
    insta::assert_snapshot!(text(&plan), @r"
    fetch
      web1: fetch v2 (222222222222)
      web1: fetch v1 (111111111111)
    go live
      web1: let requests wait (up to 1m45s, 1000 of them)  ↩ let the waiting requests go
      web1: drain main (up to 30s)
      web1: stop main  ↩ start v1 in main, wait until main is healthy (/health, up to 1m), switch traffic to main, let the waiting requests go, ask through the router: v1 from main
      web1: start v2 in main  ↩ let requests wait (up to 1m45s, 1000 of them), drain main (up to 30s), stop main
      web1: wait until main is healthy (/health, up to 1m)
      web1: switch traffic to main
      web1: let the waiting requests go
      web1: ask through the router: v2 from main
      web1: record main as active  ↩ record main as active
    record (committed)
      web1: record main as active, v2 (222222222222) as released
    ");
}

/// Users reach what is live without the router, which is to listen where it does: nothing can wait there yet.
#[test]
fn a_router_in_the_place_of_what_is_live_is_put_there_by_a_recreation_and_by_nothing_else() {
    let direct = |slot| {
        let mut seen = live(slot, "v1", &builtin());
        seen.router = RouterObserved {
            target: Some(slot),
            direct: Some("0.0.0.0:80".into()),
            ..RouterObserved::default()
        };
        [("web1", seen)]
    };
    let prod = environment(Strategy::Recreate, builtin(), &["web1"]);
    let made = plan(&prod, &deploy("v2"), &direct(Slot::Main)).unwrap();
    assert_eq!(made.interruption(), Some(Interruption::Dark));
    insta::assert_snapshot!(text(&made), @r"
    fetch
      web1: fetch v2 (222222222222)
      web1: fetch v1 (111111111111)
    go live
      web1: drain main (up to 30s)
      web1: stop main  ↩ start v1 in main, wait until main is healthy (/health, up to 1m), switch traffic to main, ask through the router: v1 from main
      web1: start v2 in main  ↩ stop main
      web1: wait until main is healthy (/health, up to 1m)
      web1: switch traffic to main
      web1: ask through the router: v2 from main
      web1: record main as active  ↩ record main as active
    record (committed)
      web1: record main as active, v2 (222222222222) as released
    ");
    assert!(
        !plan(&prod, &deploy("v1"), &direct(Slot::Main)).unwrap().is_empty(),
        "the router is not there yet"
    );
    let colours = environment(Strategy::BlueGreen, builtin(), &["web1"]);
    let refused = plan(&colours, &deploy("v2"), &direct(Slot::Blue)).unwrap_err();
    assert!(refused.message.contains("blue publishes 0.0.0.0:80 itself"), "{refused}");
}

/// What is in the slot may want more time to end, which is known when it is stopped: then requests wait longer, too.
#[test]
fn a_grace_that_nobody_configured_is_the_slots_own_to_say() {
    let mut prod = environment(Strategy::Recreate, builtin(), &["web1"]);
    for (configured, waits) in [(None, 105), (Some(Millis::from_secs(10)), 105), (Some(Millis(0)), 95)] {
        let Delivery::Slots(slots) = &mut prod.delivery else { unreachable!() };
        slots.stop_grace = configured;
        let seen = [("web1", live(Slot::Main, "v1", &builtin()))];
        let plan = plan(&prod, &deploy("v2"), &seen).unwrap();
        let (mut stops, mut holds) = (0, 0);
        for action in plan.steps().flat_map(|(_, _, step)| std::iter::once(&step.action).chain(&step.undo)) {
            match action {
                Action::Stop { grace, .. } => {
                    stops += 1;
                    assert_eq!(*grace, configured);
                }
                Action::Hold { bounds, own_grace } => {
                    holds += 1;
                    assert_eq!((*own_grace, bounds.time), (configured.is_none(), Millis::from_secs(waits)));
                }
                _ => {}
            }
        }
        assert_eq!((stops, holds), (2, 2));
    }
}

#[test]
fn a_first_recreation_interrupts_nobody() {
    let prod = environment(Strategy::Recreate, builtin(), &["web1"]);
    let plan = plan(&prod, &deploy("v1"), &[("web1", HostObserved::default())]).unwrap();
    assert_eq!(plan.interruption(), None);
    insta::assert_snapshot!(text(&plan), @r"
    fetch
      web1: fetch v1 (111111111111)
    go live
      web1: start v1 in main  ↩ stop main
      web1: wait until main is healthy (/health, up to 1m)
      web1: switch traffic to main  ↩ remove the route, drain main (up to 30s)
      web1: ask through the router: v1 from main
      web1: record main as active  ↩ record that nothing is active
    record (committed)
      web1: record main as active, v1 (111111111111) as released
    ");
}

#[test]
fn recreate_goes_in_waves_and_looks_again_before_it_settles() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1", "web2"]);
    let seen = |tag| live(Slot::Main, tag, &Router::None);
    let plan = plan(&prod, &deploy("v2"), &[("web1", seen("v1")), ("web2", seen("v1"))]).unwrap();
    let titles: Vec<&str> = plan.phases.iter().map(|phase| phase.title.as_str()).collect();
    assert_eq!(titles, ["fetch", "go live, wave 1 of 2", "go live, wave 2 of 2", "look again", "record"]);
}

#[test]
fn a_live_release_that_has_died_is_started_again_when_the_new_one_fails() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let mut seen = live(Slot::Main, "v1", &Router::None);
    seen.slots.insert(Slot::Main, held("v1", SlotState::Stopped));
    let plan = plan(&prod, &deploy("v2"), &[("web1", seen)]).unwrap();
    let text = text(&plan);
    assert!(text.contains("stop main  ↩ start v1 in main"), "{text}");
    assert!(!text.contains("fetch v1"), "its bytes may be gone by now: {text}");
}

#[test]
fn a_release_that_never_went_live_is_not_started_again() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let seen = HostObserved {
        slots: BTreeMap::from([(Slot::Main, held("v1", SlotState::Stopped))]),
        router: RouterObserved { absent: true, ..RouterObserved::default() },
        ..HostObserved::default()
    };
    let plan = plan(&prod, &deploy("v2"), &[("web1", seen)]).unwrap();
    assert!(!text(&plan).contains("v1"), "{}", text(&plan));
}

#[test]
fn what_could_not_be_started_again_is_not_stopped() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let mut seen = live(Slot::Main, "v1", &Router::None);
    seen.slots.get_mut(&Slot::Main).unwrap().release = None;
    let refused = plan(&prod, &deploy("v2"), &[("web1", seen)]).unwrap_err();
    assert_eq!((refused.kind, !refused.hints.is_empty()), (FailureKind::Refused, true), "{refused}");
}

#[test]
fn a_rollback_of_a_recreation_is_one_too() {
    let prod = environment(Strategy::Recreate, Router::None, &["web1"]);
    let mut seen = live(Slot::Main, "v2", &Router::None);
    seen.releases = vec![release("v2").into(), release("v1").into()];
    let plan = plan(&prod, &Intent::Rollback { release: None }, &[("web1", seen.clone())]).unwrap();
    assert_eq!(plan.release, release("v1"));
    let text = text(&plan);
    assert!(text.contains("start v1 in main  ↩ stop main"), "{text}");
    let nothing = self::plan(&prod, &deploy("v2"), &[("web1", seen)]).unwrap();
    assert!(nothing.is_empty(), "{}", self::text(&nothing));
}

#[test]
fn a_worker_is_started_beside_the_old_one_which_stops_when_it_is_healthy() {
    let prod = environment(Strategy::BlueGreen, Router::None, &["web1"]);
    let plan = plan(&prod, &deploy("v2"), &[("web1", live(Slot::Blue, "v1", &Router::None))]).unwrap();
    assert_eq!(plan.interruption(), None);
    insta::assert_snapshot!(text(&plan), @r"
    go live
      web1: start v2 in green  ↩ stop green
      web1: wait until green is healthy (/health, up to 1m)
      web1: record green as active  ↩ record blue as active
    tidy up (committed)
      web1: record green as active, v2 (222222222222) as released
      web1: stop blue
    ");
}

#[test]
fn blue_green_behind_a_router_is_as_it_was() {
    let prod = environment(Strategy::BlueGreen, builtin(), &["web1"]);
    let plan = plan(&prod, &deploy("v2"), &[("web1", live(Slot::Blue, "v1", &builtin()))]).unwrap();
    assert_eq!(plan.interruption(), None);
    insta::assert_snapshot!(text(&plan), @r"
    go live
      web1: start v2 in green  ↩ stop green
      web1: wait until green is healthy (/health, up to 1m)
      web1: switch traffic to green  ↩ start v1 in blue, wait until blue is healthy (/health, up to 1m), switch traffic to blue, ask through the router: v1 from blue, drain green (up to 30s)
      web1: ask through the router: v2 from green
      web1: record green as active  ↩ record blue as active
    drain
      web1: drain blue (up to 30s)
    look again
      web1: ask through the router: v2 from green
    tidy up (committed)
      web1: record green as active, v2 (222222222222) as released
      web1: stop blue
    ");
}

/// No recipe goes on from a split, and to take one slot for the live one would take traffic from the other.
#[test]
fn a_router_that_splits_the_traffic_is_refused() {
    for (strategy, slot) in [(Strategy::BlueGreen, Slot::Blue), (Strategy::Recreate, Slot::Main)] {
        let prod = environment(strategy, builtin(), &["web1"]);
        let mut seen = live(slot, "v1", &builtin());
        seen.router.shared = Split::new([(Slot::Blue, 90), (Slot::Green, 10)]).ok();
        let refused = plan(&prod, &deploy("v2"), &[("web1", seen)]).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        let wanted = format!(
            "the router splits the traffic (blue 90 %, green 10 %), and `strategy: {strategy}` needs one slot that has all of it"
        );
        assert_eq!(refused.message, wanted);
        assert!(!refused.hints.is_empty() && refused.host.is_some());
    }
}

/// The slot beside the live one has users too, so nothing is started in it before all of them are where the others are.
#[test]
fn a_router_that_is_torn_is_mended_by_the_live_release_and_refused_for_any_other() {
    let prod = environment(Strategy::BlueGreen, builtin(), &["web1"]);
    let mut seen = live(Slot::Green, "v1", &builtin());
    seen.router.shared = Split::new([(Slot::Blue, 50), (Slot::Green, 50)]).ok();
    seen.router.torn = Some("/api dials web-blue:80; / dials web-green:80".into());
    let on = [("web1", seen)];
    for intent in [deploy("v2"), Intent::TidyUp, Intent::Rollback { release: Some(release("v2")) }] {
        let refused = plan(&prod, &intent, &on).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused, "{intent:?}");
        assert!(refused.message.contains("/api dials web-blue:80"), "{refused}");
        let hints = refused.hints.to_string();
        assert!(hints.contains("`lockgate resume` sends all of it to green, where v1 is live"), "{hints}");
    }
    insta::assert_snapshot!(text(&plan(&prod, &deploy("v1"), &on).unwrap()), @r"
    mend the route
      web1: wait until green is healthy (/health, up to 1m)
      web1: switch traffic to green
      web1: ask through the router: v1 from green
    ");
}

/// Its own requests are what a deployment must not cut; another site's are no reason, and going back never waits.
#[test]
fn a_switch_that_cuts_the_services_own_requests_is_refused_to_a_deployment_alone() {
    let prod = environment(Strategy::BlueGreen, builtin(), &["web1"]);
    let mut seen = live(Slot::Blue, "v1", &builtin());
    seen.router.cuts = Some("Caddy 2.6.2 cuts every request in flight".into());
    let on = [("web1", seen)];
    let refused = plan(&prod, &deploy("v2"), &on).unwrap_err();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (FailureKind::Refused, "Caddy 2.6.2 cuts every request in flight")
    );
    assert!(plan(&prod, &Intent::Rollback { release: Some(release("v2")) }, &on).is_ok());
    assert!(plan(&prod, &deploy("v1"), &on).unwrap().is_empty(), "nothing is switched");
    assert!(
        plan(
            &prod,
            &deploy("v2"),
            &[("web1", HostObserved { router: on[0].1.router.clone(), ..HostObserved::default() })]
        )
        .is_ok(),
        "nothing is live"
    );
}

/// A release that is gone back to gets what it ran with, also in an undo; what is deployed gets today's.
#[test]
fn who_goes_back_to_a_release_goes_back_to_its_environment() {
    let starts = |plan: &Plan, undone: bool| -> Vec<(String, bool)> {
        let actions = plan.steps().flat_map(|(_, _, step)| match undone {
            true => step.undo.clone(),
            false => vec![step.action.clone()],
        });
        let of = |action| match action {
            Action::Start { release, own_environment, .. } => {
                Some((release.tag.to_string(), own_environment))
            }
            _ => None,
        };
        actions.filter_map(of).collect()
    };
    for (strategy, slot) in [(Strategy::BlueGreen, Slot::Blue), (Strategy::Recreate, Slot::Main)] {
        let prod = environment(strategy, builtin(), &["web1"]);
        let seen = [("web1", live(slot, "v1", &builtin()))];
        let deployed = plan(&prod, &deploy("v2"), &seen).unwrap();
        assert_eq!(starts(&deployed, false), [("v2".to_owned(), false)], "{strategy}");
        assert_eq!(starts(&deployed, true), [("v1".to_owned(), true)], "{strategy}");
        let mut back = live(slot, "v2", &builtin());
        back.releases.push(release("v1").into());
        let back = plan(&prod, &Intent::Rollback { release: None }, &[("web1", back)]).unwrap();
        assert_eq!(starts(&back, false), [("v1".to_owned(), true)], "{strategy}");
    }
}
