//! SIGKILL after every line of output: whoever comes next finishes or undoes it, and nobody outside notices (P1, P4).

use std::time::Duration;

use crate::support::cut::cut;
use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup};

/// A run has fewer lines than this.
const LINES_MAX: usize = 60;
/// A deployment of these tests takes about as long as all of these together.
const MOMENTS: u32 = 20;
const MOMENT_MILLIS: u32 = 9;

fn quick() -> Setup {
    Setup {
        after: "[{ name: smoke, http: { samples: 1, paths: [/metrics] } }]".into(),
        before: "[{ name: unit, command: \"true\" }]".into(),
        ..Setup::default()
    }
}

/// Alternates, so that every deployment is one of a release that is not live.
fn other(tag: &str) -> &'static str {
    if tag == "v1" { "v2" } else { "v1" }
}

fn live(project: &Project) -> String {
    project.ask("/").release().to_owned()
}

/// Kills `deploy` after each of its lines in turn and lets `next` go on. Ends when a deployment came to its end.
fn after_every_line(project: &Project, next: impl Fn(&Project, &str)) {
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    for after in 0..LINES_MAX {
        let tag = other(&live(project));
        let cut = cut(project.command(["deploy", "web", tag, "--format", "json"]), after);
        if !cut.killed {
            assert!(after > 20, "a deployment has more than {after} lines");
            load.expect_no_failure();
            project.expect_settled(tag);
            let history = project.run("history -n 100").expect(0).stdout;
            assert!(!history.contains("unfinished"), "{history}");
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        next(project, tag);
    }
    panic!("a deployment has more than {LINES_MAX} lines");
}

/// Who types it again wants to go back from what is live, not to have it back.
#[test]
fn a_rollback_that_was_cut_off_is_finished_when_it_is_typed_again() {
    let project = Project::new();
    for after in 0..LINES_MAX {
        project.deploy("v1");
        project.deploy("v2");
        let cut = cut(project.command(["rollback", "web", "--format", "json"]), after);
        if !cut.killed || cut.last().contains("run_ended") {
            assert!(after > 10, "a rollback has more than {after} lines");
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        project.run("rollback web").expect(0);
        project.expect_settled("v1");
    }
    panic!("a rollback has more than {LINES_MAX} lines");
}

#[test]
fn a_killed_deployment_is_finished_by_resume() {
    let project = Project::with(&quick());
    after_every_line(&project, |project, _| {
        project.run("resume").expect(0);
        let live = live(project);
        project.expect_settled(&live);
    });
}

#[test]
fn a_killed_deployment_is_finished_by_the_next_one() {
    let project = Project::with(&quick());
    after_every_line(&project, |project, tag| {
        project.run(&format!("deploy web {tag}")).expect(0);
        project.expect_settled(tag);
    });
}

#[test]
fn a_killed_deployment_is_finished_from_another_machine() {
    let project = Project::with(&quick());
    after_every_line(&project, |project, _| {
        project.run_on("m2", "resume").expect(0);
        let live = live(project);
        project.expect_settled(&live);
    });
}

#[test]
fn a_killed_deployment_is_finished_without_a_journal() {
    let project = Project::with(&quick());
    after_every_line(&project, |project, tag| {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            drop(std::fs::remove_file(project.path("m1/.lockgate").join(name)));
        }
        project.run(&format!("deploy web {tag}")).expect(0);
        project.expect_settled(tag);
    });
}

#[test]
fn a_resume_that_is_killed_too_is_resumed() {
    let project = Project::with(&quick());
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    // Both far apart, so that early, middle and late kills meet one another.
    for after in (1..24).step_by(4) {
        let tag = other(&live(&project));
        let first = cut(project.command(["deploy", "web", tag, "--format", "json"]), after);
        for (again, machine) in [(2, "m1"), (5, "m2"), (9, "m1")] {
            let second = cut(project.command_on(machine, ["resume", "--format", "json"]), again);
            eprintln!("killed after {after}: {}\n  and again after {again}: {}", first.last(), second.last());
        }
        project.run_on("m2", "resume").expect(0);
        let live = live(&project);
        project.expect_settled(&live);
    }
    load.expect_no_failure();
    // The first machine learns how its runs ended.
    project.run("resume").expect(0);
    let history = project.run("history -n 100").expect(0).stdout;
    assert!(!history.contains("unfinished"), "{history}");
}

#[test]
fn a_rollback_that_is_killed_is_brought_to_its_end() {
    let project = Project::with(&quick());
    project.release("bad", "FAIL_PATHS=/metrics");
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    for after in 10..LINES_MAX {
        let cut = cut(project.command(["deploy", "web", "bad", "--format", "json"]), after);
        if !cut.killed {
            load.expect_no_failure();
            project.expect_settled("v1");
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        let ran = project.run("resume");
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran}");
        project.expect_settled("v1");
    }
    panic!("it has more than {LINES_MAX} lines");
}

#[test]
fn a_rollback_brings_back_what_was_live_wherever_the_deployment_was_cut_off() {
    let project = Project::with(&quick());
    project.release("v3", "");
    for tag in ["v1", "v2"] {
        project.deploy(tag);
    }
    let load = Load::start(project.port, &[User::Get]);
    // From the first step on: before it there is nothing to go back from but v2.
    for after in 5..LINES_MAX {
        let cut = cut(project.command(["deploy", "web", "v3", "--format", "json"]), after);
        eprintln!("killed after line {after}: {}", cut.last());
        let machine = if after % 2 == 0 { "m1" } else { "m2" };
        project.run_on(machine, "rollback web").expect(0);
        project.expect_settled("v2");
        if !cut.killed {
            load.expect_no_failure();
            return;
        }
    }
    panic!("it has more than {LINES_MAX} lines");
}

#[test]
fn a_run_that_another_project_left_in_the_same_place_is_not_touched() {
    let project = Project::with(&quick());
    project.deploy("v1");
    let cut = cut(project.command(["deploy", "web", "v2", "--format", "json"]), 12);
    assert!(cut.killed);
    for machine in ["m1", "m2"] {
        let status =
            project.run_on(machine, "status").expect(1).says(&["was left unfinished", "lockgate resume"]);
        assert!(!status.stdout.contains("at work"), "{status}");
        let said = project.run_on(machine, "status web --format json").expect(1).last();
        assert_eq!(said["status"], "unfinished", "no word is greener than the exit code: {said:#}");
        let resume = "`lockgate --env prod resume web` finishes or undoes it";
        project.run_on(machine, "doctor").expect(0).says(&[
            "! unfinished run",
            "was left unfinished",
            resume,
        ]);
    }
    let path = project.path("m2").join("lockgate.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("project: shop", "project: other")).unwrap();
    for command in ["resume", "deploy web v1", "rollback web"] {
        project.run_on("m2", command).expect(1).says(&["of web in prod", "project shop", "hint"]);
    }
    project.run("resume").expect(0);
    project.expect_settled("v2");
    let status = project.run("status").expect(0);
    assert!(!status.stdout.contains("unfinished"), "{status}");
}

#[test]
fn a_deployment_that_is_killed_at_any_moment_is_finished_by_anybody() {
    let project = Project::with(&quick());
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    for moment in 0..MOMENTS {
        let tag = other(&live(&project));
        let running = project.start(&format!("deploy web {tag}"));
        std::thread::sleep(Duration::from_millis(u64::from(moment * MOMENT_MILLIS)));
        // Between two lines, wherever it is.
        drop(running);
        match moment % 3 {
            0 => drop(project.run("resume").expect(0)),
            1 => drop(project.run_on("m2", "resume").expect(0)),
            _ => drop(project.run_on("m2", &format!("deploy web {tag}")).expect(0)),
        }
        let live = live(&project);
        project.expect_settled(&live);
    }
    load.expect_no_failure();
}
