//! Two sessions in one process, at once.

use lockgate_model::Millis;
use lockgate_sim::{BadDay, Beside, Command, Initial, Mutation, Scene, Story, Tally, Turn, tell};

const STORIES: u64 = 2_000;

fn hosts(count: usize) -> Scene {
    Scene { hosts: vec![Initial::Live(Beside::Stopped); count], ..Scene::default() }
}

fn two(command: Command, other: Command, later: Millis) -> Story {
    let mut story = Story::plain(hosts(2), command);
    story.turns[0].rival = Some((later, Box::new(Turn::new(other, 0, BadDay::default()))));
    story.turns[0].one_process = true;
    story
}

#[test]
fn promises_hold_in_random_stories_with_two_sessions_in_one_process() {
    let mut tally = Tally::default();
    for seed in 0..STORIES {
        let told = tell(&Story::with_two_sessions(seed), false);
        assert!(
            told.violations.is_empty(),
            "{}\nsee it: cargo run -q -p lockgate-sim -- --kind sessions --seed {seed}",
            told.violations.join("\n")
        );
        tally.add(&told.tally);
    }
    println!("{tally:?}");
    for (what, count) in
        [("crashes", tally.crashes), ("pauses", tally.pauses), ("takeovers", tally.takeovers)]
    {
        assert!(count > 0, "no story had {what}");
    }
}

/// The one that has the leases does all that it does before the other begins, or is told that somebody is at work.
#[test]
fn two_sessions_that_begin_together_never_act_both() {
    for millis in (0..500).step_by(20) {
        let told = tell(&two(Command::Deploy(2), Command::Deploy(3), Millis(millis)), true);
        assert!(told.violations.is_empty(), "after {millis} ms: {:?}", told.violations);
        let acts =
            |line: &&String| ["Fetch", "Start(", "Switch(", "Stop("].iter().any(|what| line.contains(what));
        let by_first = told.trace.iter().filter(acts).filter_map(|line| match line {
            line if line.contains("  1@machine0: ") => Some(true),
            line if line.contains("  1@machine0/1: ") => Some(false),
            _ => None,
        });
        let by_first: Vec<bool> = by_first.collect();
        assert!(by_first.contains(&true) && by_first.contains(&false), "after {millis} ms: {:?}", told.ends);
        let turns = by_first.windows(2).filter(|two| two[0] != two[1]).count();
        assert_eq!(turns, 1, "after {millis} ms both acted: {:#?}", told.trace);
    }
}

#[test]
fn a_death_kills_both_sessions_and_somebody_else_goes_on() {
    for point in (0..110).step_by(3) {
        let mut story = two(Command::Deploy(2), Command::Resume, Millis(1));
        story.turns[0].day.crash_at_point = Some(point);
        let told = tell(&story, true);
        assert!(told.violations.is_empty(), "point {point}: {:?}", told.violations);
        let died = told.trace.iter().position(|line| line.contains("DIES"));
        let Some(died) = died else { continue };
        // Nothing of either is heard again, but that they are gone.
        let theirs =
            |line: &&String| ["  1@machine0: ", "  1@machine0/1: "].iter().any(|who| line.contains(who));
        let heard: Vec<_> = told.trace[died + 1..].iter().filter(theirs).collect();
        assert!(heard.is_empty(), "point {point}: {heard:#?}");
    }
}

#[test]
fn sessions_that_are_one_holder_are_caught() {
    let broken = |millis: u64| {
        let mut story = two(Command::Deploy(2), Command::Deploy(3), Millis(millis));
        story.turns[0].day.latency_millis_max = 20;
        story.mutation = Some(Mutation::OneHolder);
        tell(&story, false).violations
    };
    let caught = (0..40).flat_map(|step| broken(step * 20));
    let caught = caught.filter(|violation| violation.contains("another session of its process")).count();
    assert!(caught > 0, "sessions that share a lease were never caught");
}
