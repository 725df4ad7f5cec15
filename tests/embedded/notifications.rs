//! Who is told, and that a receiver with trouble fails no run.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::double::{Double, Manner};
use crate::support::project::{Project, Setup, Waits};

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
