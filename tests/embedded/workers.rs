//! Services that nobody sends requests to: the new one is started beside the old one, which stops when it is healthy.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::cut::cut;
use crate::support::project::Project;
use crate::support::wait_for;

/// A run has fewer lines than this.
const LINES_MAX: usize = 60;

fn project() -> Project {
    with_health("{ path: /health, timeout: 2s }")
}

/// `ROOT` in the health check is the project's folder.
fn with_health(health: &str) -> Project {
    let project = Project::empty();
    let root = project.root().display().to_string();
    let health = health.replace("ROOT", &root);
    let config = format!(
        r#"project: shop
services:
  web:
    command: ["{root}/app-{{tag}}"]
    cwd: "{root}"
    health: {health}
environments:
  prod:
    runtime: {{ process: {{ dir: "{root}/host" }} }}
    router: none
    after: [{{ name: smoke, command: "{root}/smoke" }}]
    stop_grace: 2s
"#
    );
    for machine in ["m1", "m2"] {
        std::fs::create_dir(project.path(machine)).unwrap();
        std::fs::write(project.path(machine).join("lockgate.yaml"), &config).unwrap();
    }
    project.script("smoke", "#!/bin/sh\ntest \"$LOCKGATE_TAG\" != bad\n");
    for tag in ["v1", "v2", "bad"] {
        project.release(tag, "");
    }
    project
}

#[track_caller]
fn expect_settled(project: &Project, tag: &str) {
    let status: Value = project.run("status web --format json").expect(0).last();
    assert_eq!(status["image_tag"], tag, "{status:#}");
    let host = &status["hosts"]["local"];
    let active = host["recorded"]["active"].as_str().unwrap();
    assert_eq!(host["slots"][active]["state"], "running", "{status:#}");
    assert_eq!(project.apps().len(), 1, "{:#?}", project.apps());
    let lease = project.lease();
    assert!(lease["holder"].is_null() && lease["unfinished"].is_null(), "{lease:#}");
}

#[test]
fn a_worker_goes_live_and_back_without_a_router() {
    let project = project();
    project.deploy("v1");
    expect_settled(&project, "v1");
    let plan = project.run("plan web v2").expect(0).says(&["start v2 in green", "stop blue"]);
    for word in ["switch", "router", "drain", "dark"] {
        assert!(!plan.stdout.contains(word), "{word}: {plan}");
    }
    project.run("deploy web v2").expect(0);
    expect_settled(&project, "v2");
    project.run("status").expect(0).says(&["v2", "in green"]);
    // As system A's script was called.
    project.run("status all").expect(0).says(&["v2", "in green"]);
    project.run("doctor").expect(0).says(&["live release: v2"]);
    assert!(!project.path("m1/.lockgate/proxy").exists() && !project.path("host/proxy").exists());
    project.run("rollback web").expect(0);
    expect_settled(&project, "v1");
}

#[test]
fn a_worker_that_fails_its_gate_is_stopped_and_the_old_one_was_never_touched() {
    let project = project();
    project.deploy("v1");
    let before = project.apps()[0].pid;
    project.run("deploy web bad").expect(1).says(&["nothing was changed"]);
    expect_settled(&project, "v1");
    assert_eq!(project.apps()[0].pid, before);
}

#[test]
fn a_worker_that_died_is_told_and_brought_back() {
    let project = project();
    project.deploy("v1");
    for app in project.apps() {
        app.signal(Signal::KILL);
    }
    wait_for("it to end", 5, || project.apps().is_empty().then_some(()));
    project.run("status").expect(1).says(&["blue should be live", "lockgate --env prod deploy web v1"]);
    project.deploy("v1");
    expect_settled(&project, "v1");
}

#[test]
fn a_workers_killed_deployment_is_finished_by_anybody() {
    let project = project();
    project.deploy("v1");
    for after in 0..LINES_MAX {
        let status: Value = project.run("status web --format json").expect(0).last();
        let tag = if status["image_tag"] == "v1" { "v2" } else { "v1" };
        let cut = cut(project.command(["deploy", "web", tag, "--format", "json"]), after);
        if !cut.killed {
            assert!(after > 10, "a deployment has more than {after} lines");
            expect_settled(&project, tag);
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        let machine = if after % 2 == 0 { "m1" } else { "m2" };
        project.run_on(machine, "resume").expect(0);
        let status: Value = project.run("status web --format json").expect(0).last();
        expect_settled(&project, status["image_tag"].as_str().unwrap());
    }
    panic!("a deployment has more than {LINES_MAX} lines");
}

/// It listens nowhere: a program says whether it is ready, with the environment that the app has.
#[test]
fn a_worker_without_http_is_healthy_when_its_command_says_so() {
    let project = with_health("{ command: [\"ROOT/ready\", \"{tag}\"], timeout: 2s }");
    project.script(
        "ready",
        "#!/bin/sh\necho \"$1 in $LOCKGATE_SLOT asked\"\ntest \"$1\" != v2 || test -n \"$PORT\"\n",
    );
    for tag in ["v1", "v2"] {
        project.script(&format!("app-{tag}"), "#!/bin/sh\nwhile :; do sleep 0.05; done\n");
    }
    project.run("doctor").expect(0);
    project.run("plan web v1").expect(0).says(&["wait until blue is healthy (`", "/ready"]);
    for tag in ["v1", "v2", "v1"] {
        project.deploy(tag);
        let status: Value = project.run("status web --format json").expect(0).last();
        assert_eq!(status["image_tag"], tag, "{status:#}");
    }
}

#[test]
fn what_a_health_checks_program_said_is_in_the_error() {
    let project = with_health("{ command: \"ROOT/ready {tag}\", timeout: 300ms }");
    project.script(
        "ready",
        "#!/bin/sh\ntest \"$1\" != v2 && exit\necho 'the queue is not reached' >&2\nexit 3\n",
    );
    project.deploy("v1");
    let before = project.apps()[0].pid;
    project.run("deploy web v2").expect(1).says(&[
        "it exited with 3, wanted 0",
        "(its health check) the queue is not reached",
        "nothing was changed",
    ]);
    assert_eq!(project.apps()[0].pid, before);
}
