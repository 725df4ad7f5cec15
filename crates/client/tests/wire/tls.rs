//! TLS: whose certificate is believed, and what is said where the other way to speak HTTP is spoken.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lockgate_client::{Found, NoAnswer, Options, who_is_at};
use lockgate_model::{DeployStatus, Exit, ListenAt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::double::{Double, Says, json};
use super::{DEPLOYED, options, trigger};

const CONNECTION_SECONDS_MAX: u64 = 20;
/// As `openssl req -x509` makes one by itself, for an address of this machine.
const AUTHORITY: &str = "-addext subjectAltName=IP:127.0.0.1";

struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

fn pair(words: &str) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let fixed = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 2 -keyout key.pem -out cert.pem";
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder.path()).args(fixed.split(' ')).args(words.split_whitespace());
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{words}: {output:?}");
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    Pair { cert: read("cert.pem"), key: read("key.pem") }
}

/// Answers every request on connections with TLS that is spoken well with `answer`.
fn served(pair: &Pair, answer: Vec<u8>) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(&pair.cert).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pair.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(Duration::from_secs(CONNECTION_SECONDS_MAX))).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            // Whoever believes nothing goes away here.
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => head.extend_from_slice(&piece[..count]),
                }
            }
            if !head.is_empty() {
                drop(stream.write_all(&answer));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    address
}

/// Answers whatever comes as an HTTP server without TLS does.
fn plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(Duration::from_secs(CONNECTION_SECONDS_MAX))).unwrap();
            // All that comes at once: what is closed with something unread is reset.
            let _ = stream.read(&mut [0; 64 * 1024]);
            drop(stream.write_all(&super::http("400 Bad Request", &[], "")));
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_believed_where_it_was_given_also_one_of_an_authority() {
    let pair = pair(AUTHORITY);
    let address = served(&pair, json("200 OK", &[], DEPLOYED));
    let url = format!("https://{address}/deploy");
    let given = Options { roots: Some(pair.cert.clone()), ..options(&url) };
    let (end, _) = trigger(given).await;
    assert_eq!(end.unwrap().answer.status, DeployStatus::Deployed);

    let (end, heard) = trigger(options(&url)).await;
    let error = end.unwrap_err();
    assert!(matches!(error, NoAnswer::Unsent(_)), "{error:?}");
    assert_eq!((error.exit(), heard), (Exit::Failed, Vec::new()));
    let said = format!("{:?}", error.failure());
    for part in [
        "cannot connect to https://127.0.0.1:",
        "marked as an authority's own (CA:TRUE) and used as a server's",
        "--cacert FILE",
        "openssl req -x509",
        "subjectAltName=IP:127.0.0.1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_certificate_that_was_given_is_for_its_own_name_alone() {
    let pair = pair("-addext subjectAltName=DNS:other.example");
    let address = served(&pair, json("200 OK", &[], DEPLOYED));
    let given = Options { roots: Some(pair.cert), ..options(&format!("https://{address}/deploy")) };
    let (end, _) = trigger(given).await;
    let message = end.unwrap_err().failure().message.clone();
    assert!(message.ends_with("its certificate is for other.example and not for 127.0.0.1"), "{message}");
}

#[tokio::test]
async fn plain_http_where_tls_is_spoken_is_told_at_once_with_the_address() {
    let pair = pair(AUTHORITY);
    let address = served(&pair, json("200 OK", &[], DEPLOYED));
    let (end, heard) = trigger(options(&format!("http://{address}/deploy"))).await;
    let Err(NoAnswer::Wrong(failure)) = end else { panic!("{end:?}") };
    assert_eq!(failure.message, format!("http://{address}/deploy is called by plain HTTP, and speaks TLS"));
    assert_eq!(failure.hints.first(), Some(&format!("type https://{address}/deploy")));
    assert_eq!(heard, []);
}

/// As nginx does it.
#[tokio::test]
async fn a_web_server_s_own_words_about_plain_http_are_understood() {
    let page = "<html><center>The plain HTTP request was sent to HTTPS port</center></html>";
    let says = |words: &str| Says::All(super::http("400 Bad Request", &["content-type: text/html"], words));
    // Here nobody speaks TLS, so it is told as what it says.
    let double = Double::new(vec![says(page), says("")], |_| {});
    let (end, _) = trigger(options(&double.url())).await;
    let Err(NoAnswer::Wrong(failure)) = end else { panic!("{end:?}") };
    assert!(failure.message.ends_with("\"The plain HTTP request was sent to HTTPS port\""), "{failure:?}");
}

#[tokio::test]
async fn tls_where_plain_http_is_spoken_is_told_with_the_address() {
    let address = plain();
    let url = format!("https://{address}/deploy");
    let (end, heard) = trigger(options(&url)).await;
    let Err(NoAnswer::Wrong(failure)) = end else { panic!("{end:?}") };
    assert_eq!(
        failure.message,
        format!("{url} is called by TLS, and speaks plain HTTP, without a certificate")
    );
    assert_eq!(failure.hints.first(), Some(&format!("type http://{address}/deploy")));
    assert_eq!(heard, []);
}

#[tokio::test]
async fn who_answers_at_a_place_of_this_machine_is_told_apart() {
    options("http://127.0.0.1:1/deploy");
    let (own, other) = (pair(AUTHORITY), pair(AUTHORITY));
    const INSTANCE: &str = "x-lockgate-instance: 1f3a5b7c9d0e";
    let alive = r#"{"alive":true}"#;
    let ours = Found::Daemon { instance: Some("1f3a5b7c9d0e".to_owned()) };
    let der = |pair: &Pair| CertificateDer::from_pem_slice(&pair.cert).unwrap();
    let (own_der, other_der) = (der(&own), der(&other));
    let tls = ListenAt::Tcp(served(&own, json("200 OK", &[INSTANCE], alive)));
    assert_eq!(who_is_at(&tls, Some(own_der.as_ref())).await, Ok(ours.clone()));
    let stranger = who_is_at(&tls, Some(other_der.as_ref())).await;
    assert_eq!(stranger, Ok(Found::Stranger));

    let answers = |headers: &[&str], body: &str| {
        let double = Double::new(vec![Says::All(json("200 OK", headers, body))], |_| {});
        ListenAt::Tcp(double.address)
    };
    let plain = |body: &str| answers(&[], body);
    assert_eq!(who_is_at(&answers(&[INSTANCE], alive), None).await, Ok(ours));
    let older = who_is_at(&plain(alive), None).await;
    assert_eq!(older, Ok(Found::Daemon { instance: None }));
    let foreign = Found::Other("answers 200, and not as lockgate serve does".to_owned());
    assert_eq!(who_is_at(&plain("{}"), None).await, Ok(foreign));
    let no_tls = who_is_at(&plain("{}"), Some(own_der.as_ref())).await;
    assert!(matches!(no_tls, Ok(Found::Other(_))), "{no_tls:?}");

    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(who_is_at(&ListenAt::Tcp(gone), None).await, Ok(Found::Nobody));
    let folder = tempfile::tempdir().unwrap();
    let socket = ListenAt::Unix(folder.path().join("none.sock"));
    assert_eq!(who_is_at(&socket, None).await, Ok(Found::Nobody));
    assert!(who_is_at(&ListenAt::Tcp("127.0.0.1:0".parse().unwrap()), None).await.is_err());
}
