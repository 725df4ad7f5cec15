//! Requests that a lenient reader would take for something else, as raw bytes.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::Backend;
use crate::client::{Admin, text};
use crate::{spec, start_in};

/// The whole answer on a connection that the request closes.
pub async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whatever_the_method() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let via = proxy.addresses()[0];
    for method in ["GET", "DELETE", "OPTIONS", "POST", "QUERY"] {
        let head = format!("{method} /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        let chunked =
            raw(via, &format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).await;
        assert!(chunked.starts_with("HTTP/1.1 200") && chunked.ends_with("blue 5"), "{method}: {chunked}");
        let counted = raw(via, &format!("{head}Content-Length: 5\r\n\r\nhello")).await;
        assert!(counted.starts_with("HTTP/1.1 200") && counted.ends_with("blue 5"), "{method}: {counted}");
        let none = raw(via, &format!("{head}\r\n")).await;
        assert!(none.starts_with("HTTP/1.1 200") && none.ends_with("blue 0"), "{method}: {none}");
    }
    let head = "HEAD /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = raw(via, &format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-length: 6"), "{answer}");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_http2_get_may_have_a_body_too() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(proxy.addresses()[0]).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let frames = ["hel", "lo"].map(|part| Ok::<_, std::io::Error>(Frame::data(Bytes::from(part))));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = hyper::Request::get("http://app.example/echo").body(body).unwrap();
    let answer = text(sender.send_request(request).await.unwrap()).await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "blue 5".to_owned()));
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_upgrade_to_http_is_a_request_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let blue = Backend::start("blue").await;
    Admin::of(dir.path()).put("app", &spec("blue", blue.address)).await;
    let answer = raw(
        proxy.addresses()[0],
        "GET /head HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\nX_Forwarded_For: 6.6.6.6\r\nX_REAL_IP: 6.6.6.6\r\nX_Mine: 1\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut seen: Vec<_> = answer.split_once("\r\n\r\n").unwrap().1.lines().collect();
    seen.sort_unstable();
    let expected = [
        "host: a",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: a",
        "x-forwarded-proto: http",
        "x_mine: 1",
    ];
    assert_eq!(seen, expected);
    // A slot that switches all the same is not followed.
    let head = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let mut stream = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 502");
    proxy.shutdown().await.unwrap();
}
