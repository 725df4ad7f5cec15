//! The checks can fail: a Lockgate that is broken on purpose is caught.

use lockgate_model::Millis;
use lockgate_sim::{BadDay, Command, Mutation, Scene, Story, Turn, tell};

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
