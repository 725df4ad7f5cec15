//! Apps that have a bad day: the old release stays live, and the error says why.

use std::time::{Duration, Instant};

use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup};
use crate::support::ran::Ran;

/// Deploys a release of a broken app over a good one, under load; the good one must not notice.
fn bad(health: &'static str, knobs: &str) -> Ran {
    let project = Project::with(&Setup { health, ..Setup::default() });
    project.release("bad", knobs);
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    let ran = project.run("deploy web bad").expect(1).says(&["is still live", "v1"]);
    load.expect_no_failure();
    project.expect_settled("v1");
    ran
}

#[test]
fn a_release_that_does_not_exist_is_refused_before_anything_is_touched() {
    let project = Project::new();
    project.run("plan web v9").expect(1).says(&["app-v9", "hint"]);
    project.run("deploy web v9").expect(1).says(&["no executable", "app-v9", "hint"]);
    assert!(!project.path("host/proxy").exists());
    project.deploy("v1");
    project.run("deploy web v9").expect(1).says(&["app-v9"]);
    project.expect_settled("v1");
}

#[test]
fn a_file_that_cannot_be_executed_is_no_release() {
    let project = Project::new();
    std::fs::write(project.path("app-text"), "no program").unwrap();
    project.run("deploy web text").expect(1).says(&["app-text"]);
    project.script("app-nothing", "#!/no/such/interpreter\n");
    project.run("deploy web nothing").expect(1).says(&["hint"]);
    assert!(project.apps().is_empty());
}

#[test]
fn an_app_that_is_never_healthy_leaves_the_old_one_live() {
    bad("{ path: /health, timeout: 600ms }", "UNHEALTHY=1").says(&["not healthy", "503", "hint", "log"]);
}

#[test]
fn an_app_that_flaps_is_not_healthy() {
    bad("{ path: /health, timeout: 600ms }", "FLAP=1").says(&["not healthy", "503"]);
}

#[test]
fn an_app_on_the_wrong_port_is_told_so() {
    // A port that nothing else in these tests takes.
    bad("{ path: /health, timeout: 800ms }", "LISTEN_PORT=31877").says(&["listens on 31877", "PORT="]);
}

#[test]
fn an_app_that_crashes_at_once_is_not_waited_for() {
    let began = Instant::now();
    let ran = bad("{ path: /health, timeout: 45s }", "CRASH=1");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}:\n{ran}", began.elapsed());
    ran.says(&["ended by itself with exit code 1", "its last log lines", "CRASH"]);
}

#[test]
fn an_app_that_dies_while_it_is_waited_for_fails_fast() {
    let health = "{ path: /health, timeout: 45s, passes: 60 }";
    let began = Instant::now();
    let ran = bad(health, "DIE_AFTER_MS=150");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}:\n{ran}", began.elapsed());
    ran.says(&["ended by itself"]);
}

#[test]
fn an_app_that_dies_after_it_got_the_traffic_is_rolled_back() {
    let after = "[{ name: soak, http: { samples: 400, interval: 50ms } }]".to_owned();
    let project = Project::with(&Setup { after, ..Setup::default() });
    project.run("deploy web v1 --only-swap").expect(0);
    project.release("bad", "DIE_AFTER_MS=400");
    let began = Instant::now();
    project.run("deploy web bad").expect(3).says(&["soak", "503", "is live again"]);
    // Nobody waits for the other samples while users get errors.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    project.expect_settled("v1");
}

#[test]
fn an_app_that_ignores_sigterm_is_killed_after_its_grace() {
    let project = Project::new();
    project.release("deaf", "IGNORE_TERM=1");
    project.deploy("deaf");
    let load = Load::start(project.port, &[User::Get]);
    project.deploy("v1");
    load.expect_no_failure();
    project.expect_settled("v1");
}

#[test]
fn a_slow_start_is_waited_for_and_not_longer_than_needed() {
    let project = Project::new();
    project.release("slow", "BOOT_MS=300 HEALTHY_AFTER_MS=400");
    let began = Instant::now();
    project.deploy("slow");
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
    project.expect_settled("slow");
}

#[test]
fn a_live_app_that_was_killed_is_replaced_by_the_next_deployment() {
    let project = Project::new();
    project.deploy("v1");
    project.apps()[0].signal(rustix::process::Signal::KILL);
    crate::support::wait_for("the app to end", 5, || project.apps().is_empty().then_some(()));
    // Its port may be anybody's by now.
    let answer = project.ask("/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    project.deploy("v2");
    project.expect_settled("v2");
}
