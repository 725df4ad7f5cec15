//! Each field of a record's plan forged, one after the other.

use std::collections::BTreeSet;

use lockgate_model::{Action, FailureKind, Gates, HookMoment, Intent, Plan, Provenance, Release};
use lockgate_plan::Matched;
use serde_json::{Value, json};

use crate::fixture::{
    Config, deploy, differs, foreign, holding, host, live, live_in_main, on, release, unrouted,
};

/// What a field may be made.
fn forgeries(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!("x"), json!(1), json!({}), json!([])],
        Value::Bool(is) => vec![json!(!is), Value::Null],
        Value::Number(_) => {
            vec![json!(0), json!(1), json!(77), json!(u32::MAX), json!(u64::MAX), json!(-1), Value::Null]
        }
        Value::String(text) => {
            let other = match text.as_str() {
                "blue" => "green".to_owned(),
                "green" => "blue".to_owned(),
                "main" => "blue".to_owned(),
                "blue-green" => "recreate".to_owned(),
                "recreate" => "blue-green".to_owned(),
                text => format!("{text}x"),
            };
            let digest = format!("sha256:{}", "e".repeat(64));
            vec![
                json!(other),
                json!(""),
                json!("purple"),
                json!("x".repeat(500)),
                json!(digest),
                json!("local"),
                Value::Null,
            ]
        }
        Value::Array(of) => {
            let mut made = vec![json!([])];
            if let Some(last) = of.last() {
                made.push(Value::Array(of.iter().cloned().chain([last.clone()]).collect()));
                made.push(Value::Array(of[1..].to_vec()));
                made.push(Value::Array(of.iter().cloned().rev().collect()));
                made.push(Value::Array(vec![last.clone(); 300]));
            }
            made
        }
        Value::Object(of) => {
            let without = |key: &String| {
                let mut less = of.clone();
                less.remove(key);
                Value::Object(less)
            };
            of.keys().map(without).collect()
        }
    }
}

/// Every place in it: the way there.
fn places(value: &Value, way: &str, found: &mut Vec<String>) {
    found.push(way.to_owned());
    match value {
        Value::Object(of) => of.iter().for_each(|(key, value)| places(value, &format!("{way}/{key}"), found)),
        Value::Array(of) => {
            of.iter().enumerate().for_each(|(index, value)| places(value, &format!("{way}/{index}"), found));
        }
        _ => {}
    }
}

/// Nothing in it but what the configuration says.
fn harmless(config: &Config, plan: &Plan) {
    let gates: Vec<_> = config
        .plan(&deploy(2), &on(&[("web1", live(1))]))
        .unwrap()
        .steps()
        .filter_map(|(_, _, step)| match &step.action {
            Action::Gate { gate, .. } => Some(gate.clone()),
            _ => None,
        })
        .collect();
    let (service, environment) = (&config.service, &config.environment);
    let slots = environment.slots().unwrap();
    let ours = |release: &lockgate_model::Release| {
        assert_eq!((&release.service, &release.image), (&service.name, &service.image));
    };
    let probed =
        |probe: &lockgate_model::Probe| assert_eq!(*probe, lockgate_model::Probe::of(service, environment));
    assert_eq!(
        (&plan.project, &plan.service, &plan.environment),
        (&config.project.name, &service.name, &environment.name)
    );
    assert!(plan.hosts.iter().all(|host| environment.hosts().contains(host)), "{:?}", plan.hosts);
    for (index, (_, on, step)) in plan.steps().enumerate() {
        assert_eq!(step.id.0 as usize, index);
        assert!(on.is_none_or(|on| environment.hosts().contains(on)), "{on:?}");
        for action in std::iter::once(&step.action).chain(&step.undo) {
            match action {
                Action::Gate { gate, .. } => assert!(gates.contains(gate), "{gate:?}"),
                Action::Fetch { release } | Action::Start { release, .. } => ours(release),
                Action::AwaitHealthy { release, probe, .. } | Action::Switch { release, probe, .. } => {
                    ours(release);
                    probed(probe);
                }
                Action::Verify { release, verify, probe, .. } => {
                    ours(release);
                    probed(probe);
                    assert_eq!(verify, &service.verify);
                }
                Action::RunHook { hook, moment, release, .. } => {
                    ours(release);
                    let hooks = &service.hooks;
                    let configured = match moment {
                        HookMoment::BeforeSwitch => &hooks.before_switch,
                        HookMoment::AfterSwitch => &hooks.after_switch,
                    };
                    assert_eq!(Some(hook), configured.as_ref());
                }
                Action::EndHook { .. } => {}
                Action::Drain { deadline, .. } => assert_eq!(*deadline, slots.drain),
                Action::Stop { grace, .. } => assert_eq!(*grace, slots.stop_grace),
                Action::Prune { keep } => assert_eq!(*keep, slots.keep_releases),
                Action::Withdraw { dial } => {
                    assert!(
                        dial.as_ref().is_none_or(|dial| dial.len() <= 300 && dial.is_ascii()),
                        "{dial:?}"
                    );
                }
                Action::TakeBack { because, .. } => assert_eq!(*because, None),
                Action::Hold { bounds, own_grace } => {
                    assert!(!own_grace, "it is configured");
                    let waits =
                        slots.drain.0 + slots.stop_grace.unwrap().0 + service.health.timeout().0 + 5_000;
                    assert_eq!((bounds.time.0, bounds.requests_max), (waits, 1_000));
                }
                Action::LetGo | Action::Record { .. } => {}
            }
        }
    }
}

/// Forges each field of the plan and of every step in it. The ways to those with which it is still a plan that this
/// configuration makes, for another world.
fn still_ours(config: &Config, plan: &Plan, seen: &lockgate_model::Observed) -> BTreeSet<String> {
    let honest = serde_json::to_value(plan).unwrap();
    let mut ways = Vec::new();
    places(&honest, "", &mut ways);
    let (mut same, mut tried) = (BTreeSet::new(), 0);
    for way in &ways {
        for forgery in forgeries(honest.pointer(way).unwrap()) {
            let mut forged = honest.clone();
            *forged.pointer_mut(way).unwrap() = forgery;
            // What does not parse is refused where it is read.
            let Ok(forged) = serde_json::from_value::<Plan>(forged) else { continue };
            if forged == *plan {
                continue;
            }
            tried += 1;
            for settled in [false, true] {
                match config.matched(&[("web1", &forged)], seen, settled) {
                    Ok(Matched::Same(found)) => {
                        harmless(config, &found);
                        same.insert(
                            way.split('/')
                                .map(|part| if part.parse::<u32>().is_ok() { "*" } else { part })
                                .collect::<Vec<_>>()
                                .join("/"),
                        );
                    }
                    Ok(Matched::Differs { plan: back, differences }) => {
                        harmless(config, &back);
                        assert!(
                            back.steps().all(|(_, _, step)| !matches!(step.action, Action::Gate { .. })),
                            "{way}"
                        );
                        assert!(!differences.is_empty(), "{way}");
                        for difference in &differences {
                            let shown = difference.to_string();
                            assert!(
                                shown.chars().count() < 500
                                    && shown.chars().all(|c| c.is_ascii() || c == '…'),
                                "{way}: {shown}"
                            );
                        }
                    }
                    Err(refused) => {
                        assert_eq!(refused.kind, FailureKind::Refused, "{way}: {refused}");
                        assert!(refused.host.is_some() && refused.message.len() < 500, "{way}: {refused}");
                    }
                }
            }
        }
    }
    assert!(tried > 50, "{tried}");
    same
}

#[test]
fn a_deployment_goes_forward_only_as_this_configuration_would_make_it() {
    let config = Config::new(&["web1"]);
    let seen = on(&[("web1", live(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    // What the host may say of itself: what was recorded.
    let free = still_ours(&config, &plan, &seen);
    assert_eq!(free, BTreeSet::from(WHAT_A_HOST_SAYS_OF_ITSELF.map(str::to_owned)));
}

const WHAT_A_HOST_SAYS_OF_ITSELF: [&str; 4] = [
    // It was not started anew, for it was not live.
    "/intent/again",
    "/phases/*/lanes/*/steps/*/undo/*/recorded",
    "/phases/*/lanes/*/steps/*/undo/*/recorded/active",
    "/phases/*/lanes/*/steps/*/undo/*/recorded/previous",
];

#[test]
fn so_does_any_other_run() {
    let config = Config::new(&["web1"]);
    let mut warm = live(1);
    warm.slots.get_mut(&lockgate_model::Slot::Green).unwrap().state = lockgate_model::SlotState::Running;
    let mut unlisted = live(1);
    unlisted.releases.clear();
    unlisted.slots.insert(lockgate_model::Slot::Green, holding(None, lockgate_model::SlotState::Running));
    let again = Intent::Deploy { release: release(1), gates: lockgate_model::Gates::None, again: true };
    for (world, intent) in [
        (foreign(), deploy(2)),
        (warm.clone(), deploy(2)),
        (warm.clone(), again),
        (warm, Intent::TidyUp),
        (live(1), Intent::Rollback { release: None }),
        (unlisted, deploy(1)),
    ] {
        let seen = on(&[("web1", world)]);
        let plan = config.plan(&intent, &seen).unwrap();
        still_ours(&config, &plan, &seen);
    }
}

#[test]
fn so_does_one_in_one_place_and_one_without_a_router() {
    let again = || Intent::Deploy { release: release(1), gates: lockgate_model::Gates::None, again: true };
    let mut command = Config::recreate(&["web1"]).unrouted();
    command.service.health = crate::fixture::command();
    for (config, world, intent) in [
        (Config::recreate(&["web1"]), live_in_main(1), deploy(2)),
        (Config::recreate(&["web1"]), live_in_main(1), again()),
        (Config::recreate(&["web1"]), foreign(), deploy(2)),
        (Config::recreate(&["web1"]).unrouted(), unrouted(live_in_main(1)), deploy(2)),
        (command, unrouted(live_in_main(1)), again()),
        (Config::new(&["web1"]).unrouted(), unrouted(live(1)), deploy(2)),
    ] {
        let seen = on(&[("web1", world)]);
        let plan = config.plan(&intent, &seen).unwrap();
        still_ours(&config, &plan, &seen);
    }
}

/// What a host says it had in its one slot is what it goes back to, and it says so for itself alone.
#[test]
fn what_is_gone_back_to_in_one_place_is_a_release_of_this_service() {
    let config = Config::recreate(&["web1"]);
    let seen = on(&[("web1", live_in_main(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    let forged = |number: u8, image: &str| {
        let (had, says) = (release(1), Release { image: Some(image.into()), ..release(number) });
        let text = |release: &Release| serde_json::to_string(release).unwrap();
        let forged = serde_json::to_string(&plan).unwrap().replace(&text(&had), &text(&says));
        let forged = forged.replace(had.digest.as_str(), says.digest.as_str());
        serde_json::from_str::<Plan>(&forged).unwrap()
    };
    let back = |plan: &Plan| match plan.steps().find_map(|(_, _, step)| match &step.action {
        Action::Stop { .. } => Some(step.undo.clone()),
        _ => None,
    }) {
        Some(undo) => match &undo[0] {
            Action::Start { release, .. } => release.clone(),
            other => panic!("it starts what it had first, not {other:?}"),
        },
        None => panic!("it stops what it had"),
    };
    let (made, told) = differs(config.matched(&[("web1", &forged(7, "example.com/web"))], &seen, false));
    assert_eq!(back(&made), release(1), "v1 is there, whatever the record says");
    assert!(told[0].contains("main on web1"), "{told:?}");
    // The new release has taken its place: the record alone says what was there.
    let followed = on(&[("web1", live_in_main(2))]);
    let evil = forged(1, "evil.example.com/web");
    let refused = config.matched(&[("web1", &evil)], &followed, false).unwrap_err();
    assert!(refused.message.ends_with("is of no image that this service has or had there"), "{refused}");
}

/// It is whoever built it that says so; a host may hand on what was said, and no more.
#[test]
fn where_a_release_comes_from_is_in_a_plan_where_it_is_kept_and_is_believed_within_its_bounds() {
    let config = Config::new(&["web1"]);
    let seen = on(&[("web1", live(1))]);
    let provenance = Provenance { subject: Some("Say hello".into()), ..Provenance::default() };
    let shipped = Release { provenance: Some(Box::new(provenance)), ..release(2) };
    let intent = Intent::Deploy { release: shipped.clone(), gates: Gates::All, again: false };
    let plan = config.plan(&intent, &seen).unwrap();
    still_ours(&config, &plan, &seen);
    assert_eq!(plan.release, shipped);
    for (_, _, step) in plan.steps() {
        let text = serde_json::to_string(&step.action).unwrap();
        let is_kept = matches!(&step.action, Action::Record { release: Some(_), .. });
        assert_eq!(text.contains("Say hello"), is_kept, "{text}");
    }
    let long = serde_json::to_string(&plan).unwrap().replace("Say hello", &"x".repeat(9_000));
    let forged: Plan = serde_json::from_str(&long).unwrap();
    let (made, _) = differs(config.matched(&[("web1", &forged)], &seen, false));
    assert!(made.release.provenance.is_some_and(|provenance| provenance.is_told()));
}

#[test]
fn a_run_of_another_strategy_or_router_is_not_taken_for_one_of_this() {
    let refused = |config: &Config, other: &Config, world: lockgate_model::HostObserved| {
        let seen = on(&[("web1", world)]);
        let plan = other.plan(&deploy(2), &seen).unwrap();
        let refused = config.matched(&[("web1", &plan)], &seen, false).unwrap_err();
        assert_eq!((refused.kind, &refused.host), (FailureKind::Refused, &Some(host("web1"))));
        refused.message.split_once("configuration: ").unwrap().1.to_owned()
    };
    let beside = Config::new(&["web1"]);
    let recreate = Config::recreate(&["web1"]);
    let told = [
        refused(&recreate, &beside, live(1)),
        refused(&beside, &recreate, live_in_main(1)),
        refused(&Config::recreate(&["web1"]).unrouted(), &recreate, live_in_main(1)),
        refused(&recreate, &Config::recreate(&["web1"]).unrouted(), unrouted(live_in_main(1))),
    ];
    assert_eq!(
        told,
        [
            "it was begun with `strategy: blue-green`, which has to be put back until it is through",
            "it was begun with `strategy: recreate`, which has to be put back until it is through",
            "it switches the traffic there, and this configuration has no router",
            "it starts a slot there and switches to none",
        ]
    );
}

#[test]
fn steps_that_no_plan_of_ours_has_are_refused() {
    let config = Config::new(&["web1"]);
    let seen = on(&[("web1", live(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    let refused = |forge: &dyn Fn(&mut Plan)| {
        let mut forged = plan.clone();
        forge(&mut forged);
        let refused = config.matched(&[("web1", &forged)], &seen, false).unwrap_err();
        assert_eq!((refused.kind, &refused.host), (FailureKind::Refused, &Some(host("web1"))));
        refused
            .message
            .strip_prefix("the run that was cut off cannot be matched with this configuration: ")
            .unwrap()
            .to_owned()
    };
    let live = |plan: &mut Plan| plan.phases.iter().position(|phase| phase.title == "go live").unwrap();
    let seen_in_table = [
        refused(&|plan| plan.phases[0].lanes[0].steps[0].id = lockgate_model::StepId(u32::MAX)),
        refused(&|plan| plan.phases[0].lanes[0].steps[0].id = lockgate_model::StepId(1)),
        refused(&|plan| {
            let at = live(plan);
            let step = plan.phases[at].lanes[0].steps[0].clone();
            let next = u32::try_from(plan.steps().count()).unwrap();
            for id in next..next + 5_000 {
                let id = lockgate_model::StepId(id);
                plan.phases.last_mut().unwrap().lanes[0]
                    .steps
                    .push(lockgate_model::Step { id, ..step.clone() });
            }
        }),
        refused(&|plan| {
            let at = live(plan);
            plan.phases[at].lanes[0].steps[2].undo.clear();
        }),
        refused(&|plan| {
            let at = live(plan);
            plan.phases[at].lanes[0].steps[2].undo[0] = Action::Withdraw { dial: Some("x\ny".into()) };
        }),
        refused(&|plan| {
            let at = live(plan);
            plan.phases[at].lanes[0].steps[0].action = Action::Start {
                slot: lockgate_model::Slot::Blue,
                release: release(2),
                own_environment: false,
            };
        }),
    ];
    assert_eq!(
        seen_in_table,
        [
            "its steps are not numbered one after the other: step 0 is number 4294967295",
            "its steps are not numbered one after the other: step 0 is number 1",
            "it has more than 64 steps there",
            "its switch there cannot be taken back",
            "what the router is to dial again is no address",
            "it goes back to blue, which it starts",
        ]
    );
}

/// A record decides neither which program is run nor in which image.
#[test]
fn no_program_of_a_records_own_is_ever_run() {
    let config = Config::new(&["web1"]).with_hooks();
    let seen = on(&[("web1", live(1))]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    let ways = still_ours(&config, &plan, &seen);
    assert!(!ways.iter().any(|way| way.contains("/hook")), "{ways:?}");
}
