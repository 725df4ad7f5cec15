//! Ten thousand stories by chance, in parts that run beside each other.

use lockgate_sim::{Tally, play};

/// Stories in all parts together.
const STORIES: u64 = 10_000;
const PARTS: u64 = 4;

fn part(number: u64) {
    let mut tally = Tally::default();
    for seed in (number * STORIES / PARTS)..((number + 1) * STORIES / PARTS) {
        let told = play(seed, false);
        assert!(
            told.violations.is_empty(),
            "{}\nsee it: cargo run -q -p lockgate-sim -- --seed {seed}",
            told.violations.join("\n")
        );
        tally.add(&told.tally);
    }
    println!("{tally:?}");
    // The days were bad enough to mean something.
    for (what, count) in [
        ("crashes", tally.crashes),
        ("pauses", tally.pauses),
        ("interrupts", tally.interrupts),
        ("faults", tally.faults),
        ("takeovers", tally.takeovers),
        ("succeeded", tally.succeeded),
        ("failed", tally.failed),
        ("rolled back", tally.rolled_back),
        ("stuck", tally.stuck),
        ("fenced", tally.fenced),
    ] {
        assert!(count > 0, "no story had {what}");
    }
}

#[test]
fn promises_hold_in_random_stories_first_part() {
    part(0);
}

#[test]
fn promises_hold_in_random_stories_second_part() {
    part(1);
}

#[test]
fn promises_hold_in_random_stories_third_part() {
    part(2);
}

#[test]
fn promises_hold_in_random_stories_fourth_part() {
    part(3);
}

#[test]
fn the_same_seed_plays_the_same_story() {
    for seed in 0..20 {
        let (one, two) = (play(seed, true), play(seed, true));
        assert_eq!(one.trace, two.trace, "seed {seed}");
    }
}
