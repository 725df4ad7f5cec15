//! From one environment to the next: what is live there, once a real Prometheus has seen it healthy for long enough.

use serde_json::Value;

use crate::support::project::{Project, Setup};
use crate::support::prometheus::Prometheus;
use crate::support::wait_for;

/// Above the soak's time, a look each second, and a busy machine.
pub const SOAKED_SECONDS_MAX: u64 = 60;

/// `web` in `prod`, and in `blue`, which takes what has soaked there.
fn shop(soak: &str) -> Project {
    let end = format!(
        r#"  blue:
    from: prod
    strategy: recreate
    runtime: {{ process: {{ dir: "ROOT/blue" }} }}
    before: [{{ soak: {soak} }}]
"#
    );
    Project::with(&Setup { end, ..Setup::default() })
}

/// Four seconds without an error.
pub fn watched_by(prometheus: &Prometheus) -> Project {
    shop(&format!(
        "{{ for: 4s, coverage: 60, prometheus: {{ url: \"{}\", query: shop_errors, max: 0, every: 1s }} }}",
        prometheus.url()
    ))
}

/// What is live in an environment.
fn live(project: &Project, environment: &str) -> Value {
    project.run(&format!("--env {environment} status web --format json")).last()
}

fn wait_until_promoted(project: &Project) -> Vec<Value> {
    wait_for("the promotion", SOAKED_SECONDS_MAX, || {
        let ran = project.run("promote web --format json");
        match ran.code {
            Some(0) => Some(ran.lines()),
            Some(5) => None,
            _ => panic!("neither promoted nor not yet:\n{ran}"),
        }
    })
}

#[test]
fn what_has_soaked_is_promoted_by_its_bytes_and_nothing_comes_around_the_gate() {
    let Some(prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    project.run("promote web").expect(0).says(&["web from prod to blue: nothing is live in prod"]);
    project.run("--env prod deploy web v1").expect(0);
    project.run("promote web").expect(5).says(&["v1", "is held", "it is not live for 4s yet"]);
    project.run("promote web --dry-run").expect(5);
    project.run("promote web --release v2").expect(1).says(&["v2 is not live in prod", "is live there"]);
    project.run("--env blue deploy web v2").expect(2).says(&[
        "what goes live in blue has been live in prod before",
        "lockgate promote web --to blue",
        "--only-swap",
    ]);
    assert!(live(&project, "blue")["image_tag"].is_null());

    let lines = wait_until_promoted(&project);
    let first = &lines[0];
    assert_eq!(
        (&first["promotable"], &first["passed"][0]["gate"]),
        (&"ready".into(), &"soak in prod".into())
    );
    assert_eq!(lines.last().unwrap()["result"]["outcome"], "succeeded", "{lines:#?}");
    let [source, target] = ["prod", "blue"].map(|environment| {
        let status = live(&project, environment);
        let releases = &status["hosts"]["local"]["releases"];
        (status["image_tag"].clone(), releases[0]["digest"].clone())
    });
    assert_eq!(source, target, "the same bytes under the same name");
    project.run("promote web").expect(0).says(&["nothing to do", "is live in both"]);

    // The next one is another release, whose time begins anew.
    project.run("--env prod deploy web v2").expect(0);
    project.run("promote web").expect(5).says(&[
        "v2",
        "is held; v1 (",
        "is live there",
        "it is not live for 4s yet",
    ]);
    let tags = project.run("tags").expect(0);
    let rows: Vec<Vec<&str>> = tags.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["service", "environment", "tag", "digest", "commit", "live", "for", "next"]);
    assert_eq!((rows[1][1], rows[1][2], rows[2][1], rows[2][2]), ("prod", "v2", "blue", "v1"), "{tags}");
    // A rollback there is nothing that a gate of the next one asks.
    project.run("--env prod rollback web").expect(0);
    project.run("promote web").expect(0).says(&["nothing to do"]);
}

#[test]
fn an_error_begins_the_soak_anew_and_a_monitor_that_is_silent_opens_nothing() {
    let Some(mut prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    project.run("--env prod deploy web v1").expect(0);
    prometheus.see(3);
    prometheus.see(0);
    let held = project.run("promote web").expect(5);
    let held = held.says(&["gate \"soak in prod\" failed", "looks are bad, the last of them saw 3"]);
    assert!(held.stdout.contains("ask again at"), "{held}");
    wait_until_promoted(&project);

    project.run("--env prod deploy web v2").expect(0);
    prometheus.kill();
    let soaked = || {
        let ran = project.run("promote web").expect(5).says(&["gate \"soak in prod\" says not yet"]);
        (!ran.stdout.contains("it is not live for")).then_some(())
    };
    wait_for("time to pass", SOAKED_SECONDS_MAX, soaked);
    assert_eq!(live(&project, "blue")["image_tag"], "v1", "no data is no pass");
}

#[test]
fn a_release_that_is_known_by_a_moving_tag_is_not_promoted_and_one_that_was_rejected_only_when_asked_for() {
    let Some(prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    project.release("latest", "");
    project.run("--env prod deploy web latest").expect(0);
    project.run("promote web").expect(1).says(&[
        "latest",
        "known by a tag alone that moves",
        "deploy it under a tag of its own",
    ]);
    project.run("--env prod deploy web v1").expect(0);
    wait_until_promoted(&project);
    project.run("--env prod deploy web v2").expect(0);
    wait_until_promoted(&project);
    project.run("--env blue rollback web").expect(0);
    let held = project.run("promote web").expect(1).says(&["v2", "it was rejected by", "rolled back to v1"]);
    assert!(!held.stdout.contains("ask again at"), "{held}");
    project.run("promote web --again").expect(0).says(&["succeeded"]);
    assert_eq!(live(&project, "blue")["image_tag"], "v2");
}

#[test]
fn a_waived_gate_lets_one_release_pass_and_says_who_wanted_that_and_why() {
    let Some(prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    project.run("--env prod deploy web v1").expect(0);
    let waive = ["promote", "web", "--waive", "soak in prod", "--because", "an exercise"];
    let mut wrong = waive;
    wrong[3] = "scan";
    let run = |args: [&str; 6]| crate::support::project::run(project.command(args));
    run(wrong).expect(2).says(&["no promotion to blue has a gate \"scan\"", "there are: soak in prod"]);
    run(waive).expect(0).says(&["soak in prod: waived by", "an exercise", "succeeded"]);
    // Of the next release nothing was said.
    project.run("--env prod deploy web v2").expect(0);
    project.run("promote web").expect(5).says(&["it is not live for 4s yet"]);
}

#[test]
fn a_schedule_promotes_once_the_gates_are_open_and_says_what_holds_until_then() {
    let Some(prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    let path = project.path("m1/lockgate.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let schedule = "    schedule: { cron: \"* * * * *\", deploy: promoted }\n";
    std::fs::write(&path, text + schedule).unwrap();
    project.run("schedule").expect(0).says(&["blue", "none yet"]);
    project.run("run-schedule --now").expect(0).says(&["nothing is live in prod"]);
    project.run("--env prod deploy web v1").expect(0);
    project.run("run-schedule --now").expect(5).says(&["v1", "is held", "it is not live for 4s yet"]);
    project.run("schedule").expect(0).says(&["v1 is held"]);
    wait_for("the promotion", SOAKED_SECONDS_MAX, || {
        let ran = project.run("run-schedule --now");
        match ran.code {
            Some(0) => Some(ran.says(&["web in blue: v1", "succeeded"])),
            Some(5) => None,
            _ => panic!("neither promoted nor not yet:\n{ran}"),
        }
    });
    assert_eq!(live(&project, "blue")["image_tag"], "v1");
    project.run("run-schedule --now").expect(0).says(&["nothing to do", "is live"]);
    // What was rolled back there does not come back by itself (P9).
    project.run("--env prod deploy web v2").expect(0);
    wait_until_promoted(&project);
    project.run("--env blue rollback web").expect(0);
    project.run("run-schedule --now").expect(0).says(&["v2", "is held", "it was rejected by"]);
    assert_eq!(live(&project, "blue")["image_tag"], "v1");
}
