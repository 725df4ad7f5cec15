//! Hosts that go away and never come back, or come back when the others have gone on.

use lockgate_model::Strategy;
use lockgate_sim::{
    BadDay, Beside, Command, Event, Finding, Initial, Scene, Story, Tally, Turn, lose_a_host_everywhere, tell,
};

fn report(name: &str, (findings, tally): (Vec<Finding>, Tally), least: u64) {
    for finding in &findings {
        eprintln!("{name}: {}: {}", finding.what, finding.violations.join("; "));
    }
    assert!(findings.is_empty(), "{name}: {} of {} stories broke a promise", findings.len(), tally.stories);
    assert!(tally.stories >= least, "{name}: only {} stories", tally.stories);
}

fn hosts(count: usize) -> Scene {
    Scene { hosts: vec![Initial::Live(Beside::Stopped); count], ..Scene::default() }
}

#[test]
fn a_crash_and_a_host_that_is_gone_leave_one_release_on_the_others() {
    report("two", lose_a_host_everywhere(&Story::plain(hosts(2), Command::Deploy(2)), 5), 100);
    report("three", lose_a_host_everywhere(&Story::plain(hosts(3), Command::Deploy(2)), 17), 60);
}

#[test]
fn so_do_rollbacks_and_deployments_that_turn_back() {
    let fails = Scene { smoke_fails: true, ..hosts(3) };
    report("smoke fails", lose_a_host_everywhere(&Story::plain(fails, Command::Deploy(2)), 19), 60);
    report("rollback", lose_a_host_everywhere(&Story::plain(hosts(3), Command::Rollback), 19), 50);
}

#[test]
fn so_does_recreation() {
    let scene = Scene { strategy: Strategy::Recreate, ..hosts(2) };
    report("recreate", lose_a_host_everywhere(&Story::plain(scene.clone(), Command::Deploy(2)), 7), 60);
    let fails = Scene { smoke_fails: true, ..scene };
    report("recreate, smoke fails", lose_a_host_everywhere(&Story::plain(fails, Command::Deploy(2)), 9), 60);
}

/// One turn without a host, crashed at every point; then the host is reached again.
#[test]
fn a_deployment_without_a_host_that_is_cut_off_is_finished_without_it() {
    for point in (0..90).step_by(2) {
        for host in 0..3 {
            let mut story = Story::plain(hosts(3), Command::Deploy(2));
            story.turns[0].skip = vec![host];
            story.turns[0].day.crash_at_point = Some(point);
            story.turns.push(Turn::new(Command::Resume, 1, BadDay::default()));
            let told = tell(&story, false);
            assert!(told.violations.is_empty(), "point {point}, host {host}: {:?}", told.violations);
            assert_eq!(told.tally.stuck, 0, "point {point}, host {host}");
        }
    }
}

/// A host is in the middle of a run when it goes; the others move on twice by name without it, and it comes back.
#[test]
fn a_host_that_comes_back_in_the_middle_of_something_is_brought_along() {
    for point in (0..140).step_by(5) {
        for host in 0..3 {
            let mut story = Story::plain(hosts(3), Command::Deploy(2));
            story.turns[0].day.crash_at_point = Some(point);
            let mut without = Turn::new(Command::Deploy(3), 1, BadDay::default());
            without.skip = vec![host];
            without.day.events = vec![(0, host, Event::HostGone)];
            let mut again = Turn::new(Command::Deploy(2), 2, BadDay::default());
            again.skip = vec![host];
            story.turns.extend([without, again]);
            let told = tell(&story, false);
            assert!(told.violations.is_empty(), "point {point}, host {host}: {:?}", told.violations);
            assert!(told.ends[1].starts_with("succeeded"), "{:?}", told.ends);
        }
    }
}
