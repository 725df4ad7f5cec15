//! An orchestrator that is stopped under the lock of a host's record is in nobody's way.

use lockgate_model::Millis;
use lockgate_sim::{BadDay, Beside, Command, Initial, Mutation, Scene, Story, Told, Turn, tell};

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
