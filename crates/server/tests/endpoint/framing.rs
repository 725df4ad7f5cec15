//! Requests that are too large, too slow, or of two minds about where they end.

use std::time::{Duration, Instant};

use lockgate_model::Millis;
use lockgate_server::Bounds;
use lockgate_signature::SigningSecret;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::call::{Answer, Call, SHA, answers, raw, rest};
use crate::daemon::{Daemon, SECRET};

/// Short enough to be waited for, long enough for a busy machine.
const BODY_MILLIS_MAX: Millis = Millis(500);
const BODY_BYTES_MAX: usize = 2_000;

async fn daemon() -> Daemon {
    let bounds =
        Bounds { body_bytes_max: BODY_BYTES_MAX, body_millis_max: BODY_MILLIS_MAX, ..Bounds::default() };
    Daemon::bounded(bounds).await
}

/// A signed head of which the body may be sent as one likes.
fn head(body: &[u8], framing: &str) -> Vec<u8> {
    let signature = SigningSecret::new(SECRET).unwrap().sign_github(body);
    let head = format!(
        "POST /deploy HTTP/1.1\r\nHost: deploy.example\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: {signature}\r\n{framing}\r\n\r\n"
    );
    head.into_bytes()
}

async fn one(daemon: &Daemon, bytes: &[u8]) -> Answer {
    let text = raw(daemon, bytes).await;
    let mut answers = answers(&text, false);
    assert_eq!(answers.len(), 1, "{text}");
    answers.remove(0)
}

#[tokio::test]
async fn a_body_of_one_byte_too_many_is_not_read() {
    let daemon = daemon().await;
    let fits = Call::deploy(vec![b' '; BODY_BYTES_MAX]).send(&daemon).await;
    assert_eq!(fits.status, 400, "{fits:?}");
    let over = vec![b' '; BODY_BYTES_MAX + 1];
    let answer = Call::deploy(over.clone()).send(&daemon).await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{answer:?}");
    // By its length alone, before a byte of it has come; nobody is told to go on.
    for said in ["2001", "9999999999999999999"] {
        let text = raw(&daemon, &head(b"", &format!("Content-Length: {said}\r\nExpect: 100-continue"))).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{said}: {text}");
    }
    // A length that is no number, or beyond all numbers, is no request.
    for said in ["18446744073709551616", "-1", "+5", "0x10", "5, 6", "1e3"] {
        let text = raw(&daemon, &head(b"", &format!("Content-Length: {said}"))).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{said}: {text}");
    }
    let chunks =
        [head(&over, "Transfer-Encoding: chunked"), format!("{:x}\r\n", over.len()).into_bytes(), over];
    let answer = one(&daemon, &[chunks.concat(), b"\r\n0\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn endless_chunks_end_at_the_bound() {
    let daemon = daemon().await;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(&head(b"", "Transfer-Encoding: chunked")).await.unwrap();
    let mut sent = 0;
    // The other side ends it: writing fails then, or nothing more is taken.
    while sent < 64 * 1024 * 1024 {
        let chunk = [b"400\r\n".as_slice(), &[b' '; 1024], b"\r\n"].concat();
        match tokio::time::timeout(Duration::from_secs(5), stream.write_all(&chunk)).await {
            Ok(Ok(())) => sent += 1024,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 64 * 1024 * 1024, "all of it was taken");
    let one_byte_each =
        [head(b"", "Transfer-Encoding: chunked"), b"1\r\nx\r\n".repeat(BODY_BYTES_MAX + 1)].concat();
    assert_eq!(one(&daemon, &one_byte_each).await.status, 413);
    for broken in ["zz\r\n", "-1\r\n", "ffffffffffffffff1\r\n", "5\r\nabc\r\n0\r\n\r\n"] {
        let text = raw(&daemon, &[head(b"", "Transfer-Encoding: chunked"), broken.into()].concat()).await;
        assert!(text.starts_with("HTTP/1.1 400 ") || text.starts_with("HTTP/1.1 408 "), "{broken:?}: {text}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_no_longer_than_its_bound() {
    let daemon = daemon().await;
    let begun = Instant::now();
    let body = format!("{{\"image_sha\":\"{SHA}\"}}");
    // A length that promises more than comes.
    let lying = [head(body.as_bytes(), "Content-Length: 1000"), body.clone().into_bytes()].concat();
    let answer = one(&daemon, &lying).await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{answer:?}");
    // One byte after the other.
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(&head(body.as_bytes(), "Content-Length: 1000")).await.unwrap();
    for byte in body.bytes().cycle() {
        if stream.write_all(&[byte]).await.is_err() || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn a_length_that_promises_too_little_cuts_the_body_off() {
    let daemon = daemon().await;
    let body = format!("{{\"image_sha\":\"{SHA}\"}}");
    let text = raw(&daemon, &[head(body.as_bytes(), "Content-Length: 10"), body.into()].concat()).await;
    let answers = answers(&text, false);
    assert_eq!(answers[0].status, 401, "what was signed is another body: {text}");
    assert!(answers[1..].iter().all(|answer| answer.status == 400), "{text}");
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn of_a_request_with_two_lengths_nothing_that_follows_is_read() {
    let daemon = daemon().await;
    let smuggled = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked",
    ] {
        let text = raw(&daemon, &[head(b"", framing), b"0\r\n\r\n".to_vec(), smuggled.into()].concat()).await;
        let answers = answers(&text, false);
        assert_eq!(answers.len(), 1, "{framing}: {text}");
        assert_eq!(answers[0].header("connection"), Some("close"), "{framing}: {text}");
        assert!(!text.contains("openapi\":"), "{framing}: {text}");
    }
    for framing in [
        "Content-Length: 0\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Content-Length: 0\r\n Transfer-Encoding: chunked",
    ] {
        let text = raw(&daemon, &[head(b"", framing), b"0\r\n\r\n".to_vec(), smuggled.into()].concat()).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{framing}: {text}");
        assert!(!text.contains("openapi\":"), "{framing}: {text}");
    }
}

#[tokio::test]
async fn large_bodies_share_one_memory() {
    let bounds = Bounds { large_bodies_bytes_max: 100_000, ..Bounds::default() };
    let daemon = Daemon::bounded(bounds).await;
    // The first 16 KiB are everybody's own; this one takes 100,000 bytes more and keeps them while it waits.
    let large = vec![b' '; 16 * 1024 + 100_000];
    let second = Call::deploy(large.clone());
    let both = async {
        loop {
            let mut first = TcpStream::connect(daemon.address).await.unwrap();
            let framing = format!("Content-Length: {}\r\nConnection: close", large.len());
            first.write_all(&head(&large, &framing)).await.unwrap();
            first.write_all(&large[1..]).await.unwrap();
            let answer = second.send(&daemon).await;
            if answer.status == 429 {
                return (first, answer);
            }
            // It came before the first one had all that it takes, which may have been refused then.
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    };
    let (mut first, refused) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(Call::deploy("{}").send(&daemon).await.status, 400, "small ones come through");
    // It is given back.
    first.write_all(b" ").await.unwrap();
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(second.send(&daemon).await.status, 400);
}
