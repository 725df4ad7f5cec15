//! Who is told, and that a receiver with trouble fails no run.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::double::{Double, Manner};
use crate::support::project::{self, Project, Setup, Waits};
use crate::support::{skipped, wait_for};

/// A message on its way is given up after some ten seconds.
const GIVEN_UP_SECONDS_MAX: u64 = 20;

fn telling(slack: &Double, hook: &Double) -> Project {
    let end = format!(
        "notify:\n  - slack: {{ webhook: \"http://{}/services/T000\" }}\n  - webhook: {{ url: \"http://{}/hook\" }}\n",
        slack.address, hook.address
    );
    let project = Project::with(&Setup { health: "{ timeout: 400ms }", end, ..Setup::default() });
    project.release("sick", "UNHEALTHY=1");
    project.release("smoky", "FAIL_PATHS=/metrics");
    project
}

fn json(text: &String) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn slack_and_a_webhook_are_told_of_every_start_and_every_kind_of_end() {
    let slack = Double::start(Manner::Answers("200 OK", "ok"));
    let hook = Double::start(Manner::Answers("204 No Content", ""));
    let project = telling(&slack, &hook);
    project.deploy("v1");
    project.run("deploy web smoky").expect(3);
    project.run("deploy web sick").expect(1);
    // Who waits for a release wants to know that it does not come, also when nothing was begun.
    project.run("deploy web nowhere").expect(1);
    // Nothing was asked for, and nothing is wrong.
    project.run("plan web nowhere").expect(1);
    project.run("deploy web v1").expect(0);

    let wanted = [
        ("starting", "v1"),
        ("success", "v1"),
        ("starting", "smoky"),
        ("rolled_back", "smoky"),
        ("starting", "sick"),
        ("failed", "sick"),
        ("failed", "nowhere"),
    ];
    let told: Vec<Value> = hook.bodies().iter().map(json).collect();
    let seen: Vec<(&str, &str)> = told
        .iter()
        .map(|one| {
            let named = one["release"]["tag"].as_str().or(one["asked"].as_str());
            (one["kind"].as_str().unwrap(), named.unwrap())
        })
        .collect();
    assert_eq!(seen, wanted);
    assert_eq!(told[2]["run"], told[3]["run"]);
    assert_eq!(told[5]["failure"]["kind"], "unhealthy", "{:#}", told[5]);
    assert_eq!(told[6]["failure"]["kind"], "not_found", "{:#}", told[6]);
    assert!(
        told[6].get("run").is_none() && told[6]["hosts"] == serde_json::json!(["local"]),
        "{:#}",
        told[6]
    );
    let texts: Vec<String> =
        slack.bodies().iter().map(|body| json(body)["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.len(), wanted.len(), "{texts:#?}");
    for (text, (_, tag)) in texts.iter().zip(wanted) {
        assert!(text.contains(tag) && text.contains("web") && text.contains("prod"), "{text}");
    }
    let distinct: std::collections::BTreeSet<&str> =
        texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(distinct.len(), 4, "starting, success, rolled back and failed look different: {texts:#?}");
}

#[test]
fn receivers_that_answer_500_or_never_fail_no_run_and_hold_up_its_end_for_seconds_only() {
    let slack = Double::start(Manner::Silent);
    let hook = Double::start(Manner::Answers("500 Internal Server Error", ""));
    let project = telling(&slack, &hook);
    let began = Instant::now();
    let running = project.start("deploy web v1 --format json");
    // Users have the new release long before the message is given up.
    running.wait_until_printed("run_ended");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    project.expect_live("v1");
    let ran = running.end().expect(0);
    assert!(began.elapsed() < Duration::from_secs(GIVEN_UP_SECONDS_MAX), "{:?}\n{ran}", began.elapsed());
    let said = ran.stderr.matches("2 of this run's messages not delivered").count();
    assert_eq!(said, 2, "one line for each receiver, at the end: {ran}");
    assert!(hook.bodies().len() >= 2, "{:?}", hook.bodies());
    project.expect_settled("v1");
}

#[test]
fn who_waits_for_a_release_is_told_that_somebody_else_is_deploying() {
    let hook = Double::start(Manner::Answers("204 No Content", ""));
    let end = format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", hook.address);
    let project = Project::waiting_with(Waits::BeforeSwitch, end);
    let first = project.start("deploy web v2");
    project.wait_at_gate("v2");
    project.run_on("m2", "deploy web v3").expect(6);
    project.open_gate();
    first.end().expect(0);
    let told: Vec<Value> = hook.bodies().iter().map(json).collect();
    let held: Vec<&Value> = told.iter().filter(|one| one["kind"] == "failed").collect();
    assert_eq!(held.len(), 1, "{told:#?}");
    assert_eq!(held[0]["asked"], "v3");
    assert!(held[0]["failure"]["message"].as_str().unwrap().contains("holds the lease"), "{:#}", held[0]);
}

struct Mailbox {
    server: Child,
    port: u16,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Mailbox {
    /// Debian's `aiosmtpd`, which keeps what comes under `mail` and is encrypted from the first byte on.
    fn start(project: &Project) -> Option<Mailbox> {
        let path = |name: &str| project.path(name).display().to_string();
        let keys = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
        let made = Command::new("openssl")
            .args(keys.split_whitespace())
            .args(["-keyout", &path("mail.key"), "-out", &path("mail.pem")])
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("aiosmtpd")
            .args(["--nosetuid", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--smtpscert", &path("mail.pem"), "--smtpskey", &path("mail.key")])
            .args(["--class", "aiosmtpd.handlers.Mailbox", &path("mail")])
            .stdin(Stdio::null())
            .spawn();
        match server {
            Ok(server) => Some(Mailbox { server, port }),
            Err(_) => {
                skipped("aiosmtpd");
                None
            }
        }
    }
}

#[test]
fn mail_goes_to_a_server_whose_certificate_is_trusted_and_of_ends_in_this_environment_alone() {
    let project = Project::new();
    let Some(mailbox) = Mailbox::start(&project) else { return };
    let config = project.path("m1/lockgate.yaml");
    let told = |smtp: &str, of: &str| {
        format!(
            "notify:\n  - email: {{ smtp: \"{smtp}\", from: \"Deploys <d@example.com>\", to: [t@example.com] }}\n    on: [success]\n    environments: [{of}]\n"
        )
    };
    let before = std::fs::read_to_string(&config).unwrap();
    let smtps = format!("smtps://localhost:{}", mailbox.port);
    std::fs::write(&config, before.clone() + &told(&smtps, "prod")).unwrap();
    let trusting = |words: &str| {
        let mut command = project.command(words.split(' '));
        command.env("SSL_CERT_FILE", project.path("mail.pem"));
        project::run(command)
    };
    wait_for("the mail server", 30, || {
        trusting("doctor").stdout.contains("the server takes mail").then_some(())
    });
    // Whoever does not know the certificate sends no word, and the deployment is done all the same.
    let ran = project.run("deploy web v1").expect(0);
    assert!(ran.stderr.contains("no encrypted connection to localhost"), "{ran}");
    trusting("deploy web v2").expect(0);
    std::fs::write(&config, before + &told(&smtps, "prod").replace("success", "failed")).unwrap();
    trusting("deploy web v1").expect(0);
    let mails: Vec<String> = std::fs::read_dir(project.path("mail/new"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert!(mails[0].contains("Subject: web v2 is live in prod"), "{}", mails[0]);
}
