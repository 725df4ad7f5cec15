//! Programs of the user's that run once in a deployment: migrations.

use crate::support::project::{Project, Setup};
use crate::support::{processes, wait_for};

const SECRET: &str = "s3cret-0ne";

fn hooks(keys: &str) -> Setup {
    Setup { service: format!("    env: {{ TOKEN: {SECRET} }}\n{keys}"), ..Setup::default() }
}

/// `migrate` writes a line for each time that it is begun, and does `then`.
fn migrate(project: &Project, then: &str) {
    let root = project.root().display();
    project.script(
        "migrate",
        &format!("#!/bin/sh\necho \"$LOCKGATE_TAG $1 $TOKEN\" >>{root}/begun\necho \"migrating with $TOKEN\"\n{then}\n"),
    );
}

fn begun(project: &Project) -> Vec<String> {
    let text = std::fs::read_to_string(project.path("begun")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const BEFORE: &str = "    before_switch: \"./migrate 'to {tag}'\"\n";

#[test]
fn a_migration_runs_once_before_the_switch_and_what_it_says_is_told_without_secrets() {
    let project = Project::with(&hooks(BEFORE));
    migrate(&project, "");
    let plan = project.run("plan web v1").expect(0).to_string();
    assert!(plan.contains("before_switch: run `./migrate to {tag}` in v1, once (up to 10m)"), "{plan}");
    let ran = project.run("deploy web v1").expect(0);
    let ran = ran.says(&["| migrating with ***"]);
    assert!(!ran.to_string().contains(SECRET), "{ran}");
    assert_eq!(begun(&project), [format!("v1 to v1 {SECRET}")]);
    project.deploy("v2");
    project.expect_settled("v2");
    assert_eq!(begun(&project).len(), 2, "once in each deployment");
    project.deploy("v2");
    project.run("rollback web").expect(0);
    assert_eq!(begun(&project).len(), 2, "what is live is not deployed, and nobody's data goes back");
    let journal = std::fs::read(project.path("m1/.lockgate/journal.db")).unwrap();
    let has = |text: &str| journal.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("migrating with ***"), "its words are kept with the run");
    assert!(!has(SECRET));
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let project = Project::with(&hooks(BEFORE));
    migrate(&project, "");
    project.deploy("v1");
    migrate(&project, "echo 'no such column' >&2; exit 3");
    let ran = project.run("deploy web v2").expect(1);
    ran.says(&["hook failed", "ended with exit code 3", "no such column", "nothing was changed"]);
    project.expect_settled("v1");
    assert_eq!(begun(&project).len(), 2);
    let left = processes::below(project.root()).into_iter().any(|process| process.runs("migrate"));
    assert!(!left, "nothing of it is left");
}

#[test]
fn a_migration_that_takes_too_long_is_ended() {
    let project = Project::with(&hooks("    before_switch: { run: ./migrate, timeout: 2s }\n"));
    migrate(&project, "");
    project.deploy("v1");
    migrate(&project, "exec sleep 300");
    project.run("deploy web v2").expect(1).says(&["took longer than 2s and was ended"]);
    project.expect_settled("v1");
    let sleeps = || processes::below(project.root()).into_iter().any(|process| process.runs("sleep"));
    assert!(!sleeps());
}

#[test]
fn ctrl_c_ends_a_migration_and_changes_nothing() {
    let project = Project::with(&hooks(BEFORE));
    migrate(&project, "");
    project.deploy("v1");
    migrate(&project, "exec sleep 300");
    let running = project.start("deploy web v2");
    let sleeps = || processes::below(project.root()).into_iter().any(|process| process.runs("sleep"));
    wait_for("the migration", 30, || sleeps().then_some(()));
    running.signal(rustix::process::Signal::INT);
    running.end().expect(1).says(&["interrupted by the user"]);
    assert!(!sleeps());
    project.expect_settled("v1");
}

/// The one who deploys is killed in the middle of it, and the next one waits for it.
#[test]
fn a_migration_outlives_who_began_it_and_is_waited_for() {
    let project = Project::with(&hooks(BEFORE));
    migrate(&project, "");
    project.deploy("v1");
    let root = project.root().display().to_string();
    migrate(&project, &format!("while [ ! -e {root}/open ]; do sleep 0.02; done; echo done"));
    let mut running = project.command(["deploy", "web", "v2"]).spawn().unwrap();
    wait_for("the migration", 30, || (begun(&project).len() == 2).then_some(()));
    running.kill().unwrap();
    running.wait().unwrap();
    let resumed = project.start("resume web");
    project.open_gate();
    resumed.end().expect(0);
    project.expect_settled("v2");
    assert_eq!(begun(&project).len(), 2);
}

/// It is killed as well: nobody knows how far it came.
#[test]
fn a_migration_that_may_have_run_in_part_is_not_run_again_unless_it_may_be() {
    for (repeat, live, times) in [(false, "v1", 2), (true, "v2", 3)] {
        let keys = format!("    before_switch: {{ run: \"./migrate 'to {{tag}}'\", repeat: {repeat} }}\n");
        let project = Project::with(&hooks(&keys));
        migrate(&project, "");
        project.deploy("v1");
        migrate(&project, &format!("[ -e {}/open ] || exec sleep 300", project.root().display()));
        let mut running = project.command(["deploy", "web", "v2"]).spawn().unwrap();
        let its =
            |name: &str| processes::below(project.root()).into_iter().find(|process| process.runs(name));
        let sleeps = wait_for("the migration", 30, || its("sleep"));
        running.kill().unwrap();
        running.wait().unwrap();
        // With who keeps it, as when the power fails.
        let group = format!("-{}", group_of(sleeps.pid));
        std::process::Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        wait_for("its end", 30, || its("sleep").is_none().then_some(()));
        project.open_gate();
        let resumed = project.run("resume web");
        if !repeat {
            resumed.says(&[
                "may have run in part",
                "it is not run again by itself unless `repeat: true`",
                "deploy web v2",
            ]);
        }
        assert_eq!(begun(&project).len(), times);
        project.expect_settled(live);
        project.deploy("v2");
        project.expect_settled("v2");
    }
}

/// The process group, which is field 5 of `/proc/PID/stat`.
fn group_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn what_comes_behind_the_switch_takes_the_deployment_back_or_only_warns() {
    for (on_failure, code, live) in [("undo", 3, "v1"), ("warn", 0, "v2")] {
        let keys = format!("    after_switch: {{ run: ./migrate, on_failure: {on_failure} }}\n");
        let project = Project::with(&hooks(&keys));
        migrate(&project, "");
        project.deploy("v1");
        migrate(&project, "exit 9");
        let ran = project.run("deploy web v2").expect(code);
        ran.says(&["ended with exit code 9"]);
        project.expect_settled(live);
    }
}
