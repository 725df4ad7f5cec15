//! A route that is held: requests wait, within bounds, and none is lost.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use lockgate_proxy::{ErrorKind, ErrorView, HoldRequest, HoldView, InFlight, RouteView};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::backend::{Backend, recorder};
use crate::client::{Admin, connect, get, once, post, socket, text};
use crate::load::Load;
use crate::upgrade::Process;
use crate::{eventually, spec, start_in};

/// Longer than any test.
const LONG_MS: u64 = 60_000;

impl Admin {
    async fn try_hold(&self, id: &str, body: &str) -> Result<RouteView, ErrorView> {
        let path = format!("/v1/routes/{id}/hold");
        answered(self.raw(Method::POST, &path, None, body.into()).await.unwrap())
    }

    async fn hold(&self, time_ms: u64, requests_max: u32) -> RouteView {
        let body = serde_json::to_string(&HoldRequest { time_ms, requests_max }).unwrap();
        self.try_hold("app", &body).await.unwrap()
    }

    async fn let_go(&self) -> RouteView {
        let path = "/v1/routes/app/hold";
        answered(self.raw(Method::DELETE, path, None, Vec::new()).await.unwrap()).unwrap()
    }

    async fn held(&self) -> Option<HoldView> {
        self.route("app").await.hold
    }

    async fn waiting(&self) -> u64 {
        self.held().await.map_or(0, |hold| hold.waiting)
    }

    async fn metric(&self, line: &str) -> Option<f64> {
        let (_, text) = self.raw(Method::GET, "/metrics", None, Vec::new()).await.unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
    }
}

fn answered((status, text): (StatusCode, String)) -> Result<RouteView, ErrorView> {
    if status.is_success() {
        Ok(serde_json::from_str(&text).unwrap())
    } else {
        Err(serde_json::from_str(&text).unwrap())
    }
}

/// A raw connection that has sent this.
async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn what_comes_while_a_route_is_held_waits_and_goes_where_the_route_then_leads() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let before = admin.put("app", &spec("blue", blue.address)).await;
    assert_eq!(once(address, get("/")).await.1, "blue");
    let connections = blue.state.connections.load(SeqCst);

    let held = admin.hold(LONG_MS, 10).await;
    assert_eq!(held.version, before.version, "holding is no new version");
    let mut requests = JoinSet::new();
    requests.spawn(once(address, get("/")));
    requests.spawn(once(address, post("/echo", "12345")));
    requests.spawn(async move {
        let mut tunnel = socket(address).await;
        tunnel.write_all(b"alive").await.unwrap();
        let mut bytes = [0; 5];
        tunnel.read_exact(&mut bytes).await.unwrap();
        (StatusCode::SWITCHING_PROTOCOLS, String::from_utf8_lossy(&bytes).into_owned())
    });
    eventually("three wait", async || admin.waiting().await == 3).await;

    let switched = admin.put("app", &spec("green", green.address)).await;
    assert_eq!(switched.hold.map(|hold| hold.waiting), Some(3), "a switch lets nothing go");
    requests.spawn(once(address, get("/")));
    eventually("four wait", async || admin.waiting().await == 4).await;
    assert!(admin.status().await.in_flight.is_empty(), "what waits is not in flight");
    assert_eq!(blue.state.connections.load(SeqCst), connections, "and has no connection");
    assert_eq!(green.state.connections.load(SeqCst), 0);

    let free = admin.let_go().await;
    assert_eq!((free.hold, free.version), (None, switched.version));
    let mut answers = requests.join_all().await;
    answers.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    let ok = |text: &str| (StatusCode::OK, text.to_owned());
    let tunnel = (StatusCode::SWITCHING_PROTOCOLS, "alive".to_owned());
    assert_eq!(answers, [tunnel, ok("green"), ok("green"), ok("green 5")]);
    assert_eq!(once(address, get("/")).await.1, "green");
    // Nothing is held any more, so there is nothing to let go.
    assert_eq!(admin.let_go().await.version, switched.version);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn http2_requests_wait_too_and_a_reset_one_frees_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let shaken = hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(stream)).await;
    let (sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    admin.hold(LONG_MS, 10).await;
    let ask = || {
        let mut sender = sender.clone();
        let request =
            hyper::Request::get("http://app.example/").body(crate::client::Body::default()).unwrap();
        tokio::spawn(async move { text(sender.send_request(request).await.unwrap()).await.unwrap() })
    };
    let requests: Vec<_> = (0..5).map(|_| ask()).collect();
    let given_up = ask();
    eventually("six wait", async || admin.waiting().await == 6).await;
    given_up.abort();
    eventually("five wait", async || admin.waiting().await == 5).await;
    admin.let_go().await;
    for request in requests {
        assert_eq!(request.await.unwrap(), (StatusCode::OK, "blue".to_owned()));
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn one_more_than_may_wait_is_told_to_come_again_and_is_not_the_slots_failure() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    admin.hold(LONG_MS, 2).await;
    let waiting = [sent(address, GET).await, sent(address, GET).await];
    eventually("two wait", async || admin.waiting().await == 2).await;
    let refused = read_all(sent(address, GET).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5\r\n"), "{refused}");

    let view = admin.status().await.holds["app"];
    assert_eq!((view.waiting, view.refused, view.requests_max), (2, 1, 2));
    assert_eq!(admin.metric("lockgate_proxy_held_requests{route=\"app\"}").await, Some(2.0));
    assert!(admin.metric("lockgate_proxy_held_seconds{route=\"app\"}").await.unwrap() > 0.0);
    let refused = "lockgate_proxy_hold_refused_requests_total{route=\"app\"}";
    assert_eq!(admin.metric(refused).await, Some(1.0));
    let failures = "lockgate_proxy_requests_total{route=\"app\",slot=\"blue\",status=\"5xx\"}";
    assert_eq!(admin.metric(failures).await, Some(0.0));

    admin.let_go().await;
    for stream in waiting {
        assert!(read_all(stream).await.ends_with("\r\n\r\nblue"));
    }
    assert_eq!(admin.metric("lockgate_proxy_held_requests{route=\"app\"}").await, Some(0.0));
    assert_eq!(admin.metric(refused).await, Some(1.0), "it stays counted");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    admin.hold(LONG_MS, 1).await;
    for _ in 0..3 {
        let leaves = sent(address, GET).await;
        eventually("it waits", async || admin.waiting().await == 1).await;
        let leaves = leaves.into_std().unwrap();
        rustix::net::sockopt::set_socket_linger(&leaves, Some(Duration::ZERO)).unwrap();
        drop(leaves);
        eventually("it is gone", async || admin.waiting().await == 0).await;
    }
    let stays = sent(address, GET).await;
    eventually("it waits", async || admin.waiting().await == 1).await;
    admin.let_go().await;
    assert!(read_all(stays).await.ends_with("\r\n\r\nblue"));
    assert_eq!(blue.state.served.load(SeqCst), 1);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn asking_again_renews_the_hold_but_no_requests_own_time() {
    const TIME_MS: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let first = admin.hold(LONG_MS, 10).await.hold.unwrap();
    let refused = tokio::spawn(read_all(sent(address, GET).await));
    let waited = || async { admin.held().await.is_some_and(|hold| hold.longest_ms >= TIME_MS) };
    eventually("it has waited for so long", waited).await;
    assert!(!refused.is_finished());
    // The hold goes on for so long from now, the request's time is over.
    let renewed = admin.hold(TIME_MS, 10).await.hold.unwrap();
    assert!(renewed.until_ms < first.until_ms, "the new bounds are in force: {renewed:?}");
    let refused = refused.await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5\r\n"), "{refused}");
    let now = admin.hold(LONG_MS, 10).await.hold.unwrap();
    assert_eq!((now.waiting, now.refused, blue.state.served.load(SeqCst)), (0, 1, 0));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hold_that_nobody_renews_ends_by_itself_and_lets_go() {
    const TIME_MS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let begun = Instant::now();
    admin.hold(TIME_MS, 10).await;
    let requests: JoinSet<_> = (0..5).map(|_| once(address, get("/"))).collect();
    for answer in requests.join_all().await {
        assert_eq!(answer, (StatusCode::OK, "blue".to_owned()));
    }
    assert!(begun.elapsed() >= Duration::from_millis(TIME_MS), "after {:?}", begun.elapsed());
    assert_eq!(admin.held().await, None);
    // It can be held again.
    admin.hold(LONG_MS, 10).await;
    let request = tokio::spawn(once(address, get("/")));
    eventually("it waits", async || admin.waiting().await == 1).await;
    admin.let_go().await;
    assert_eq!(request.await.unwrap().1, "blue");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_in_flight_goes_on_and_alone_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let slow = tokio::spawn(once(address, get("/hold")));
    eventually("it is in flight", async || admin.in_flight("app", "blue").await.requests == 1).await;
    let held = admin.hold(LONG_MS, 10).await;
    assert_eq!(held.in_flight["blue"], InFlight { requests: 1, upgraded: 0 });
    let waits = tokio::spawn(once(address, get("/")));
    eventually("one waits", async || admin.waiting().await == 1).await;
    assert_eq!(admin.in_flight("app", "blue").await, InFlight { requests: 1, upgraded: 0 });
    blue.state.released.store(true, SeqCst);
    assert_eq!(slow.await.unwrap().1, "blue");
    eventually("the slot is drained", async || admin.in_flight("app", "blue").await.is_zero()).await;
    assert_eq!(blue.state.served.load(SeqCst), 1);
    admin.let_go().await;
    assert_eq!(waits.await.unwrap().1, "blue");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_body_of_what_waits_stays_with_the_client() {
    const BODY_BYTES: usize = 64 * 1024 * 1024;
    /// What the two sockets' buffers may take, and what hyper reads along with the head.
    const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    admin.hold(LONG_MS, 10).await;

    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    let mut stream = sent(address, head.as_bytes()).await;
    eventually("it waits", async || admin.waiting().await == 1).await;
    let piece = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    // Nothing more goes in once a piece of a body waits for a while.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), stream.write(&piece)).await {
        taken += written.unwrap();
        assert!(taken <= TAKEN_BYTES_MAX, "the proxy reads on");
    }
    let mut asks = sent(
        address,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    eventually("both wait", async || admin.waiting().await == 2).await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), asks.read(&mut byte)).await;
    assert!(early.is_err(), "the client is asked for its body only when there is somebody to read it");

    admin.let_go().await;
    asks.write_all(b"12345").await.unwrap();
    assert!(read_all(asks).await.ends_with("blue 5"));
    while taken < BODY_BYTES {
        let next = piece.len().min(BODY_BYTES - taken);
        taken += stream.write(&piece[..next]).await.unwrap();
    }
    assert!(read_all(stream).await.ends_with(&format!("blue {BODY_BYTES}")));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_thousand_wait_and_are_let_go_to_a_slot_that_takes_few_connections_at_once() {
    const REQUESTS: usize = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    admin.hold(LONG_MS, REQUESTS as u32).await;
    let mut streams = Vec::new();
    for _ in 0..REQUESTS {
        streams.push(sent(address, GET).await);
    }
    eventually("all wait", async || admin.waiting().await == REQUESTS as u64).await;
    admin.let_go().await;
    for stream in streams {
        assert!(read_all(stream).await.ends_with("\r\n\r\nblue"));
    }
    proxy.shutdown().await.unwrap();
}

/// With 200 descriptors there are 36 connections at once; half of them may wait.
#[tokio::test]
async fn waiting_requests_leave_room_for_other_routes() {
    const AT_ONCE: usize = 36;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::after(dir.path(), "ulimit -n 200").await;
    let (blue, other) = (Backend::start("blue").await, Backend::start("other").await);
    process.admin.put("app", &spec("blue", blue.address)).await;
    let mut named = spec("blue", other.address);
    named.hosts = vec!["other.example".to_owned()];
    process.admin.put("other", &named).await;
    let via = process.admin.status().await.listeners[0];
    process.admin.hold(LONG_MS, 1_000).await;
    let mut waiting = Vec::new();
    for _ in 0..2 * AT_ONCE {
        waiting.push(sent(via, GET).await);
    }
    let turned_away = 2 * AT_ONCE - AT_ONCE / 2;
    eventually("the others are turned away", async || {
        process.admin.held().await.is_some_and(|hold| hold.refused == turned_away as u64)
    })
    .await;
    let ask = b"GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
    assert!(read_all(sent(via, ask).await).await.ends_with("\r\n\r\nother"));
    process.admin.let_go().await;
    let mut answered = 0;
    for stream in waiting {
        let answer = read_all(stream).await;
        answered += usize::from(answer.ends_with("\r\n\r\nblue"));
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    assert_eq!(answered, AT_ONCE / 2);
}

#[tokio::test]
async fn a_stop_answers_what_waits_and_the_hold_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let stored = || std::fs::read_to_string(dir.path().join("routes.json")).unwrap();
    admin.put("app", &spec("blue", blue.address)).await;
    assert!(!stored().contains("hold"), "a proxy from before holds wrote the same: {}", stored());
    admin.hold(LONG_MS, 10).await;
    assert!(stored().contains("\"until_ms\""), "{}", stored());
    let waits = sent(proxy.addresses()[0], GET).await;
    eventually("it waits", async || admin.waiting().await == 1).await;
    let begun = Instant::now();
    proxy.shutdown().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "the stop does not wait for it");
    let refused = read_all(waits).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5\r\n"), "{refused}");

    let proxy = start_in(dir.path()).await;
    let waits = tokio::spawn(read_all(sent(proxy.addresses()[0], GET).await));
    eventually("it waits again", async || admin.waiting().await == 1).await;
    admin.put("app", &spec("green", green.address)).await;
    admin.let_go().await;
    assert!(waits.await.unwrap().ends_with("\r\n\r\ngreen"));
    assert!(!stored().contains("hold"), "{}", stored());
    proxy.shutdown().await.unwrap();

    let proxy = start_in(dir.path()).await;
    assert_eq!(admin.held().await, None, "and that it was let go is remembered too");
    assert_eq!(once(proxy.addresses()[0], get("/")).await.1, "green");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hold_survives_a_crash_and_no_longer_than_its_time() {
    const TIME_MS: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let blue = Backend::start("blue").await;
    let mut process = Process::after(dir.path(), "true").await;
    process.admin.put("app", &spec("blue", blue.address)).await;
    let begun = Instant::now();
    process.admin.hold(TIME_MS, 10).await;
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let process = Process::after(dir.path(), "true").await;
    let address = process.admin.status().await.listeners[0];
    assert!(process.admin.held().await.is_some() || begun.elapsed() >= Duration::from_millis(TIME_MS));
    assert_eq!(once(address, get("/")).await, (StatusCode::OK, "blue".to_owned()));
    let passed = begun.elapsed();
    assert!(passed >= Duration::from_millis(TIME_MS), "it did not wait: {passed:?}");
    assert_eq!(process.admin.held().await, None);
}

#[tokio::test]
async fn a_hold_goes_along_with_an_upgrade_and_both_processes_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::after(dir.path(), "true").await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    process.admin.put("app", &spec("blue", blue.address)).await;
    let address = process.admin.status().await.listeners[0];
    let mut kept = connect(address).await.unwrap();
    assert_eq!(text(kept.send_request(get("/")).await.unwrap()).await.unwrap().1, "blue");
    process.admin.hold(LONG_MS, 10).await;
    let in_the_old = tokio::spawn(once(address, get("/")));
    eventually("it waits", async || process.admin.waiting().await == 1).await;

    process.upgrade("").await.unwrap();
    // This connection is the old process's.
    let late = tokio::spawn(async move { text(kept.send_request(get("/")).await.unwrap()).await.unwrap() });
    assert!(process.admin.held().await.is_some(), "the successor holds");
    let in_the_new = tokio::spawn(once(address, get("/")));
    eventually("it waits in the new process", async || process.admin.waiting().await == 1).await;
    process.admin.put("app", &spec("green", green.address)).await;
    process.admin.hold(LONG_MS, 20).await;
    assert_eq!(process.admin.waiting().await, 1, "neither a switch nor holding again lets go");
    assert!(!in_the_old.is_finished() && !late.is_finished());
    process.admin.let_go().await;
    for request in [in_the_old, in_the_new, late] {
        assert_eq!(request.await.unwrap(), (StatusCode::OK, "green".to_owned()));
    }
    assert_eq!(blue.state.served.load(SeqCst), 1);
    process.ended().await;
}

#[tokio::test]
async fn a_route_that_is_removed_lets_nothing_go_and_comes_back_held() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    admin.put("app", &spec("blue", blue.address)).await;
    let version = admin.hold(LONG_MS, 10).await.version;
    let waits = tokio::spawn(once(address, get("/")));
    eventually("it waits", async || admin.waiting().await == 1).await;
    admin.delete("app", &format!("\"{version}\"")).await.unwrap();
    assert_eq!(once(address, get("/")).await.0, StatusCode::NOT_FOUND, "there is no route to wait for");
    assert_eq!(admin.put("app", &spec("green", green.address)).await.hold.map(|hold| hold.waiting), Some(1));
    let waits_too = tokio::spawn(once(address, get("/")));
    eventually("both wait", async || admin.waiting().await == 2).await;
    admin.let_go().await;
    assert_eq!(
        (waits.await.unwrap().1, waits_too.await.unwrap().1),
        ("green".to_owned(), "green".to_owned())
    );

    // What still waits when a route is let go that was not put back hears that there is none.
    let version = admin.hold(LONG_MS, 10).await.version;
    let waits = tokio::spawn(once(address, get("/")));
    eventually("it waits", async || admin.waiting().await == 1).await;
    admin.delete("app", &format!("\"{version}\"")).await.unwrap();
    let (status, _) = admin.raw(Method::DELETE, "/v1/routes/app/hold", None, Vec::new()).await.unwrap();
    assert_eq!((status, waits.await.unwrap().0), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hold_that_cannot_be_had_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    for (id, body, kind, says) in [
        ("nobody", r#"{"time_ms":1000}"#, ErrorKind::NotFound, "no route"),
        ("app", "", ErrorKind::Invalid, "the body is missing"),
        ("app", r#"{"time_ms":0}"#, ErrorKind::Invalid, "time_ms is 1 to 86400000, not 0"),
        ("app", r#"{"time_ms":86400001}"#, ErrorKind::Invalid, "not 86400001"),
        ("app", r#"{"time_ms":1,"requests_max":100001}"#, ErrorKind::Invalid, "requests_max is 0 to 100000"),
        ("app", r#"{"time_ms":1,"requests":1}"#, ErrorKind::Invalid, "unknown field `requests`"),
    ] {
        let error = admin.try_hold(id, body).await.unwrap_err();
        assert!(error.kind == kind && error.message.contains(says), "{body}: {error:?}");
    }
    let wrong = admin.raw(Method::GET, "/v1/routes/app/hold", None, Vec::new()).await.unwrap();
    assert_eq!(wrong.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(admin.held().await, None);
    let usual = admin.try_hold("app", r#"{"time_ms":60000}"#).await.unwrap();
    assert_eq!(usual.hold.map(|hold| hold.requests_max), Some(1_000), "as many as nobody said");
    // Nobody may wait: every request is refused at once.
    admin.hold(LONG_MS, 0).await;
    assert_eq!(once(proxy.addresses()[0], get("/")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    proxy.shutdown().await.unwrap();
}

/// What a full disk keeps from being stored is let go all the same.
#[tokio::test]
async fn a_route_is_let_go_even_when_that_cannot_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    admin.hold(LONG_MS, 10).await;
    let waits = tokio::spawn(once(proxy.addresses()[0], get("/")));
    eventually("it waits", async || admin.waiting().await == 1).await;
    // The temporary file's name is taken by a folder.
    std::fs::create_dir(dir.path().join("routes.json.tmp")).unwrap();
    assert_eq!(admin.try_hold("app", r#"{"time_ms":1}"#).await.unwrap_err().kind, ErrorKind::StorageFailed);
    assert!(admin.held().await.is_some(), "nothing changed");
    assert_eq!(admin.let_go().await.hold, None);
    assert_eq!(waits.await.unwrap().1, "blue");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_time_of_waiting_is_not_the_slots() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, _) = recorder("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    admin.put("app", &spec("blue", blue)).await;
    admin.hold(LONG_MS, 10).await;
    let begun = Instant::now();
    let waits = tokio::spawn(once(proxy.addresses()[0], get("/")));
    let waited = || async { admin.held().await.is_some_and(|hold| hold.longest_ms >= 1_000) };
    eventually("it has waited for a second", waited).await;
    admin.let_go().await;
    assert_eq!(waits.await.unwrap().1, "ok");
    let took = begun.elapsed().as_secs_f64();
    let sum = "lockgate_proxy_latency_seconds_sum{route=\"app\",slot=\"blue\"}";
    let latency = admin.metric(sum).await.unwrap();
    assert!(latency > 0.0 && latency <= took - 0.9, "{latency} s of {took} s");
    proxy.shutdown().await.unwrap();
    let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert!(line["held_micros"].as_u64().unwrap() >= 900_000, "{line}");
    assert!(line["micros"].as_u64() >= line["held_micros"].as_u64(), "{line}");
}

/// What `recreate` does: hold, stop the app, start it elsewhere, switch, let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_an_app_in_its_slot_under_load_loses_nothing() {
    const ROUNDS: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let mut app = Backend::start("main").await;
    admin.put("app", &spec("main", app.address)).await;
    let load = Load::start(proxy.addresses()[0]);
    let mut gone = Vec::new();
    for round in 0..ROUNDS {
        let answered = load.seen.ok.load(SeqCst);
        eventually("some are answered", async || load.seen.ok.load(SeqCst) > answered + 20).await;
        admin.hold(LONG_MS, 1_000).await;
        eventually("the slot drains", async || admin.in_flight("app", "main").await.is_zero()).await;
        app.state.closed.store(true, SeqCst);
        eventually("some wait", async || admin.waiting().await > 0).await;
        let next = Backend::start("main").await;
        let mut release = spec("main", next.address);
        release.target.release = format!("main-{round}");
        admin.put("app", &release).await;
        gone.push(std::mem::replace(&mut app, next));
        admin.let_go().await;
    }
    let answered = load.end().await;
    assert!(answered > 100, "only {answered} requests");
    for app in gone {
        assert_eq!(app.state.mistakes.load(SeqCst), 0, "one was asked after it had drained");
    }
    proxy.shutdown().await.unwrap();
}
