//! What Lockgate has seen to be well dies while it looks elsewhere: nothing is settled on an old look (P1).

use rustix::process::Signal;
use serde_json::Value;

use crate::support::load::{Load, User};
use crate::support::processes::Process;
use crate::support::project::{Project, Waits};

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
        releases[0]["tag"].clone()
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
