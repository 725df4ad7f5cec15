//! The prober against real sockets: good answers, bad ones and none at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_http::HttpProber;
use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Effect, Prober, Request};
use wiremock::matchers::{body_string, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TIMEOUT: Millis = Millis(5_000);
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

fn prober() -> HttpProber {
    // An error means that another test of this process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpProber::new("lockgate-test/1")
}

/// Answers every connection with the same bytes, then closes it (or, with `hang`, keeps it open in silence).
fn raw_server(answer: &'static [u8], hang: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
            if hang {
                kept.push(stream);
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn status_headers_and_body_come_back_as_they_were_sent() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/a"))
        .and(header("x-one", "1"))
        .and(header("user-agent", "lockgate-test/1"))
        .and(body_string("{}"))
        .respond_with(ResponseTemplate::new(418).insert_header("X-Release", "v2").set_body_string("teapot"))
        .expect(1)
        .mount(&server)
        .await;
    let request =
        Request::json("POST", format!("{}/a", server.uri()), b"{}".to_vec(), TIMEOUT).header("x-one", "1");
    let answer = prober().send(&request).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (418, "teapot"));
    assert_eq!(answer.header("x-release"), Some("v2"));
    assert!(answer.elapsed > Duration::ZERO && answer.elapsed < TIMEOUT.duration());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = MockServer::start().await;
    let moved = ResponseTemplate::new(302).insert_header("location", format!("{}/b", server.uri()));
    Mock::given(path("/a")).respond_with(moved).mount(&server).await;
    Mock::given(path("/b")).respond_with(ResponseTemplate::new(200)).expect(0).mount(&server).await;
    let answer = prober().send(&Request::get(format!("{}/a", server.uri()), TIMEOUT)).await.unwrap();
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn elapsed_counts_to_the_last_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na").unwrap();
        std::thread::sleep(Duration::from_millis(150));
        stream.write_all(b"b").unwrap();
    });
    let answer = prober().send(&Request::get(format!("http://{address}/"), TIMEOUT)).await.unwrap();
    assert_eq!(answer.text(), "ab");
    assert!(answer.elapsed >= Duration::from_millis(150), "{:?}", answer.elapsed);
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_and_shows_the_host_but_no_credentials() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://lee:hunter2@127.0.0.1:{port}/health?token=t0ken");
    let error = prober().send(&Request::get(url, TIMEOUT)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert!(error.message.contains("127.0.0.1") && error.message.contains("refused"), "{error}");
    for secret in ["hunter2", "t0ken", "lee"] {
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    let request = Request::get("http://no-such-name.invalid/", TIMEOUT);
    let error = prober().send(&request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert!(error.message.contains("no-such-name.invalid"), "{error}");
}

#[tokio::test]
async fn a_silent_server_and_a_body_that_never_ends_are_timed_out_in_time() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"] {
        let url = raw_server(answer, true);
        let start = Instant::now();
        let error = prober().send(&Request::get(&url, Millis(200))).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
        assert!(error.message.contains("200ms"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn what_is_not_http_and_what_breaks_off_is_unreachable() {
    let bad: [&[u8]; 3] =
        [b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"];
    for answer in bad {
        let url = raw_server(answer, false);
        let error = prober().send(&Request::get(&url, TIMEOUT)).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn what_was_not_sent_or_only_looks_certainly_changed_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rows = [
        ("nobody listens", "POST", format!("http://{nobody}"), Effect::None),
        ("it hangs up", "POST", raw_server(b"", false), Effect::Unknown),
        ("it hangs up on who looks", "GET", raw_server(b"", false), Effect::None),
        ("it says nothing", "PUT", raw_server(b"", true), Effect::Unknown),
        ("it says nothing to who looks", "HEAD", raw_server(b"", true), Effect::None),
        (
            "it breaks off",
            "DELETE",
            raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", false),
            Effect::Unknown,
        ),
        ("no URL", "POST", "nowhere".to_owned(), Effect::None),
    ];
    for (what, method, url, effect) in rows {
        let request = Request { method, ..Request::get(url, Millis(1_000)) };
        let error = prober().send(&request).await.unwrap_err();
        assert_eq!(error.effect(), effect, "{what}: {error}");
    }
}

#[tokio::test]
async fn what_a_library_said_is_kept_without_the_url() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://lee:hunter2@127.0.0.1:{port}/health?token=t0ken");
    let error = prober().send(&Request::get(url, TIMEOUT)).await.unwrap_err();
    let cause = std::error::Error::source(&error).expect("a cause");
    assert!(cause.is::<reqwest::Error>(), "{cause:?}");
    let said = error.chain();
    assert!(
        said.contains("; because of: ") && !said.contains("hunter2") && !said.contains("t0ken"),
        "{said}"
    );
}

#[tokio::test]
async fn an_answer_of_eight_mebibytes_is_read_and_one_byte_more_is_an_error() {
    let server = MockServer::start().await;
    for (route, size) in [("/fits", BODY_BYTES_MAX), ("/too-large", BODY_BYTES_MAX + 1)] {
        let answer = ResponseTemplate::new(200).set_body_bytes(vec![b'x'; size]);
        Mock::given(path(route)).respond_with(answer).mount(&server).await;
    }
    let prober = prober();
    let timeout = Millis::from_secs(30);
    let fits = prober.send(&Request::get(format!("{}/fits", server.uri()), timeout)).await.unwrap();
    assert_eq!(fits.body.len(), BODY_BYTES_MAX);
    let error = prober.send(&Request::get(format!("{}/too-large", server.uri()), timeout)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TooLarge);
    assert!(error.message.contains("larger than 8 MiB"), "{error}");
}

#[tokio::test]
async fn a_target_or_header_that_cannot_be_sent_is_an_error_that_does_not_repeat_it() {
    for target in ["/health", "hunter2", "http://"] {
        let error = prober().send(&Request::get(target, TIMEOUT)).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Other, "{target}: {error}");
        assert!(!error.message.contains("hunter2"));
    }
    let request = Request::get("http://127.0.0.1:1/", TIMEOUT).header("authorization", "hunter2\n");
    let error = prober().send(&request).await.unwrap_err();
    assert!(error.message.contains("authorization") && !error.message.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn https_to_a_server_that_speaks_plain_http_is_unreachable() {
    let url = raw_server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", false);
    let error = prober().send(&Request::get(url.replace("http:", "https:"), TIMEOUT)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_unreachable_with_a_hint() {
    let Some(server) = SelfSigned::start() else { return };
    let request = Request::get(format!("https://127.0.0.1:{}/", server.port), TIMEOUT);
    let error = prober().send(&request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
    assert!(error.hints().to_string().contains("certificate"));
}

/// `openssl s_server` with a certificate of its own making.
struct SelfSigned {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl SelfSigned {
    fn start() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none(), "openssl is not installed");
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut process = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let port = said
            .lines()
            .find_map(|line| line.ok()?.strip_prefix("ACCEPT ")?.rsplit(':').next()?.trim().parse().ok());
        let mut server = Self { process, port: 0, _folder: folder };
        server.port = port.expect("openssl s_server says its port");
        Some(server)
    }
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
