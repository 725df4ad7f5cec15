//! Hosts that lose power with all their apps and come back.

use lockgate_model::Strategy;
use lockgate_sim::{
    Beside, Command, Finding, Initial, Mutation, Scene, Story, Tally, lose_power_everywhere, tell,
};

const STORIES: u64 = 2_000;

fn report(name: &str, (findings, tally): (Vec<Finding>, Tally), least: u64) {
    for finding in &findings {
        eprintln!("{name}: {}: {}", finding.what, finding.violations.join("; "));
    }
    assert!(findings.is_empty(), "{name}: {} of {} stories broke a promise", findings.len(), tally.stories);
    assert!(tally.stories >= least, "{name}: only {} stories", tally.stories);
    assert!(tally.brought_back >= least / 4, "{name}: only {} were certain", tally.brought_back);
}

fn hosts(count: usize) -> Scene {
    Scene { hosts: vec![Initial::Live(Beside::Stopped); count], ..Scene::default() }
}

#[test]
fn promises_hold_in_random_stories_with_power_losses() {
    let mut tally = Tally::default();
    for seed in 0..STORIES {
        let told = tell(&Story::with_power_loss(seed), false);
        assert!(
            told.violations.is_empty(),
            "{}\nsee it: cargo run -q -p lockgate-sim -- --kind power --seed {seed}",
            told.violations.join("\n")
        );
        tally.add(&told.tally);
    }
    println!("{tally:?}");
    assert!(tally.brought_back > STORIES / 4, "only {} were certain", tally.brought_back);
}

#[test]
fn a_deployment_over_a_power_loss_at_any_call_is_brought_to_its_end() {
    report("one", lose_power_everywhere(&Story::plain(hosts(1), Command::Deploy(2)), 1), 100);
    report("two", lose_power_everywhere(&Story::plain(hosts(2), Command::Deploy(2)), 5), 100);
}

#[test]
fn so_are_rollbacks_recreations_and_deployments_that_turn_back() {
    report("rollback", lose_power_everywhere(&Story::plain(hosts(2), Command::Rollback), 9), 50);
    let fails = Scene { smoke_fails: true, ..hosts(2) };
    report("smoke fails", lose_power_everywhere(&Story::plain(fails, Command::Deploy(2)), 9), 50);
    let recreate = Scene { strategy: Strategy::Recreate, ..hosts(2) };
    report("recreate", lose_power_everywhere(&Story::plain(recreate, Command::Deploy(2)), 9), 50);
}

#[test]
fn leaving_down_what_a_power_loss_took_down_is_caught() {
    let mut story = Story::plain(hosts(2), Command::Deploy(2));
    story.mutation = Some(Mutation::NeverBringsBack);
    let (findings, _) = lose_power_everywhere(&story, 11);
    let caught = findings.iter().flat_map(|finding| &finding.violations);
    assert!(caught.filter(|violation| violation.contains("has power again")).count() > 0);
}
