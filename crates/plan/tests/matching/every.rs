//! Every plan that this configuration makes is known again, whatever was seen when it was made.

use std::collections::BTreeMap;

use lockgate_model::{
    Action, Gates, HookMoment, HostObserved, Intent, Millis, Recorded, RouterObserved, Slot, SlotObserved,
    SlotState,
};
use lockgate_plan::Matched;

use crate::fixture::{
    Config, command, deploy, differs, docker, foreign, holding, host, live, live_in_main, on, rejection,
    release, tidying, undos, unrouted,
};

/// All that a host may look like, as far as a plan depends on it: some 39,000, of which the tests take every so manyth.
fn worlds() -> Vec<HostObserved> {
    let colours = [None, Some(Slot::Blue), Some(Slot::Green)];
    let mut held: Vec<Option<SlotObserved>> = vec![None];
    for state in [SlotState::Running, SlotState::Stopped] {
        held.extend([None, Some(release(1)), Some(release(2))].map(|release| Some(holding(release, state))));
    }
    let mut worlds = Vec::new();
    for target in colours {
        for (dial, stale) in [(None, false), (Some("10.0.0.9:80"), false), (Some("10.0.0.9:80"), true)] {
            for active in colours {
                for previous in [None, Some(Slot::Green)] {
                    for blue in &held {
                        for green in &held {
                            for (listed, rejected) in lists() {
                                let slots = [(Slot::Blue, blue), (Slot::Green, green)];
                                let slots =
                                    slots.into_iter().filter_map(|(slot, held)| Some((slot, held.clone()?)));
                                worlds.push(HostObserved {
                                    own_environment: None,
                                    slots: slots.collect(),
                                    router: RouterObserved {
                                        target,
                                        dial: dial.map(str::to_owned),
                                        stale,
                                        ..RouterObserved::default()
                                    },
                                    recorded: Recorded { active, previous },
                                    releases: listed.map(release).map(Into::into).into_iter().collect(),
                                    rejected: rejected.map(rejection).into_iter().collect(),
                                    conflicts: Vec::new(),
                                    unhealthy: None,
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    worlds
}

/// What a host may have on its list, and what was rejected there.
fn lists() -> impl Iterator<Item = (Option<u8>, Option<u8>)> {
    let any = [None, Some(1), Some(2)];
    any.into_iter().flat_map(move |listed| any.map(|rejected| (listed, rejected)))
}

fn intents() -> Vec<Intent> {
    vec![
        deploy(2),
        Intent::Deploy { release: release(2), gates: Gates::None, again: true },
        Intent::Rollback { release: Some(release(2)) },
        Intent::Rollback { release: None },
        Intent::TidyUp,
    ]
}

/// All that a host with one slot may look like. Its route and its files may name what another strategy had.
fn worlds_in_one_place() -> Vec<HostObserved> {
    let mut held: Vec<Option<SlotObserved>> = vec![None];
    for state in [SlotState::Running, SlotState::Stopped] {
        held.extend([None, Some(release(1)), Some(release(2))].map(|release| Some(holding(release, state))));
    }
    let slots = [None, Some(Slot::Main), Some(Slot::Blue)];
    let mut worlds = Vec::new();
    for target in slots {
        for (dial, stale) in [(None, false), (Some("10.0.0.9:80"), false), (Some("10.0.0.9:80"), true)] {
            for active in slots {
                for previous in [None, Some(Slot::Blue), Some(Slot::Green)] {
                    for main in &held {
                        for (listed, rejected) in lists() {
                            // Nothing but what runs can be reached without the router.
                            let runs = main.as_ref().is_some_and(|held| held.state == SlotState::Running);
                            let direct = runs && dial.is_none() && target == Some(Slot::Main);
                            let dial = dial.map(str::to_owned);
                            let world = HostObserved {
                                own_environment: None,
                                slots: main.iter().map(|main| (Slot::Main, main.clone())).collect(),
                                router: RouterObserved { target, dial, stale, ..RouterObserved::default() },
                                recorded: Recorded { active, previous },
                                releases: listed.map(release).map(Into::into).into_iter().collect(),
                                rejected: rejected.map(rejection).into_iter().collect(),
                                conflicts: Vec::new(),
                                unhealthy: None,
                            };
                            if direct {
                                let mut by_itself = world.clone();
                                by_itself.router.direct = Some("0.0.0.0:80".to_owned());
                                worlds.push(by_itself);
                            }
                            worlds.push(world);
                        }
                    }
                }
            }
        }
    }
    worlds
}

/// How many plans were tried. Each is known again; without its gate it is not finished, and goes back, and is tidied up,
/// as it would have been.
fn known_again(config: &Config, worlds: impl IntoIterator<Item = HostObserved>) -> usize {
    let web1 = host("web1");
    let mut changed = config.environment.clone();
    changed.before.clear();
    let changed =
        Config { environment: changed, service: config.service.clone(), project: config.project.clone() };
    let mut counted = 0;
    for world in worlds {
        let seen = on(&[("web1", world)]);
        for intent in intents() {
            let Ok(plan) = config.plan(&intent, &seen) else { continue };
            counted += 1;
            let matched = config.matched(&[("web1", &plan)], &seen, false);
            assert_eq!(matched, Ok(Matched::Same(Box::new(plan.clone()))), "{seen:#?}");
            if config.plan(&intent, &seen) == changed.plan(&intent, &seen) {
                continue;
            }
            let (back, _) = differs(changed.matched(&[("web1", &plan)], &seen, false));
            assert_eq!(undos(&back, &web1), undos(&plan, &web1), "{seen:#?}");
            let (tidied, _) = differs(changed.matched(&[("web1", &plan)], &seen, true));
            assert_eq!(tidying(&tidied, &web1), tidying(&plan, &web1), "{seen:#?}");
            // Whoever finds that one goes back by it too.
            let (again, _) = differs(changed.matched(&[("web1", &back)], &seen, false));
            assert_eq!(again, back);
        }
    }
    counted
}

#[test]
fn on_one_host() {
    let mut config = Config::new(&["web1"]);
    let mut counted = 0;
    for keep_warm in [0, 60_000] {
        config.slots().keep_warm = Millis(keep_warm);
        counted += known_again(&config, worlds().into_iter().step_by(11));
    }
    assert!(counted > 10_000, "{counted}");
}

#[test]
fn beside_each_other_without_a_router() {
    let mut config = Config::new(&["web1"]).unrouted();
    let mut counted = 0;
    for keep_warm in [0, 60_000] {
        config.slots().keep_warm = Millis(keep_warm);
        counted += known_again(&config, worlds().into_iter().step_by(17).map(unrouted));
    }
    assert!(counted > 5_000, "{counted}");
}

/// A program that runs once is in a plan by the configuration alone, and by what was there before.
#[test]
fn with_hooks() {
    for (config, is_unrouted) in [(Config::new(&["web1"]), false), (Config::new(&["web1"]).unrouted(), true)]
    {
        let worlds = worlds().into_iter().step_by(101);
        let worlds = worlds.map(|seen| if is_unrouted { unrouted(seen) } else { seen });
        let counted = known_again(&config.with_hooks(), worlds);
        assert!(counted > 500, "{counted}");
    }
    let recreated = [Config::recreate(&["web1"]), Config::recreate(&["web1"]).unrouted()];
    for (config, is_unrouted) in recreated.into_iter().zip([false, true]) {
        let worlds = worlds_in_one_place().into_iter().step_by(31);
        let worlds = worlds.map(|seen| if is_unrouted { unrouted(seen) } else { seen });
        let counted = known_again(&config.with_hooks(), worlds);
        assert!(counted > 200, "{counted}");
    }
}

/// By another configuration it goes back, and what was begun is ended where it was begun.
#[test]
fn a_hook_that_was_changed_meanwhile_is_ended_and_not_run() {
    let begun = Config::new(&["web1", "web2"]).with_hooks();
    let seen = on(&[("web1", live(1)), ("web2", live(1))]);
    let plan = begun.plan(&deploy(2), &seen).unwrap();
    let mut changed = Config::new(&["web1", "web2"]).with_hooks();
    if let Some(hook) = &mut changed.service.hooks.before_switch {
        hook.timeout = Millis(1);
    }
    let (back, said) = differs(changed.matched(&[("web1", &plan), ("web2", &plan)], &seen, false));
    assert!(said[0].contains("action.hook.timeout"), "{said:?}");
    let ends = Action::EndHook { moment: HookMoment::BeforeSwitch };
    assert!(undos(&back, &host("web1")).contains(&ends));
}

#[test]
fn in_one_place() {
    let routed = known_again(&Config::recreate(&["web1"]), worlds_in_one_place().into_iter().step_by(5));
    assert!(routed > 2_000, "{routed}");
    let mut unrouted_config = Config::recreate(&["web1"]).unrouted();
    for health in [docker(), command()] {
        unrouted_config.service.health = health;
        let worlds = worlds_in_one_place().into_iter().step_by(13).map(unrouted);
        let counted = known_again(&unrouted_config, worlds);
        assert!(counted > 500, "{counted}");
    }
}

#[test]
fn in_one_place_while_the_release_runs_there_already() {
    for (config, before) in [
        (Config::recreate(&["web1"]), live_in_main(1)),
        (Config::recreate(&["web1"]).unrouted(), unrouted(live_in_main(1))),
    ] {
        let plan = config.plan(&deploy(2), &on(&[("web1", before)])).unwrap();
        let mut now = live_in_main(2);
        now.slots.insert(Slot::Main, holding(Some(release(2)), SlotState::Running));
        let seen = on(&[("web1", now)]);
        let matched = config.matched(&[("web1", &plan)], &seen, false);
        assert_eq!(matched, Ok(Matched::Same(Box::new(plan.clone()))), "what is there now is not what was");
    }
}

#[test]
fn on_several_hosts() {
    let config = Config::new(&["web1", "web2", "web3"]);
    let worlds = worlds();
    let mut counted = 0;
    for (index, first) in worlds.iter().step_by(29).enumerate() {
        let second = &worlds[index * 31 % worlds.len()];
        let seen = on(&[("web1", first.clone()), ("web2", second.clone()), ("web3", live(1))]);
        for intent in intents() {
            let Ok(plan) = config.plan(&intent, &seen) else { continue };
            counted += 1;
            let held = ["web1", "web2", "web3"].map(|name| (name, &plan));
            assert_eq!(
                config.matched(&held, &seen, false),
                Ok(Matched::Same(Box::new(plan.clone()))),
                "{seen:#?}"
            );
        }
    }
    assert!(counted > 2_000, "{counted}");
}

#[test]
fn what_the_router_dialled_before_is_dialled_again_on_the_host_that_says_so() {
    let config = Config::new(&["web1"]);
    let seen = on(&[("web1", foreign())]);
    let plan = config.plan(&deploy(2), &seen).unwrap();
    let changed = Config { service: config.service.clone(), ..Config::new(&["web1"]) };
    let mut edited = plan.clone();
    edited.phases[0].title = "edited".into();
    let (back, _) = differs(changed.matched(&[("web1", &edited)], &seen, false));
    assert_eq!(undos(&back, &host("web1")), undos(&plan, &host("web1")));
    assert_eq!(back.before, BTreeMap::new());
}
