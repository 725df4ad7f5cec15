//! Releases that go live by themselves, with a real registry's tags.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::double::{Double, Manner};
use crate::support::project::{self, Project, Running, Setup};
use crate::support::registry::Registry;
use crate::support::wait_for;

/// Due whenever nobody has handled this day yet: only a test at midnight meets the tick itself.
const DAILY: &str = "{ cron: \"@daily\", deploy: latest-semver, catch_up: 24h }";

pub struct Scene {
    pub registry: Registry,
    pub project: Project,
}

impl Scene {
    /// `web` has these tags, each of them a release that works.
    fn with(setup: &Setup, schedule: &str, tags: &[&str]) -> Option<Scene> {
        let registry = Registry::start()?;
        let setup = Setup {
            service: format!("    image: {}/acme/web\n{}", registry.address, setup.service),
            environment: format!("    schedule: {schedule}\n{}", setup.environment),
            ..setup.clone()
        };
        let scene = Scene { project: Project::with(&setup), registry };
        tags.iter().for_each(|tag| scene.push(tag, ""));
        Some(scene)
    }

    pub fn start(tags: &[&str]) -> Option<Scene> {
        Self::with(&Setup::default(), DAILY, tags)
    }

    fn push(&self, tag: &str, knobs: &str) {
        self.project.release(tag, knobs);
        self.registry.push("acme/web", tag);
    }

    /// How many runs there were.
    fn runs(&self) -> usize {
        self.project.run("history --format json").expect(0).lines().len()
    }

    fn memory(&self) -> Value {
        let path = self.project.path("m1/.lockgate/schedule/prod.web.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}

#[test]
fn the_newest_version_goes_live_once_for_a_tick() {
    let Some(scene) = Scene::start(&["v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc.1"]) else { return };
    let Scene { project, registry } = &scene;
    for other in ["latest", "sha-0a1b2c3d", "v3", "nightly-9.9.9"] {
        registry.push("acme/web", other);
    }
    project.run("schedule").expect(0).says(&["none yet", "@daily", "lockgate schedule --crontab"]);
    project.run("run-schedule").expect(0).says(&["web in prod: v1.10.0", "succeeded", "1 due"]);
    project.expect_settled("v1.10.0");
    project.run("run-schedule").expect(0).says(&["nothing is due; the next is web in prod at "]);
    // A new version waits for the next tick, or for somebody.
    scene.push("v1.11.0", "");
    project.run("run-schedule").expect(0).says(&["nothing is due"]);
    project.expect_settled("v1.10.0");
    project.run("run-schedule --now").expect(0).says(&["web in prod: v1.11.0"]);
    project.expect_settled("v1.11.0");
    let result = project.run("run-schedule --now --format json").expect(0);
    let [end, whole] = &result.lines()[..] else { panic!("{result}") };
    assert_eq!(
        (&end["event"], &end["end"], &end["word"]),
        (&json!("scheduled"), &json!("live"), &json!("nothing"))
    );
    assert_eq!(
        (&whole["event"], &whole["handled"], &whole["exit"]),
        (&json!("result"), &json!(1), &json!(0))
    );
    assert_eq!(scene.runs(), 2);
    project.run("schedule").expect(0).says(&["v1.11.0 is live"]);
}

#[test]
fn what_is_live_and_newer_stays_and_a_repository_without_versions_is_said() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    let project = &scene.project;
    project.release("v1.0.1-rc.1", "");
    project.deploy("v1.0.1-rc.1");
    project
        .run("run-schedule --now")
        .expect(0)
        .says(&["v1.0.1-rc.1", "which is newer than v1.0.0, the newest tag"]);
    project.expect_settled("v1.0.1-rc.1");
    drop(scene);
    let Some(scene) = Scene::start(&[]) else { return };
    let Scene { project, registry } = &scene;
    project.run("run-schedule --now").expect(1).says(&["not found", "has no repository acme/web", "hint"]);
    registry.push("acme/web", "latest");
    registry.push("acme/web", "2.0.0-beta");
    project
        .run("run-schedule --now")
        .expect(0)
        .says(&["none of its image's tags (2) is a version that counts"]);
    assert_eq!(scene.runs(), 0);
}

#[test]
fn a_release_that_was_rolled_back_is_not_tried_again_until_its_tag_means_other_bytes() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    let project = &scene.project;
    project.run("run-schedule --now").expect(0);
    scene.push("v2.0.0", "FAIL_PATHS=/metrics");
    project.run("run-schedule --now").expect(3).says(&["/metrics", "rolled back", "v1.0.0", "is live again"]);
    assert_eq!(scene.runs(), 2);
    let again = project.run("run-schedule --now --format json").expect(0);
    assert_eq!(
        (&again.lines()[0]["end"], &again.lines()[0]["exit"]),
        (&json!("rejected"), &json!(0)),
        "{again}"
    );
    project
        .run("run-schedule --now")
        .expect(0)
        .says(&["was rejected at", "`lockgate --env prod deploy web v2.0.0`"]);
    project.run("schedule").expect(0).says(&["v2.0.0 was rejected"]);
    assert_eq!(scene.runs(), 2, "no run was made");
    project.expect_settled("v1.0.0");
    // The tag is moved to what is mended.
    scene.push("v2.0.0", "");
    project.run("run-schedule --now").expect(0).says(&["v2.0.0", "succeeded"]);
    project.expect_settled("v2.0.0");
    // What a person takes back does not come back by itself either.
    project.run("rollback web").expect(0);
    project.run("run-schedule --now").expect(0).says(&["was rejected"]);
    project.expect_settled("v1.0.0");
}

#[test]
fn what_failed_before_anything_was_touched_is_remembered_where_it_was_the_release_s_fault() {
    let setup = Setup { before: "[{ name: unit, command: \"ROOT/unit\" }]".into(), ..Setup::default() };
    let Some(scene) = Scene::with(&setup, DAILY, &["v1.0.0"]) else { return };
    let project = &scene.project;
    // Not yet: the next tick asks again.
    project.script("unit", "#!/bin/sh\nexit 75\n");
    for _ in 0..2 {
        project.run("run-schedule --now").expect(5).says(&["not yet"]);
    }
    assert_eq!(scene.runs(), 2);
    assert_eq!(scene.memory()["last"]["end"], "ran");
    project.script("unit", "#!/bin/sh\necho three tests fail\nexit 1\n");
    project.run("run-schedule --now").expect(1).says(&["three tests fail", "nothing was changed"]);
    assert_eq!(scene.memory()["failed"]["tag"], "v1.0.0", "{:#}", scene.memory());
    // Also when the gate would pass now: nobody asks it again for this release.
    project.script("unit", "#!/bin/sh\nexit 0\n");
    project.run("run-schedule --now").expect(0).says(&["failed at", "not tried again", "deploy web v1.0.0`"]);
    project.run("schedule").expect(0).says(&["v1.0.0 failed before", "! web in prod: v1.0.0"]);
    assert_eq!(scene.runs(), 3);
    // The next version is another matter, and its success ends what was remembered.
    scene.push("v1.0.1", "");
    project.run("run-schedule --now").expect(0);
    project.expect_settled("v1.0.1");
    project.deploy("v1.0.0");
    project.run("run-schedule --now").expect(0).says(&["v1.0.1", "succeeded"]);
}

#[test]
fn a_registry_that_does_not_answer_is_told_and_asked_again_at_the_next_tick() {
    let hook = Double::start(Manner::Answers("200 OK", ""));
    let end = format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", hook.address);
    let Some(mut scene) = Scene::with(&Setup { end, ..Setup::default() }, DAILY, &["v1.0.0"]) else {
        return;
    };
    scene.registry.down();
    let ran = scene.project.run("run-schedule --format json").expect(1);
    let said = &ran.lines()[0];
    assert_eq!(
        (&said["end"], &said["word"], &said["failure"]["kind"]),
        (&json!("failed"), &json!("failed"), &json!("unreachable")),
        "{ran}"
    );
    let told: Value = serde_json::from_str(&hook.bodies()[0]).unwrap();
    assert_eq!((&told["kind"], &told["asked"]), (&json!("failed"), &json!("latest-semver")), "{told:#}");
    assert_eq!(told["failure"]["kind"], "unreachable", "{told:#}");
    scene.registry.up();
    // This tick was handled; a tick makes one try.
    scene.project.run("run-schedule").expect(0).says(&["nothing is due"]);
    scene.project.run("run-schedule --now").expect(0).says(&["v1.0.0", "succeeded"]);
    scene.project.expect_settled("v1.0.0");
}

/// Two services, of which `api` comes first.
fn two(registry: &Registry, project: &Project) {
    let (root, port, address) = (project.root().display(), project.port, &registry.address);
    let yaml = format!(
        r#"project: shop
services:
  api: {{ image: "{address}/acme/api", command: ["{root}/app-{{tag}}"], cwd: "{root}", health: {{ timeout: 10s }} }}
  web: {{ image: "{address}/acme/web", command: ["{root}/app-{{tag}}"], cwd: "{root}", health: {{ timeout: 10s }} }}
  worker: {{ command: ["{root}/app-{{tag}}"], cwd: "{root}" }}
environments:
  prod:
    runtime: {{ process: {{ dir: "{root}/host" }} }}
    router: {{ builtin: {{ listen: "127.0.0.1:{port}", host: "{{service}}.test", dir: "{root}/host/proxy" }} }}
    schedule: {{ cron: "@daily", deploy: latest-semver, catch_up: 24h, services: [web, api] }}
    drain: 2s
"#
    );
    std::fs::create_dir_all(project.path("m1")).unwrap();
    std::fs::write(project.path("m1/lockgate.yaml"), yaml).unwrap();
}

#[test]
fn a_service_that_fails_does_not_stop_the_others_and_the_exit_code_is_the_worst() {
    let Some(registry) = Registry::start() else { return };
    let project = Project::empty();
    two(&registry, &project);
    project.release("v1.0.0", "");
    project.release("v2.0.0", "");
    registry.push("acme/web", "v1.0.0");
    // `api` has no repository at all.
    let ran = project.run("run-schedule --format json").expect(1);
    let ends: Vec<(String, String)> = ran
        .lines()
        .iter()
        .filter(|line| line["event"] == "scheduled")
        .map(|line| (line["service"].as_str().unwrap().to_owned(), line["word"].as_str().unwrap().to_owned()))
        .collect();
    let words =
        |api: &str, web: &str| vec![("api".to_owned(), api.to_owned()), ("web".to_owned(), web.to_owned())];
    assert_eq!(ends, words("failed", "succeeded"), "{ran}");
    let last = ran.last();
    assert_eq!(
        (&last["word"], &last["handled"], &last["exit"]),
        (&json!("failed"), &json!(2), &json!(1)),
        "{ran}"
    );
    // Each remembers for itself.
    registry.push("acme/api", "v2.0.0");
    project.run("run-schedule --now").expect(0).says(&["api in prod: v2.0.0", "web in prod: nothing to do"]);
    let lines = project.run("schedule --format json").expect(0).lines();
    let seen: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["service"].as_str().unwrap(), line["last"]["word"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("api", "succeeded"), ("web", "nothing")]);
    project.run("run-schedule worker").expect(2).says(&["no schedule for worker"]);
}

#[test]
fn one_run_schedule_works_at_a_time() {
    let setup = Setup { before: "[{ name: wait, command: \"ROOT/gate\" }]".into(), ..Setup::default() };
    let Some(scene) = Scene::with(&setup, DAILY, &["v1.0.0"]) else { return };
    let project = &scene.project;
    let root = project.root().display();
    project.script("gate", &waiting_gate(&root.to_string()));
    let first = project.start("run-schedule");
    project.wait_at_gate("v1.0.0");
    let pid = first.child.id().to_string();
    project.run("run-schedule").expect(6).says(&[
        "another `lockgate run-schedule` is at work here",
        &pid,
        "hint",
    ]);
    let told = project.run("run-schedule --format json").expect(6).last();
    assert_eq!((&told["error"]["kind"], &told["exit"]), (&json!("conflict"), &json!(6)));
    project.run("schedule").expect(0).says(&["begun, and not ended"]);
    // Whoever is killed lets go of it, and the tick is not begun a second time.
    first.signal(Signal::KILL);
    first.end();
    project.open_gate();
    project.run("run-schedule").expect(0).says(&["nothing is due"]);
    project.run("schedule").expect(0).says(&["begun, and not ended"]);
    // What was cut off is brought to its end first, and then it is live.
    project.run("run-schedule --now").expect(0).says(&["nothing to do: v1.0.0"]);
    project.expect_settled("v1.0.0");
}

#[test]
fn what_was_cut_off_after_the_switch_is_not_taken_for_live_before_it_is_settled() {
    let setup = Setup { after: "[{ name: wait, command: \"ROOT/gate\" }]".into(), ..Setup::default() };
    let Some(scene) = Scene::with(&setup, DAILY, &["v1.0.0"]) else { return };
    let project = &scene.project;
    project.script("gate", "#!/bin/sh\nexit 0\n");
    project.run("run-schedule").expect(0);
    scene.push("v1.1.0", "");
    let root = project.root().display();
    project.script("gate", &waiting_gate(&root.to_string()));
    let first = project.start("run-schedule --now");
    project.wait_at_gate("v1.1.0");
    first.signal(Signal::KILL);
    first.end();
    // It has the traffic, and nobody knows yet whether it passes. It does not.
    project.script("gate", "#!/bin/sh\nexit 1\n");
    let ran = project.run("run-schedule --now --format json").expect(3);
    let end = ran.lines().into_iter().find(|line| line["event"] == "scheduled").unwrap();
    assert_eq!((&end["end"], &end["release"]["tag"]), (&json!("ran"), &json!("v1.1.0")), "{ran}");
    project.expect_settled("v1.0.0");
    project.run("run-schedule --now").expect(0).says(&["v1.1.0", "was rejected"]);
}

/// Tells that it is there, and goes on when the file `open` is there.
fn waiting_gate(root: &str) -> String {
    format!(
        "#!/bin/sh\n: > {root}/at-gate-$LOCKGATE_TAG\ni=0\nwhile [ ! -e {root}/open ] && [ $i -lt 1500 ]\ndo sleep 0.02; i=$((i+1)); done\n"
    )
}

#[test]
fn a_tick_that_is_too_long_ago_is_told_once_and_not_made_up_for() {
    let schedule = "{ cron: \"@yearly\", deploy: latest-semver, catch_up: 1m }";
    let Some(scene) = Scene::with(&Setup::default(), schedule, &["v1.0.0"]) else { return };
    let project = &scene.project;
    // Nobody promised anything before the first call.
    project.run("run-schedule").expect(0).says(&["nothing is due"]);
    let memory = project.path("m1/.lockgate/schedule/prod.web.json");
    std::fs::create_dir_all(memory.parent().unwrap()).unwrap();
    std::fs::write(&memory, "{ \"tick\": 1735689600000 }").unwrap();
    let listed = project.run("schedule --format json").expect(0).last();
    assert!(listed["missed"].as_str().unwrap().contains("-01-01T00:00:00"), "{listed:#}");
    project.run("run-schedule").expect(0).says(&["web in prod: missed", "too late to make up for it"]);
    project.run("run-schedule").expect(0).says(&["nothing is due"]);
    assert_eq!(scene.runs(), 0);
    // What cannot be read is never taken for "nothing was done".
    std::fs::write(&memory, "{ \"tick\": ").unwrap();
    project
        .run("run-schedule --now")
        .expect(1)
        .says(&["does not say what the schedule has done", "move it away"]);
    project.run("schedule").expect(1).says(&["not known", "move it away"]);
    assert_eq!(scene.runs(), 0);
}

/// A gate that fails, after it has put a folder where a state file was: the file cannot be put back any more.
const SPOILING_GATE: &str =
    "#!/bin/sh\nrm ROOT/host/prod/web/active_color\nmkdir ROOT/host/prod/web/active_color\nexit 1\n";

#[test]
fn an_earlier_run_that_is_stuck_is_left_to_a_person() {
    let setup = Setup { after: "[{ name: spoil, command: \"ROOT/gate\" }]".into(), ..Setup::default() };
    let Some(scene) = Scene::with(&setup, DAILY, &["v1.0.0"]) else { return };
    let project = &scene.project;
    project.script("gate", "#!/bin/sh\nexit 0\n");
    project.run("run-schedule --now").expect(0);
    project.script("gate", &SPOILING_GATE.replace("ROOT", &project.root().display().to_string()));
    scene.push("v1.1.0", "");
    project.run("run-schedule --now").expect(4).says(&["stuck", "spoil", "type, in this order:"]);
    scene.push("v1.2.0", "");
    let ran = project.run("run-schedule --now --format json").expect(4);
    assert_eq!((&ran.lines()[0]["end"], &ran.last()["word"]), (&json!("waits"), &json!("stuck")), "{ran}");
    project
        .run("run-schedule --now")
        .expect(4)
        .says(&["an earlier run waits for a person", "lockgate --env prod status web"]);
    assert_eq!(scene.runs(), 2, "nothing was begun");
}

#[test]
fn the_line_for_cron_works_as_it_is_printed_and_its_log_is_bounded() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    let project = &scene.project;
    // What cron and a shell take for their own.
    let folder = project.path("it's 100% ours");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(project.path("m1/lockgate.yaml"), folder.join("lockgate.yaml")).unwrap();
    let mut command = project.command(["schedule", "--crontab"]);
    let line = project::run({
        command.current_dir(&folder);
        command
    })
    .expect(0)
    .stdout;
    let (when, job) = line.trim_end().split_at("*/5 * * * * ".len());
    assert_eq!(when, "*/5 * * * * ", "@daily is no five fields");
    // Cron itself turns `\%` into `%`, and hands the rest to a shell with hardly any environment.
    let job = job.replace("\\%", "%");
    let cron = || {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &job]).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/").current_dir("/");
        project::run(shell)
    };
    let log = folder.join(".lockgate/schedule.log");
    let read = || std::fs::read_to_string(&log).unwrap();
    let first = cron().expect(0);
    assert_eq!((first.stdout.as_str(), first.stderr.as_str()), ("", ""));
    for wanted in ["the schedule of shop: 1 due", "web in prod: v1.0.0", "the schedule of shop: succeeded"] {
        assert!(read().contains(wanted), "{wanted}: {}", read());
    }
    assert!(!read().contains('\u{1b}'), "no colours: {}", read());
    project.expect_live("v1.0.0");
    // Nothing is due, and nothing is said, every five minutes.
    let before = read();
    cron().expect(0);
    assert_eq!(read(), before);
    // What is wrong with the configuration is in the log, too.
    let yaml = std::fs::read_to_string(folder.join("lockgate.yaml")).unwrap();
    std::fs::write(folder.join("lockgate.yaml"), "projekt: x\n").unwrap();
    assert_eq!(cron().expect(2).stderr, "");
    assert!(read().contains("unknown key `projekt`"), "{}", read());
    std::fs::write(folder.join("lockgate.yaml"), yaml).unwrap();
    std::fs::write(&log, "x".repeat(1024 * 1024 + 1)).unwrap();
    cron().expect(0);
    assert_eq!(read(), "");
    assert_eq!(std::fs::metadata(folder.join(".lockgate/schedule.log.1")).unwrap().len(), 1024 * 1024 + 1);
}

#[test]
fn a_schedule_that_is_interrupted_leaves_the_rest_to_the_next_call() {
    let Some(registry) = Registry::start() else { return };
    let project = Project::empty();
    two(&registry, &project);
    project.release("v1.0.0", "UNHEALTHY=1");
    registry.push("acme/api", "v1.0.0");
    registry.push("acme/web", "v1.0.0");
    let running = Running::start(project.command(["run-schedule", "--format", "json"]));
    running.wait_until_printed("step_started");
    running.signal(Signal::INT);
    let ran = running.end();
    assert!(matches!(ran.code, Some(1)), "{ran}");
    let handled: Vec<Value> = ran.lines().into_iter().filter(|line| line["event"] == "scheduled").collect();
    assert_eq!(handled.len(), 1, "only the first was begun: {ran}");
    assert_eq!(handled[0]["outcome"]["failure"]["kind"], "cancelled", "{ran}");
    // A Ctrl-C says nothing of the release.
    let lines = project.run("schedule --format json").expect(0).lines();
    assert!(lines[0]["failed"].is_null() && lines[1]["last"].is_null(), "{lines:#?}");
    wait_for("the app to end", 20, || project.apps().is_empty().then_some(()));
}

/// Times, digests and run ids as `<time>`, `<digest>` and `<run>`; what is waited for a step as `<span>`.
fn pinned(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_inclusive([' ', '\n', ',']) {
        let bare = word.trim_end_matches([' ', '\n', ',', ':', ')', ';']);
        let rest = &word[bare.len()..];
        let is_time = bare.len() == 25 && bare.as_bytes()[10] == b'T' && bare.as_bytes()[22] == b':';
        let hex = bare.trim_start_matches('(');
        let is_digest = hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        words.push(match (is_time, is_digest) {
            (true, _) => format!("<time>{rest}"),
            (_, true) => format!("{}<digest>{rest}", &bare[..bare.len() - hex.len()]),
            _ => word.to_owned(),
        });
    }
    words.concat()
}

#[test]
fn the_whole_of_what_is_said_at_a_tick_and_after_it() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    let said = |args: &str, code: i32| {
        let mut command = scene.project.command(args.split(' '));
        command.env("TZ", "Europe/Berlin");
        let ran = project::run(command).expect(code);
        pinned(&ran.stdout).replace(&scene.project.root().display().to_string(), "ROOT")
    };
    assert_eq!(
        said("run-schedule", 0),
        "<time> the schedule of shop: 1 due\n\
         web in prod: v1.0.0 (<digest>): succeeded\n\
         succeeded: web v1.0.0 (<digest>) is live in prod on this machine\n\
         <time> the schedule of shop: succeeded\n"
    );
    assert_eq!(
        said("run-schedule --now", 0),
        "<time> the schedule of shop: 1 due\n\
         web in prod: nothing to do: v1.0.0 (<digest>) is live\n\
         <time> the schedule of shop: nothing to do\n"
    );
    assert_eq!(said("run-schedule", 0), "nothing is due; the next is web in prod at <time>\n");
    scene.push("v1.1.0", "FAIL_PATHS=/metrics");
    let first = said("run-schedule --now", 3);
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(
        lines[..3],
        ["<time> the schedule of shop: 1 due", "web in prod: v1.1.0 (<digest>): rolled back", "rolled back",]
    );
    assert_eq!(lines.last(), Some(&"<time> the schedule of shop: rolled back"), "{first}");
    let owner = scene.memory()["last"]["outcome"]["outcome"].clone();
    assert_eq!(owner, "rolled_back");
    let listed = said("schedule", 0);
    let mut lines = listed.lines();
    let squeezed = |line: Option<&str>| line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(lines.next()), "environment service when last next");
    assert_eq!(squeezed(lines.next()), "prod web @daily (Europe/Berlin) <time>: v1.1.0: rolled back <time>");
    assert_eq!(
        lines.next().unwrap(),
        "  ! web in prod: v1.1.0 (<digest>) failed at <time>: gate failed: gate \"smoke\" failed: GET /metrics through \
         builtin on local: 500, wanted 2xx, 2 times; it is not tried again until its tag means something else; to \
         deploy it all the same: `lockgate --env prod deploy web v1.1.0`"
    );
    assert_eq!(lines.next(), None, "{listed}");
}

/// System A had `0 5 * * *` in its crontab.
#[test]
fn init_takes_over_the_daily_schedule_of_a_service_list_and_prints_its_line() {
    let project = Project::empty();
    std::fs::write(
        project.path("services.yaml"),
        "services:\n  web: { test_url: https://test.example.com }\n",
    )
    .unwrap();
    let ran = project.run("init --import services.yaml").expect(0).says(&["crontab -e"]);
    let line = ran.stderr.lines().last().unwrap();
    let wanted = format!(" -c {}/lockgate.yaml run-schedule --log", project.root().display());
    assert!(line.starts_with("0 5 * * * /") && line.ends_with(&wanted), "{line}");
    let printed = project.run("schedule --crontab").expect(0).stdout;
    assert_eq!(printed.trim_end(), line);
    project.run("schedule").expect(0).says(&["prod", "web", "0 5 * * *", "none yet"]);
}

#[test]
fn a_folder_without_a_schedule_says_how_to_write_one() {
    let project = Project::new();
    project
        .run("schedule")
        .expect(2)
        .says(&["there is no schedule", "cron: \"0 5 * * *\", deploy: latest-semver"]);
    project.run("run-schedule").expect(2).says(&["there is no schedule"]);
    assert!(!project.path("m1/.lockgate").exists(), "who only asks leaves nothing behind");
}
