//! Thousands that open connections and say nothing.

use lockgate_server::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, rest, start, with_limits};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let count = maximum.map_or(10_000, |maximum| 10_000.min(maximum.saturating_sub(3000))) as usize;
    let server = start(Setup::default()).await;
    let mut waits = server.connect_from("127.0.0.3").await;
    waits.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    server.is_waiting(1).await;
    let mut idle = Vec::new();
    for number in 0..count {
        // From as many addresses as fill all places, too.
        idle.push(server.connect_from(&format!("127.0.1.{}", 1 + number % 20)).await);
        if number % 500 == 0 {
            let mut other = server.connect_from("127.0.0.2").await;
            other.write_all(GET).await.unwrap();
            assert!(rest(&mut other).await.ends_with("from 127.0.0.2"), "after {number}");
        }
    }
    let open: usize = server
        .get("/metrics")
        .await
        .lines()
        .find_map(|line| line.strip_prefix("lockgate_connections ")?.parse().ok())
        .unwrap();
    assert!(open <= Limits::default().connections_max, "{open}");
    // A request is never closed for those that have none.
    server.go.notify_waiters();
    assert!(rest(&mut waits).await.ends_with("waited"));
    drop(idle);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_that_has_all_its_connections_at_work_gets_no_more_and_others_do() {
    let limits = Limits { connections_per_peer_max: 3, ..Limits::default() };
    let server = with_limits(limits).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect_from("127.0.0.2").await;
        stream.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        busy.push(stream);
    }
    server.is_waiting(3).await;
    let mut more = server.connect_from("127.0.0.2").await;
    drop(more.write_all(GET).await);
    assert_eq!(rest(&mut more).await, "");
    assert!(server.get("/").await.ends_with("from 127.0.0.1"));
    server.go.notify_waiters();
    for mut stream in busy {
        assert!(rest(&mut stream).await.ends_with("waited"));
    }
    server.stop().await;
}
