//! Heads and trailers that mean to deceive the slot or the proxy, as raw bytes.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use lockgate_proxy::RouteSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Backend, recorder};
use crate::client::{Admin, Body, text};
use crate::framing::raw;
use crate::{eventually, spec, start_in};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The answer's status and body. The connection may stay open.
async fn answer(address: std::net::SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}")), body.unwrap_or_default())
}

fn trusting(text: &str) -> Vec<ipnet::IpNet> {
    vec![text.parse().unwrap()]
}

/// What a proxy in front may say of a request.
const CLAIMS: [&str; 38] = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Port",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-By",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Whatever-Comes",
    "Front-End-Https",
    "X-Original-URL",
    "X-Original-Host",
    "X-Original-Forwarded-For",
    "X-Rewrite-URL",
    "X-Real-IP",
    "True-Client-IP",
    "X-Client-IP",
    "Client-IP",
    "CF-Connecting-IP",
    "CF-Visitor",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Cluster-Client-IP",
    "X-Remote-User",
    "Remote-User",
    "X-Auth-Request-User",
    "Client-Cert",
    "X-SSL-Client-Verify",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "X-Scheme",
    "X-Script-Name",
    "SCRIPT_NAME",
];

#[tokio::test]
async fn what_only_a_proxy_can_know_comes_from_a_trusted_one_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    let mut head = "GET /head HTTP/1.1\r\nHost: a\r\n".to_owned();
    CLAIMS.iter().for_each(|name| head.push_str(&format!("{name}: claimed\r\n")));
    for name in ["X_Forwarded_Prefix", "X_REMOTE_USER", "X_Forwarded.For", "Proxy"] {
        head.push_str(&format!("{name}: claimed anyway\r\n"));
    }
    head.push_str("X-Mine: kept\r\n\r\n");
    for (trusted_proxies, claims) in [(Vec::new(), 0), (trusting("127.0.0.0/8"), CLAIMS.len())] {
        admin.put("app", &RouteSpec { trusted_proxies, ..spec("blue", blue.address) }).await;
        let (status, told) = answer(proxy.addresses()[0], &head).await;
        assert_eq!(status, 200, "{told}");
        let claimed = told.lines().filter(|line| line.contains(": claimed")).count();
        assert_eq!(claimed, claims, "{told}");
        assert!(!told.contains("anyway") && told.contains("x-mine: kept"), "{told}");
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn connection_does_not_strip_what_a_trusted_proxy_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let trusted_proxies = trusting("127.0.0.0/8");
    Admin::of(dir.path()).put("app", &RouteSpec { trusted_proxies, ..spec("blue", blue.address) }).await;
    let head = "POST /head HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                X-Real-IP: 6.6.6.6\r\nX-Forwarded-User: mallory\r\nX-Mine: 1\r\nContent-Length: 2\r\n";
    let listed = "Connection: close, x-forwarded-for, X-Forwarded-Proto, x-real-ip, x-forwarded-user, host, \
                  content-length, x-mine\r\n\r\nhi";
    let (status, told) = answer(proxy.addresses()[0], &format!("{head}{listed}")).await;
    assert_eq!(status, 200);
    let mut lines: Vec<_> = told.lines().collect();
    lines.sort_unstable();
    let expected = [
        "content-length: 2",
        "host: a",
        "x-forwarded-for: 6.6.6.6, 127.0.0.1",
        "x-forwarded-host: a",
        "x-forwarded-proto: https",
        "x-forwarded-user: mallory",
        "x-real-ip: 6.6.6.6",
    ];
    assert_eq!(lines, expected);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn trailers_carry_nothing_that_belongs_into_a_head() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, recorded) = recorder(OK).await;
    let trusted_proxies = trusting("127.0.0.0/8");
    Admin::of(dir.path()).put("app", &RouteSpec { trusted_proxies, ..spec("blue", address) }).await;
    let names = [
        "X-Checksum",
        "X-Forwarded-For",
        "X_Real_IP",
        "Host",
        "Content-Length",
        "Authorization",
        "Cookie",
        "Upgrade",
    ];
    let trailers: String = names.iter().map(|name| format!("{name}: trailing\r\n")).collect();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: {}\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n",
        names.join(", ")
    );
    assert_eq!(answer(proxy.addresses()[0], &request).await.0, 200);
    let seen = String::from_utf8(recorded.lock().unwrap().clone()).unwrap();
    assert!(seen.ends_with("2\r\nhi\r\n0\r\nx-checksum: trailing\r\n\r\n"), "{seen}");
    assert_eq!(seen.matches("trailing").count(), 1, "{seen}");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, recorded) = recorder(OK).await;
    Admin::of(dir.path()).put("app", &spec("blue", address)).await;
    let via = proxy.addresses()[0];
    let long = "a".repeat(256);
    for host in [
        "", " ", "a b", "a/b?c", "a,b", "a, b", "a@b", "a:b", "a:99999", ":80", "a\\b", "a#", "[::1", "::1",
        "a%", "<a>", &long,
    ] {
        for version in ["1.0", "1.1"] {
            let request = format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert_eq!(answer(via, &request).await.0, 400, "{host:?}, HTTP/{version}");
            let absolute = format!("GET http://a/ HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert_eq!(answer(via, &absolute).await.0, 400, "{host:?}, absolute, HTTP/{version}");
        }
    }
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(answer(via, head).await.0, 400, "{head:?}");
    }
    assert!(recorded.lock().unwrap().is_empty());
    for host in ["a", "A.example:8080", "a_b.example.", "[::1]:80", "127.0.0.1", "a:"] {
        assert_eq!(answer(via, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.0, 200, "{host}");
    }
    let (_, metrics) =
        Admin::of(dir.path()).raw(hyper::Method::GET, "/metrics", None, Vec::new()).await.unwrap();
    let refused =
        metrics.lines().find_map(|line| line.strip_prefix("lockgate_proxy_refused_requests_total "));
    assert_eq!(refused, Some("72"), "{metrics}");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_transfer_coding_that_is_not_just_chunked_is_refused_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, recorded) = recorder(OK).await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", address)).await;
    let via = proxy.addresses()[0];
    for (coding, status) in [
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
        ("Transfer-Encoding: identity, chunked", 501),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: xchunked", 400),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        // The connection ends with the refusal: where the body ends is anybody's guess.
        let told = raw(via, &request).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{coding}: {told}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(answer(via, old).await.0, 400);
    assert!(recorded.lock().unwrap().is_empty());

    let coded = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    admin.put("app", &spec("green", recorder(coded).await.0)).await;
    let (status, told) = answer(via, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status, 502);
    assert!(told.contains("transfer coding"), "{told}");
    proxy.shutdown().await.unwrap();
}

async fn http2(address: std::net::SocketAddr, request: hyper::Request<Body>) -> (StatusCode, String) {
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    text(sender.send_request(request).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_length_is_passed_on_once() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", blue.address)).await;
    let via = proxy.addresses()[0];
    let request = hyper::Request::post("http://app.example/head");
    let request = request.header("content-length", "5").header("content-length", "5");
    let (status, told) = http2(via, request.body(Full::new(Bytes::from("hello"))).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(told.lines().filter(|line| line.starts_with("content-length")).count(), 1, "{told}");

    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n";
    for (method, body) in [("GET", "ok"), ("HEAD", "")] {
        admin.put("app", &spec("green", recorder(format!("{twice}{body}")).await.0)).await;
        let told = raw(via, &format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(told.matches("content-length: 2").count(), 1, "{told}");
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_without_a_host_does_not_learn_or_tell_the_slots_address() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let via = proxy.addresses()[0];
    let (status, told) = answer(via, "GET /head HTTP/1.0\r\n\r\n").await;
    assert_eq!(status, 200);
    let mut lines: Vec<_> = told.lines().collect();
    lines.sort_unstable();
    // It was sent to the proxy's address, so that is the host.
    assert_eq!(lines, [&format!("host: {via}"), "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]);
    proxy.shutdown().await.unwrap();
}

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("x-{n}: 1\r\n")).collect()
}

#[tokio::test]
async fn a_hundred_header_lines_pass_and_more_have_a_status_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, _) = recorder(OK).await;
    let admin = Admin::of(dir.path());
    admin.put("app", &spec("blue", address)).await;
    let via = proxy.addresses()[0];
    for (more, status) in [(99, 200), (100, 431)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(more));
        assert_eq!(answer(via, &request).await.0, status, "{more}");
    }
    for (more, cookies, status) in [(100, 0, 200), (101, 0, 431), (99, 50, 200), (100, 50, 431)] {
        let request = hyper::Request::get("http://app.example/");
        let request = (0..more).fold(request, |request, n| request.header(format!("x-{n}"), "1"));
        let request = (0..cookies).fold(request, |request, n| request.header("cookie", format!("a{n}=1")));
        let (found, told) = http2(via, request.body(Body::default()).unwrap()).await;
        assert_eq!(found.as_u16(), status, "{more}: {told}");
        assert!(status == 200 || told.contains("100 header lines"), "{told}");
    }
    for (more, status) in [(99, 200), (100, 502)] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{}\r\nok", lines(more));
        admin.put("app", &spec("green", recorder(head).await.0)).await;
        for _ in 0..2 {
            let (found, told) = answer(via, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(found, status, "{more}: {told}");
            assert!(status == 200 || told.contains("100 header lines"), "{told}");
        }
    }
    eventually("nothing is left", async || admin.status().await.in_flight.is_empty()).await;
    proxy.shutdown().await.unwrap();
}
