//! What a user does on good days.

use rustix::process::Signal;

use crate::support::double::{Double, Manner};
use crate::support::project::{Project, Setup, run};

#[test]
fn from_an_empty_folder_to_a_release_that_is_live() {
    let project = Project::empty();
    project.run("init").expect(0).says(&["wrote", "doctor"]);
    let written = std::fs::read_to_string(project.path("lockgate.yaml")).unwrap();
    assert!(written.contains("services:"), "{written}");
    // What is there already is left alone.
    project.run("init").expect(2).says(&["is there already"]);
    assert_eq!(std::fs::read_to_string(project.path("lockgate.yaml")).unwrap(), written);

    let port = project.port;
    let config = format!(
        "project: shop\nservices:\n  web:\n    command: [\"./app-{{tag}}\"]\nenvironments:\n  prod:\n    runtime: process\n    router: {{ builtin: {{ listen: \"127.0.0.1:{port}\" }} }}\n"
    );
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    project.release("v1", "");
    project.run("doctor").expect(0);
    project.run("status").expect(0).says(&["web in prod"]);
    project.deploy("v1");
    assert_eq!(project.ask("/version").text(), "v1\n");
    project.run("status web").expect(0).says(&["v1", "in blue", "last run: succeeded"]);
    project.run("doctor --format json").expect(0);
}

#[test]
fn a_deployment_is_planned_run_and_then_there_is_nothing_to_do() {
    let project = Project::new();
    project.run("plan web v1").expect(0).says(&["start", "switch", "v1"]);
    let plan = project.run("plan web v1 --format json").expect(0).last();
    assert_eq!(plan["changes"], true);
    let steps = plan.to_string();
    assert!(!steps.contains("fetch") && !steps.contains("prune"), "a process has no images: {plan:#}");
    assert!(!project.path("host/proxy").exists() && !project.path("host/prod/web/.lockgate").exists());
    assert!(!project.path("m1/.lockgate").exists() && project.apps().is_empty(), "a plan changes nothing");

    let ran = project.run("deploy web v1 --format json").expect(0);
    let lines = ran.lines();
    assert_eq!(lines[0]["event"], "run_started");
    assert_eq!(lines[lines.len() - 2]["event"], "run_ended");
    let result = ran.last();
    assert_eq!(result["event"], "result", "{result:#}");
    assert_eq!(result["result"]["outcome"], "succeeded", "{result:#}");
    assert_eq!(result["exit"], 0, "{result:#}");
    project.expect_settled("v1");

    assert_eq!(project.run("plan web v1 --format json").expect(0).last()["changes"], false);
    project.run("deploy web v1").expect(0).says(&["nothing to do"]);
    let again = project.run("deploy web v1 --format json").expect(0).last();
    assert!(again["run"].is_null(), "{again:#}");
    project.expect_settled("v1");
    let runs = project.run("history --format json").expect(0).lines();
    assert_eq!(runs.len(), 1, "{runs:#?}");
}

#[test]
fn doctor_says_that_what_should_be_live_is_not_and_writes_nothing() {
    let project = Project::new();
    project.run("doctor").expect(0).says(&["live release: none yet", "can be written"]);
    assert!(!project.path("host/prod").exists(), "it only looks");
    project.deploy("v1");
    project.run("doctor").expect(0).says(&["live release: v1"]);
    for app in project.apps() {
        app.signal(Signal::KILL);
    }
    let again = "lockgate --env prod deploy web v1";
    project.run("doctor").expect(1).says(&["blue should be live", "does not run", again]);
    project.run("status").expect(1).says(&["which does not run", again]);
    project.run("deploy web v1").expect(0);
    project.run("doctor").expect(0);
}

#[test]
fn doctor_says_before_a_deployment_that_a_gates_program_is_missing() {
    let after = "[{ name: smoke, command: \"no-such-program -q\" }, { name: tag, command: \"./{tag}\" }]";
    let project = Project::with(&Setup { after: after.to_owned(), ..Setup::default() });
    project.run("doctor").expect(1).says(&["local · gates", "gate smoke", "no-such-program", "install it"]);
    let checks = project.run("doctor --format json").expect(1).lines();
    let gates: Vec<_> = checks.iter().filter(|line| line["service"].is_null()).collect();
    assert!(gates.iter().any(|line| line["check"]["what"] == "gate smoke"), "{gates:#?}");
    assert!(!gates.iter().any(|line| line["check"]["what"] == "gate tag"), "{gates:#?}");
}

#[test]
fn doctor_says_whether_anybody_answers_at_the_url_of_a_gate() {
    let site = Double::start(Manner::Answers("404 Not Found", ""));
    let at =
        |address: &str| Setup { environment: format!("    url: \"http://{address}\"\n"), ..Setup::default() };
    Project::with(&at(&site.address)).run("doctor").expect(0).says(&["gate smoke", "/health answers 404"]);
    let broken = Double::start(Manner::Answers("502 Bad Gateway", ""));
    Project::with(&at(&broken.address))
        .run("doctor")
        .expect(0)
        .says(&["! gate smoke", "/health answers 502"]);
    Project::with(&at("127.0.0.1:1")).run("doctor").expect(0).says(&[
        "! gate smoke: http://127.0.0.1:1/health does not answer this machine",
        "see that the name leads to the routers",
    ]);
}

#[test]
fn doctor_says_whether_registries_take_the_logins_of_the_configuration() {
    let at = |registry: &Double| Setup {
        end: format!("registries: {{ \"{}\": {{ user: ann, password: hunter2 }} }}\n", registry.address),
        ..Setup::default()
    };
    let open = Double::start(Manner::Answers("200 OK", "{}"));
    Project::with(&at(&open)).run("doctor").expect(0).says(&[
        "local · registries",
        &format!("✓ registry {}: answers, and asks for no login", open.address),
    ]);
    let closed = Double::start(Manner::Answers(
        "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"",
        "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"hunter2 is wrong\"}]}",
    ));
    let said = Project::with(&at(&closed)).run("doctor").expect(1);
    said.says(&[
        "refuses the login of ann (registries: in lockgate.yaml)",
        "UNAUTHORIZED, *** is wrong",
        &format!("check user and password of {} below `registries`", closed.address),
    ]);
}

#[test]
fn doctor_says_what_it_looked_at_in_an_environment_without_hosts() {
    let site = Double::start(Manner::Answers("200 OK", ""));
    let end = format!("  test: {{ url: \"http://{}\" }}\n  nothing: {{}}\n", site.address);
    let project = Project::with(&Setup { end, ..Setup::default() });
    project.run("--env test doctor").expect(0).says(&[
        "test is only checked",
        "url of web: http://",
        "/health answers 200",
    ]);
    let checks = project.run("--env test doctor --format json").expect(0).lines();
    assert_eq!(checks.len(), 2, "{checks:#?}");
    project.run("--env nothing doctor").expect(0).says(&["there is nothing to look at"]);
}

#[test]
fn status_has_the_fields_of_system_a() {
    let project = Project::new();
    let before = project.status();
    assert!(before["image_tag"].is_null(), "{before:#}");
    assert_eq!(before["status"], "unknown");
    project.deploy("v1");
    let status = project.status();
    assert_eq!(status["service"], "web");
    assert_eq!(status["image_tag"], "v1");
    assert_eq!(status["status"], "success");
    assert_eq!(status["notes"], "");
    let time = status["timestamp"].as_str().unwrap();
    assert!(time.len() == "2026-01-02T03:04:05+00:00".len() && time.ends_with("+00:00"), "{time}");
    assert_eq!(std::fs::read_to_string(project.path("host/prod/web/active_color")).unwrap(), "blue\n");
    project.deploy("v2");
    assert_eq!(std::fs::read_to_string(project.path("host/prod/web/active_color")).unwrap(), "green\n");
    assert_eq!(std::fs::read_to_string(project.path("host/prod/web/previous_color")).unwrap(), "blue\n");
}

#[test]
fn rollback_brings_back_the_previous_release_or_the_one_named() {
    let project = Project::new();
    project.release("v3", "");
    project.run("rollback web").expect(1).says(&["hint"]);
    for tag in ["v1", "v2", "v3"] {
        project.deploy(tag);
    }
    let result = project.run("rollback web --format json").expect(0).last();
    assert_eq!(result["release"]["tag"], "v2", "{result:#}");
    project.expect_settled("v2");
    project.run("rollback web v1").expect(0);
    project.expect_settled("v1");
    let digest = project.status()["hosts"]["local"]["releases"][1]["digest"].as_str().unwrap().to_owned();
    project.run(&format!("rollback web {}", &digest["sha256:".len()..][..12])).expect(0);
    project.expect_settled("v2");
    // There is such a program, but nothing that has not passed its gates goes live by a rollback.
    project.release("v9", "");
    project.run("rollback web v9").expect(1).says(&["v9 was never live", "hint", "v2, v1, v3"]);
    project.expect_settled("v2");

    let history = project.run("history").expect(0).stdout;
    let runs = project.run("history -n 2 --format json").expect(0).lines();
    assert_eq!(runs.len(), 2, "{history}");
    for wanted in ["rollback", "deploy", "succeeded", "v3"] {
        assert!(history.contains(wanted), "{wanted}: {history}");
    }
    assert!(!history.contains("unfinished"), "{history}");
}

#[test]
fn a_rollback_without_a_name_never_goes_to_a_release_that_was_not_live() {
    let project = Project::with(&Setup { health: "{ timeout: 400ms }", ..Setup::default() });
    project.release("bad", "UNHEALTHY=1");
    project.run("deploy web bad").expect(1);
    project.run("rollback web").expect(1).says(&["no earlier release", "hint", "lockgate history"]);
    assert!(project.apps().is_empty(), "{:#?}", project.apps());
    project.deploy("v1");
    project.run("deploy web bad").expect(1);
    project.run("rollback web").expect(1).says(&["no earlier release", "bad", "was never live", "hint"]);
    project.expect_settled("v1");
    project.run("rollback web bad").expect(1).says(&["bad was never live", "v1"]);
    project.expect_settled("v1");
    project.deploy("v2");
    project.run("rollback web").expect(0);
    project.expect_settled("v1");
}

#[test]
fn logs_come_from_the_live_slot_or_the_one_named() {
    let project = Project::new();
    project.deploy("v1");
    project.run("logs web --slot blue").expect(0).says(&["v1"]);
    project.deploy("v2");
    project.run("logs web -n 5").expect(0).says(&["v2"]);
    let line = project.run("logs web --format json").expect(0).last();
    assert_eq!(line["slot"], "green", "{line:#}");
    project.run("logs web --slot red").expect(2).says(&["--slot blue"]);
}

#[test]
fn gates_alone_tell_pass_fail_and_not_yet_by_their_exit_code() {
    let setup = Setup {
        before: "[{ name: unit, command: \"ROOT/unit\" }]".into(),
        after: "[{ name: smoke, http: { samples: 2, interval: 5ms } }]".into(),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.script("unit", "#!/bin/sh\nexit 0\n");
    project.deploy("v1");
    project.run("check web regression").expect(0).says(&["unit", "passes"]);
    let smoke = project.run("check web smoke --format json").expect(0).last();
    assert_eq!(smoke["judgement"], "pass", "{smoke:#}");

    project.script("unit", "#!/bin/sh\necho three tests fail\nexit 1\n");
    project.run("check web regression").expect(1).says(&["unit", "three tests fail"]);
    project.run("deploy web v2").expect(1).says(&["unit", "three tests fail", "nothing was changed"]);
    project.expect_settled("v1");

    project.script("unit", "#!/bin/sh\nexit 75\n");
    project.run("check web regression").expect(5);
    let result = project.run("deploy web v2 --format json").expect(5).last();
    assert_eq!(result["exit"], 5, "{result:#}");
    project.expect_settled("v1");

    project.run("deploy web v2 --only-swap").expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_release_that_fails_its_smoke_gate_is_rolled_back() {
    let project = Project::new();
    project.release("v3", "FAIL_PATHS=/metrics");
    // Nothing was live before, so nothing is live again: there is no release that it was rolled back to.
    project.run("deploy web v3").expect(1).says(&["/metrics", "500", "nothing of web is live"]);
    assert_eq!(project.ask("/").status, 404);
    assert!(project.apps().is_empty(), "{:#?}", project.apps());
    project.deploy("v1");
    project.run("deploy web v3").expect(3).says(&["/metrics", "500", "v1", "is live again"]);
    project.expect_settled("v1");
    assert_eq!(project.status()["status"], "rolled_back");
    let history = project.run("history").expect(0).stdout;
    assert!(history.contains("rolled_back") || history.contains("rolled back"), "{history}");
}

#[test]
fn completions_and_schema_are_printed() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish"] {
        project.run(&format!("completions {shell}")).expect(0).says(&["lockgate"]);
    }
    let schema = project.run("schema").expect(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["services"].is_object(), "{schema:#}");
    project.run("status").expect(2).says(&["no lockgate.yaml", "lockgate init"]);
    project.run("").expect(2).says(&["Usage"]);
    project.run("deploy web").expect(2).says(&["<TAG>"]);
    run(project.command(["--version"])).expect(0);
}

#[test]
fn a_rollback_of_a_release_that_has_died_goes_to_the_one_before_it() {
    let project = Project::new();
    for tag in ["v1", "v2"] {
        project.deploy(tag);
    }
    for app in project.apps() {
        app.signal(Signal::KILL);
    }
    project.run("rollback web").expect(0).says(&["v1"]);
    project.expect_settled("v1");
}

#[test]
fn a_changed_environment_is_deployed_with_the_same_release() {
    let with = |colour: &str| Setup {
        service: format!("    env: {{ COLOUR: {colour} }}\n"),
        environment: "    keep_warm: 1h\n".into(),
        ..Setup::default()
    };
    let project = Project::with(&with("red"));
    let configure = |colour: &str| {
        std::fs::write(project.path("m1/lockgate.yaml"), project.config(&with(colour))).unwrap();
    };
    let colours = || -> Vec<String> {
        let of = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        let colour =
            |environ: String| environ.split('\0').find(|one| one.starts_with("COLOUR=")).map(str::to_owned);
        let mut all: Vec<String> = project.apps().iter().filter_map(|app| colour(of(app.pid))).collect();
        all.sort();
        all
    };
    project.deploy("v1");
    configure("green");
    project.run("deploy web v1").expect(0).says(&["nothing to do", "--again"]);
    assert_eq!(colours(), ["COLOUR=red"]);
    project.run("deploy --again web v1").expect(0);
    assert_eq!(colours(), ["COLOUR=green", "COLOUR=red"]);
    // The slot that is kept warm runs this very release, but not so.
    configure("blue");
    project.run("deploy --again web v1").expect(0);
    assert_eq!(colours(), ["COLOUR=blue", "COLOUR=green"]);
    project.expect_live("v1");
}

#[test]
fn the_old_slot_is_kept_warm_and_a_rollback_to_it_starts_nothing() {
    let setup = Setup { environment: "    keep_warm: 1h\n".into(), ..Setup::default() };
    let project = Project::with(&setup);
    project.deploy("v1");
    project.deploy("v2");
    let before: Vec<i32> = project.apps().iter().map(|app| app.pid).collect();
    assert_eq!(before.len(), 2);
    project.run("rollback web").expect(0);
    project.expect_live("v1");
    let mut after: Vec<i32> = project.apps().iter().map(|app| app.pid).collect();
    after.sort_unstable();
    let mut before = before;
    before.sort_unstable();
    assert_eq!(before, after, "the same processes serve");
}
