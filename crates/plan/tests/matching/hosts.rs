//! A host speaks for itself only.

use std::collections::BTreeMap;

use lockgate_model::{Action, FailureKind, GateKind, Intent, Plan, Release, Slot, Template};
use lockgate_plan::{Found, Matched, not_finished};

use crate::fixture::{Config, deploy, differs, foreign, holding, host, live, on, release, tidying, undos};

/// A deployment of v2 on two hosts with v1.
fn run() -> (Config, lockgate_model::Observed, Plan) {
    let config = Config::new(&["web1", "web2"]);
    let seen = on(&[("web1", live(1)), ("web2", live(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    (config, seen, plan)
}

fn forge_gate(plan: &mut Plan, program: &str) {
    let Action::Gate { gate, .. } = &mut plan.phases[0].lanes[0].steps[0].action else { unreachable!() };
    let GateKind::Command(command) = &mut gate.kind else { unreachable!() };
    command.argv = vec![Template::new(program).unwrap()];
}

/// The plan says that all hosts had no release, and that their routers dialled this.
fn forge_dial(plan: &mut Plan, dial: &str) {
    plan.before.clear();
    for step in plan.phases.iter_mut().flat_map(|phase| &mut phase.lanes).flat_map(|lane| &mut lane.steps) {
        if matches!(step.action, Action::Switch { .. }) {
            step.undo = vec![Action::Withdraw { dial: Some(dial.to_owned()) }];
        }
    }
}

#[test]
fn what_one_host_says_is_done_on_no_other() {
    let (config, seen, plan) = run();
    let mut forged = plan.clone();
    forge_dial(&mut forged, "evil:80");
    let (back, told) = differs(config.matched(&[("web1", &forged), ("web2", &plan)], &seen, false));
    assert_eq!(undos(&back, &host("web2")), undos(&plan, &host("web2")));
    let dials =
        |of: &str| undos(&back, &host(of)).contains(&Action::Withdraw { dial: Some("evil:80".into()) });
    assert!(dials("web1") && !dials("web2"), "its own router is its own");
    assert!(
        told.iter().all(|told| told.contains("web2's record") || told.contains("web1's record")),
        "{told:?}"
    );
    // Only the one that holds it is touched.
    let (back, _) = differs(config.matched(&[("web1", &forged)], &seen, false));
    assert_eq!((back.hosts.as_slice(), undos(&back, &host("web2")).len()), (&[host("web1")][..], 0));
}

#[test]
fn this_machines_journal_is_believed_and_a_record_is_not() {
    let (config, seen, plan) = run();
    let mut forged = plan.clone();
    forge_dial(&mut forged, "evil:80");
    let held = BTreeMap::from([(host("web1"), &forged), (host("web2"), &plan)]);
    let found = Found { held: &held, journaled: Some(&plan), seen: &seen, settled: false };
    let (back, _) = differs(config.found(found));
    for name in ["web1", "web2"] {
        assert_eq!(undos(&back, &host(name)), undos(&plan, &host(name)));
    }
    // All records agree, and this machine knows better.
    let held = BTreeMap::from([(host("web1"), &forged), (host("web2"), &forged)]);
    let (back, _) = differs(config.found(Found { held: &held, ..found }));
    assert_eq!(undos(&back, &host("web1")), undos(&plan, &host("web1")));
    let held = BTreeMap::from([(host("web1"), &plan), (host("web2"), &plan)]);
    let matched = config.found(Found { held: &held, ..found });
    assert_eq!(matched, Ok(Matched::Same(Box::new(plan.clone()))));
}

#[test]
fn a_forged_gate_is_shown_and_not_asked() {
    let (config, seen, plan) = run();
    let mut forged = plan.clone();
    forge_gate(&mut forged, "`sh`\u{202e}\nhint: type this");
    let (back, told) = differs(config.matched(&[("web1", &forged), ("web2", &forged)], &seen, false));
    assert!(back.steps().all(|(_, _, step)| !matches!(step.action, Action::Gate { .. })));
    let argv = "phases.0.lanes.0.steps.0.action.gate.kind.command.argv";
    let first = format!(
        r#"web1's record has "'sh'\u{{202e}}\nhint: type this" at {argv}.0, where this configuration has "pytest""#
    );
    assert_eq!(told[0], first);
    assert_eq!(
        told[1],
        format!("web1's record has 1 of them at {argv}, where this configuration has 3 of them")
    );
    let (_, differences) = match config.matched(&[("web1", &forged)], &seen, false).unwrap() {
        Matched::Differs { plan, differences } => (plan, differences),
        Matched::Same(_) => unreachable!(),
    };
    let failure = not_finished(&differences, &back);
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains(&first), "{failure}");
    let hint = failure.hints.to_string();
    assert!(hint.contains("`lockgate --env prod deploy web TAG`") && !hint.contains("sh'"), "{hint}");
}

#[test]
fn a_configuration_that_has_changed_takes_a_run_back_cleanly() {
    let (_, seen, plan) = run();
    let held = [("web1", &plan), ("web2", &plan)];
    let mut changed = Config::new(&["web1", "web2"]);
    changed.environment.after.clear();
    changed.slots().drain = lockgate_model::Millis(7_000);
    let (back, _) = differs(changed.matched(&held, &seen, false));
    let drain = Action::Drain { slot: Slot::Green, deadline: lockgate_model::Millis(7_000), heir: None };
    assert!(undos(&back, &host("web1")).contains(&drain), "by this configuration: {back:#?}");
    // A host that is out of the configuration is not touched; the others are put back.
    let less = Config::new(&["web2"]);
    let (back, _) = differs(less.matched(&[("web2", &plan)], &seen, false));
    assert_eq!((back.hosts.as_slice(), undos(&back, &host("web1")).len()), (&[host("web2")][..], 0));
    assert_eq!(undos(&back, &host("web2")), undos(&plan, &host("web2")));
    // One that is new in it was never begun.
    let more = Config::new(&["web1", "web2", "web3"]);
    let seen = on(&[("web1", live(1)), ("web2", live(1)), ("web3", live(1))]);
    let (back, _) = differs(more.matched(&[("web1", &plan), ("web2", &plan), ("web3", &plan)], &seen, true));
    assert_eq!(back.hosts, [host("web1"), host("web2")]);
}

#[test]
fn an_image_that_is_neither_configured_nor_on_the_host_is_not_started() {
    let (config, seen, plan) = run();
    let evil = serde_json::to_string(&plan).unwrap().replace("example.com/web", "evil.example.com/web");
    let evil: Plan = serde_json::from_str(&evil).unwrap();
    for settled in [false, true] {
        let refused = config.matched(&[("web1", &evil), ("web2", &evil)], &seen, settled).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.message.ends_with("is of no image that this service has or had there"), "{refused}");
    }
    // The configuration named it before, and the host has what is gone back to.
    let mut moved = Config::new(&["web1", "web2"]);
    moved.service.image = Some("ghcr.io/acme/web".into());
    let (back, told) = differs(moved.matched(&[("web1", &plan), ("web2", &plan)], &seen, false));
    assert_eq!(undos(&back, &host("web1")), undos(&plan, &host("web1")));
    assert!(told[0].contains("release.image"), "{told:?}");
    assert_eq!(back.release.image, moved.service.image, "nothing is told of another");
    assert!(moved.matched(&[("web1", &plan)], &seen, true).is_err(), "v2 is not on the host");
}

#[test]
fn what_is_seen_in_the_old_slot_is_gone_back_to_whatever_the_record_says() {
    let (config, _, plan) = run();
    let mut now = live(1);
    now.slots.insert(Slot::Blue, holding(Some(release(7)), lockgate_model::SlotState::Running));
    let seen = on(&[("web1", now), ("web2", live(1))]);
    let held = [("web1", &plan), ("web2", &plan)];
    let (back, told) = differs(config.matched(&held, &seen, false));
    let start = |number| Action::Start { slot: Slot::Blue, release: release(number), own_environment: true };
    assert!(undos(&back, &host("web1")).contains(&start(7)), "{back:#?}");
    assert!(undos(&back, &host("web2")).contains(&start(1)), "{back:#?}");
    assert!(told[0].starts_with("web1's record has v1 (") && told[0].contains("blue on web1"), "{told:?}");
}

#[test]
fn a_settled_run_is_tidied_up_by_this_configuration() {
    let (_, seen, plan) = run();
    let mut changed = Config::new(&["web1", "web2"]);
    changed.slots().stop_grace = Some(lockgate_model::Millis(9_000));
    changed.slots().keep_releases = 5;
    let (tidied, _) = differs(changed.matched(&[("web1", &plan), ("web2", &plan)], &seen, true));
    let made = changed.plan(&deploy(2), &seen).unwrap();
    assert_eq!(tidying(&tidied, &host("web1")), tidying(&made, &host("web1")));
}

#[test]
fn a_host_on_which_nothing_was_live_gets_its_own_route_back() {
    let config = Config::new(&["web1", "web2"]);
    let seen = on(&[("web1", foreign()), ("web2", live(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    let mut changed = Config::new(&["web1", "web2"]);
    changed.environment.before.clear();
    let (back, _) = differs(changed.matched(&[("web1", &plan), ("web2", &plan)], &seen, false));
    for name in ["web1", "web2"] {
        assert_eq!(undos(&back, &host(name)), undos(&plan, &host(name)));
    }
}

/// A host's list of releases is what a rollback chooses from, and no more than that.
#[test]
fn a_rollback_starts_no_image_that_one_host_alone_knows() {
    let config = Config::new(&["web1", "web2"]);
    let former = Release { image: Some("old.example.com/web".into()), ..release(0) };
    let back = Intent::Rollback { release: Some(former.clone()) };
    let mut knows = live(1);
    knows.releases = vec![release(1).into(), former.clone().into()];
    let refused = config.plan(&back, &on(&[("web1", knows.clone()), ("web2", live(1))])).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert_eq!(
        refused.message,
        format!("{former} is of old.example.com/web, which is not this service's image on every host")
    );
    assert!(refused.hints.to_string().contains("set `services.web.image` to it"));
    let planned = config.plan(&back, &on(&[("web1", knows.clone()), ("web2", knows)])).unwrap();
    assert_eq!(planned.release, former, "the configuration named another image when it was live");
}

#[test]
fn a_run_that_left_a_host_out_by_name_goes_on_without_it_and_no_other_host_can_be_left_out_so() {
    let config = Config::new(&["web1", "web2", "web3"]);
    let fewer = Config::new(&["web1", "web2"]);
    let seen = on(&[("web1", live(1)), ("web2", live(1)), ("web3", live(1))]);
    let few = on(&[("web1", live(1)), ("web2", live(1))]);
    let plan = Plan { without: vec![host("web3")], ..fewer.plan(&deploy(2), &few).unwrap() };
    let matched = config.matched(&[("web1", &plan), ("web2", &plan)], &seen, false).unwrap();
    assert_eq!(matched, Matched::Same(Box::new(plan.clone())));
    // One record says that two were left out, another that it was one.
    let alone = Config::new(&["web1"]).plan(&deploy(2), &on(&[("web1", live(1))])).unwrap();
    let forged = Plan { without: vec![host("web2"), host("web3")], ..alone };
    differs(config.matched(&[("web1", &forged), ("web2", &plan)], &seen, false));
    // A plan of all hosts that only says that one was left out.
    let all = Plan { without: vec![host("web3")], ..config.plan(&deploy(2), &seen).unwrap() };
    differs(config.matched(&[("web1", &all), ("web2", &all)], &seen, false));
}
