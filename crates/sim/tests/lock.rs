//! An orchestrator that is stopped under the lock of a host's record is in nobody's way.

use lockgate_model::Millis;
use lockgate_sim::{BadDay, Beside, Command, Initial, Mutation, Scene, Story, Tally, Told, Turn, tell};

const STORIES: u64 = 2_000;
/// Stories that broke a promise once. An orchestrator that was replaced while it stood still told an end of the run (930,
/// 2008, 2662; 9816, where the host did not answer just then); a settled run that was taken over ended without a word of what
/// nobody had done (1333, 3414); a look at a lease waited for a step that waited for it (4062).
const BROKE_ONCE: [u64; 7] = [930, 1333, 2008, 2662, 3414, 4062, 9816];
/// For how long the first one stands still.
const STOPPED_SECONDS: u64 = 600;
/// The other waits for a lease to expire, and deploys.
const OTHER_SECONDS_MAX: f64 = 120.0;

/// A deployment is stopped in its `swap`th swap, and somebody else deploys meanwhile.
fn stopped(swap: u64, mutation: Option<Mutation>) -> Told {
    let scene = Scene { hosts: vec![Initial::Live(Beside::Stopped); 2], ..Scene::default() };
    let mut story = Story::plain(scene, Command::Deploy(2));
    story.mutation = mutation;
    story.turns[0].day.stop_at_swap = Some((swap, Millis::from_secs(STOPPED_SECONDS)));
    let other = Turn::new(Command::Deploy(3), 1, BadDay::default());
    story.turns[0].rival = Some((Millis::from_secs(1), Box::new(other)));
    tell(&story, true)
}

/// How the other ended, and when, in seconds.
fn other_end(told: &Told) -> (f64, String) {
    let line = told.trace.iter().find(|line| line.contains("2@machine1 ends: "));
    let line = line.unwrap_or_else(|| panic!("the other has no end: {:#?}", told.trace));
    let (at, said) = line.trim().split_once('s').unwrap_or_default();
    (at.parse().unwrap_or(f64::MAX), said.to_owned())
}

#[test]
fn promises_hold_in_random_stories_with_stops_under_the_lock() {
    let mut tally = Tally::default();
    for seed in (0..STORIES).chain(BROKE_ONCE.into_iter().filter(|seed| *seed >= STORIES)) {
        let told = tell(&Story::stopped_in_a_swap(seed), false);
        assert!(
            told.violations.is_empty(),
            "{}\nsee it: cargo run -q -p lockgate-sim -- --kind lock --seed {seed}",
            told.violations.join("\n")
        );
        tally.add(&told.tally);
    }
    println!("{tally:?}");
    for (what, count, least) in [
        ("stops", tally.pauses, STORIES / 3),
        ("takeovers", tally.takeovers, STORIES / 4),
        ("orchestrators that learned that they were replaced", tally.fenced, STORIES / 10),
        ("crashes", tally.crashes, 1),
    ] {
        assert!(count >= least, "only {count} {what}");
    }
}

#[test]
fn who_is_stopped_under_the_lock_blocks_nobody() {
    let mut swaps = 0;
    loop {
        let told = stopped(swaps, None);
        assert!(told.violations.is_empty(), "swap {swaps}: {:?}", told.violations);
        if told.tally.pauses == 0 {
            break;
        }
        let (at, said) = other_end(&told);
        assert!(said.ends_with("ends: succeeded"), "swap {swaps}: {said}");
        assert!(at < OTHER_SECONDS_MAX, "swap {swaps}: the other took until {at} s");
        swaps += 1;
    }
    assert!(swaps >= 6, "a deployment has only {swaps} swaps");
}

/// As it was when the orchestrator itself held the lock.
#[test]
fn holding_the_lock_oneself_is_caught() {
    let blocked = (0..4).filter(|swap| {
        let (at, said) = other_end(&stopped(*swap, Some(Mutation::KeepsLock)));
        !said.ends_with("ends: succeeded") || at > OTHER_SECONDS_MAX
    });
    assert!(blocked.count() > 0, "an orchestrator that is stopped with the lock was in nobody's way");
}
