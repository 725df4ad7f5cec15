//! The checks can fail: a Lockgate that is broken on purpose is caught.

use lockgate_model::{Hooks, Millis};
use lockgate_sim::{BadDay, Command, Mutation, Scene, Story, Turn, crash_everywhere, hook, tell};

/// Within so many stories.
const STORIES_MAX: u64 = 2_000;

fn caught(mutation: Mutation, by: &str) -> u64 {
    let broken = |seed: u64| {
        let mut story = Story::random(seed);
        story.mutation = Some(mutation);
        tell(&story, false).violations.iter().any(|violation| violation.contains(by))
    };
    (0..STORIES_MAX)
        .find(|seed| broken(*seed))
        .unwrap_or_else(|| panic!("{mutation:?} was not caught by {by:?} in {STORIES_MAX} stories"))
}

#[test]
fn stopping_the_old_slot_before_the_switch_is_caught() {
    caught(Mutation::StopsOldFirst, "P1");
}

#[test]
fn switching_before_the_app_is_healthy_is_caught() {
    caught(Mutation::SwitchesEarly, "P1");
}

#[test]
fn not_draining_is_caught() {
    caught(Mutation::SkipsDrain, "P2");
}

#[test]
fn not_switching_back_is_caught() {
    caught(Mutation::NeverSwitchesBack, "stuck");
}

#[test]
fn leaving_a_mixed_fleet_is_caught() {
    caught(Mutation::MixesFleet, "P3");
}

#[test]
fn acting_before_the_intent_is_written_is_caught() {
    caught(Mutation::ActsBeforeIntent, "P4");
}

#[test]
fn not_writing_down_that_a_release_was_rejected_is_caught() {
    caught(Mutation::NeverRejects, "is not rejected");
}

#[test]
fn not_writing_down_since_when_a_release_is_live_is_caught() {
    caught(Mutation::ForgetsSince, "since when it is live");
}

#[test]
fn not_telling_the_hosts_why_a_run_turned_back_is_caught() {
    caught(Mutation::ForgetsCause, "turned back for its release's fault");
}

#[test]
fn ignoring_the_fence_is_caught() {
    let violations = (0..STORIES_MAX).flat_map(|call| {
        let mut story = Story::plain(Scene::default(), Command::Deploy(2));
        story.mutation = Some(Mutation::SkipsFence);
        story.turns[0].day.pause_at_call = Some((call, Millis::from_secs(40)));
        let rival = Turn::new(Command::Deploy(3), 1, BadDay::default());
        story.turns[0].rival = Some((Millis::from_secs(10), Box::new(rival)));
        tell(&story, false).violations
    });
    let caught = violations.filter(|violation| violation.contains("was replaced")).count();
    assert!(caught > 0, "an orchestrator that ignores the fence was never caught");
}

/// A deployment with a migration, by a Lockgate that is broken so.
fn migrating(mutation: Mutation) -> Story {
    let hooks = Hooks { before_switch: Some(hook(false)), after_switch: None };
    let mut story = Story::plain(Scene { hooks, ..Scene::default() }, Command::Deploy(2));
    story.mutation = Some(mutation);
    story
}

#[test]
fn running_a_migration_twice_in_a_run_is_caught() {
    let (findings, _) = crash_everywhere(&migrating(Mutation::ForgetsMark), 1_000);
    let mut violations = findings.iter().flat_map(|finding| &finding.violations);
    assert!(violations.any(|violation| violation.contains("has begun 2 times in one run")), "{findings:?}");
}

#[test]
fn going_live_without_the_migration_is_caught() {
    let violations = tell(&migrating(Mutation::BelievesHooks), false).violations;
    let caught = violations
        .iter()
        .any(|violation| violation.contains("what comes before the switch had come to None"));
    assert!(caught, "{violations:?}");
}
