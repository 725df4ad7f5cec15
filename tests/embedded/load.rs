//! Swaps under load lose nothing (P2).

use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup};

const SWAPS: usize = 20;

#[test]
fn twenty_swaps_under_load_lose_no_request() {
    let project = Project::new();
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get, User::Post, User::KeepAlive, User::KeepAlive]);
    for swap in 0..SWAPS {
        project.deploy(if swap % 2 == 0 { "v2" } else { "v1" });
    }
    let tally = load.expect_no_failure();
    assert!(tally.requests > 200 && tally.by_release.len() == 2, "{tally:?}");
    assert_eq!(tally.resets, 0, "{tally:?}");
    project.expect_settled("v1");
}

#[test]
fn a_request_under_way_ends_on_the_old_slot() {
    let project = Project::new();
    project.deploy("v1");
    let mut slow = http::tcp(project.port).unwrap();
    slow.write("GET", "/slow?ms=900", &[], b"").unwrap();
    let mut streamed = http::tcp(project.port).unwrap();
    streamed.write("GET", "/slow?ms=900&stream=1", &[], b"").unwrap();
    let began = Instant::now();
    project.deploy("v2");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for answer in [slow.answer().unwrap(), streamed.answer().unwrap()] {
        assert_eq!((answer.status, answer.release()), (200, "v1"));
        assert!(answer.text().ends_with("waited 900 ms in v1\n"), "{}", answer.text());
    }
    project.expect_settled("v2");
}

#[test]
fn an_upgraded_connection_lives_until_the_end_of_the_drain_and_no_longer() {
    let project = Project::with(&Setup::default());
    project.deploy("v1");
    let mut socket = http::tcp(project.port).unwrap();
    let headers = [("connection", "upgrade"), ("upgrade", "echo")];
    let answer = socket.send("GET", "/", &headers, b"").unwrap();
    assert_eq!((answer.status, answer.release()), (101, "v1"));
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2");
    crate::support::wait_for("v2 to get the traffic", 20, || {
        (project.ask("/").release() == "v2").then_some(())
    });
    socket.raw(b"still here").unwrap();
    assert_eq!(socket.exactly(10).unwrap(), b"still here");
    running.end().expect(0);
    load.expect_no_failure();
    project.expect_settled("v2");
    assert!(socket.exactly(1).is_err(), "the old slot is gone");
}
