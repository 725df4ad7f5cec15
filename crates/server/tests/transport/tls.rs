//! TLS by both versions of HTTP, and a certificate that changes meanwhile.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lockgate_model::TlsFiles;
use lockgate_server::{Certificate, CertificateError, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Encrypted, PATIENCE, Pair, Running, Setup, encrypted, files, one, put, rest, shown_certificate, start,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn served(files: &TlsFiles) -> Running {
    let limits = Limits {
        certificate_look: Duration::from_millis(20),
        handshake_time_max: Duration::from_millis(500),
        ..Limits::default()
    };
    start(Setup { tls: Some(files.clone()), limits, ..Setup::default() }).await
}

async fn asked(stream: &mut Encrypted) -> String {
    stream.write_all(GET).await.unwrap();
    one(stream).await
}

async fn ready(server: &Running, pair: &Pair) -> String {
    let mut stream = encrypted(server.address(), &[pair], &[b"http/1.1"]).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    rest(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_http_are_spoken_and_plain_http_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make("first", 30);
    pair.write(&files(dir.path()));
    let server = served(&files(dir.path())).await;
    let mut first = encrypted(server.address(), &[&pair], &[b"http/1.1"]).await.unwrap();
    assert!(asked(&mut first).await.starts_with("HTTP/1.1 200 "));

    let second = encrypted(server.address(), &[&pair], &[b"h2"]).await.unwrap();
    assert_eq!(second.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(second)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |headers: usize| {
        let mut request = Request::builder().uri("https://localhost/x");
        for number in 0..headers {
            request = request.header(format!("x-{number}"), "y");
        }
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let response = sender.send_request(request(0)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "0 bytes from 127.0.0.1");
    assert_eq!(sender.send_request(request(65)).await.unwrap().status(), 431);
    drop(sender);
    connection.await.unwrap().unwrap();

    // Plain HTTP where TLS is spoken: nothing is answered that looks like HTTP.
    let plain = server.tell(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!plain.contains("HTTP/"), "{plain}");
    // Whoever does not begin is not waited for.
    let mut silent = server.connect().await;
    let mut nothing = [0; 1];
    let end = tokio::time::timeout(PATIENCE, silent.read(&mut nothing)).await.expect("it is closed");
    assert!(matches!(end, Ok(0) | Err(_)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_for_new_connections_and_the_open_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let (first, second) = (Pair::make("first", 30), Pair::make("second", 60));
    first.write(&files);
    let server = served(&files).await;
    let both = [&first, &second];
    let mut open = encrypted(server.address(), &both, &[b"http/1.1"]).await.unwrap();
    assert!(asked(&mut open).await.starts_with("HTTP/1.1 200 "));
    second.write(&files);
    let renewed = async {
        loop {
            let new = encrypted(server.address(), &both, &[b"http/1.1"]).await.unwrap();
            match shown_certificate(&new) {
                shown if shown == second.der() => return new,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut new = tokio::time::timeout(PATIENCE, renewed).await.expect("it is taken");
    assert!(asked(&mut new).await.starts_with("HTTP/1.1 200 "));
    assert!(asked(&mut open).await.starts_with("HTTP/1.1 200 "), "the one that was open goes on");
    assert_eq!(shown_certificate(&open), first.der());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_cannot_be_used_leaves_the_one_before_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let (first, second) = (Pair::make("first", 30), Pair::make("second", 60));
    first.write(&files);
    let server = served(&files).await;
    assert!(ready(&server, &first).await.contains(r#""warnings":[]"#));
    // The certificate alone, the key alone, half a file, nothing.
    for (path, text) in [
        (&files.cert, second.cert.as_str()),
        (&files.key, "no key"),
        (&files.cert, &first.cert[..200]),
        (&files.cert, ""),
    ] {
        first.write(&files);
        let until = |wanted: &'static str| {
            let (server, first) = (&server, &first);
            async move {
                let looking = async {
                    while !ready(server, first).await.contains(wanted) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                tokio::time::timeout(PATIENCE, looking)
                    .await
                    .unwrap_or_else(|_| panic!("{wanted}: not told"));
            }
        };
        until(r#""warnings":[]"#).await;
        put(path, text);
        // The one before is served all the same: `ready` believes no other.
        until("the one before is served").await;
    }
    second.write(&files);
    let taken = async {
        while encrypted(server.address(), &[&second], &[b"http/1.1"]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("what is right again is taken");
    server.stop().await;
}

/// The server's clock is ahead, so that what openssl makes for a day has expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_expired_does_not_take_the_place_of_a_valid_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let (valid, expired, third) =
        (Pair::make("valid", 30), Pair::make("expired", 1), Pair::make("third", 60));
    valid.write(&files);
    let limits = Limits { certificate_look: Duration::from_millis(20), ..Limits::default() };
    let later = Duration::from_secs(2 * 24 * 3600);
    let server = start(Setup { tls: Some(files.clone()), limits, later, ..Setup::default() }).await;
    expired.write(&files);
    let told = async {
        // `ready` believes no other one than this.
        while !ready(&server, &valid).await.contains("the one before is served") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
    third.write(&files);
    let taken = async {
        while encrypted(server.address(), &[&third], &[b"http/1.1"]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("a valid one is taken");
    server.stop().await;
}

#[test]
fn what_clients_do_not_take_is_said_of_a_certificate_that_can_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let made = |words: &str| {
        let pair = Pair::by(words);
        pair.write(&files);
        Certificate::load(&files).map(|certificate| certificate.doubts())
    };
    let says = |doubts: &[(String, String)], part: &str| {
        doubts.iter().any(|(doubt, hint)| doubt.contains(part) && hint.contains("`openssl req -x509"))
    };
    let fine = made(
        "req -x509 KEYS -addext subjectAltName=DNS:a -addext basicConstraints=critical,CA:FALSE -out cert",
    );
    assert_eq!(fine.unwrap(), []);
    let authority = made("req -x509 KEYS -addext subjectAltName=DNS:a -out cert").unwrap();
    assert!(authority.len() == 1 && says(&authority, "CA:TRUE"), "{authority:?}");
    let nameless = made("req -x509 KEYS -addext basicConstraints=critical,CA:FALSE -out cert").unwrap();
    assert!(nameless.len() == 1 && says(&nameless, "no subjectAltName"), "{nameless:?}");
    assert_eq!(made("req -x509 KEYS -out cert").unwrap().len(), 2);

    let old = made("req -new KEYS -out request && x509 -req -in request -signkey key -out cert").unwrap_err();
    assert!(matches!(old, CertificateError::Old { .. }), "{old}");
    assert!(old.to_string().contains("cert.pem is a certificate of X.509 v1"), "{old}");
    assert!(old.hint().contains("`openssl req -x509"), "{}", old.hint());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_expired_is_told_before_a_client_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let pair = Pair::make("old", 30);
    pair.write(&files);
    let later = Duration::from_secs(31 * 24 * 3600);
    let server = start(Setup { tls: Some(files), later, ..Setup::default() }).await;
    let told = ready(&server, &pair).await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("the certificate has expired"), "{told}");
    server.stop().await;
}

#[test]
fn what_is_no_certificate_with_its_key_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let (first, second) = (Pair::make("first", 30), Pair::make("second", 30));
    let wrong = |what: &str| match Certificate::load(&files) {
        Ok(_) => panic!("{what} was taken"),
        Err(error) => (error.to_string(), error.hint()),
    };
    let (message, hint) = wrong("nothing");
    assert!(message.contains("cert.pem cannot be read") && hint.contains("ls -l"), "{message} {hint}");
    put(&files.cert, &first.cert);
    put(&files.key, &second.key);
    assert!(matches!(Certificate::load(&files), Err(CertificateError::Mismatch { .. })));
    put(&files.key, &first.cert);
    assert!(wrong("a certificate as a key").0.contains("key.pem holds no private key"));
    put(&files.cert, &first.key);
    assert!(wrong("a key as a certificate").0.contains("cert.pem holds no certificate"));
    first.write(&files);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (message, hint) = wrong("a key for all");
    assert!(message.starts_with("every user of this machine can read the key"), "{message}");
    assert_eq!(hint, format!("`chmod o-rwx {}`", files.key.display()));
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Certificate::load(&files).is_ok(), "a group may read it, as Debian's ssl-cert does");
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o602)).unwrap();
    assert!(matches!(Certificate::load(&files), Err(CertificateError::NotOurs { .. })));
    // No message has anything of the key.
    let secret = second.key.lines().nth(1).unwrap();
    put(&files.key, &second.key.replace("-----END", "--END"));
    assert!(!format!("{:?}", wrong("half a key")).contains(secret));
}
