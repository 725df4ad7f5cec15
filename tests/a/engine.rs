//! The Docker Engine is restarted while a deployment is under way (P1, P4, P8).

use crate::a::here::{Here, RELOADS};
use crate::support::load::{Load, User};
use crate::support::project::Running;
use crate::support::ran::Ran;
use crate::support::{http, wait_for};

/// The engine starts containers again one after another, after it answers.
const BACK_SECONDS_MAX: u64 = 20;

/// Deploys `slow`, and meanwhile, between its start and its switch, the engine goes and comes back.
fn deploy_over_a_restart(here: &Here, up_again: impl Fn(&Here)) -> Ran {
    let running = Running::start(here.command("deploy web slow --format json"));
    here.wait_until_begun(&running, "await_healthy");
    here.engine_down();
    up_again(here);
    let ran = running.end();
    // Stuck would be honest too, but an engine that is away for a second or two must not leave that behind.
    assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran}");
    assert_eq!(ran.last()["event"], "result", "{ran}");
    ran
}

fn live_after(ran: &Ran) -> &'static str {
    if ran.code == Some(0) { "slow" } else { "v1" }
}

#[test]
fn an_engine_that_is_restarted_under_its_containers_costs_no_request() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    let load = Load::start(here.port, &[User::Get, User::KeepAlive]);
    let ran = deploy_over_a_restart(&here, Here::engine_up);
    here.expect_settled(live_after(&ran));
    here.run("deploy web v2").expect(0);
    here.expect_settled("v2");
    load.expect_no_failure_but_of_reloads(2 * RELOADS);
}

#[test]
fn an_engine_that_takes_its_containers_along_leaves_a_release_that_the_next_deployment_goes_on_from() {
    let Some(here) = Here::start() else { return };
    here.engine_down();
    here.engine_up_without_live_restore();
    here.run("deploy web v1").expect(0);
    let ran = deploy_over_a_restart(&here, Here::engine_up_without_live_restore);
    // What the engine itself ended, it starts again: nothing of ours is needed for that.
    let live = live_after(&ran);
    wait_for("the live release to come back with the engine", BACK_SECONDS_MAX, || {
        http::get(here.port, "/").ok().filter(|answer| answer.status == 200 && answer.release() == live)
    });
    here.run("resume web").expect(0);
    here.expect_settled(live);
    let load = Load::start(here.port, &[User::Get]);
    here.run("deploy web v2").expect(0);
    here.expect_settled("v2");
    load.expect_no_failure_but_of_reloads(RELOADS);
}

#[test]
fn a_router_that_does_not_find_the_slot_is_found_out_before_a_user_gets_its_errors() {
    let Some(here) = Here::start() else { return };
    here.forget_name("web-green");
    here.run("deploy web v1").expect(0);
    let load = Load::start(here.port, &[User::Get]);
    let ran = here.run("deploy web v2").expect(3);
    ran.says(&[
        "green answers at",
        "but caddy, which dials web-green:5000, does not reach it",
        "network alias",
        "no user was sent there",
    ]);
    load.expect_no_failure_but_of_reloads(RELOADS);
    here.expect_live("v1");
    here.run("status").expect(0);
}

#[test]
fn a_container_that_was_killed_is_brought_back_by_resume() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    here.docker(&["kill", &here.docker(&["ps", "-q"])]);
    let status = here.run("status web --format json").expect(1).last();
    assert_eq!(status["status"], "unwell", "{status:#}");
    let resumed = here.run("resume web --format json").expect(0).last();
    assert_eq!((&resumed["status"], &resumed["exit"]), (&"success".into(), &0.into()), "{resumed:#}");
    here.expect_settled("v1");
}
