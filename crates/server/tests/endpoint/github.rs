//! GitHub's own events: which ones deploy, and why the others do not.

use serde_json::{Value, json};

use crate::call::{Answer, Call, SHA};
use crate::daemon::{Daemon, WHSEC};

fn push() -> Value {
    json!({
        "ref": "refs/heads/main",
        "before": "f".repeat(40),
        "after": SHA,
        "created": false,
        "deleted": false,
        "forced": false,
        "head_commit": { "id": SHA, "timestamp": "2026-11-27T08:39:00+02:00", "message": "\u{1b}[2J" },
        "repository": { "full_name": "acme/shop", "default_branch": "main" },
        "sender": { "login": "kim" },
    })
}

fn workflow_run() -> Value {
    json!({
        "action": "completed",
        "workflow_run": {
            "event": "push",
            "conclusion": "success",
            "head_branch": "main",
            "head_sha": SHA,
            "head_commit": { "timestamp": "2026-11-27T06:39:00Z" },
            "head_repository": { "full_name": "acme/shop" },
        },
        "repository": { "full_name": "acme/shop", "default_branch": "main" },
        "sender": { "login": "kim" },
    })
}

/// With the member at a JSON pointer changed.
fn with(mut event: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *event.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value.into();
    event
}

async fn send(daemon: &Daemon, event: &str, body: &Value) -> Answer {
    Call::deploy(body.to_string()).header("X-GitHub-Event", event).send(daemon).await
}

#[tokio::test]
async fn what_deploys_nothing_is_ignored_and_says_why() {
    let daemon = Daemon::start().await;
    let zero = "0".repeat(40);
    let run = |pointer: &str, value: Value| with(workflow_run(), &format!("/workflow_run/{pointer}"), value);
    for (event, body, why) in [
        ("ping", json!({ "zen": "Keep it logically awesome.", "hook_id": 1 }), "the signature is good"),
        ("release", json!({ "action": "published" }), "the event 'release' deploys nothing"),
        ("pull_request", json!({}), "deploys nothing"),
        ("../push", json!({}), "the event '../push' deploys nothing"),
        ("", json!({}), "deploys nothing"),
        ("push", with(push(), "/deleted", true), "branch 'main' was deleted"),
        ("push", with(push(), "/after", zero.as_str()), "branch 'main' was deleted"),
        ("push", with(push(), "/ref", "refs/tags/v1"), "'refs/tags/v1' is no branch"),
        ("push", with(push(), "/ref", "main"), "'main' is no branch"),
        ("push", with(push(), "/ref", "refs/heads/refs/heads/main"), "is not deployed by /deploy"),
        ("push", with(push(), "/ref", "refs/heads/MAIN"), "is not deployed by /deploy"),
        ("push", with(push(), "/ref", "refs/heads/<b>\u{1b}[2J`x`"), "branch '<b>\\\\x1b[2J'x''"),
        ("push", with(push(), "/repository/default_branch", Value::Null), "is not deployed by /deploy"),
        ("workflow_run", with(workflow_run(), "/action", "requested"), "is 'requested', not completed"),
        ("workflow_run", run("conclusion", "failure".into()), "ended with 'failure'"),
        ("workflow_run", run("conclusion", Value::Null), "ended with ''"),
        // A stranger's pull request, from a branch of theirs that has the name of ours.
        ("workflow_run", run("event", "pull_request".into()), "ran for 'pull_request'"),
        ("workflow_run", run("event", "pull_request_target".into()), "ran for 'pull_request_target'"),
        ("workflow_run", run("head_repository/full_name", "eve/shop".into()), "another repository's commit"),
        ("workflow_run", run("head_repository", Value::Null), "another repository's commit"),
        ("workflow_run", run("head_branch", "topic".into()), "is not deployed by /deploy"),
        ("workflow_run", run("head_branch", Value::Null), "on no branch"),
        ("workflow_run", run("head_sha", zero.as_str().into()), "was deleted"),
    ] {
        let answer = send(&daemon, event, &body).await;
        assert_eq!(answer.status, 200, "{event} {body}: {answer:?}");
        assert_eq!(answer.told().status.as_str(), "ignored", "{event} {body}");
        let why = why.replace("\\\\", "\\");
        assert!(answer.told().logs[0].contains(&why), "{event} {body}: {answer:?}");
        assert!(!answer.body.contains(['\u{1b}', '<']), "{answer:?}");
    }
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn an_event_that_is_not_what_it_says_is_refused() {
    let daemon = Daemon::start().await;
    let sha256 = "a".repeat(64);
    for (event, body) in [
        ("push", json!({})),
        ("push", json!([])),
        ("ping", json!(null)),
        ("release", json!("x")),
        ("push", with(push(), "/after", "HEAD")),
        ("push", with(push(), "/after", "--help")),
        ("push", with(push(), "/after", sha256.as_str())),
        ("push", with(push(), "/after", SHA.to_uppercase())),
        ("push", with(push(), "/after", 7)),
        ("push", with(push(), "/ref", Value::Null)),
        ("push", with(push(), "/deleted", "no")),
        ("push", with(push(), "/head_commit/timestamp", "yesterday")),
        ("push", json!({ "image_sha": SHA })),
        ("workflow_run", push()),
        ("workflow_run", with(workflow_run(), "/workflow_run/head_sha", "$(reboot)")),
    ] {
        let answer = send(&daemon, event, &body).await;
        assert_eq!(answer.status, 400, "{event} {body}: {answer:?}");
    }
    for (body, why) in [
        (with(push(), "/head_commit/timestamp", 7), "'head_commit.timestamp': invalid type: integer '7'"),
        (with(push(), "/repository/full_name", Value::Null), "'repository.full_name': invalid type: null"),
        (with(push(), "/repository", json!({})), "'repository': missing field"),
    ] {
        let answer = send(&daemon, "push", &body).await;
        assert!(answer.status == 400 && answer.message().contains(why), "{why}: {answer:?}");
    }
    let twice = push().to_string().replacen('{', &format!("{{\"after\":\"{}\",", "e".repeat(40)), 1);
    let answer = Call::deploy(twice).header("X-GitHub-Event", "push").send(&daemon).await;
    assert!(answer.status == 400 && answer.message().contains("duplicate field"), "{answer:?}");
    // An event is only one with its header, once.
    let twice =
        Call::deploy(push().to_string()).header("X-GitHub-Event", "push").header("X-GitHub-Event", "ping");
    assert_eq!(twice.send(&daemon).await.status, 400);
    assert_eq!(Call::deploy(push().to_string()).send(&daemon).await.status, 400);
    // Which of several services it is about an event does not say.
    let all = Call::post("/all", push().to_string()).signed(WHSEC).header("X-GitHub-Event", "push");
    let answer = all.send(&daemon).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn a_push_and_a_workflow_of_the_branch_deploy_at_once_and_are_not_waited_for() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds("sha-01234567");
    let answer = send(&daemon, "push", &push()).await;
    assert_eq!((answer.status, answer.told().status.as_str()), (202, "accepted"), "{answer:?}");
    let place = format!("/runs/{}", answer.told().run.unwrap());
    assert_eq!(answer.header("location"), Some(place.as_str()));
    assert_eq!(answer.header("preference-applied"), None);
    daemon.scripted.has_begun(1).await;
    let who = daemon.scripted.requesters()[0].to_string();
    assert_eq!(who, "ci push of acme/shop main by kim");
    daemon.scripted.lets_go("sha-01234567");
    daemon.ends(&place, 200).await;

    // The same commit, by the workflow that built it; by any cause that only people with the right to push have.
    let other = "89abcdef".repeat(5);
    for (number, cause) in ["push", "workflow_dispatch", "schedule", "merge_group"].into_iter().enumerate() {
        let event = with(workflow_run(), "/workflow_run/event", cause);
        let answer =
            send(&daemon, "workflow_run", &with(event, "/workflow_run/head_sha", other.as_str())).await;
        assert_eq!(answer.status, 202, "{cause}: {answer:?}");
        daemon.ends(answer.header("location").unwrap(), 200).await;
        daemon.scripted.has_started(2 + number).await;
    }
    // X-GitHub-Delivery is not signed: whoever sends a message again is known by the message.
    let begun = daemon.scripted.started().len();
    let last = with(workflow_run(), "/workflow_run/event", "merge_group");
    let last = with(last, "/workflow_run/head_sha", other.as_str()).to_string();
    for id in ["1", "2"] {
        let again = Call::deploy(last.clone())
            .header("X-GitHub-Event", "workflow_run")
            .header("X-GitHub-Delivery", id);
        assert_eq!(again.send(&daemon).await.status, 202);
    }
    assert_eq!(daemon.scripted.started().len(), begun, "the same body is the same delivery");
}

#[tokio::test]
async fn the_branches_that_are_named_take_the_place_of_the_default_branch() {
    let daemon = Daemon::start().await;
    let event = |branch: &str| with(push(), "/ref", format!("refs/heads/{branch}")).to_string();
    for (branch, status) in [("main", 400), ("release", 400), ("trunk", 200)] {
        // `/all` has several services, so a branch that is deployed gets as far as to be asked which one.
        let call = Call::post("/all", event(branch)).signed(WHSEC).header("X-GitHub-Event", "push");
        assert_eq!(call.send(&daemon).await.status, status, "{branch}");
    }
    let other_default = with(push(), "/repository/default_branch", "trunk");
    let answer = send(&daemon, "push", &other_default).await;
    assert_eq!(answer.told().status.as_str(), "ignored", "{answer:?}");
}
