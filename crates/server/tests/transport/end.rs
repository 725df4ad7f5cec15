//! How a server ends.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use lockgate_server::{Limits, Wish};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Setup, one, rest, start, until, with_limits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_answered_and_nothing_new_is_taken() {
    let server = start(Setup::default()).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(one(&mut idle).await.starts_with("HTTP/1.1 200 "));
    let mut waits = server.connect().await;
    waits.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.is_waiting(1).await;
    let (address, go, left) = (server.address(), server.go.clone(), server.left.clone());
    let stopping = tokio::spawn(server.stop());
    assert_eq!(rest(&mut idle).await, "", "an idle one is closed");
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("nobody listens any more");
    assert_eq!(left.load(SeqCst), 1, "runs are left before answers are waited for");
    go.notify_waiters();
    let answer = rest(&mut waits).await;
    assert!(answer.ends_with("waited") && answer.contains("connection: close"), "{answer}");
    stopping.await.unwrap();
}

/// Its client does not know that the server ends, and could not tell whether its request was heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_just_been_made_has_its_first_request_answered() {
    let server = start(Setup::default()).await;
    let mut fresh = server.connect().await;
    // Accepted after it.
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(one(&mut idle).await.starts_with("HTTP/1.1 200 "));
    let stopping = tokio::spawn(server.stop());
    assert_eq!(rest(&mut idle).await, "", "it ends");
    fresh.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = rest(&mut fresh).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer:?}");
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let server = with_limits(Limits { stop_time_max: Duration::from_millis(100), ..Limits::default() }).await;
    let mut waits = server.connect().await;
    waits.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.is_waiting(1).await;
    server.stop().await;
    assert_eq!(rest(&mut waits).await, "");
}

/// A successor that does not come up: the old one serves on, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails_changes_nothing() {
    let server = start(Setup::default()).await;
    server.wishes.send(Wish::Upgrade).await.unwrap();
    until("it is written down", || server.folder.failed_upgrade().is_some()).await;
    let reason = server.folder.failed_upgrade().unwrap();
    assert!(reason.contains("did not become ready") && reason.contains("exit status: 1"), "{reason}");
    assert!(server.get("/healthz").await.ends_with(r#"{"alive":true}"#));
    assert!(!server.task.is_finished());
    server.stop().await;
}
