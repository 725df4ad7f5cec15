//! Several orchestrators on one service: one at a time, and one that was replaced notices.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::load::{Load, User};
use crate::support::project::{Project, Running, Waits};
use crate::support::{processes, wait_for};

/// Long enough for a busy machine, short enough for a test.
const TTL_MILLIS: &str = "1500";

fn short_lease(mut command: Command) -> Running {
    command.env("LOCKGATE_LEASE_TTL_MS", TTL_MILLIS);
    Running::start(command)
}

#[test]
fn a_second_deployment_is_told_who_is_at_work() {
    let project = Project::waiting(Waits::AfterSwitch);
    let first = short_lease(project.command(["deploy", "web", "v2"]));
    project.wait_at_gate("v2");
    let second = short_lease(project.command(["deploy", "web", "v3"])).end().expect(6);
    second.says(&["holds the lease", "pid", "hint"]);
    short_lease(project.command_on("m2", ["resume"])).end().expect(6);
    project.run("status").expect(0).says(&["is at work", "since"]);
    let status = project.status();
    assert_eq!(
        (&status["status"], status["timestamp"].is_null()),
        (&"in_progress".into(), true),
        "{status:#}"
    );
    assert!(status["notes"].as_str().unwrap().contains("is at work on v2"), "{status:#}");
    project.open_gate();
    first.end().expect(0);
    project.expect_settled("v2");
}

#[test]
fn whoever_waits_for_a_lease_is_told_whose() {
    let project = Project::waiting(Waits::BeforeSwitch);
    let first = project.start("deploy web v2");
    project.wait_at_gate("v2");
    first.signal(Signal::STOP);
    let second = project.start("resume --format json");
    second.wait_until_printed("waiting up to 15 s to see whether");
    first.signal(Signal::CONT);
    second.end().expect(6);
    project.open_gate();
    first.end().expect(0);
    project.expect_settled("v2");
}

#[test]
fn an_orchestrator_that_was_paused_and_replaced_does_nothing_more() {
    let scenes = [(Waits::BeforeSwitch, "m1"), (Waits::BeforeSwitch, "m2"), (Waits::AfterSwitch, "m2")];
    for (waits, machine) in scenes {
        let project = Project::waiting(waits);
        let load = Load::start(project.port, &[User::Get]);
        let first = short_lease(project.command(["deploy", "web", "v2", "--format", "json"]));
        project.wait_at_gate("v2");
        first.signal(Signal::STOP);
        project.open_gate();
        // Its lease runs out, for it cannot renew it.
        short_lease(project.command_on(machine, ["deploy", "web", "v3"])).end().expect(0);
        project.expect_settled("v3");
        let lease = project.lease();
        first.signal(Signal::CONT);
        let first = first.end().expect(6);
        assert!(first.stderr.contains("lease"), "{first}");
        load.expect_no_failure();
        project.expect_settled("v3");
        assert_eq!(project.lease(), lease, "it changed nothing any more");
        let history = project.run("history").expect(0).stdout;
        assert!(!history.contains("unfinished") || machine == "m2", "{history}");
    }
}

#[test]
fn a_lease_whose_holder_hangs_frees_itself() {
    let project = Project::waiting(Waits::BeforeSwitch);
    let first = short_lease(project.command(["deploy", "web", "v2"]));
    project.wait_at_gate("v2");
    first.signal(Signal::STOP);
    // As long as it may still be alive, it is waited for.
    let second = short_lease(project.command(["resume"]));
    std::thread::sleep(Duration::from_millis(50));
    project.open_gate();
    second.end().expect(0);
    project.expect_settled("v2");
    first.signal(Signal::CONT);
    first.end().expect(6);
    project.expect_settled("v2");
}

#[test]
fn many_deployments_at_once_end_one_after_another_or_give_way() {
    let project = Project::new();
    let tags = ["v3", "v4", "v5", "v6"];
    tags.iter().for_each(|tag| project.release(tag, ""));
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    let running: Vec<_> = tags
        .iter()
        .zip(["m1", "m2", "m1", "m2"])
        .map(|(tag, machine)| short_lease(project.command_on(machine, ["deploy", "web", tag])))
        .collect();
    let ended: Vec<_> = running.into_iter().map(Running::end).collect();
    let done: Vec<_> =
        tags.iter().zip(&ended).filter(|(_, ran)| ran.code == Some(0)).map(|(tag, _)| *tag).collect();
    for ran in &ended {
        assert!(matches!(ran.code, Some(0 | 6)), "{ran}");
    }
    load.expect_no_failure();
    let live = wait_for("an answer", 5, || Some(project.ask("/").release().to_owned()));
    assert!(done.contains(&live.as_str()), "{live} is live, {done:?} succeeded");
    project.expect_settled(&live);
}

#[test]
fn ctrl_c_while_somebody_else_holds_the_lease_ends_the_wait_at_once() {
    let project = Project::waiting(Waits::BeforeSwitch);
    // With the usual lifetime, so that whoever waits would wait for long.
    let first = project.start("deploy web v2");
    project.wait_at_gate("v2");
    first.signal(Signal::STOP);
    let lease = project.lease();
    for (command, signal) in [("deploy web v3", Signal::INT), ("resume", Signal::TERM)] {
        let second = project.start(command);
        wait_for("the signal to be waited for", 10, || {
            processes::catches(second.child.id(), signal).then_some(())
        });
        let began = Instant::now();
        second.signal(signal);
        let ran = second.end().expect(1);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}\n{ran}", began.elapsed());
        ran.says(&["interrupted by the user while", "held the lease", "nothing was changed"]);
        assert_eq!(project.lease(), lease);
    }
    first.signal(Signal::CONT);
    project.open_gate();
    first.end().expect(0);
    project.expect_settled("v2");
}
