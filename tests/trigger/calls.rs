//! What is asked for, what is refused before anything is sent, and how it ends.

use std::process::Command;

use lockgate_model::Exit;
use rustix::process::Signal;
use serde_json::Value;

use super::{SHA, call, trigger};
use crate::support::double::{Double, Manner};
use crate::support::processes;
use crate::support::project::{Running, run};

const DEPLOYED: &str = r#"{"run":"00000000-0000-0000-0000-000000000007","status":"deployed","release":{"tag":"v2","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"dark_ms":0,"logs":[],"error":null}"#;

#[test]
fn it_needs_no_configuration_and_ends_as_the_daemon_says() {
    let double = Double::start(Manner::Answers("200 OK\r\ncontent-type: application/json", DEPLOYED));
    let folder = tempfile::tempdir().unwrap();
    let said = run(call(&double, folder.path(), &["--service", "web", "--force"])).expect(0);
    assert_eq!(
        said.stdout, "succeeded: v2 (111111111111) is live\nrun 00000000-0000-0000-0000-000000000007\n",
        "{said}"
    );
    let json = run(call(&double, folder.path(), &["--format", "json"])).expect(0);
    let line = json.last();
    assert_eq!((&line["event"], &line["http"], &line["exit"]), (&"answer".into(), &200.into(), &0.into()));
    let bodies: Vec<Value> = double.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!((&bodies[0]["service"], &bodies[0]["force"]), (&"web".into(), &true.into()));
    assert_eq!((&bodies[1]["image_sha"], &bodies[1]["service"]), (&SHA.into(), &Value::Null));
    assert!(bodies[0]["committed_at"].is_null(), "there is no checkout: {bodies:?}");
}

#[test]
fn a_refusal_ends_with_its_exit_code_and_says_why() {
    let answer = |status: &str| {
        let text = format!(
            r#"{{"run":null,"status":"{status}","release":null,"dark_ms":null,"logs":["it \u001b[2J said"],"error":{{"kind":"gate_failed","message":"smoke failed","hint":"look at it"}}}}"#
        );
        &*text.leak()
    };
    let folder = tempfile::tempdir().unwrap();
    for (head, status, exit, says) in [
        ("422 Unprocessable", "gate_failed", Exit::Failed, "failed: nothing was changed"),
        ("502 Bad Gateway", "rolled_back", Exit::RolledBack, "rolled back: the release is not live"),
        ("500 Internal", "stuck", Exit::Stuck, "stuck: look now"),
        ("401 Unauthorized", "unauthorized", Exit::Usage, "refused: nothing was changed"),
    ] {
        let head = &*format!("{head}\r\ncontent-type: application/json").leak();
        let double = Double::start(Manner::Answers(head, answer(status)));
        let said = run(call(&double, folder.path(), &[])).expect(exit.code().into());
        let said = said.says(&[says, "gate failed: smoke failed", "hint: look at it"]);
        assert!(!said.stdout.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let double = Double::start(Manner::Answers("200 OK\r\ncontent-type: application/json", DEPLOYED));
    let folder = tempfile::tempdir().unwrap();
    let here = format!("http://{}/deploy", double.address);
    let secret = ("LOCKGATE_WEBHOOK_SECRET", super::SECRET);
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&[&here, "--sha", SHA], &[], "there is no secret to sign the call with"),
        (&[&here, "--sha", SHA], &[("WEBHOOK_SECRET", "")], "the secret in WEBHOOK_SECRET is empty"),
        (&[&here, "--sha", SHA], &[("WEBHOOK_SECRET", "hunter2")], "fewer than 16 bytes"),
        (&[&here, "--sha", SHA, "--secret-file", "none"], &[], "none cannot be read"),
        (&[&here], &[secret], "--sha <SHA>"),
        (&[&here], &[secret, ("GITHUB_SHA", "main")], "a commit is 40 lower-case hex digits"),
        (&[&here, "--sha", "--help"], &[secret], "a value is required"),
        (&[&here, "--sha", SHA, "--service", "../x"], &[secret], "invalid value '../x'"),
        (&["http://shop.example/deploy", "--sha", SHA], &[secret], "is plain HTTP and leaves this machine"),
        (&["https://a:hunter3@shop.example/x", "--sha", SHA], &[secret], "has a user or a password in it"),
        (&[&here, "--sha", SHA, "--cacert", "none.pem"], &[secret], "none.pem cannot be read"),
        (&[&here, "--sha", SHA, "--wait", "soon"], &[secret], "a length of time such as 250ms"),
    ];
    for (args, variables, says) in cases {
        let said = run(trigger(folder.path(), args, variables)).expect(2).says(&[says]);
        assert!(!said.stderr.contains("hunter"), "{said}");
    }
    assert_eq!(double.bodies(), Vec::<String>::new());
}

#[test]
fn the_commit_s_time_is_what_git_says_here_and_the_sha_that_of_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(folder.path()).args(["-c", "user.name=Kim", "-c", "user.email=kim@shop.example"]);
        git.args(args).env("GIT_COMMITTER_DATE", "1763683201 +0100").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = git.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "committer Mallory <m@x> 9 +0000"]);
    let sha = git(&["rev-parse", "HEAD"]);

    let double = Double::start(Manner::Answers("200 OK\r\ncontent-type: application/json", DEPLOYED));
    let url = format!("http://{}/deploy", double.address);
    std::fs::write(folder.path().join("secret"), format!("{}\n", super::SECRET)).unwrap();
    let variables = [("GITHUB_SHA", sha.as_str())];
    run(trigger(folder.path(), &[&url, "--secret-file", "secret"], &variables)).expect(0);
    let flag = ["--committed-at", "2026-11-27T06:40:00Z"];
    run(trigger(
        folder.path(),
        &[&[url.as_str(), "--secret-file", "secret"], &flag[..]].concat(),
        &variables,
    ))
    .expect(0);
    let bodies: Vec<Value> = double.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(bodies[0]["image_sha"], sha.as_str());
    let times: Vec<&Value> = bodies.iter().map(|body| &body["committed_at"]).collect();
    assert_eq!(times, ["2025-11-21T00:00:01Z", "2026-11-27T06:40:00Z"]);
}

#[test]
fn whoever_interrupts_it_leaves_what_goes_on_there() {
    let double = Double::start(Manner::Silent);
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(call(&double, folder.path(), &["-v"]));
    crate::support::wait_for("it to listen for signals", 20, || {
        processes::catches(running.child.id(), Signal::INT).then_some(())
    });
    running.signal(Signal::INT);
    let ended = running.end().expect(Exit::Unknown.code().into());
    ended.says(&["interrupted; what was asked for goes on there"]);
}
