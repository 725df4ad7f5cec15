//! Every plan that this configuration makes is known again, whatever was seen when it was made.

use std::collections::BTreeMap;

use lockgate_model::{
    Gates, HostObserved, Intent, Millis, Recorded, RouterObserved, Slot, SlotObserved, SlotState,
};
use lockgate_plan::Matched;

use crate::fixture::{
    Config, deploy, differs, foreign, holding, host, live, on, rejection, release, tidying, undos,
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
                                    slots: slots.collect(),
                                    router: RouterObserved {
                                        target,
                                        dial: dial.map(str::to_owned),
                                        stale,
                                        unreachable: None,
                                    },
                                    recorded: Recorded { active, previous },
                                    releases: listed.map(release).map(Into::into).into_iter().collect(),
                                    rejected: rejected.map(rejection).into_iter().collect(),
                                    conflicts: Vec::new(),
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

#[test]
fn on_one_host() {
    let (mut config, web1) = (Config::new(&["web1"]), host("web1"));
    let mut counted = 0;
    for keep_warm in [0, 60_000] {
        config.slots().keep_warm = Millis(keep_warm);
        let mut changed = config.environment.clone();
        changed.before.clear();
        let changed = Config {
            environment: changed.clone(),
            service: config.service.clone(),
            project: config.project.clone(),
        };
        for world in worlds().into_iter().step_by(11) {
            let seen = on(&[("web1", world)]);
            for intent in intents() {
                let Ok(plan) = config.plan(&intent, &seen) else { continue };
                counted += 1;
                let matched = config.matched(&[("web1", &plan)], &seen, false);
                assert_eq!(matched, Ok(Matched::Same(Box::new(plan.clone()))), "{seen:#?}");
                // Without the gate it is not finished. It goes back, and is tidied up, as it would have been.
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
    }
    assert!(counted > 10_000, "{counted}");
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
