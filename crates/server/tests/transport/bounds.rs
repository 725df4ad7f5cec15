//! Heads that are too large, too slow or ambiguous.

use std::time::{Duration, Instant};

use lockgate_server::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, one, rest, start, with_limits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_has_a_bound_in_bytes_and_in_lines() {
    let server = start(Setup::default()).await;
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
    let fits = server.tell(get(&format!("X: {}\r\n", "x".repeat(8 * 1024))).as_bytes()).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
    assert!(fits.ends_with("0 bytes from 127.0.0.1"), "{fits}");
    let large = server.tell(get(&format!("X: {}\r\n", "x".repeat(64 * 1024))).as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 431 "), "{large}");
    let many = server.tell(get(&"X: y\r\n".repeat(65)).as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
    let long = server.tell(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70 * 1024)).as_bytes()).await;
    assert!(long.starts_with("HTTP/1.1 414 ") || long.starts_with("HTTP/1.1 431 "), "{long}");
    server.stop().await;
}

/// What two servers might read differently is refused, or its connection ends behind the answer: nothing that follows in the
/// same bytes is ever taken for a request of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_two_requests_is_never_taken_for_two() {
    let server = start(Setup::default()).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let of_length = |length: usize| format!("Content-Length: {length}\r\n");
    for (what, lines, body) in [
        ("a length and chunks", format!("{}Transfer-Encoding: chunked\r\n", of_length(4)), chunked.clone()),
        ("chunks and a length", format!("Transfer-Encoding: chunked\r\n{}", of_length(4)), chunked.clone()),
        ("two lengths", of_length(0) + &of_length(hidden.len()), hidden.to_owned()),
        ("a list of lengths", format!("Content-Length: 0, {}\r\n", hidden.len()), hidden.to_owned()),
        ("chunks that are not last", "Transfer-Encoding: chunked, identity\r\n".to_owned(), chunked.clone()),
        ("chunks twice", "Transfer-Encoding: chunked, chunked\r\n".to_owned(), chunked.clone()),
        (
            "chunks in another spelling",
            format!("Transfer-Encoding: xchunked\r\n{}", of_length(4)),
            chunked.clone(),
        ),
        (
            "a blank before the colon",
            format!("Transfer-Encoding : chunked\r\n{}", of_length(4)),
            chunked.clone(),
        ),
        ("a length with a sign", format!("Content-Length: +{}\r\n", hidden.len()), hidden.to_owned()),
        ("a line that goes on", format!("X: y\r\n {}", of_length(0)), hidden.to_owned()),
    ] {
        let answers =
            server.tell(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}").as_bytes()).await;
        let count = answers.matches("HTTP/1.1 ").count();
        assert!(count <= 1, "{what}: {answers}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_slowly_is_not_waited_for() {
    let limit = Duration::from_millis(300);
    let server = with_limits(Limits { head_time_max: limit, ..Limits::default() }).await;
    let mut slow = server.connect().await;
    let begun = Instant::now();
    // A byte now and then does not make it longer.
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if slow.write_all(&[*byte]).await.is_err() || begun.elapsed() > 20 * limit {
                return;
            }
            tokio::time::sleep(limit / 20).await;
        }
    };
    dripping.await;
    assert!(begun.elapsed() < 20 * limit, "it was cut off after {:?}", begun.elapsed());
    // So are one that says nothing, and one that was answered and is idle since.
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(one(&mut idle).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut idle).await, "");
    server.stop().await;
}

/// Whoever waits for an answer is not idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_answer_is_kept() {
    let limit = Duration::from_millis(100);
    let server = with_limits(Limits { head_time_max: limit, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    server.is_waiting(1).await;
    tokio::time::sleep(5 * limit).await;
    server.go.notify_waiters();
    assert!(rest(&mut stream).await.ends_with("waited"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_read_and_nothing_else() {
    let server = start(Setup::default()).await;
    assert!(server.get("/healthz").await.ends_with(r#"{"alive":true}"#));
    assert!(server.get("/readyz").await.ends_with(r#"{"ready":true,"warnings":[],"why":[]}"#));
    server.metrics.notifier_failed("slack");
    let metrics = server.get("/metrics").await;
    for line in [
        "lockgate_connections 1",
        "lockgate_calls_running 0",
        "lockgate_notifier_failures_total{notifier=\"slack\"} 1",
        "# TYPE lockgate_step_duration_seconds histogram",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = server
            .tell(format!("DELETE {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
    }
    // Compared as it is written.
    assert!(server.get("/healthz/").await.ends_with("0 bytes from 127.0.0.1"));
    server.stop().await;
}
