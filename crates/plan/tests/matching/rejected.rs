//! Which plans say that a release is bad, of which, and which choose none that is.

use lockgate_model::{Action, FailureKind, HostObserved, Intent, Plan, Release};
use lockgate_plan::Matched;

use crate::fixture::{
    Config, deploy, host, live, live_in_main, on, rejection, release, tidying, undos, unrouted,
};

/// v2 is live in blue, and v1 and v0 were before it.
fn after_two() -> HostObserved {
    let mut seen = live(2);
    seen.releases.insert(1, release(1).into());
    seen
}

/// A release, and what a person went back to from it.
type Taken = (Release, Option<Release>);

fn taken_back(actions: &[Action]) -> Vec<Taken> {
    let taken = |action: &Action| match action {
        Action::TakeBack { release, instead, .. } => {
            Some((with_image(release), instead.as_ref().map(with_image)))
        }
        _ => None,
    };
    actions.iter().filter_map(taken).collect()
}

/// Of what is taken back only tag and digest are kept.
fn with_image(bare: &Release) -> Release {
    assert_eq!((&bare.image, &bare.commit), (&None, &None));
    Release { image: release(1).image, ..bare.clone() }
}

/// Of the steps that are undone, and of those behind the commit.
fn says(plan: &Plan) -> (Vec<Taken>, Vec<Taken>) {
    (taken_back(&undos(plan, &host("web1"))), taken_back(&tidying(plan, &host("web1"))))
}

#[test]
fn a_deployment_takes_back_what_it_tried_last_of_all() {
    let config = Config::new(&["web1"]);
    let plan = config.plan(&deploy(3), &on(&[("web1", after_two())])).unwrap();
    assert_eq!(says(&plan), (vec![(release(3), None)], vec![]));
    let undone = undos(&plan, &host("web1"));
    assert!(matches!(undone.last(), Some(Action::TakeBack { .. })), "{undone:#?}");
    let tries = |(_, _, step): (usize, Option<&lockgate_model::HostId>, &lockgate_model::Step)| matches!(&step.action, Action::Record { tried: Some(tried), .. } if *tried == release(3));
    assert_eq!(plan.steps().filter(|step| tries(*step)).count(), 1);
}

/// What a host should have anyway was good: it has died, or is started anew with another environment.
#[test]
fn what_a_host_should_have_is_not_rejected_when_it_cannot_be_started_again() {
    let config = Config::new(&["web1"]);
    let again = Intent::Deploy { release: release(2), gates: lockgate_model::Gates::All, again: true };
    let plan = config.plan(&again, &on(&[("web1", after_two())])).unwrap();
    assert_eq!(says(&plan), (vec![], vec![]));
    let mut died = after_two();
    died.slots.values_mut().for_each(|slot| slot.state = lockgate_model::SlotState::Stopped);
    let plan = config.plan(&deploy(2), &on(&[("web1", died)])).unwrap();
    assert!(!plan.is_empty());
    assert_eq!(says(&plan), (vec![], vec![]));
}

#[test]
fn a_rollback_rejects_what_it_goes_back_from_unless_it_goes_back_to_what_was_rejected() {
    let config = Config::new(&["web1"]);
    let back = Intent::Rollback { release: None };
    let plan = config.plan(&back, &on(&[("web1", after_two())])).unwrap();
    assert_eq!(says(&plan), (vec![(release(1), None)], vec![(release(2), Some(release(1)))]));

    let mut seen = after_two();
    seen.rejected = vec![rejection(1)];
    let named = Intent::Rollback { release: Some(release(1)) };
    let plan = config.plan(&named, &on(&[("web1", seen.clone())])).unwrap();
    assert_eq!(says(&plan), (vec![(release(1), None)], vec![]));
    // And it is known again as the same.
    let matched = config.matched(&[("web1", &plan)], &on(&[("web1", seen)]), false);
    assert_eq!(matched, Ok(Matched::Same(Box::new(plan))));
}

#[test]
fn a_rollback_without_a_name_goes_past_what_was_rejected() {
    let config = Config::new(&["web1"]);
    let back = Intent::Rollback { release: None };
    let mut seen = after_two();
    seen.rejected = vec![rejection(1)];
    assert_eq!(config.plan(&back, &on(&[("web1", seen.clone())])).unwrap().release, release(0));
    seen.rejected.push(rejection(0));
    let refused = config.plan(&back, &on(&[("web1", seen)])).unwrap_err();
    assert_eq!(refused.kind, FailureKind::NotFound);
    assert!(refused.message.contains("was rejected: gate failed: smoke"), "{refused}");
    assert!(refused.hints.to_string().contains("`lockgate rollback web v1`"), "{refused:?}");
}

/// Whoever can write one host's list must not choose how far back the others go.
#[test]
fn where_only_one_host_says_that_a_release_was_rejected_a_person_names_the_one_to_go_back_to() {
    let config = Config::new(&["web1", "web2"]);
    let back = Intent::Rollback { release: None };
    let mut says_so = after_two();
    says_so.rejected = vec![rejection(1)];
    let refused = config.plan(&back, &on(&[("web1", says_so.clone()), ("web2", after_two())])).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.starts_with("hosts had different releases before"), "{refused}");
    let both = on(&[("web1", says_so.clone()), ("web2", says_so)]);
    assert_eq!(config.plan(&back, &both).unwrap().release, release(0));
}

/// It is live and on the list already; what is left to do is to end the rejection.
#[test]
fn deploying_what_is_live_and_rejected_ends_the_rejection() {
    let config = Config::new(&["web1"]);
    let mut seen = after_two();
    assert!(config.plan(&deploy(2), &on(&[("web1", seen.clone())])).unwrap().is_empty());
    seen.rejected = vec![rejection(2)];
    let plan = config.plan(&deploy(2), &on(&[("web1", seen.clone())])).unwrap();
    let titles: Vec<String> = plan.steps().map(|(_, _, step)| step.action.title()).collect();
    assert_eq!(titles, [format!("record blue as active, {} as released", release(2))]);
    // Another deployment does not take what could not be undone for what was live.
    seen.releases = vec![release(1).into()];
    let plan = config.plan(&deploy(3), &on(&[("web1", seen)])).unwrap();
    let listed =
        |(_, _, step): (usize, Option<&lockgate_model::HostId>, &lockgate_model::Step)| match &step.action {
            Action::Record { release, .. } => release.clone(),
            _ => None,
        };
    assert_eq!(plan.steps().filter_map(listed).collect::<Vec<_>>(), [release(3)]);
}

#[test]
fn every_recipe_takes_back_what_it_tried_and_rejects_what_a_rollback_leaves() {
    let back = Intent::Rollback { release: Some(release(1)) };
    let main = || HostObserved { releases: after_two().releases, ..live_in_main(2) };
    for (config, seen) in [
        (Config::new(&["web1"]).unrouted(), unrouted(after_two())),
        (Config::recreate(&["web1"]), main()),
        (Config::recreate(&["web1"]).unrouted(), unrouted(main())),
    ] {
        let plan = config.plan(&deploy(3), &on(&[("web1", seen.clone())])).unwrap();
        assert_eq!(says(&plan), (vec![(release(3), None)], vec![]), "{plan:#?}");
        let tries = |action: &Action| matches!(action, Action::Record { tried: Some(_), .. });
        assert_eq!(plan.steps().filter(|(_, _, step)| tries(&step.action)).count(), 1);
        let plan = config.plan(&back, &on(&[("web1", seen)])).unwrap();
        assert_eq!(
            says(&plan),
            (vec![(release(1), None)], vec![(release(2), Some(release(1)))]),
            "{plan:#?}"
        );
    }
}
