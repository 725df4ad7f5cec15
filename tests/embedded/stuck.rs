//! An undo that fails for real: what is live and what to type is said, and after mending `resume` brings it to an end.

use serde_json::Value;

use crate::support::double::{Double, Manner};
use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup};
use crate::support::slack::{CHANNEL, SlackDouble, TOKEN};

/// A gate that fails, after it has put a folder where a state file was: the file cannot be put back any more.
const SPOILING_GATE: &str =
    "#!/bin/sh\nrm ROOT/host/prod/web/active_color\nmkdir ROOT/host/prod/web/active_color\nexit 1\n";

fn spoil(project: &Project) {
    project.script("gate", &SPOILING_GATE.replace("ROOT", &project.root().display().to_string()));
}

fn mend(project: &Project) {
    std::fs::remove_dir(project.path("host/prod/web/active_color")).unwrap();
    project.script("gate", "#!/bin/sh\nexit 0\n");
}

#[test]
fn an_undo_that_fails_is_stuck_says_what_is_live_and_is_resumed_after_mending() {
    let slack = Double::start(Manner::Answers("200 OK", "ok"));
    let hook = Double::start(Manner::Answers("200 OK", ""));
    let bot = SlackDouble::start();
    let setup = Setup {
        after: "[{ name: spoil, command: \"ROOT/gate\" }]".to_owned(),
        end: format!(
            "notify:\n  - slack: {{ webhook: \"http://{}/services/T000\" }}\n  - webhook: {{ url: \"http://{}/hook\" }}\n  - slack: {{ token: \"{TOKEN}\", channel: \"{CHANNEL}\", api: \"{}\" }}\n",
            slack.address,
            hook.address,
            bot.api(),
        ),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.script("gate", "#!/bin/sh\nexit 0\n");
    project.deploy("v1");
    spoil(&project);
    let load = Load::start(project.port, &[User::Get]);
    project.run("deploy web v2").expect(4).says(&[
        "stuck",
        "spoil",
        "not undone:",
        "active_color",
        "this machine: v2 (",
        ") in slot green gets the traffic",
        "type, in this order:",
        "lockgate --env prod resume web",
    ]);
    // What it says is so.
    assert_eq!(project.ask("/").release(), "v2");
    // It cannot be seen whole: what is in the way is named, and all else is shown.
    project.run("status").expect(1).says(&["active_color", "v2 (", ") in green", "last run: stuck"]);
    let status = project.run("status --format json").expect(1).last();
    assert_eq!((&status["image_tag"], &status["status"]), (&"v2".into(), &"stuck".into()), "{status:#}");
    assert_eq!(status["hosts"]["local"]["slots"]["green"]["state"], "running", "{status:#}");
    assert!(status["unseen"]["local"]["message"].as_str().unwrap().contains("active_color"), "{status:#}");
    let critical: Value = serde_json::from_str(hook.bodies().last().unwrap()).unwrap();
    assert_eq!(critical["kind"], "critical", "{critical:#}");
    assert!(!critical["commands"].as_array().unwrap().is_empty(), "{critical:#}");
    let shouted: Value = serde_json::from_str(slack.bodies().last().unwrap()).unwrap();
    assert!(shouted["text"].as_str().unwrap().contains("lockgate --env prod resume web"), "{shouted:#}");
    let message = bot.top().pop().unwrap();
    assert!(message.text.contains("the rollback failed too") && message.earlier.len() == 1, "{message:#?}");
    let replies = bot.replies(&message);
    assert!(
        replies.len() == 1 && replies[0].is_broadcast,
        "everybody in the channel is called: {replies:#?}"
    );
    assert!(replies[0].text.contains("lockgate --env prod resume web"), "{replies:#?}");
    // Nothing gets worse by typing the same again: that command changes nothing, and the other run is still to be ended.
    project.run("deploy web v2").expect(1).says(&["active_color"]);
    assert_eq!(project.ask("/").release(), "v2");

    // Whoever tries again, and on whichever machine, hears why it was undone.
    for machine in ["m1", "m2", "m1"] {
        let again = project.run_on(machine, "resume").expect(4);
        let live = ["this machine: v2 (", ") in slot green gets the traffic"];
        again.says(&["stuck", "gate \"spoil\" ", "not undone:", "active_color", live[0], live[1]]);
    }

    mend(&project);
    // All can be seen again and is up, but the run still waits for somebody.
    project.run("status").expect(1).says(&["stuck", "lockgate resume"]);
    let status = project.run("status --format json").expect(1).last();
    assert_eq!(status["status"], "stuck", "{status:#}");
    project.run("resume").expect(3).says(&["spoil"]);
    project.expect_settled("v1");
    project.deploy("v2");
    load.expect_no_failure();
    project.expect_settled("v2");
}

/// What is told to be typed works where it was told: with the file and the environment that were typed.
#[test]
fn what_is_to_be_typed_names_the_file_that_was_typed() {
    let project = Project::new();
    let (there, here) = (project.path("m1/lockgate.yaml"), project.path("m1/my shop.yaml"));
    std::fs::rename(there, here).unwrap();
    let run = |args: &[&str]| {
        let typed = [&["-c", "my shop.yaml", "--env", "prod"], args].concat();
        crate::support::project::run(project.command(typed))
    };
    run(&["deploy", "web", "v1"]).expect(0);
    project.apps().iter().for_each(|app| app.signal(rustix::process::Signal::KILL));
    crate::support::wait_for("the app to end", 5, || project.apps().is_empty().then_some(()));
    let again = "`lockgate --env prod deploy web v1 -c 'my shop.yaml'`";
    run(&["status"]).expect(1).says(&[again]);
    run(&["doctor"]).expect(1).says(&[again]);
    let checks = run(&["doctor", "--format", "json"]).expect(1).lines();
    let is_told = |line: &Value| line["check"]["mend"].as_str().is_some_and(|mend| mend.contains(again));
    assert!(checks.iter().any(is_told), "{checks:#?}");
    let refused = run(&["rollback", "web", "v9"]).expect(1);
    refused.says(&["`lockgate deploy web v9 -c 'my shop.yaml' --env prod`"]);
    // It can be pasted.
    let mut shell = std::process::Command::new("sh");
    let pasted = again.trim_matches('`').replacen("lockgate", "\"$0\"", 1);
    shell.args(["-c", &pasted, env!("CARGO_BIN_EXE_lockgate")]).current_dir(project.path("m1"));
    crate::support::project::run(shell).expect(0);
    assert_eq!(project.ask("/").release(), "v1");
}
