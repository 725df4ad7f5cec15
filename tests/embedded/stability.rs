//! Stability as a gate: `http: { for, every, failures }`, in a plan, a deployment, `check`, and under Ctrl-C.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup};

/// System A's flow: health and critical paths, latency, and stability, before on Test and after on live traffic.
fn stable(before: &str, after: &str) -> Project {
    let (before, after) = (before.to_owned(), after.to_owned());
    Project::with(&Setup { before, after, ..Setup::default() })
}

#[test]
fn stability_is_in_the_plan_tells_how_far_it_is_and_passes_while_the_release_serves() {
    let project = stable(
        "[]",
        "[{ http: { samples: 2, interval: 5ms } }, { http: { for: 3s, every: 100ms, latency_p95: 2s } }]",
    );
    let plan = project.run("plan web v1").expect(0);
    let shown: Vec<&str> =
        plan.stdout.lines().filter(|line| line.contains("gate after")).map(str::trim).collect();
    assert_eq!(shown.len(), 2, "{plan}");
    assert!(shown[0].ends_with("gate after: http on this machine"), "{plan}");
    assert!(shown[1].ends_with("gate after: stability on this machine (for 3s, every 100ms)"), "{plan}");

    let ran = project.run("deploy web v1 --format json").expect(0);
    let lines = ran.lines();
    let progress: Vec<_> = lines.iter().filter(|line| line["event"] == "step_progress").collect();
    assert!(!progress.is_empty(), "{ran}");
    for line in &progress {
        assert_eq!((&line["of"], &line["seen"]), (&31.into(), &"no failures".into()), "{line:#}");
        assert!(line["done"].as_u64().is_some_and(|done| (1..=31).contains(&done)), "{line:#}");
    }
    let is_gate = |line: &&serde_json::Value| line["evidence"].to_string().contains("31 good answers");
    let gate = lines.iter().find(is_gate).unwrap_or_else(|| panic!("{ran}"));
    let evidence = gate["evidence"].as_array().unwrap();
    // Three paths, and for each a latency.
    assert_eq!(evidence.len(), 6, "{gate:#}");
    assert_eq!(evidence[0]["check"], "GET /health through builtin on local", "{gate:#}");
    assert_eq!(evidence[0]["wanted"], "2xx, 31 times in 3s", "{gate:#}");
    // How far a step is, is in nobody's history.
    let history = project.run("history web --format json").expect(0);
    assert!(!history.stdout.contains("step_progress"), "{history}");
    project.run("check web smoke").expect(0).says(&["gate \"stability\" passes", "31 good answers"]);
    project.expect_settled("v1");
}

#[test]
fn a_release_that_dies_while_it_is_watched_is_rolled_back_without_waiting_for_the_rest() {
    let project = stable("[]", "[{ http: { for: 40s, every: 100ms, failures: 1 } }]");
    project.run("deploy web v1 --only-swap").expect(0);
    project.release("bad", "DIE_AFTER_MS=1500");
    let began = Instant::now();
    let ran = project.run("deploy web bad").expect(3);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}\n{ran}", began.elapsed());
    ran.says(&[
        "gate \"stability\" failed",
        "2 failures (503)",
        "401 times in 40s, at most 1 failure",
        "is live again",
    ]);
    project.expect_settled("v1");
}

#[test]
fn regression_is_stability_of_another_place_and_nothing_is_touched_while_it_fails() {
    let project = Project::new();
    project.deploy("v1");
    // Its Test environment is the same app, asked by its URL.
    let url = format!("http://127.0.0.1:{}", project.port);
    let gates =
        |paths: &str| format!("[{{ http: {{ url: \"{url}\", for: 1s, every: 200ms, paths: [{paths}] }} }}]");
    let configure = |paths: &str| {
        let setup = Setup { before: gates(paths), ..Setup::default() };
        std::fs::write(project.path("m1/lockgate.yaml"), project.config(&setup)).unwrap();
    };
    configure("/health, /metrics");
    let line = project.run("check web regression --format json").expect(0).last();
    assert_eq!(
        (&line["judgement"], &line["evidence"][0]["seen"]),
        (&"pass".into(), &"6 good answers".into()),
        "{line:#}"
    );
    configure("/health, /is-not-there");
    project.run("check web regression").expect(1).says(&[
        "/is-not-there",
        "404",
        "wanted 2xx, 6 times in 1s",
    ]);
    project.run("deploy web v2").expect(1).says(&["nothing was changed"]);
    project.expect_settled("v1");
}

#[test]
fn ctrl_c_while_it_is_watched_brings_the_old_release_back_at_once() {
    let project = stable("[]", "[{ http: { for: 30m, every: 1s } }]");
    project.run("deploy web v1 --only-swap").expect(0);
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2 --format json");
    running.wait_until_printed("step_progress");
    assert_eq!(project.ask("/").release(), "v2");
    let began = Instant::now();
    running.signal(Signal::INT);
    let ran = running.end().expect(3);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}\n{ran}", began.elapsed());
    assert_eq!(ran.last()["result"]["outcome"], "rolled_back", "{ran}");
    load.expect_no_failure();
    project.expect_settled("v1");
}
