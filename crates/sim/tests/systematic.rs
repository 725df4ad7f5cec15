//! A crash at every point, again during recovery, and a fault at every call, for the stories that matter.

use lockgate_model::{Hooks, Millis, Strategy};
use lockgate_ports::fake::{Behaviour, Program};
use lockgate_sim::{
    BadDay, Beside, Command, Finding, Initial, Scene, Story, Tally, Turn, crash_everywhere, fail_everywhere,
    hook,
};

fn report(name: &str, (findings, tally): (Vec<Finding>, Tally), least: u64) {
    for finding in &findings {
        eprintln!("{name}: {}: {}", finding.what, finding.violations.join("; "));
    }
    assert!(findings.is_empty(), "{name}: {} of {} stories broke a promise", findings.len(), tally.stories);
    assert!(tally.stories >= least, "{name}: only {} stories", tally.stories);
}

fn one_host() -> Scene {
    Scene::default()
}

fn three_hosts() -> Scene {
    Scene { hosts: vec![Initial::Live(Beside::Stopped); 3], ..Scene::default() }
}

fn never_healthy(scene: Scene) -> Scene {
    Scene { v2: Behaviour { healthy_after: None, dies_after: None }, ..scene }
}

fn smoke_fails(scene: Scene) -> Scene {
    Scene { smoke_fails: true, ..scene }
}

fn deploy(scene: Scene) -> Story {
    Story::plain(scene, Command::Deploy(2))
}

/// With users' requests under way, some of which outlast a drain.
fn busy(mut story: Story) -> Story {
    for turn in &mut story.turns {
        turn.day.requests_per_mille = 300;
    }
    story
}

fn crashes(name: &str, story: &Story, stride: u64, least: u64) {
    report(name, crash_everywhere(story, stride), least);
}

fn faults(name: &str, story: &Story, least: u64) {
    report(name, fail_everywhere(story), least);
}

#[test]
fn a_deployment_on_one_host_survives_two_crashes_anywhere() {
    crashes("deploy", &busy(deploy(one_host())), 5, 1_000);
}

fn recreate(scene: Scene) -> Scene {
    Scene { strategy: Strategy::Recreate, ..scene }
}

#[test]
fn a_recreation_survives_two_crashes_anywhere() {
    crashes("recreate", &busy(deploy(recreate(one_host()))), 5, 500);
    crashes("recreate, never healthy", &busy(deploy(never_healthy(recreate(one_host())))), 5, 500);
    let fresh = Scene { hosts: vec![Initial::Fresh], ..recreate(one_host()) };
    crashes("first recreation", &deploy(fresh), 5, 300);
}

#[test]
fn a_recreation_survives_a_fault_at_every_call() {
    faults("recreate", &busy(deploy(recreate(one_host()))), 200);
    faults("recreate, smoke fails", &busy(deploy(smoke_fails(recreate(three_hosts())))), 500);
}

/// With a program to run before the switch, and one behind it.
fn migrating(scene: Scene, code: i32) -> Scene {
    let hooks = Hooks { before_switch: Some(hook(false)), after_switch: Some(hook(false)) };
    Scene { hooks, program: Program { takes: Millis(90), code, says: Vec::new() }, ..scene }
}

#[test]
fn a_migration_survives_two_crashes_anywhere() {
    crashes("migrate", &busy(deploy(migrating(one_host(), 0))), 7, 500);
    crashes("migrate, fails", &deploy(migrating(one_host(), 1)), 7, 200);
    crashes("migrate, recreate", &deploy(migrating(recreate(one_host()), 0)), 11, 300);
    crashes("migrate, smoke fails", &deploy(smoke_fails(migrating(one_host(), 0))), 11, 300);
}

#[test]
fn a_migration_survives_a_fault_at_every_call() {
    faults("migrate", &deploy(migrating(one_host(), 0)), 200);
    faults("migrate, three hosts", &deploy(migrating(three_hosts(), 0)), 400);
    faults("migrate, fails", &deploy(migrating(one_host(), 1)), 100);
}

#[test]
fn a_first_deployment_survives_two_crashes_anywhere() {
    let fresh = Scene { hosts: vec![Initial::Fresh], ..one_host() };
    crashes("first", &deploy(fresh.clone()), 7, 300);
    crashes("first, smoke fails", &deploy(smoke_fails(fresh)), 7, 300);
}

#[test]
fn a_rejected_deployment_on_one_host_survives_two_crashes_anywhere() {
    crashes("smoke fails", &busy(deploy(smoke_fails(one_host()))), 7, 500);
    crashes("never healthy", &deploy(never_healthy(one_host())), 7, 300);
}

#[test]
fn a_rollback_survives_two_crashes_anywhere() {
    let warm =
        Scene { hosts: vec![Initial::Live(Beside::Warm)], keep_warm: Millis::from_secs(60), ..one_host() };
    crashes("rollback", &Story::plain(one_host(), Command::Rollback), 7, 300);
    crashes("rollback to a warm slot", &busy(Story::plain(warm, Command::Rollback)), 7, 300);
}

#[test]
fn a_deployment_on_three_hosts_survives_two_crashes() {
    crashes("deploy on three", &deploy(three_hosts()), 67, 500);
}

#[test]
fn a_rejected_deployment_on_three_hosts_survives_two_crashes() {
    crashes("smoke fails on three", &deploy(smoke_fails(three_hosts())), 67, 400);
}

#[test]
fn every_call_may_fail_once_in_every_way_on_one_host() {
    faults("deploy", &busy(deploy(one_host())), 150);
    faults("smoke fails", &busy(deploy(smoke_fails(one_host()))), 150);
    faults("never healthy", &deploy(never_healthy(one_host())), 150);
    faults("rollback", &Story::plain(one_host(), Command::Rollback), 150);
    faults("first", &deploy(Scene { hosts: vec![Initial::Fresh], ..one_host() }), 150);
}

#[test]
fn every_call_may_fail_once_in_every_way_on_three_hosts() {
    let mixed = vec![Initial::Live(Beside::Warm), Initial::Ahead, Initial::Live(Beside::Nothing)];
    faults("mixed fleet", &deploy(Scene { hosts: mixed, ..three_hosts() }), 500);
    faults("smoke fails on three", &deploy(smoke_fails(three_hosts())), 500);
}

/// An orchestrator falls asleep at every call for longer than its lease lives, while another one takes over.
#[test]
fn a_pause_at_every_call_ends_at_the_fence() {
    let mut fenced = 0;
    for call in 0..170 {
        let mut story = deploy(Scene { hosts: vec![Initial::Live(Beside::Stopped); 2], ..one_host() });
        story.turns[0].day.pause_at_call = Some((call, Millis::from_secs(40)));
        let rival = Turn::new(Command::Deploy(3), 1, BadDay::default());
        story.turns[0].rival = Some((Millis::from_secs(10), Box::new(rival)));
        let told = lockgate_sim::tell(&story, false);
        assert!(told.violations.is_empty(), "asleep at call {call}: {:?}", told.violations);
        fenced += told.tally.fenced;
    }
    assert!(fenced > 50, "the fence stopped only {fenced}");
}

/// The journal is full from every append on.
#[test]
fn a_full_journal_undoes_the_run() {
    for hosts in [1, 3] {
        for append in 0..60 {
            let mut story =
                deploy(Scene { hosts: vec![Initial::Live(Beside::Stopped); hosts], ..one_host() });
            story.turns[0].day.journal_full_from = Some(append);
            let told = lockgate_sim::tell(&story, false);
            assert!(told.violations.is_empty(), "full from append {append}: {:?}", told.violations);
        }
    }
}

/// Ctrl-C at every call.
#[test]
fn ctrl_c_at_every_call_undoes_or_finishes() {
    for call in 0..220 {
        let mut story = busy(deploy(three_hosts()));
        story.turns[0].day.interrupt_at_call = Some(call);
        let told = lockgate_sim::tell(&story, false);
        assert!(told.violations.is_empty(), "Ctrl-C at call {call}: {:?}", told.violations);
        assert_eq!(told.tally.stuck, 0, "Ctrl-C at call {call}");
    }
}
