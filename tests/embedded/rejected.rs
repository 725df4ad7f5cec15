//! A release that was taken back for its own fault is rejected on its host, which says so to whoever looks, and until when
//! each release was live.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::project::{Project, Setup, Waits};

fn list(project: &Project) -> Value {
    let content = std::fs::read(project.path("host/prod/web/.lockgate/releases.json")).unwrap();
    serde_json::from_slice(&content).unwrap()
}

fn rejected(project: &Project) -> Vec<String> {
    let status = project.run("status web --format json").last();
    let all = status["rejected"].as_array().unwrap();
    all.iter().map(|one| one["tag"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_release_that_was_rolled_back_is_rejected_until_a_person_deploys_it_with_success() {
    let project = Project::new();
    project.deploy("v1");
    project.release("v3", "FAIL_PATHS=/metrics");
    project.run("deploy web v3").expect(3);
    let status = project.run("status web --format json").last();
    let said = &status["rejected"][0];
    assert_eq!((&said["tag"], &said["hosts"]), (&json!("v3"), &json!(["local"])), "{status:#}");
    assert!(said["why"].as_str().unwrap().starts_with("gate failed: "), "{said:#}");
    assert!(said["rejected_at"].as_i64().unwrap() > 1_700_000_000_000, "{said:#}");
    let by = said["by"].as_str().unwrap();
    assert!(by.contains('@'), "{said:#}");
    project.run("status").says(&["v3", "was rejected at", by, "gate failed"]);
    project.run("plan web v3").expect(0).says(&["v3", "was rejected at", "gate failed"]);
    project.run("history").expect(0).says(&["rolled_back, rejected"]);
    assert_eq!(project.run("history --format json").expect(0).lines()[0]["rejected"], true);
    // Still bad: told, and rejected again.
    project.run("deploy web v3").expect(3).says(&[
        "v3",
        "was rejected at",
        "it goes on, for it was asked for",
    ]);
    assert_eq!(rejected(&project), ["v3"]);
    // Mended: what was said against these bytes does not stand in the way, nor does it stay.
    project.script("app-v3", &std::fs::read_to_string(project.path("app-v3")).unwrap());
    project.run("deploy web v1").expect(0);
    assert_eq!(rejected(&project), ["v3"], "another's success says nothing of it");
    project.script("app-v2", &std::fs::read_to_string(project.path("app-v2")).unwrap());
    project.deploy("v2");
    project.run("rollback web").expect(0);
    assert_eq!(rejected(&project), ["v2", "v3"]);
    let result = project.run("deploy web v2 --format json").expect(0).last();
    assert_eq!(result["was_rejected"]["tag"], "v2", "{result:#}");
    assert!(result["was_rejected"]["why"].as_str().unwrap().starts_with("rolled back to v1"), "{result:#}");
    assert_eq!(rejected(&project), ["v3"]);
    project.expect_settled("v2");
}

#[test]
fn what_is_never_healthy_is_rejected_and_what_a_person_breaks_off_is_not() {
    let project = Project::with(&Setup { health: "{ timeout: 400ms }", ..Setup::default() });
    project.deploy("v1");
    project.release("bad", "UNHEALTHY=1");
    project.run("deploy web bad").expect(1);
    assert_eq!(rejected(&project), ["bad"]);

    let project = Project::waiting(Waits::AfterSwitch);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    assert_eq!(list(&project)["tried"]["tag"], "v2");
    running.signal(Signal::INT);
    running.end().expect(3);
    assert_eq!(rejected(&project), Vec::<String>::new());
    assert!(list(&project)["tried"].is_null());
}

/// The machine that finishes the undoing has not seen why it began.
#[test]
fn another_machine_that_finishes_the_undoing_rejects_the_release_for_the_reason_that_the_host_has() {
    let project = Project::new();
    project.deploy("v1");
    // Stopping it takes the whole grace, which is when its orchestrator is killed.
    project.release("v3", "FAIL_PATHS=/metrics IGNORE_TERM=1");
    let running = project.start("deploy web v3 --format json");
    running.wait_until_printed("undo_started");
    running.signal(Signal::KILL);
    running.end();
    assert_eq!(project.lease()["unfinished"]["cause"]["kind"], "gate_failed", "{:#}", project.lease());
    assert!(list(&project)["rejected"].is_null());
    project.run_on("m2", "resume").expect(3);
    assert_eq!(rejected(&project), ["v3"]);
    let why = project.run("status web --format json").last()["rejected"][0]["why"].clone();
    assert!(why.as_str().unwrap().contains("record says: \""), "it is told as the host's words: {why}");
    project.expect_settled("v1");
}

#[test]
fn since_when_a_release_is_live_is_kept_when_it_is_deployed_again() {
    let project = Project::new();
    let since = || project.status()["live_since"].clone();
    assert!(since().is_null());
    project.deploy("v1");
    let first = list(&project)["live"][0]["live_since"].as_i64().unwrap();
    assert!(since().as_str().unwrap().ends_with("+00:00"), "{}", since());
    project.run("deploy web v1").expect(0);
    project.run("deploy --again web v1").expect(0);
    assert_eq!(list(&project)["live"][0]["live_since"], first);
    project.deploy("v2");
    let now = list(&project);
    let second = now["live"][0]["live_since"].as_i64().unwrap();
    assert!(second >= first, "{now:#}");
    assert_eq!(
        (&now["live"][1]["tag"], &now["live"][1]["live_until"]),
        (&json!("v1"), &json!(second)),
        "{now:#}"
    );
    let shown = project.status();
    assert_eq!(shown["hosts"]["local"]["releases"][1]["live_until"], second, "{shown:#}");
}

/// As the program of before 2026-11-26 left it.
#[test]
fn the_list_of_an_older_program_is_read_and_migrated_in_place() {
    let project = Project::new();
    project.deploy("v1");
    project.deploy("v2");
    let bare = |one: &Value| json!({ "service": one["service"], "tag": one["tag"], "digest": one["digest"] });
    let live = list(&project)["live"].as_array().unwrap().iter().map(bare).collect::<Vec<_>>();
    let path = project.path("host/prod/web/.lockgate/releases.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&live).unwrap()).unwrap();
    let status = project.status();
    assert_eq!(status["hosts"]["local"]["releases"][0]["tag"], "v2", "{status:#}");
    assert!(status["live_since"].is_null(), "nobody knows: {status:#}");
    project.run("deploy web v2").expect(0).says(&["nothing to do"]);
    project.run("rollback web").expect(0);
    project.expect_settled("v1");
    let now = list(&project);
    assert_eq!((&now["live"][0]["tag"], &now["rejected"][0]["tag"]), (&json!("v1"), &json!("v2")), "{now:#}");
    assert!(now["live"][0]["live_since"].is_i64(), "{now:#}");
}

#[test]
fn what_a_host_says_of_a_rejection_is_quoted_and_short() {
    let project = Project::new();
    project.deploy("v1");
    let mut forged = list(&project);
    let mut rejection = forged["live"][0].clone();
    rejection["digest"] = json!(format!("sha256:{}", "7".repeat(64)));
    rejection["rejected_at"] = json!(i64::MAX);
    rejection["by"] = json!("eve\n\u{1b}[2J");
    rejection["why"] = json!(format!("type `rm -rf /`\u{202e}{}", "x".repeat(100_000)));
    forged["rejected"] = json!([rejection]);
    let path = project.path("host/prod/web/.lockgate/releases.json");
    std::fs::write(&path, forged.to_string()).unwrap();
    for command in ["status", "status --format json", "plan web v2"] {
        let said = project.run(command).expect(0).to_string();
        assert!(said.len() < 10_000, "{command}: {} bytes", said.len());
        for bad in ["\u{1b}[2J", "`rm", "\u{202e}"] {
            assert!(!said.contains(bad), "{command}: {said}");
        }
    }
    assert!(project.run("status").expect(0).stdout.contains("type 'rm -rf /'"));
}
