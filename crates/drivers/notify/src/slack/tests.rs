//! Slack's webhook against a server that answers as Slack does, and as it should not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Secret};
use lockgate_ports::{CheckState, MessageKind, Notifier, PortError, Posted};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::Slack;
use crate::fixtures::{going_back, install_tls, job_failed, message, told};

/// The secret part of a webhook's URL.
const TOKEN: &str = "hunter2";

fn slack(base: &str, channel: Option<&str>) -> Slack {
    install_tls();
    Slack::new(Secret::new(format!("{base}/services/T0/B0/{TOKEN}")), channel.map(ToOwned::to_owned))
}

fn assert_secret_kept(error: &PortError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(TOKEN) && !shown.contains("/T0/B0"), "{shown}");
}

async fn answering(answer: ResponseTemplate) -> (MockServer, Result<Option<Posted>, PortError>) {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let sent = slack(&server.uri(), None).send(&message(MessageKind::RolledBack), None).await;
    (server, sent)
}

#[tokio::test]
async fn a_message_is_posted_as_json_with_its_channel() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/services/T0/B0/{TOKEN}")))
        .and(header("content-type", "application/json"))
        .respond_with(ResponseTemplate::new(200).set_body_string("ok"))
        .expect(1)
        .mount(&server)
        .await;
    slack(&server.uri(), Some("#deploys")).send(&message(MessageKind::RolledBack), None).await.unwrap();
    let received = server.received_requests().await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(body["channel"], "#deploys");
    assert!(
        body["text"].as_str().unwrap().starts_with(":leftwards_arrow_with_hook: *web* `v2` was rolled back"),
        "{body}"
    );
}

#[tokio::test]
async fn refusals_are_told_apart_and_sent_once() {
    let cases = [
        (404, "no_service", FailureKind::NotFound),
        (403, "action_prohibited", FailureKind::Unauthorized),
        (500, "{\"not\": \"slack\"}", FailureKind::Unreachable),
        (200, "{\"not\": \"slack\"}", FailureKind::Other),
        (302, "", FailureKind::Other),
    ];
    for (status, body, kind) in cases {
        let (server, sent) = answering(ResponseTemplate::new(status).set_body_string(body)).await;
        let error = sent.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert_secret_kept(&error);
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn too_many_messages_is_tried_again_after_the_wait_that_slack_asks_for() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "1"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_string("ok"))
        .mount(&server)
        .await;
    let start = Instant::now();
    slack(&server.uri(), None).send(&message(MessageKind::RolledBack), None).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn too_many_messages_every_time_or_for_long_is_an_error() {
    for (wait, requests) in [("0", 3), ("3600", 1)] {
        let (server, sent) = answering(ResponseTemplate::new(429).insert_header("retry-after", wait)).await;
        let error = sent.unwrap_err();
        assert_eq!(error.kind, FailureKind::Other, "{error}");
        assert_eq!(server.received_requests().await.unwrap().len(), requests);
    }
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_without_the_url() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = slack(&format!("http://127.0.0.1:{port}"), None)
        .send(&message(MessageKind::RolledBack), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert!(error.message.contains("refused"), "{error}");
    assert_secret_kept(&error);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = std::thread::spawn(move || {
        let mut requests = 0;
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let read = stream.read(&mut [0; 8192]).unwrap();
            if read == 0 {
                break;
            }
            requests += 1;
            stream.write_all(b"HTTP/1.1 200").unwrap();
        }
        requests
    });
    let error = slack(&format!("http://{address}"), None)
        .send(&message(MessageKind::RolledBack), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert_secret_kept(&error);
    // An empty connection ends the counting.
    drop(std::net::TcpStream::connect(address));
    assert_eq!(requests.join().unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_hangs_is_timed_out_after_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = Instant::now();
    let error = slack(&format!("http://{address}"), None)
        .send(&message(MessageKind::RolledBack), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
    assert_secret_kept(&error);
    assert!((9..13).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_webhook_that_is_no_url_is_an_error_that_does_not_repeat_it() {
    for bad in [TOKEN, "ftp://x/services/hunter2", "http:///hunter2 /services/"] {
        install_tls();
        let slack = Slack::new(Secret::new(bad), None);
        let error = slack.send(&message(MessageKind::RolledBack), None).await.unwrap_err();
        assert_secret_kept(&error);
        assert!(!format!("{slack:?}").contains(TOKEN));
    }
}

#[tokio::test]
async fn doctor_says_that_a_webhook_cannot_be_tried_and_that_it_ignores_a_channel() {
    let check = slack("http://127.0.0.1:1", None).check().await;
    assert_eq!(check.state, CheckState::Ok, "{check:?}");
    assert!(check.seen.contains("cannot be tried"), "{check:?}");
    let check = slack("http://127.0.0.1:1", Some("#deploys")).check().await;
    assert_eq!(check.state, CheckState::Warn, "{check:?}");
    assert!(check.seen.contains("ignore `channel` (\"#deploys\")"), "{check:?}");
    assert!(check.mend.as_deref().unwrap().contains("SLACK_BOT_TOKEN"), "{check:?}");
    let check = Slack::new(Secret::new(TOKEN), None).check().await;
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
    assert!(!format!("{check:?}").contains(TOKEN), "{check:?}");
}

#[tokio::test]
async fn all_that_is_known_of_a_run_is_in_its_message() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_string("ok"))
        .mount(&server)
        .await;
    let slack = slack(&server.uri(), None);
    for message in [told(MessageKind::Starting), told(MessageKind::Success), going_back(), job_failed()] {
        slack.send(&message, None).await.unwrap();
    }
    let received = server.received_requests().await.unwrap();
    let texts: Vec<String> = received
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            body["text"].as_str().unwrap().to_owned()
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n\n"));
}
