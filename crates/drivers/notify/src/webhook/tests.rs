//! The webhook against receivers that behave and receivers that do not.

use std::collections::BTreeMap;
use std::net::TcpListener;

use lockgate_model::{Changes, Failure, FailureKind, Secret, Slot};
use lockgate_ports::{Message, MessageKind, Notifier, PortError};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::Webhook;
use crate::fixtures::{self, install_tls};

const SECRET: &str = "hunter2";

/// Of a run that was rolled back.
fn message() -> Message {
    let failure = Failure::new(FailureKind::Unhealthy, "no answer").slot(Slot::Green);
    Message { failure: Some(failure), ..fixtures::message(MessageKind::RolledBack) }
}

fn webhook(base: &str) -> Webhook {
    install_tls();
    let headers = BTreeMap::from([("Authorization".to_owned(), Secret::new(format!("Bearer {SECRET}")))]);
    Webhook::new(Secret::new(format!("{base}/hook/{SECRET}?key={SECRET}")), headers)
}

fn assert_secret_kept(error: &PortError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("/hook/"), "{shown}");
}

#[tokio::test]
async fn a_message_is_posted_as_documented_with_the_users_headers() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/hook/{SECRET}")))
        .and(header("content-type", "application/json"))
        .and(header("authorization", format!("Bearer {SECRET}").as_str()))
        .respond_with(ResponseTemplate::new(202).set_body_string("<html>thanks</html>"))
        .expect(1)
        .mount(&server)
        .await;
    webhook(&server.uri()).send(&message(), None).await.unwrap();
    let body: serde_json::Value =
        serde_json::from_slice(&server.received_requests().await.unwrap()[0].body).unwrap();
    let wanted = serde_json::json!({
        "kind": "rolled_back", "project": "acme", "service": "web", "environment": "prod",
        "release": { "service": "web", "tag": "v2", "digest": format!("sha256:{}", "a".repeat(64)) },
        "run": "00000000-0000-0000-0000-000000000007", "at": 1_763_683_200_000_i64, "owner": "lee@laptop",
        "hosts": ["web1", "web2"], "failure": { "kind": "unhealthy", "message": "no answer", "slot": "green" },
    });
    assert_eq!(body, wanted);
}

/// As Standard Webhooks has it; the same message has the same id, so it may be sent again when it is not known whether it came.
#[tokio::test]
async fn a_message_is_signed_where_there_is_a_secret_and_sent_again_under_its_id() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let webhook = webhook(&server.uri()).signed_with(Some(Secret::new(key)));
    for _ in 0..2 {
        webhook.send(&message(), None).await.unwrap();
    }
    webhook.send(&fixtures::message(MessageKind::Starting), None).await.unwrap();
    let mut ids = Vec::new();
    for request in server.received_requests().await.unwrap() {
        let value = |name: &str| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
        let (id, time) = (value("webhook-id"), value("webhook-timestamp"));
        let signed = lockgate_signature::Message::new(&id, &time).unwrap();
        let wanted =
            lockgate_signature::SigningSecret::new(key).unwrap().sign_standard(&signed, &request.body);
        assert_eq!(value("webhook-signature"), wanted);
        ids.push(id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn what_failed_before_its_run_began_has_what_was_asked_for_and_neither_release_nor_run() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(202)).mount(&server).await;
    let message = Message { release: None, run: None, asked: Some("v9".into()), ..message() };
    webhook(&server.uri()).send(&message, None).await.unwrap();
    let body: serde_json::Value =
        serde_json::from_slice(&server.received_requests().await.unwrap()[0].body).unwrap();
    assert_eq!(body["asked"], "v9");
    assert!(body.get("release").is_none() && body.get("run").is_none(), "{body}");
}

#[tokio::test]
async fn refusals_are_told_apart_and_show_the_host_only() {
    let cases = [
        (404, FailureKind::NotFound),
        (403, FailureKind::Unauthorized),
        (401, FailureKind::Unauthorized),
        (400, FailureKind::Other),
        (500, FailureKind::Unreachable),
    ];
    for (status, kind) in cases {
        let server = MockServer::start().await;
        let echo = ResponseTemplate::new(status).set_body_string(format!("no page /hook/{SECRET}"));
        Mock::given(method("POST")).respond_with(echo).expect(1).mount(&server).await;
        let error = webhook(&server.uri()).send(&message(), None).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(error.message, format!("127.0.0.1 answers {status}"));
        assert_secret_kept(&error);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_for_it_would_carry_the_headers_elsewhere() {
    let server = MockServer::start().await;
    let away = ResponseTemplate::new(307).insert_header("location", format!("{}/elsewhere", server.uri()));
    Mock::given(path(format!("/hook/{SECRET}"))).respond_with(away).mount(&server).await;
    Mock::given(path("/elsewhere")).respond_with(ResponseTemplate::new(200)).expect(0).mount(&server).await;
    let error = webhook(&server.uri()).send(&message(), None).await.unwrap_err();
    assert!(error.hints().to_string().contains("redirect"), "{error:?}");
}

#[tokio::test]
async fn too_many_messages_is_tried_again_a_few_times() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "0");
    Mock::given(method("POST")).respond_with(busy.clone()).up_to_n_times(1).mount(&server).await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).expect(1).mount(&server).await;
    webhook(&server.uri()).send(&message(), None).await.unwrap();

    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(busy).expect(3).mount(&server).await;
    let error = webhook(&server.uri()).send(&message(), None).await.unwrap_err();
    assert!(error.message.contains("too many"), "{error}");

    let server = MockServer::start().await;
    let long = ResponseTemplate::new(429).insert_header("retry-after", "60");
    Mock::given(method("POST")).respond_with(long).expect(1).mount(&server).await;
    webhook(&server.uri()).send(&message(), None).await.unwrap_err();
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_and_shows_the_host_only() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let webhook = webhook(&format!("http://lee:{SECRET}@127.0.0.1:{port}"));
    assert_eq!(webhook.name(), "webhook 127.0.0.1");
    let error = webhook.send(&message(), None).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    assert!(error.message.contains("127.0.0.1") && error.message.contains("refused"), "{error}");
    assert_secret_kept(&error);
}

#[tokio::test]
async fn a_url_or_header_that_cannot_be_sent_is_an_error_that_does_not_repeat_it() {
    install_tls();
    for bad in [SECRET, "ftp://x/hook/hunter2"] {
        let webhook = Webhook::new(Secret::new(bad), BTreeMap::new());
        let error = webhook.send(&message(), None).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Other, "{error}");
        assert_secret_kept(&error);
        assert!(!webhook.name().contains(SECRET) && !format!("{webhook:?}").contains(SECRET));
    }
    let headers = BTreeMap::from([("authorization".to_owned(), Secret::new("hunter2\nx"))]);
    let error =
        Webhook::new(Secret::new("http://127.0.0.1:1/"), headers).send(&message(), None).await.unwrap_err();
    assert!(error.message.contains("authorization"), "{error}");
    assert_secret_kept(&error);
}

#[tokio::test]
async fn all_that_is_known_of_a_run_is_in_its_message() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(202)).mount(&server).await;
    let webhook = webhook(&server.uri());
    let messages = [
        fixtures::told(MessageKind::Success),
        fixtures::going_back(),
        fixtures::job_failed(),
        Message { changes: Some(Changes::unknown("nothing was live before")), ..message() },
    ];
    for message in &messages {
        webhook.send(message, None).await.unwrap();
    }
    let bodies: Vec<String> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            serde_json::to_string_pretty(&body).unwrap()
        })
        .collect();
    insta::assert_snapshot!(bodies.join("\n\n"));
}
