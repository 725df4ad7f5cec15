//! An idle proxy that dies comes back by itself.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::project::Project;
use crate::support::{http, processes, wait_for};

fn pid(project: &Project) -> Option<i32> {
    let mut client = http::unix(&project.path("host/proxy/admin.sock")).ok()?;
    let answer = client.send("GET", "/v1/status", &[("connection", "close")], b"").ok()?;
    i32::try_from(answer.json()["pid"].as_i64()?).ok()
}

/// Ends when another proxy than this one answers.
#[track_caller]
fn wait_for_another(project: &Project, before: i32) -> i32 {
    wait_for("another proxy", 5, || pid(project).filter(|pid| *pid != before))
}

#[test]
fn a_proxy_that_is_killed_while_nobody_deploys_comes_back_with_its_routes() {
    let project = Project::new();
    project.deploy("v1");
    let mut before = pid(&project).unwrap();
    for _ in 0..3 {
        processes::send(before, Signal::KILL);
        before = wait_for_another(&project, before);
        project.expect_settled("v1");
    }
    assert_eq!(project.supervisors().len(), 1, "{:?}", project.proxies());
    project.run("doctor --format json").expect(0);
    let log = std::fs::read_to_string(project.path("host/proxy/proxy.log")).unwrap();
    assert_eq!(log.matches("the proxy died and is started again").count(), 3, "{log}");
    project.deploy("v2");
    project.expect_settled("v2");
}

#[test]
fn a_proxy_that_is_asked_to_stop_stays_away_and_its_supervisor_ends() {
    let project = Project::new();
    project.deploy("v1");
    processes::send(pid(&project).unwrap(), Signal::TERM);
    wait_for("proxy and supervisor to end", 10, || {
        (project.proxies().is_empty() && project.supervisors().is_empty()).then_some(())
    });
    project.run("status").expect(1).says(&["no proxy runs"]);
    project.run("resume").expect(0);
    project.expect_settled("v1");
    assert_eq!(project.supervisors().len(), 1, "{:?}", project.proxies());
}

#[test]
fn a_successor_after_an_upgrade_is_looked_after_too() {
    let project = Project::new();
    project.deploy("v1");
    let first = pid(&project).unwrap();
    project.run("proxy --upgrade --dir ../host/proxy").expect(0);
    let successor = wait_for_another(&project, first);
    wait_for("the first to end", 10, || {
        project.proxies().iter().all(|process| process.pid != first).then_some(())
    });
    processes::send(successor, Signal::KILL);
    wait_for_another(&project, successor);
    project.expect_settled("v1");
}

#[test]
fn the_end_of_a_supervisor_ends_no_proxy_and_doctor_says_how_to_have_one_again() {
    let project = Project::new();
    project.deploy("v1");
    let before = pid(&project).unwrap();
    project.supervisors().iter().for_each(|process| process.signal(Signal::KILL));
    wait_for("the supervisor to end", 5, || project.supervisors().is_empty().then_some(()));
    project.expect_settled("v1");
    assert_eq!(pid(&project), Some(before));
    let doctor = project.run("doctor").expect(0);
    let doctor =
        doctor.says(&["when it dies nobody starts it again", "setsid -f lockgate proxy --supervise"]);
    let hint = doctor.stdout.lines().find(|line| line.contains("setsid -f")).unwrap().to_owned();
    let typed = hint.split_once("setsid -f lockgate ").unwrap().1.trim();
    // As it is printed, by this program.
    let mut supervisor = std::process::Command::new("setsid");
    supervisor.arg("-f").arg(env!("CARGO_BIN_EXE_lockgate")).args(typed.split_whitespace());
    supervisor
        .current_dir(project.root())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    assert!(supervisor.status().unwrap().success());
    wait_for("the supervisor", 5, || (!project.supervisors().is_empty()).then_some(()));
    let doctor = project.run("doctor").expect(0);
    assert!(!doctor.stdout.contains("when it dies nobody starts it again"), "{doctor}");
    processes::send(before, Signal::KILL);
    wait_for_another(&project, before);
    project.expect_settled("v1");
}

#[test]
fn a_proxy_that_cannot_serve_is_not_tried_for_ever() {
    let project = Project::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let ran = project.run(&format!("proxy --supervise --dir other --listen {listen}"));
    ran.expect(1).says(&["can't listen on"]);
    assert!(begun.elapsed().as_secs() < 5);
}
