//! Calls across the life of the daemon: what was accepted comes to its end, whoever runs it.

use rustix::process::Signal;

use super::daemon::{Served, deploy, deploying, get_by, sha};
use crate::support::wait_for;

/// The old process ends what it has begun and answers who waits for it; the new one takes calls at once and begins them then.
#[test]
fn an_upgrade_while_a_run_is_under_way_answers_everybody() {
    let served = Served::with_gate();
    let daemon = served.start();
    let socket = served.project.path("serve.sock");
    let first = deploying(&socket, &sha('a'));
    served.project.wait_at_gate(&sha('a'));
    let old = daemon.running.child.id();
    served.run("serve --upgrade").expect(0);
    // It is kept, and not begun.
    let kept = deploy(&socket, &sha('b'), &[("prefer", "respond-async")]).unwrap();
    assert_eq!(kept.status, 202, "{}", kept.text());
    let place = kept.header("location").unwrap().to_owned();
    assert_eq!(get_by(&socket, &place).status, 202);
    assert!(
        served.processes().iter().any(|process| process.pid.unsigned_abs() == old),
        "the old one has a run"
    );
    assert!(!served.project.path(format!("at-gate-{}", sha('b'))).exists());

    served.project.open_gate();
    let answer = first.join().unwrap().unwrap();
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (200, Some("deployed")),
        "{}",
        answer.text()
    );
    daemon.running.end().expect(0);
    let end = wait_for("the successor's run", 30, || {
        Some(get_by(&socket, &place)).filter(|answer| answer.status != 202)
    });
    assert_eq!((end.status, end.json()["status"].as_str()), (200, Some("deployed")), "{}", end.text());
    served.project.expect_settled(&sha('b'));
    let metrics = get_by(&socket, "/metrics").text();
    for line in [
        "lockgate_runs_total{end=\"succeeded\"} 1",
        "lockgate_calls_accepted_total 1",
        "lockgate_step_duration_seconds_count{step=\"switch\",result=\"succeeded\"} 1",
        "lockgate_step_duration_seconds_count{step=\"gate\",result=\"succeeded\"} 2",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    served.stop_all();
}

/// Whoever waits is told that the daemon stops; the run is left, and brought to its end by whoever comes next.
#[test]
fn a_stop_leaves_the_run_to_the_next_daemon() {
    let served = Served::with_gate();
    let daemon = served.start();
    let socket = served.project.path("serve.sock");
    let waits = deploying(&socket, &sha('a'));
    served.project.wait_at_gate(&sha('a'));
    daemon.running.signal(Signal::TERM);
    let answer = waits.join().unwrap().unwrap();
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (503, Some("stopping")),
        "{}",
        answer.text()
    );
    assert!(answer.header("retry-after").is_some());
    let run = answer.json()["run"].as_str().unwrap().to_owned();
    daemon.running.end().expect(0);
    served.project.open_gate();
    let next = served.start();
    let end = wait_for("its end", 40, || {
        Some(next.get(&format!("/runs/{run}"))).filter(|answer| answer.status != 202)
    });
    println!("the end of what was left: {} {}", end.status, end.text());
    assert_eq!((end.status, end.json()["status"].as_str()), (200, Some("deployed")), "{}", end.text());
    // The very call again is the same one.
    let again = deploy(&socket, &sha('a'), &[]).unwrap();
    assert_eq!(again.json()["run"], run.as_str(), "{}", again.text());
    next.stop().expect(0);
}
