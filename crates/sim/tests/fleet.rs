//! Fleets of up to a hundred hosts, with latency per call in virtual time.

use lockgate_model::Millis;
use lockgate_sim::{Story, Tally, tell};

const STORIES: u64 = 10;
/// Of a whole story: deployment, resumption, and the two commands at its end.
const VIRTUAL_SECONDS_MAX: u64 = 300;

#[test]
fn promises_hold_in_large_fleets_and_no_lease_expires() {
    let mut tally = Tally::default();
    for seed in 0..STORIES {
        let story = Story::of_a_fleet(seed);
        let told = tell(&story, false);
        let shown = &told.violations[..told.violations.len().min(5)];
        assert!(
            told.violations.is_empty(),
            "{}\nsee it: cargo run -q -p lockgate-sim -- --kind fleet --seed {seed}",
            shown.join("\n")
        );
        let (hosts, took) = (story.scene.hosts.len(), told.took);
        println!("seed {seed}: {hosts} hosts, {took}, {:?}", told.ends);
        assert!(took <= Millis::from_secs(VIRTUAL_SECONDS_MAX), "seed {seed}: {hosts} hosts took {took}");
        assert_eq!(told.tally.fenced, 0, "seed {seed}: {:?}", told.ends);
        tally.add(&told.tally);
    }
    assert!(tally.crashes > 0 && tally.succeeded > STORIES, "{tally:?}");
}

/// The check can fail: a holder that stands still for longer than its lease lives.
#[test]
fn a_lease_that_expires_under_its_holder_is_caught() {
    let mut story = Story::of_a_fleet(1);
    story.turns[0].day.crash_at_point = None;
    story.turns[0].day.pause_at_call = Some((2_000, Millis::from_secs(40)));
    let rival = lockgate_sim::Turn::new(lockgate_sim::Command::Resume, 2, lockgate_sim::BadDay::default());
    story.turns[0].rival = Some((Millis::from_secs(1), Box::new(rival)));
    let told = tell(&story, false);
    assert!(told.violations.iter().any(|violation| violation.contains("the lease expired under")));
}
