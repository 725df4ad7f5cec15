//! One slot: the old release stops before the new one starts. Without a router that is a time in which nothing answers,
//! and it is told how long; whatever fails, and wherever it is killed, one release is live in the end.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app;
use crate::support::cut::cut;
use crate::support::http;
use crate::support::project::Project;
use crate::support::wait_for;

/// A run has fewer lines than this.
const LINES_MAX: usize = 60;
/// How long a release of these tests takes to listen.
const BOOT_MILLIS: u64 = 150;

/// Two machines' projects that mean one host; the service has a port of its own, at which users reach it.
fn project() -> Project {
    let project = Project::empty();
    let (root, port) = (project.root().display().to_string(), project.port);
    let config = format!(
        r#"project: shop
services:
  web:
    command: ["{root}/app-{{tag}}"]
    cwd: "{root}"
    port: {port}
    health: {{ path: /health, timeout: 3s }}
environments:
  prod:
    strategy: recreate
    runtime: {{ process: {{ dir: "{root}/host" }} }}
    stop_grace: 2s
"#
    );
    for machine in ["m1", "m2"] {
        std::fs::create_dir(project.path(machine)).unwrap();
        std::fs::write(project.path(machine).join("lockgate.yaml"), &config).unwrap();
    }
    for tag in ["v1", "v2"] {
        project.release(tag, &format!("BOOT_MS={BOOT_MILLIS}"));
    }
    project
}

fn status(project: &Project) -> Value {
    project.run("status web --format json").expect(0).last()
}

/// `tag` answers, alone, and nobody is at work or has left anything.
#[track_caller]
fn expect_settled(project: &Project, tag: &str) {
    let answer = http::get(project.port, "/version").unwrap();
    assert_eq!(answer.text().trim(), tag);
    let status = status(project);
    assert_eq!(status["image_tag"], tag, "{status:#}");
    let host = &status["hosts"]["local"];
    assert_eq!(host["recorded"]["active"], "main", "{status:#}");
    assert_eq!(host["slots"]["main"]["state"], "running", "{status:#}");
    assert_eq!(project.apps().len(), 1, "{:#?}", project.apps());
    let lease = project.lease();
    assert!(lease["holder"].is_null() && lease["unfinished"].is_null(), "{lease:#}");
}

fn dark_ms(result: &Value) -> u64 {
    result["dark_ms"]["local"]
        .as_u64()
        .unwrap_or_else(|| panic!("it is not told how dark it was: {result:#}"))
}

#[test]
fn the_time_in_which_nothing_answers_is_said_before_and_measured() {
    let project = project();
    project.run("doctor").expect(0).says(&["live release: none yet"]);
    let first = project.run("deploy web v1 --format json").expect(0).last();
    assert!(first["dark_ms"].is_null(), "nobody noticed anything: {first:#}");
    expect_settled(&project, "v1");

    project.run("plan web v2").expect(0).says(&["will be dark", "stop main", "start v2 in main"]);
    let began = std::time::Instant::now();
    let result = project.run("deploy web v2 --format json").expect(0).last();
    let took = u64::try_from(began.elapsed().as_millis()).unwrap();
    let dark = dark_ms(&result);
    assert!(dark >= BOOT_MILLIS && dark <= took, "{dark} of {took} ms");
    expect_settled(&project, "v2");
    project.run("status").expect(0).says(&["v2", "in main", "last run: succeeded"]);
    project.run("doctor").expect(0).says(&["live release: v2", "in main"]);
    project.run("logs web").expect(0);
    assert!(project.path("host/prod/web/run/main.log").exists());

    project.run("deploy web v2").expect(0).says(&["nothing to do"]);
    project.run("rollback web").expect(0).says(&["v1", "dark: "]);
    expect_settled(&project, "v1");
    project.run("deploy web v1 --again").expect(0).says(&["dark: "]);
    expect_settled(&project, "v1");
}

#[test]
fn when_the_new_release_fails_the_old_one_is_started_again() {
    let project = project();
    project.release("sick", "UNHEALTHY=1");
    project.release("dies", "CRASH=1");
    project.deploy("v1");
    for tag in ["sick", "dies"] {
        let result = project.run(&format!("deploy web {tag} --format json")).expect(3).last();
        assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
        assert!(dark_ms(&result) >= BOOT_MILLIS, "{result:#}");
        expect_settled(&project, "v1");
    }
    // Of what never went live nothing is gone back to.
    project.run("rollback web").expect(1).says(&["no earlier release"]);
    expect_settled(&project, "v1");
}

/// What runs could not be started again, so it is not stopped.
#[test]
fn a_release_whose_bytes_are_gone_is_not_stopped() {
    let project = project();
    project.deploy("v1");
    std::fs::remove_file(project.path("app-v1")).unwrap();
    project.run("deploy web v2").expect(1).says(&["v1", "no longer there"]);
    assert_eq!(http::get(project.port, "/version").unwrap().text().trim(), "v1");
}

#[test]
fn a_live_release_that_dies_is_told_and_brought_back() {
    let project = project();
    project.deploy("v1");
    for app in project.apps() {
        app.signal(Signal::KILL);
    }
    wait_for("it to end", 5, || project.apps().is_empty().then_some(()));
    let again = "lockgate --env prod deploy web v1";
    project.run("status").expect(1).says(&["main should be live", "does not run", again]);
    project.run("doctor").expect(1).says(&["main should be live", again]);
    project.deploy("v1");
    expect_settled(&project, "v1");
}

/// No word is greener than what users see: what starts still is not live, whoever is at work on it and whoever left it.
#[test]
fn a_release_that_starts_still_is_told_as_starting_until_it_answers() {
    let project = project();
    // Nothing here waits that long: it starts when the test says so.
    let patient = std::fs::read_to_string(project.path("m1/lockgate.yaml")).unwrap();
    std::fs::write(project.path("m1/lockgate.yaml"), patient.replace("timeout: 3s", "timeout: 120s"))
        .unwrap();
    let (root, hello) = (project.root().display(), app::hello().display());
    project.script(
        "app-slow",
        &format!("#!/bin/sh\nwhile [ ! -e {root}/open ]; do sleep 0.02; done\nHOST=127.0.0.1 VERSION=slow exec {hello}\n"),
    );
    project.deploy("v1");
    let deploying = project.start("deploy web slow --format json");
    let look = || {
        let status = project.run("status web --format json");
        let seen = status.last();
        (seen["hosts"]["local"]["unhealthy"]["starting"] == true).then_some((status.code, seen))
    };
    let (code, seen) = wait_for("it to be seen while it starts", 20, look);
    assert_eq!((code, &seen["status"]), (Some(1), &"unwell".into()), "{seen:#}");
    assert!(seen["image_tag"].is_null() && seen["live_since"].is_null(), "{seen:#}");
    assert!(seen["notes"].as_str().unwrap().contains("main is not live yet"), "{seen:#}");
    project.run("status").expect(1).says(&["slow (", "in main, starting", "is at work on slow"]);
    deploying.signal(Signal::KILL);
    drop(deploying.end());
    project.run("status").expect(1).says(&[
        "in main, starting",
        "main is not live yet",
        "was left unfinished: type `lockgate resume`",
    ]);
    project.run("doctor").expect(1).says(&["✗ live release: slow", "starting", "! unfinished run"]);
    project.open_gate();
    project.run("resume").expect(0);
    expect_settled(&project, "slow");
}

/// Kills `deploy` after each of its lines in turn and lets `next` go on. Ends when a deployment came to its end.
fn after_every_line(project: &Project, code: i32, tags: [&str; 2], next: impl Fn(&Project, &str, usize)) {
    project.deploy("v1");
    for after in 0..LINES_MAX {
        let live = status(project)["image_tag"].as_str().unwrap().to_owned();
        let tag = if live == tags[0] { tags[1] } else { tags[0] };
        let cut = cut(project.command(["deploy", "web", tag, "--format", "json"]), after);
        if !cut.killed {
            assert!(after > 10, "a deployment has more than {after} lines");
            let last: Value = serde_json::from_str(cut.lines.last().unwrap()).unwrap();
            assert_eq!(last["exit"], code, "{last:#}");
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        next(project, tag, after);
        let live = status(project)["image_tag"].as_str().unwrap().to_owned();
        expect_settled(project, &live);
    }
    panic!("a deployment has more than {LINES_MAX} lines");
}

#[test]
fn a_killed_deployment_is_finished_by_anybody() {
    let project = project();
    after_every_line(&project, 0, ["v1", "v2"], |project, _, after| {
        let machine = if after % 2 == 0 { "m1" } else { "m2" };
        project.run_on(machine, "resume").expect(0);
    });
}

#[test]
fn a_killed_deployment_is_finished_by_the_next_one_without_a_journal() {
    let project = project();
    after_every_line(&project, 0, ["v1", "v2"], |project, tag, _| {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            drop(std::fs::remove_file(project.path("m1/.lockgate").join(name)));
        }
        project.run(&format!("deploy web {tag}")).expect(0);
        expect_settled(project, tag);
    });
}

#[test]
fn a_killed_deployment_that_failed_is_gone_back_from() {
    let project = project();
    project.release("dies", "CRASH=1");
    after_every_line(&project, 3, ["v1", "dies"], |project, _, after| {
        let machine = if after % 2 == 0 { "m1" } else { "m2" };
        let ran = project.run_on(machine, "resume");
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran}");
        expect_settled(project, "v1");
    });
}
