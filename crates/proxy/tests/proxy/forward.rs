//! What crosses the proxy, and what happens when a slot misbehaves.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hyper::StatusCode;
use lockgate_proxy::{ASK_HEADER, RELEASE_HEADER, RouteSpec, SLOT_HEADER, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Backend, closes_on_second_request};
use crate::client::{Admin, connect, get, once, post, text};
use crate::{config, eventually, spec, start_in};

#[tokio::test]
async fn headers_end_where_they_must_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let mut request = get("/head");
    for (name, value) in
        [("connection", "x-mine"), ("x-mine", "1"), ("x-forwarded-for", "6.6.6.6"), ("te", "gzip")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request.headers_mut().insert(ASK_HEADER, proxy.ask_token().parse().unwrap());
    let response = connect(proxy.addresses()[0]).await.unwrap().send_request(request).await.unwrap();
    assert_eq!(response.headers()["x-end"], "1");
    assert!(["x-hop", "keep-alive", "connection"].iter().all(|name| !response.headers().contains_key(*name)));
    let (_, text) = text(response).await.unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let expected = [
        "host: app.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: app.example",
        "x-forwarded-proto: http",
    ];
    assert_eq!(lines, expected);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_proxy_in_front_is_believed_where_the_route_trusts_it() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    let networks = |text: &str| vec![text.parse().unwrap()];
    for (trusted_proxies, forwarded_for, proto) in [
        (Vec::new(), "127.0.0.1", "http"),
        (networks("10.0.0.0/8"), "127.0.0.1", "http"),
        (networks("127.0.0.0/8"), "6.6.6.6, 127.0.0.1", "https"),
        (Vec::new(), "127.0.0.1", "http"),
    ] {
        admin.put("app", &RouteSpec { trusted_proxies, ..spec("blue", blue.address) }).await;
        let mut request = get("/head");
        for (name, value) in [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (_, told) = once(proxy.addresses()[0], request).await;
        for line in [format!("x-forwarded-for: {forwarded_for}"), format!("x-forwarded-proto: {proto}")] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
    }
    proxy.shutdown().await.unwrap();
}

/// Who asks for a deployment asks as users do, who come by the proxies in front, although it is at none of their addresses.
#[tokio::test]
async fn who_knows_the_token_is_believed_where_a_proxy_in_front_is() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    let admin = Admin::of(dir.path());
    let front = || vec!["10.0.0.0/8".parse().unwrap()];
    let (known, wrong) = (proxy.ask_token().to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    for (trusted_proxies, token, proto) in [
        (front(), &known, "https"),
        (front(), &wrong, "http"),
        // Nobody is in front: users come without https.
        (Vec::new(), &known, "http"),
    ] {
        admin.put("app", &RouteSpec { trusted_proxies, ..spec("blue", blue.address) }).await;
        let mut request = get("/head");
        request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
        request.headers_mut().insert(ASK_HEADER, token.parse().unwrap());
        let (_, told) = once(proxy.addresses()[0], request).await;
        let line = format!("x-forwarded-proto: {proto}");
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn only_who_knows_the_token_learns_slot_and_release() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    assert_eq!(admin.status().await.ask_token, proxy.ask_token());
    for (token, told) in [(proxy.ask_token(), true), ("0123456789abcdef0123456789abcdef", false)] {
        let mut request = get("/");
        request.headers_mut().insert(ASK_HEADER, token.parse().unwrap());
        let response = connect(proxy.addresses()[0]).await.unwrap().send_request(request).await.unwrap();
        let header = |name| {
            response.headers().get(name).map(|value: &hyper::header::HeaderValue| value.to_str().unwrap())
        };
        assert_eq!(
            (header(SLOT_HEADER), header(RELEASE_HEADER)),
            if told { (Some("blue"), Some("blue-1")) } else { (None, None) }
        );
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_sent_again_and_a_post_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, seen) = closes_on_second_request().await;
    Admin::of(dir.path()).put("app", &spec("blue", address)).await;
    let via = proxy.addresses()[0];
    for _ in 0..5 {
        assert_eq!(once(via, get("/")).await, (StatusCode::OK, "ok".to_owned()));
    }
    // Whatever is in the pool has been used once, so that the next request on it is the second.
    let before = seen.load(SeqCst);
    assert!(before > 5, "no connection was used twice");
    while once(via, post("/", "x")).await.0 == StatusCode::OK {
        assert!(seen.load(SeqCst) < before + 5, "no POST met a stale connection");
    }
    let sent = seen.load(SeqCst);
    assert!(sent <= before + 2, "a POST was sent twice");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn connections_to_a_slot_are_used_again_and_closed_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.upstream_idle = Duration::from_millis(300);
    let proxy = start(config).await.unwrap();
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    for _ in 0..20 {
        assert_eq!(once(proxy.addresses()[0], get("/")).await.0, StatusCode::OK);
    }
    assert!(blue.state.connections.load(SeqCst) < 10, "connections aren't used again");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn failures_name_the_route_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.response_timeout = Duration::from_secs(30);
    let proxy = start(config).await.unwrap();
    let via = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    assert_eq!(once(via, get("/")).await.0, StatusCode::NOT_FOUND);

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = unused.local_addr().unwrap();
    drop(unused);
    admin.put("app", &spec("blue", port)).await;
    for request in [get("/"), post("/", "x")] {
        let (status, text) = once(via, request).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(text.contains("route app") && !text.contains(&port.port().to_string()), "{text}");
    }

    let blue = Backend::start("blue").await;
    admin.put("app", &RouteSpec { response_timeout_ms: Some(50), ..spec("blue", blue.address) }).await;
    let (status, text) = once(via, get("/hold")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(text.contains("route app"), "{text}");
    eventually("nothing is left", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn hosts_and_prefixes_choose_the_route_and_unix_sockets_are_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    admin.put("any", &spec("blue", blue.address)).await;
    let hosts = vec!["APP.example".to_owned()];
    let api = RouteSpec { hosts, path_prefix: Some("/api".into()), ..spec("green", green.address) };
    admin.put("api", &api).await;
    let path = dir.path().join("slot.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let dial = format!("unix:{}", path.display());
    admin.put("unix", &RouteSpec { path_prefix: Some("/unix".into()), ..spec("main", dial) }).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix").await.unwrap();
    });
    let via = proxy.addresses()[0];
    for (path, slot) in
        [("/", "blue"), ("/api", "green"), ("/api/x", "green"), ("/apix", "blue"), ("/unix", "unix")]
    {
        assert_eq!(once(via, get(path)).await.1, slot, "{path}");
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 100_000]));
    let request = hyper::Request::post("http://app.example/echo").body(body).unwrap();
    let (status, answer) = text(sender.send_request(request).await.unwrap()).await.unwrap();
    assert_eq!((status, answer.as_str()), (StatusCode::OK, "blue 100000"));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.head_timeout = Duration::from_millis(100);
    let proxy = start(config).await.unwrap();
    for sent in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "still open after {sent:?}");
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    for head in ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "GET / HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    proxy.shutdown().await.unwrap();
}
