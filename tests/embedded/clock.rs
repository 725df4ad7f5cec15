//! The host's clock jumps. Leases are told by it, so the record is written as it would stand after such a jump.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::load::{Load, User};
use crate::support::project::{Project, Running, Setup, Waits};

const TTL_MILLIS: &str = "1500";
/// A lease is waited for one lifetime; the rest is the deployment itself on a busy machine.
const BOUND_SECONDS: u64 = 15;
const YEAR_MILLIS: i64 = 365 * 24 * 3600 * 1000;

fn deploy(project: &Project, machine: &str, tag: &str) -> Running {
    let mut command = project.command_on(machine, ["deploy", "web", tag]);
    command.env("LOCKGATE_LEASE_TTL_MS", TTL_MILLIS);
    Running::start(command)
}

/// The clock has been moved by `-millis` since the last heartbeat. `boot` names the holder's machine, where it is another.
fn jump(project: &Project, millis: i64, boot: Option<&str>) {
    let mut lease = project.lease();
    let renewed_at = lease["holder"]["renewed_at"].as_i64().expect("somebody holds the lease");
    lease["holder"]["renewed_at"] = (renewed_at + millis).into();
    if let Some(boot) = boot {
        lease["holder"]["boot_id"] = boot.into();
    }
    std::fs::write(project.path("host/prod/web/.lockgate/lease.json"), lease.to_string()).unwrap();
}

#[test]
fn a_holder_that_sleeps_over_a_jump_of_the_clock_is_replaced_in_bounded_time_and_fenced() {
    for millis in [YEAR_MILLIS, -YEAR_MILLIS] {
        let project = Project::waiting(Waits::BeforeSwitch);
        let load = Load::start(project.port, &[User::Get]);
        let first = deploy(&project, "m1", "v2");
        project.wait_at_gate("v2");
        first.signal(Signal::STOP);
        jump(&project, millis, None);
        project.open_gate();
        let began = Instant::now();
        deploy(&project, "m2", "v3").end().expect(0);
        assert!(began.elapsed() < Duration::from_secs(BOUND_SECONDS), "{millis}: {:?}", began.elapsed());
        project.expect_settled("v3");
        first.signal(Signal::CONT);
        first.end().expect(6).says(&["lease"]);
        load.expect_no_failure();
        project.expect_settled("v3");
    }
}

#[test]
fn a_holder_that_died_before_a_jump_of_the_clock_is_waited_for_one_lifetime_and_no_longer() {
    let elsewhere = "a machine that nobody can ask";
    for (millis, boot) in
        [(YEAR_MILLIS, Some(elsewhere)), (-YEAR_MILLIS, Some(elsewhere)), (YEAR_MILLIS, None)]
    {
        let project = Project::waiting(Waits::BeforeSwitch);
        let load = Load::start(project.port, &[User::Get]);
        let first = deploy(&project, "m1", "v2");
        project.wait_at_gate("v2");
        drop(first);
        jump(&project, millis, boot);
        project.open_gate();
        let began = Instant::now();
        deploy(&project, "m2", "v3").end().expect(0);
        assert!(began.elapsed() < Duration::from_secs(BOUND_SECONDS), "{millis}: {:?}", began.elapsed());
        load.expect_no_failure();
        project.expect_settled("v3");
    }
}

#[test]
fn what_was_recorded_in_the_future_is_no_obstacle_when_nobody_is_at_work() {
    let setup = Setup { environment: "    keep_warm: 1h\n".into(), ..Setup::default() };
    let project = Project::with(&setup);
    project.deploy("v1");
    project.deploy("v2");
    let mut lease = project.lease();
    let at = lease["last"]["at"].as_i64().expect("the last run has ended");
    lease["last"]["at"] = (at + YEAR_MILLIS).into();
    std::fs::write(project.path("host/prod/web/.lockgate/lease.json"), lease.to_string()).unwrap();
    project.run("status").expect(0).says(&["v2"]);
    project.run("resume").expect(0);
    project.run("rollback web").expect(0);
    project.expect_live("v1");
}
