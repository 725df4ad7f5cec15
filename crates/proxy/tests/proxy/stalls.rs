//! Clients and slots that do not go on, and what they must not take from the others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hyper::StatusCode;
use lockgate_proxy::{InFlight, ProxyHandle, RouteSpec, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::client::{Admin, get, once, socket};
use crate::frames::{GOAWAY, HEADERS, RST_STREAM, Raw};
use crate::leaving::{by_status, cut_off};
use crate::upgrade::Process;
use crate::{WAIT_SECONDS_MAX, config, eventually, spec};

const STALL: Duration = Duration::from_millis(300);
const WAIT: Duration = Duration::from_secs(WAIT_SECONDS_MAX);

/// A proxy that waits for nobody longer than [`STALL`], and a slot behind it.
async fn impatient(dir: &Path) -> (ProxyHandle, Admin, Backend) {
    let mut config = config(dir);
    config.stall_timeout = STALL;
    config.head_timeout = STALL;
    let proxy = start(config).await.unwrap();
    let (admin, blue) = (Admin::of(dir), Backend::start("blue").await);
    admin.put("app", &spec("blue", blue.address)).await;
    (proxy, admin, blue)
}

async fn say(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, _blue) = impatient(dir.path()).await;
    let address = proxy.addresses()[0];
    let _kept = say(address, "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it is in flight", async || !admin.in_flight("app", "blue").await.is_zero()).await;
    eventually("it is dropped", async || admin.in_flight("app", "blue").await.is_zero()).await;
    assert_eq!(once(address, get("/")).await.0, StatusCode::OK);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_response_that_stalls_is_cut_off_and_a_stream_of_events_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, _, blue) = impatient(dir.path()).await;
    let address = proxy.addresses()[0];
    let events = tokio::spawn(once(address, get("/events")));
    eventually("the events are asked for", async || blue.state.served.load(SeqCst) == 1).await;
    let mut stalled = say(address, "GET /stall HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut text = Vec::new();
    timeout(WAIT, stalled.read_to_end(&mut text)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("data: 0") && !text.ends_with("0\r\n\r\n"), "{text}");
    blue.state.released.store(true, SeqCst);
    assert!(events.await.unwrap().1.contains("data: 2"));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_lets_a_body_stand_still_is_the_one_who_cut_it_off() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, _blue) = impatient(dir.path()).await;
    let address = proxy.addresses()[0];
    let late = say(address, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx").await;
    let stalled = say(address, "GET /stall HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let unread = say(address, "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut untaken = Raw::open(address, 0).await;
    untaken.get(1, "/endless").await;
    let told = async || {
        let by = (cut_off(&admin, "client").await, cut_off(&admin, "slot").await);
        let classes = ["2xx", "4xx", "5xx"];
        let mut statuses = Vec::new();
        for class in classes {
            statuses.push(by_status(&admin, class).await);
        }
        (by, statuses)
    };
    let right = ((3, 1), vec![3, 1, 0]);
    let mut last = None;
    let begun = tokio::time::Instant::now();
    while last.as_ref() != Some(&right) && begun.elapsed() < WAIT {
        last = Some(told().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(last, Some(right));
    drop((late, stalled, unread, untaken));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_route_says_for_itself_how_long_a_response_may_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, blue) = impatient(dir.path()).await;
    let address = proxy.addresses()[0];
    let patient =
        RouteSpec { stall_timeout_ms: Some(60_000), hosts: vec!["b".into()], ..spec("blue", blue.address) };
    admin.put("patient", &patient).await;
    assert_eq!(admin.route("patient").await.stall_timeout_ms, Some(60_000));
    let mut kept = say(address, "GET /stall HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    eventually("it is asked for", async || blue.state.served.load(SeqCst) == 1).await;
    let mut stalled = say(address, "GET /stall HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(WAIT, stalled.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    blue.state.released.store(true, SeqCst);
    let mut text = String::new();
    timeout(WAIT, kept.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.contains("data: 2") && text.ends_with("0\r\n\r\n"), "{text}");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_body_of_a_byte_now_and_then_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, _blue) = impatient(dir.path()).await;
    let mut slow =
        say(proxy.addresses()[0], "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n").await;
    let mut bytes = [0; 1024];
    let answer = loop {
        match timeout(STALL / 10, slow.read(&mut bytes)).await {
            Ok(read) => break String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned(),
            Err(_) => slow.write_all(b"x").await.unwrap(),
        }
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    eventually("nothing is in flight", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_body_that_is_still_to_come_keeps_no_http2_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, _blue) = impatient(dir.path()).await;
    let mut raw = Raw::open(proxy.addresses()[0], 65_535).await;
    raw.post(1, "/echo", b"x").await;
    timeout(WAIT, raw.until(HEADERS)).await.unwrap();
    eventually("nothing is in flight", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_http2_stream_without_a_window_is_reset_and_its_neighbour_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, admin, blue) = impatient(dir.path()).await;
    let mut raw = Raw::open(proxy.addresses()[0], 0).await;
    raw.get(1, "/hold").await;
    eventually("it is held", async || blue.state.busy.load(SeqCst) == 1).await;
    raw.get(3, "/endless").await;
    assert_eq!(timeout(WAIT, raw.until(RST_STREAM)).await.unwrap().1, 3);
    assert_eq!(admin.in_flight("app", "blue").await, InFlight { requests: 1, upgraded: 0 });
    blue.state.released.store(true, SeqCst);
    assert_eq!(timeout(WAIT, raw.until(HEADERS)).await.unwrap().1, 1);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_idle_http2_connection_ends_although_it_answers_pings() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, ..) = impatient(dir.path()).await;
    let mut raw = Raw::open(proxy.addresses()[0], 65_535).await;
    raw.get(1, "/").await;
    timeout(WAIT, raw.until(GOAWAY)).await.unwrap();
    let ended = async { while raw.next().await.is_some() {} };
    timeout(WAIT, ended).await.unwrap();
    proxy.shutdown().await.unwrap();
}

/// A small answer that its client doesn't take: the slot's connection serves others meanwhile.
#[tokio::test]
async fn a_response_that_has_come_whole_gives_the_slots_connection_back() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, _, blue) = impatient(dir.path()).await;
    let mut raw = Raw::open(proxy.addresses()[0], 0).await;
    for n in 0..8 {
        raw.get(1 + 2 * n, "/").await;
        timeout(WAIT, raw.until(HEADERS)).await.unwrap();
    }
    let connections = blue.state.connections.load(SeqCst);
    assert!(connections < 8, "{connections}");
    proxy.shutdown().await.unwrap();
}

/// With 200 descriptors there are 36 places, 9 of them extra ones.
#[tokio::test]
async fn http2_streams_without_a_window_leave_descriptors_for_the_others() {
    const STREAMS: u32 = 100;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::after(dir.path(), "ulimit -n 200").await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    process.admin.put("app", &spec("blue", blue.address)).await;
    let via = process.admin.status().await.listeners[0];
    let mut crowd = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::open(via, 0).await;
        for n in 0..STREAMS {
            raw.get(1 + 2 * n, "/endless").await;
        }
        crowd.push(raw);
    }
    let busy = async || process.admin.in_flight("app", "blue").await.requests;
    eventually("all places are taken", async || busy().await == 5 + 9).await;
    assert_eq!(once(via, get("/")).await, (StatusCode::OK, "blue".to_owned()));
    process.admin.put("app", &spec("green", green.address)).await;
    assert_eq!(once(via, get("/")).await, (StatusCode::OK, "green".to_owned()));
    // Those that have no place are told so: a head alone, which needs no window. One connection has 16 streams, of which at
    // most 10 can have a place.
    let refused = async {
        let mut heads = 0;
        while heads < 12 {
            crowd[4].until(HEADERS).await;
            heads += 1;
        }
    };
    timeout(WAIT, refused).await.unwrap();
}

#[tokio::test]
async fn websockets_keep_their_clients_places() {
    const SOCKETS: u64 = 100;
    const AT_ONCE: u64 = 36;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::after(dir.path(), "ulimit -n 200").await;
    let blue = Backend::start("blue").await;
    process.admin.put("app", &spec("blue", blue.address)).await;
    let via = process.admin.status().await.listeners[0];
    let release = Arc::new(Notify::new());
    let mut clients = JoinSet::new();
    for _ in 0..SOCKETS {
        let release = release.clone();
        clients.spawn(async move {
            let _open = socket(via).await;
            release.notified().await;
        });
    }
    let upgraded = async || process.admin.in_flight("app", "blue").await.upgraded;
    eventually("all places are taken", async || upgraded().await == AT_ONCE).await;
    process.admin.put("other", &RouteSpec { hosts: vec!["b".into()], ..spec("blue", blue.address) }).await;
    let released = tokio::spawn(async move {
        loop {
            release.notify_waiters();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    while let Some(ended) = timeout(WAIT, clients.join_next()).await.unwrap() {
        ended.unwrap();
    }
    released.abort();
}
