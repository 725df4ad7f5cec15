//! Clients and slots that end an exchange before its time: who gets an answer, who is told of, and whose fault it is.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::{Method, StatusCode};
use lockgate_proxy::RouteSpec;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Backend, recorder, speaks_unasked};
use crate::client::{Admin, get, once, post};
use crate::framing::raw;
use crate::{eventually, spec, start_in};

/// The value of a counter of route `app` and slot `blue`.
async fn counted(admin: &Admin, name: &str, label: &str) -> u64 {
    let (_, text) = admin.raw(Method::GET, "/metrics", None, Vec::new()).await.unwrap();
    let start = format!("lockgate_proxy_{name}_total{{route=\"app\",slot=\"blue\",{label}}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{start} is not in {text}")).parse().unwrap()
}

pub async fn by_status(admin: &Admin, class: &str) -> u64 {
    counted(admin, "requests", &format!("status=\"{class}\"")).await
}

pub async fn cut_off(admin: &Admin, by: &str) -> u64 {
    counted(admin, "cut_off_requests", &format!("by=\"{by}\"")).await
}

/// The lines of the access log, once there are this many.
async fn logged(dir: &Path, lines: usize) -> Vec<Value> {
    let read = || {
        let text = std::fs::read_to_string(dir.join("access.log")).unwrap_or_default();
        // A last line that is only half written is not one yet.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
    };
    eventually("the access log has the line", async || read().len() >= lines).await;
    read()
}

/// Leaves without a word, as a client does that is killed with something unread.
fn reset(stream: TcpStream) {
    let stream = stream.into_std().unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_logged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
    eventually("the slot has it", async || blue.state.busy.load(SeqCst) == 1).await;
    reset(stream);
    eventually("nothing is left", async || admin.in_flight("app", "blue").await.is_zero()).await;
    let line = &logged(dir.path(), 1).await[0];
    assert_eq!((line["status"].as_u64(), line["cut_off"].as_str()), (Some(499), Some("client")), "{line}");
    assert_eq!((line["path"].as_str(), line["slot"].as_str()), (Some("/hold"), Some("blue")), "{line}");
    assert_eq!((by_status(&admin, "4xx").await, cut_off(&admin, "client").await), (1, 1));

    // One that closes only its sending half may still be there, and gets its answer if it comes soon.
    let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
    eventually("the slot has it", async || admin.in_flight("app", "blue").await.requests == 1).await;
    drop(stream);
    blue.state.released.store(true, SeqCst);
    logged(dir.path(), 2).await;
    eventually("nothing is left", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_http2_client_that_takes_its_request_back_is_logged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(proxy.addresses()[0]).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Full::new(Bytes::new());
    let request = hyper::Request::get("http://app.example/hold").body(body).unwrap();
    let waiting = tokio::spawn(sender.send_request(request));
    eventually("the slot has it", async || blue.state.busy.load(SeqCst) == 1).await;
    waiting.abort();
    eventually("nothing is left", async || admin.in_flight("app", "blue").await.is_zero()).await;
    let line = &logged(dir.path(), 1).await[0];
    assert_eq!((line["status"].as_u64(), line["host"].as_str()), (Some(499), Some("app.example")), "{line}");
    assert_eq!((by_status(&admin, "4xx").await, cut_off(&admin, "client").await), (1, 1));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_amid_the_answer_is_told_of_and_does_not_stay_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    // The second one's stream of events stays quiet, so that only waiting tells that it has left.
    for (turn, leave) in [reset as fn(TcpStream), drop].into_iter().enumerate() {
        let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("data: 0") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        leave(stream);
        eventually("nothing is left", async || admin.in_flight("app", "blue").await.is_zero()).await;
        let line = &logged(dir.path(), turn + 1).await[turn];
        assert_eq!(
            (line["status"].as_u64(), line["cut_off"].as_str()),
            (Some(200), Some("client")),
            "{line}"
        );
    }
    assert_eq!((by_status(&admin, "2xx").await, cut_off(&admin, "client").await), (2, 2));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_closes_its_sending_half_gets_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    for (request, end) in [
        ("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", "blue"),
        ("GET /hold HTTP/1.0\r\nHost: a\r\n\r\n", "blue"),
        ("GET /events HTTP/1.1\r\nHost: a\r\n\r\n", "data: 2\n\n\r\n0\r\n\r\n"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "blue 5"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "blue 2",
        ),
    ] {
        blue.state.released.store(false, SeqCst);
        let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let served = blue.state.served.load(SeqCst);
        if request.contains("/hold") {
            eventually("the slot has it", async || blue.state.busy.load(SeqCst) == 1).await;
        } else {
            eventually("the slot has it", async || blue.state.served.load(SeqCst) >= served).await;
        }
        blue.state.released.store(true, SeqCst);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK"), "{request:?}: {answer:?}");
        assert!(answer.ends_with(end), "{request:?}: {answer:?}");
    }
    assert_eq!(cut_off(&admin, "client").await, 0);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_clients_bad_body_is_not_the_slots_failure() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    let via = proxy.addresses()[0];
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    for chunks in ["zz\r\n", "5\r\nhelloXX", "fffffffffffffffff\r\n", "2\r\nhi\r\nzz"] {
        let answer = raw(via, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunks:?}: {answer}");
    }
    let told = 4;
    // Uploads that break off, in three ways.
    for (turn, ending) in ["half", "all", "reset"].into_iter().enumerate() {
        let mut stream = TcpStream::connect(via).await.unwrap();
        stream.write_all(format!("{head}Content-Length: 100000\r\n\r\nhello").as_bytes()).await.unwrap();
        eventually("it is in flight", async || admin.in_flight("app", "blue").await.requests == 1).await;
        match ending {
            "half" => {
                stream.shutdown().await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            }
            "all" => drop(stream),
            _ => reset(stream),
        }
        let counted = told + 1 + turn as u64;
        eventually("it is counted", async || cut_off(&admin, "client").await == counted).await;
        assert_eq!(
            (by_status(&admin, "4xx").await, by_status(&admin, "5xx").await),
            (counted, 0),
            "{ending}"
        );
    }
    // Over HTTP/2.
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(via).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let frames =
        [Ok(Frame::data(Bytes::from("hel"))), Err(std::io::Error::other("the client changed its mind"))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = hyper::Request::post("http://app.example/echo").body(body).unwrap();
    assert!(sender.send_request(request).await.is_err());
    eventually("it is counted", async || cut_off(&admin, "client").await == told + 4).await;
    // One that stops sending, but stays.
    admin.put("app", &RouteSpec { response_timeout_ms: Some(50), ..spec("blue", blue.address) }).await;
    let answer = raw(via, &format!("{head}Connection: close\r\nContent-Length: 100000\r\n\r\nhello")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!((by_status(&admin, "4xx").await, by_status(&admin, "5xx").await), (told + 5, 0));
    assert_eq!((cut_off(&admin, "client").await, cut_off(&admin, "slot").await), (told + 5, 0));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_slot_that_breaks_its_answer_off_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    admin.put("app", &spec("blue", listener.local_addr().unwrap())).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
    });
    let answer = raw(proxy.addresses()[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert_eq!(logged(dir.path(), 1).await[0]["cut_off"].as_str(), Some("slot"));
    assert_eq!((cut_off(&admin, "client").await, cut_off(&admin, "slot").await), (0, 1));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_slot_sends_after_its_answer_costs_nobody_anything() {
    for with_the_answer in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let proxy = start_in(dir.path()).await;
        let (address, used_twice) = speaks_unasked(with_the_answer).await;
        Admin::of(dir.path()).put("app", &spec("blue", address)).await;
        let via = proxy.addresses()[0];
        // Up to here somebody meets such a connection; nobody does afterwards, whatever the method.
        for _ in 0..20 {
            assert_eq!(once(via, get("/")).await, (StatusCode::OK, "ok".to_owned()));
        }
        let before = used_twice.load(SeqCst);
        assert!(before <= 1, "{before} connections were used again");
        for _ in 0..20 {
            assert_eq!(once(via, post("/", "x")).await, (StatusCode::OK, "ok".to_owned()));
        }
        assert_eq!(used_twice.load(SeqCst), before);
        proxy.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn the_log_names_the_host_that_was_routed_by_and_only_the_beginning_of_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, _) = recorder("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    Admin::of(dir.path()).put("app", &spec("blue", address)).await;
    let via = proxy.addresses()[0];
    let long = "a".repeat(60_000);
    for request in [
        "GET http://real.example/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET /{long}?{long} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("{} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &long[..1000]),
    ] {
        // The second one's head is too long altogether.
        let answer = raw(via, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let lines = logged(dir.path(), 3).await;
    assert_eq!(lines[0]["host"].as_str(), Some("real.example"));
    assert_eq!(lines[1]["path_bytes"].as_u64(), Some(60_001));
    assert!(lines[2]["method"].as_str().unwrap().len() <= 32);
    proxy.shutdown().await.unwrap();
    let bytes = std::fs::metadata(dir.path().join("access.log")).unwrap().len();
    assert!(bytes < 3 * 2_000, "{bytes} bytes for three requests");
}
