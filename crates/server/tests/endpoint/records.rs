//! What is left of a call: in the audit, in logs, in answers.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::call::{Call, SHA};
use crate::daemon::Daemon;

const TOKEN: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
const PASSWORD: &str = "hunter2hunter2";

/// Lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn every_call_is_in_the_audit_with_who_and_from_where_whatever_its_headers_say() {
    let daemon = Daemon::start().await;
    let spoofed = |call: Call| {
        call.header("X-Forwarded-For", "203.0.113.9")
            .header("X-Real-IP", "203.0.113.9")
            .header("Forwarded", "for=203.0.113.9")
            .header("Via", "1.1 203.0.113.9")
    };
    let body = format!("{{\"image_sha\":\"{SHA}\"}}");
    let accepted = spoofed(Call::deploy(body.clone())).send(&daemon).await;
    assert_eq!(accepted.status, 200);
    for (call, status) in [
        (Call::post("/deploy", body), 401),
        (Call::deploy("{}"), 400),
        (Call::deploy("{}").without("Content-Type"), 415),
        (Call::deploy(format!("{{\"service\":\"nope\",\"image_sha\":\"{SHA}\"}}")), 404),
        (Call::deploy("{}").header("X-GitHub-Event", "ping"), 200),
        (Call::post("/nowhere", "{}"), 404),
    ] {
        assert_eq!(spoofed(call).send(&daemon).await.status, status);
    }
    let entries = daemon.audited(8).await;
    assert!(entries.iter().all(|entry| entry.from.as_deref() == Some("127.0.0.1")), "{entries:#?}");
    assert!(!format!("{entries:?}").contains("203.0.113.9"), "{entries:#?}");
    let results: Vec<&str> = entries.iter().filter_map(|entry| entry.result.as_deref()).collect();
    for result in [
        "accepted",
        "deployed",
        "unauthorized",
        "bad_request",
        "unsupported_media_type",
        "not_found",
        "ignored",
    ] {
        assert!(results.contains(&result), "{result} is missing: {results:?}");
    }
    let run = accepted.told().run;
    assert!(entries.iter().any(|entry| entry.run == run && entry.result.as_deref() == Some("deployed")));
}

#[tokio::test]
async fn what_somebody_wrote_is_quoted_and_without_secrets_wherever_it_is_kept() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE);
    let daemon = Daemon::logging(Dispatch::new(subscriber.finish())).await;
    let forged = "\\u001b[2J\\r\\n2026-11-27T06:40:00Z INFO forged: deployed<script>";
    let of = |name: &str| format!("{{\"service\":\"{name}\",\"image_sha\":\"{SHA}\"}}");
    let url = format!("https://kim:{PASSWORD}@shop.example.com/health?token={PASSWORD}");
    let older = format!(
        "{{\"service_name\":\"web\",\"image\":\"registry.example.com/acme/web:sha-01234567\",\
         \"commit_sha\":\"{SHA}\",\"healthcheck_url\":\"{url}\"}}"
    );
    let mut told = String::new();
    for body in [of(forged), of(TOKEN), of(&format!("Bearer {TOKEN}")), older, format!("{{\"{TOKEN}\":1}}")] {
        let answer = Call::deploy(body.clone()).send(&daemon).await;
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        told.push_str(&answer.body);
    }
    let event = format!(
        "{{\"ref\":\"refs/heads/{forged}\",\"after\":\"{SHA}\",\"repository\":{{\"full_name\":\"{TOKEN}\"}}}}"
    );
    let ignored = Call::deploy(event).header("X-GitHub-Event", "push").send(&daemon).await;
    assert_eq!(ignored.status, 200);
    told.push_str(&ignored.body);
    let audit = format!("{:?}", daemon.audited(3).await);
    for (what, text) in [("answers", &told), ("log", &log.text()), ("audit", &audit)] {
        for secret in [TOKEN, PASSWORD, crate::daemon::SECRET, crate::daemon::OLD_SECRET] {
            assert!(!text.contains(secret), "{what}: {secret} in {text}");
        }
        assert!(!text.contains(['\u{1b}', '\r']), "{what}: {text}");
        assert!(text.contains("forged"), "{what}: {text}");
    }
    assert!(
        !log.text().lines().any(|line| line.starts_with("2026-11-27T06:40:00Z INFO forged")),
        "{}",
        log.text()
    );
}

/// Whoever called is told nothing of it: see `signatures`. Of alike calls within a second the audit has the first alone, so each
/// of these has a daemon of its own.
#[tokio::test]
async fn why_a_call_is_not_signed_is_in_the_log_and_in_the_audit() {
    let body = format!("{{\"image_sha\":\"{SHA}\"}}");
    let calls = [
        (
            Call::deploy(body.clone()).header("webhook-id", "msg_1"),
            "webhook-timestamp is missing: webhook-id, webhook-timestamp and webhook-signature come together or not at all, \
             also beside x-hub-signature-256",
        ),
        (
            Call::post("/deploy", body.clone()).header("X-Hub-Signature", "sha1=0"),
            "x-hub-signature alone, which is SHA-1: x-hub-signature-256 is wanted",
        ),
        (Call::post("/deploy", body), "no signature"),
    ];
    let mut answers = Vec::new();
    for (call, why) in calls {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
        let daemon = Daemon::logging(Dispatch::new(subscriber.finish())).await;
        let answer = call.send(&daemon).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        answers.push(answer.body);
        let audit = daemon.audited(1).await;
        assert_eq!(audit[0].detail, format!("at /deploy: {why}"));
        assert!(log.text().contains(why), "{why}: {}", log.text());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}
