//! Calls to a daemon that dies anywhere, and whose store is slow, full or gone.

use lockgate_ports::fake::Lie;
use lockgate_sim::{CallsTally, Tally, tell_of_calls, tell_of_calls_and_a_lie};

const STORIES: u64 = 1_500;

#[test]
fn a_delivery_makes_at_most_one_run_and_is_answered_when_the_world_is_well() {
    let (mut calls, mut tally) = (CallsTally::default(), Tally::default());
    for seed in 0..STORIES {
        let told = tell_of_calls(seed, false);
        assert!(
            told.violations.is_empty(),
            "seed {seed}: {}\nsee it: cargo run -q -p lockgate-sim -- --kind calls --seed {seed}",
            told.violations.join("\n")
        );
        calls.add(&told.calls);
        tally.add(&told.tally);
    }
    println!("{calls:?}\n{tally:?}");
    for (what, count) in [
        ("deaths", calls.deaths),
        ("stops", calls.stops),
        ("deployed calls", calls.deployed),
        ("superseded calls", calls.superseded),
        ("calls that were turned away", calls.turned_away),
        ("repeated calls", calls.repeated),
        ("failures of the store", calls.store_failures),
        ("runs that were taken over", calls.resumed),
    ] {
        assert!(count > STORIES / 10, "too few stories had {what}: {count}");
    }
}

/// The checks can fail: a store that is broken on purpose is caught.
#[test]
fn a_store_that_forgets_what_the_order_and_once_rest_on_is_caught() {
    for (lie, by) in [
        (Lie::ForgetsBodies, "made 2 runs"),
        (Lie::ForgetsOrder, "and began at"),
        (Lie::DropsAnswers, "has no answer"),
    ] {
        let is_caught = |seed| {
            tell_of_calls_and_a_lie(seed, lie).violations.iter().any(|violation| violation.contains(by))
        };
        assert!((0..STORIES).any(is_caught), "{lie:?} was not caught by {by:?}");
    }
}
