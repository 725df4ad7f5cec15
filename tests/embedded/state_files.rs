//! System A's state files: what became of each service, in a folder on the machine that runs Lockgate.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::project::{Project, Setup, Waits};

/// The file as it was written, and what is in it.
fn file(project: &Project) -> (String, Value) {
    let text = std::fs::read_to_string(project.path("m1/state/web.json")).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

/// `(image_tag, status)` and the notes.
fn said(project: &Project) -> ((Value, Value), String) {
    let (_, value) = file(project);
    let notes = value["notes"].as_str().unwrap().to_owned();
    ((value["image_tag"].clone(), value["status"].clone()), notes)
}

fn with_files() -> Project {
    Project::with(&Setup { end: "state_dir: ./state\n".into(), ..Setup::default() })
}

#[test]
fn each_end_of_a_run_is_written_in_system_as_form_and_only_for_its_service() {
    let project = with_files();
    // Files that system A left, of this service and of another.
    let folder = project.path("m1/state");
    std::fs::create_dir(&folder).unwrap();
    for name in ["web", "other"] {
        std::fs::write(folder.join(format!("{name}.json")), "{\"service\": \"old\"}").unwrap();
    }
    project.run("plan web v1").expect(0);
    project.run("status").expect(0);
    assert_eq!(file(&project).1, json!({ "service": "old" }), "what only looks writes nothing");
    let (other, before) = (folder.join("other.json"), jiff::Timestamp::now());

    project.deploy("v1");
    let (text, value) = file(&project);
    let keys: Vec<&str> = text.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(keys, ["service", "image_tag", "status", "timestamp", "notes"], "{text}");
    assert_eq!((&value["service"], &value["notes"]), (&json!("web"), &json!("")), "{text}");
    assert_eq!(said(&project).0, (json!("v1"), json!("success")));
    let timestamp = value["timestamp"].as_str().unwrap();
    let at: jiff::Timestamp = timestamp.parse().expect("RFC 3339");
    assert!(at.as_second() >= before.as_second() && at <= jiff::Timestamp::now(), "{text}");
    assert!(timestamp.len() == "2026-11-20T12:00:01+01:00".len(), "with its offset: {timestamp}");

    // Taken back by itself: what was live is live again.
    project.release("v3", "FAIL_PATHS=/metrics");
    project.run("deploy web v3").expect(3);
    let (word, notes) = said(&project);
    assert_eq!(word, (json!("v1"), json!("rolled_back")));
    assert!(notes.starts_with("v3 (") && notes.contains("gate failed"), "{notes}");

    project.deploy("v2");
    assert_eq!(said(&project).0, (json!("v2"), json!("success")));
    project.run("rollback web").expect(0);
    let (word, notes) = said(&project);
    assert_eq!(word, (json!("v1"), json!("rolled_back")));
    assert_eq!(notes, "a rollback was asked for");
    project.deploy("v1");
    assert_eq!(
        said(&project),
        ((json!("v1"), json!("success")), "nothing to do: it was live already".into())
    );

    let mode = std::fs::metadata(folder.join("web.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(std::fs::read_to_string(other).unwrap(), "{\"service\": \"old\"}");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left beside them: {names:?}");
}

#[test]
fn what_failed_before_anything_was_touched_is_written_without_secrets() {
    let setup = Setup {
        before: "[{ name: regression, command: \"ROOT/tell\" }]".into(),
        end: "state_dir: ./state\n".into(),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.script("tell", "#!/bin/sh\necho \"the key is $API_TOKEN\"; exit 1\n");
    let mut command = project.command(["deploy", "web", "v1"]);
    command.env("API_TOKEN", "hunter2-and-more");
    crate::support::project::run(command).expect(1);
    let (word, notes) = said(&project);
    assert_eq!(word, (Value::Null, json!("failed")), "nothing is live");
    assert!(notes.contains("gate failed") && !notes.contains("hunter2"), "{notes}");
    assert!(!file(&project).0.contains("hunter2"));

    // The host cannot be looked at, so no run begins.
    std::fs::write(project.path("tell"), "#!/bin/sh\n").unwrap();
    project.deploy("v1");
    assert_eq!(said(&project).0, (json!("v1"), json!("success")));
    std::fs::remove_file(project.path("app-v2")).unwrap();
    project.run("deploy web v2").expect(1);
    let (word, notes) = said(&project);
    assert_eq!(word, (json!("v1"), json!("failed")));
    assert!(notes.contains("v2"), "{notes}");
}

#[test]
fn what_was_cut_off_is_written_by_whoever_brings_it_to_its_end() {
    let project = Project::waiting_with(Waits::AfterSwitch, "state_dir: ./state\n".into());
    assert_eq!(said(&project).0, (json!("v1"), json!("success")));
    let mut deploying = project.start("deploy web v2");
    project.wait_at_gate("v2");
    deploying.child.kill().unwrap();
    deploying.child.wait().unwrap();
    assert_eq!(said(&project).0, (json!("v1"), json!("success")), "nobody lived to write it");
    project.open_gate();
    project.run("resume web").expect(0);
    let (word, notes) = said(&project);
    assert_eq!(word, (json!("v2"), json!("success")));
    assert!(notes.contains("which had been cut off, was brought to its end: succeeded"), "{notes}");
    // Nothing was left, so nothing is written.
    let before = file(&project).0;
    project.run("resume web").expect(0);
    assert_eq!(file(&project).0, before);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_and_fails_no_deployment() {
    let project = with_files();
    std::fs::write(project.path("m1/state"), "no folder").unwrap();
    project.run("doctor").expect(1).says(&["state file", "m1/state is no folder", "sudo mkdir -p"]);
    let ran = project.run("deploy web v1").expect(0);
    assert!(ran.stderr.contains("the state file will not be written"), "{ran}");
    assert!(ran.stderr.contains("the state file of web was not written"), "{ran}");
    project.expect_settled("v1");
    assert_eq!(std::fs::read_to_string(project.path("m1/state")).unwrap(), "no folder");

    std::fs::remove_file(project.path("m1/state")).unwrap();
    project.run("doctor").expect(0).says(&["web.json can be written"]);
    assert!(!project.path("m1/state").exists(), "it only looks");
    project.deploy("v2");
    assert_eq!(said(&project).0, (json!("v2"), json!("success")));
    // A link is replaced, and what it leads to is not written.
    let elsewhere = project.path("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    std::fs::remove_file(project.path("m1/state/web.json")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, project.path("m1/state/web.json")).unwrap();
    project.run("rollback web").expect(0);
    assert_eq!(said(&project).0, (json!("v1"), json!("rolled_back")));
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine");
}
