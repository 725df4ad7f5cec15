//! What Lockgate has seen to be well dies while it looks elsewhere: nothing is settled on an old look (P1).

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::load::{Load, User};
use crate::support::processes::{self, Process};
use crate::support::project::{DRAIN_BEGINS, Project, Running, Setup, Waits};
use crate::support::{http, wait_for};

/// The processes of the app that came after `before`.
fn newer(project: &Project, before: &[Process]) -> Vec<Process> {
    let known = |app: &Process| before.iter().any(|one| one.pid == app.pid);
    project.apps().into_iter().filter(|app| !known(app)).collect()
}

#[test]
fn a_release_that_dies_while_the_last_gate_is_asked_is_rolled_back() {
    let project = Project::waiting(Waits::AfterSwitch);
    let before = project.apps();
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    for app in newer(&project, &before) {
        app.signal(Signal::KILL);
    }
    project.open_gate();
    running.end().expect(3).says(&["rolled back", "v1"]);
    project.expect_settled("v1");
    project.run("rollback web").expect(1);
    project.expect_settled("v1");
}

#[test]
fn after_a_power_failure_at_the_last_gate_resume_brings_the_release_back() {
    let project = Project::waiting(Waits::AfterSwitch);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    running.signal(Signal::KILL);
    running.end();
    project.kill_proxy();
    for app in project.apps() {
        app.signal(Signal::KILL);
    }
    project.open_gate();
    project.run("resume").expect(0).says(&["succeeded"]);
    project.expect_settled("v2");
}

/// The list says what `rollback` goes back to. Where it could not be written, whoever comes next writes it.
#[test]
fn a_list_of_releases_that_lacks_the_live_one_is_mended() {
    let project = Project::new();
    let list = project.path("host/prod/web/.lockgate/releases.json");
    let first = || -> Value {
        let releases: Value = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
        releases["live"][0]["tag"].clone()
    };
    project.deploy("v1");
    let of_v1 = std::fs::read(&list).unwrap();
    project.deploy("v2");
    let load = Load::start(project.port, &[User::Get]);
    for command in ["resume", "deploy web v2"] {
        std::fs::write(&list, &of_v1).unwrap();
        project.run(command).expect(0);
        assert_eq!(first(), "v2", "{command}");
        project.expect_settled("v2");
    }
    std::fs::write(&list, &of_v1).unwrap();
    project.release("v3", "");
    project.deploy("v3");
    project.run("rollback web").expect(0);
    project.expect_settled("v2");
    load.expect_no_failure();
}

/// In the midst of a deployment whose release has passed its gates, while the old one finishes a request.
fn while_draining(project: &Project, then: impl FnOnce(Running, &[Process])) {
    let before = project.apps();
    let port = project.port;
    let slow = std::thread::spawn(move || http::get(port, "/slow?ms=1500").map(|answer| answer.status));
    wait_for("the request to be under way", 5, || {
        let route = project.admin("GET", "/v1/routes/shop-prod-web", "").json();
        let held = route["in_flight"].as_object().unwrap().values().any(|slot| slot["requests"] == 1);
        held.then_some(())
    });
    let running = project.start("deploy web v2 --format json");
    running.wait_until_printed(DRAIN_BEGINS);
    then(running, &newer(project, &before));
    drop(slow.join().expect("the request ends, well or not"));
}

#[test]
fn after_a_power_failure_while_draining_resume_brings_the_release_back() {
    let project = Project::new();
    project.deploy("v1");
    while_draining(&project, |running, _| {
        running.signal(Signal::KILL);
        running.end();
        project.kill_proxy();
        project.apps().iter().for_each(|app| app.signal(Signal::KILL));
    });
    project.run("resume").expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_release_that_dies_while_the_old_one_drains_is_gone_back_from() {
    let project = Project::new();
    project.deploy("v1");
    while_draining(&project, |running, new| {
        new.iter().for_each(|app| app.signal(Signal::KILL));
        running.end().expect(3).says(&["rolled_back"]);
    });
    project.expect_settled("v1");
    project.deploy("v2");
    project.expect_settled("v2");
}

/// As [`while_draining`], where the request to the old slot takes longer than it is waited for.
fn while_draining_for_long(then: impl FnOnce(&Project, Running, &[Process])) -> Project {
    let project = Project::new();
    for machine in ["m1", "m2"] {
        let path = project.path(machine).join("lockgate.yaml");
        let config = std::fs::read_to_string(&path).unwrap().replace("drain: 2s", "drain: 30s");
        std::fs::write(path, config).unwrap();
    }
    project.deploy("v1");
    let before = project.apps();
    let mut slow = http::tcp(project.port).unwrap();
    slow.write("GET", "/slow?ms=45000", &[("connection", "close")], b"").unwrap();
    wait_for("the request to be under way", 5, || {
        let route = project.admin("GET", "/v1/routes/shop-prod-web", "").json();
        let held = route["in_flight"].as_object().unwrap().values().any(|slot| slot["requests"] == 1);
        held.then_some(())
    });
    let running = project.start("deploy web v2 --format json");
    running.wait_until_printed(DRAIN_BEGINS);
    then(&project, running, &newer(&project, &before));
    project
}

/// Far less than the drain, with time for a busy machine.
const NOTICED_SECONDS_MAX: u64 = 15;

/// Nobody looked until the drain was over: users were left without an answer for all of it.
#[test]
fn a_release_that_dies_early_in_a_long_drain_is_gone_back_from_at_once() {
    let project = while_draining_for_long(|project, running, new| {
        let killed = Instant::now();
        new.iter().for_each(|app| app.signal(Signal::KILL));
        running.end().expect(3).says(&["rolled_back", "is not healthy after"]);
        assert!(killed.elapsed() < Duration::from_secs(NOTICED_SECONDS_MAX), "{:?}", killed.elapsed());
        let route = project.admin("GET", "/v1/routes/shop-prod-web", "").json();
        let counts = route["in_flight"].as_object().unwrap().values();
        let requests: u64 = counts.map(|slot| slot["requests"].as_u64().unwrap()).sum();
        assert_eq!(requests, 1, "the old release still answers what it was asked: {route:#}");
    });
    project.expect_settled("v1");
}

/// Ends when another proxy answers than the one that is killed.
fn kill_the_proxy_until_it_is_back(project: &Project) {
    let killed = project.admin("GET", "/v1/status", "").json()["pid"].as_i64().unwrap();
    processes::send(i32::try_from(killed).unwrap(), Signal::KILL);
    wait_for("the proxy to be started again", 5, || {
        let mut client = http::unix(&project.path("host/proxy/admin.sock")).ok()?;
        let status = client.send("GET", "/v1/status", &[("connection", "close")], b"").ok()?;
        status.json()["pid"].as_i64().filter(|pid| *pid != killed)
    });
}

#[test]
fn a_proxy_that_is_killed_early_in_a_long_drain_is_started_again_at_once() {
    let project = while_draining_for_long(|project, running, _| {
        let since = Instant::now();
        kill_the_proxy_until_it_is_back(project);
        assert_eq!(project.ask("/").release(), "v2");
        running.end().expect(0).says(&["succeeded"]);
        assert!(since.elapsed() < Duration::from_secs(NOTICED_SECONDS_MAX), "{:?}", since.elapsed());
    });
    project.expect_settled("v2");
}

/// v1 has been asked to stop and does not listen, so that it takes the whole grace of three seconds.
fn while_stopping(then: impl FnOnce(&Project, Running, &[Process])) -> Project {
    let project = Project::new();
    project.release("v1", "IGNORE_TERM=1");
    project.deploy("v1");
    let before = project.apps();
    let running = project.start("deploy web v2 --format json");
    wait_for("v1 to be asked to stop", 20, || {
        project.run("logs web --slot blue").stdout.contains("ignoring SIGTERM").then_some(())
    });
    then(&project, running, &newer(&project, &before));
    project
}

#[test]
fn a_proxy_that_is_killed_while_the_old_slot_stops_is_started_again_at_once() {
    let project = while_stopping(|project, running, _| {
        kill_the_proxy_until_it_is_back(project);
        running.end().expect(0).says(&["succeeded"]);
    });
    project.expect_settled("v2");
}

/// There is nothing left to go back to by then: the end says so, and `resume` starts it again.
#[test]
fn a_release_that_dies_while_the_old_slot_stops_is_not_said_to_have_succeeded() {
    let project = while_stopping(|_, running, new| {
        new.iter().for_each(|app| app.signal(Signal::KILL));
        running.end().expect(4).says(&["blue was stopped, and by then nobody was served"]);
    });
    project.run("resume").expect(0);
    project.expect_settled("v2");
}

/// The orchestrator has died while v1 drained, and v2 as well; v1 still runs, and the route leads to v2.
fn survived_by_v1() -> Project {
    let project = Project::new();
    project.release("v3", "");
    project.deploy("v1");
    while_draining(&project, |running, new| {
        running.signal(Signal::KILL);
        running.end();
        new.iter().for_each(|app| app.signal(Signal::KILL));
    });
    wait_for("v2 to be gone", 5, || (project.apps().len() == 1).then_some(()));
    project.run("status").expect(1).says(&["which does not run"]);
    project
}

#[test]
fn a_release_that_died_with_its_orchestrator_while_the_old_one_drained_can_be_left_in_any_direction() {
    let ways = [("rollback web", "v1"), ("resume", "v2"), ("deploy web v2", "v2"), ("deploy web v3", "v3")];
    for (command, live) in ways {
        let project = survived_by_v1();
        project.run(command).expect(0);
        project.expect_settled(live);
    }
}

#[test]
fn a_release_that_dies_again_and_again_is_gone_back_from() {
    let project = survived_by_v1();
    project.script("app-v2", "#!/bin/sh\nexit 1\n");
    project.run("resume").expect(3).says(&["rolled back"]);
    project.expect_settled("v1");
    project.deploy("v3");
    project.expect_settled("v3");
}

fn kill_the_apps(project: &Project) {
    project.apps().iter().for_each(|app| app.signal(Signal::KILL));
    wait_for("the apps to end", 5, || project.apps().is_empty().then_some(()));
}

#[test]
fn a_release_that_dies_with_nobody_at_work_is_brought_back_by_resume() {
    // Nothing is asked of a release that has passed its gates.
    let before = "[{ name: never, command: \"test ! -e ROOT/closed\" }]".to_owned();
    let project = Project::with(&Setup { before, ..Setup::default() });
    project.deploy("v1");
    project.deploy("v2");
    std::fs::write(project.path("closed"), "").unwrap();
    kill_the_apps(&project);
    project.run("status").expect(1).says(&["web in prod: unwell", "which does not run"]);
    let status = project.run("status web --format json").expect(1).last();
    assert_eq!(status["status"], "unwell", "{status:#}");
    let resumed = project.run("resume --format json").expect(0).last();
    assert_eq!((&resumed["status"], &resumed["exit"]), (&"success".into(), &0.into()), "{resumed:#}");
    project.expect_settled("v2");
    project.run("resume").expect(0).says(&["nothing was left unfinished"]);

    // A reboot takes the proxy along.
    kill_the_apps(&project);
    project.kill_proxy();
    project.run("resume").expect(0).says(&["what had died was started again: succeeded"]);
    project.expect_settled("v2");
    project.run("rollback web").expect(0);
    project.expect_settled("v1");
}

#[test]
fn a_release_that_died_and_cannot_be_brought_back_is_not_said_to_be_well() {
    let project = Project::new();
    project.deploy("v1");
    project.script("app-v1", "#!/bin/sh\nexit 1\n");
    kill_the_apps(&project);
    project.run("resume").expect(1).says(&["what had died was started again: failed", "not all is well"]);
    let result = project.run("resume --format json").expect(1).last();
    assert_eq!((&result["status"], &result["exit"]), (&"unwell".into(), &1.into()), "{result:#}");
    assert!(result["hosts"]["local"].is_object(), "{result:#}");
    project.release("v1", "");
    project.run("resume").expect(0);
    project.expect_settled("v1");
}
