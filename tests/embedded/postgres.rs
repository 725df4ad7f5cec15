//! A store that several machines share: history, and its bad days. The world is not touched, or put back.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::load::{Load, User};
use crate::support::postgres::Postgres;
use crate::support::project::{Project, Setup, Waits};

/// In the URL; on its socket the server asks nobody for it.
const PASSWORD: &str = "hunter2-and-a-half";
/// A run is turned back for want of its journal within this, for users wait for it.
const TURNED_BACK_SECONDS_MAX: u64 = 30;

/// The line for the configuration's end.
fn state(postgres: &Postgres) -> String {
    let url = postgres.url("lockgate").replacen("lockgate@", &format!("lockgate:{PASSWORD}@"), 1);
    format!("state: {url}\n")
}

#[test]
fn machines_that_share_a_database_have_one_history_and_its_password_is_told_nowhere() {
    let Some(postgres) = Postgres::start() else { return };
    let project = Project::with(&Setup { end: state(&postgres), ..Setup::default() });
    project.run("history").expect(0).says(&["no run of this project is in its journal"]);
    let first = project.run("deploy web v1 -vv").expect(0);
    let second = project.run_on("m2", "deploy web v2 --format json").expect(0);
    project.expect_settled("v2");
    for machine in ["m1", "m2"] {
        let runs = project.run_on(machine, "history --format json").expect(0).lines();
        let tags: Vec<_> = runs.iter().map(|run| run["release"]["tag"].as_str().unwrap()).collect();
        assert_eq!(tags, ["v2", "v1"]);
        assert!(runs.iter().all(|run| run["project"] == "shop"), "{runs:#?}");
        assert!(!project.path(machine).join(".lockgate/journal.db").exists());
    }
    // Page by page, by bytes, by environment.
    let newest = project.run("history -n 1").expect(0).says(&["v2", "older ones: add `--before "]);
    let before = newest.stderr.split("--before ").nth(1).unwrap().split('`').next().unwrap();
    let page = project.run(&format!("history -n 1 --before {before} --format json")).expect(0).lines();
    assert_eq!(page[0]["release"]["tag"], "v1");
    let digest = page[0]["release"]["digest"].as_str().unwrap();
    assert_eq!(project.run(&format!("history --digest {digest} --format json")).expect(0).lines().len(), 1);
    assert_eq!(project.run("history --env prod --format json").expect(0).lines().len(), 2);
    project.run("history --env nowhere").expect(2).says(&["no environment", "hint"]);
    project.run("history --digest v1").expect(2).says(&["a digest is", "hint"]);
    project.run("history --before yesterday").expect(2).says(&["no run's id", "hint"]);

    let doctor = project.run("doctor -v").expect(0).says(&["store", "answers"]);
    for ran in [&first, &second, &doctor] {
        assert!(!ran.to_string().contains(PASSWORD), "{ran}");
    }
    let journal = postgres.psql("lockgate", "SELECT string_agg(kind, '') FROM lockgate.events");
    assert!(journal.contains("run_started") && !journal.contains(PASSWORD));
    let live = postgres.psql("lockgate", "SELECT count(*) FROM lockgate.presence WHERE until IS NULL");
    assert_eq!(live, "1");
}

#[test]
fn a_database_that_is_gone_stops_a_deployment_before_it_begins() {
    let Some(mut postgres) = Postgres::start() else { return };
    let project = Project::with(&Setup { end: state(&postgres), ..Setup::default() });
    project.deploy("v1");
    postgres.stop(Signal::INT);
    for command in ["deploy web v2", "history", "doctor"] {
        let ran = project.run(command).expect(1).says(&["postgres:///lockgate", "PostgreSQL runs there"]);
        assert!(!ran.to_string().contains(PASSWORD), "{ran}");
    }
    // The hosts are the truth.
    project.expect_settled("v1");
    postgres.serve();
    project.deploy("v2");
    project.expect_settled("v2");
}

#[test]
fn a_database_that_goes_away_in_a_run_turns_it_back_and_a_short_restart_does_not() {
    let Some(mut postgres) = Postgres::start() else { return };
    let project = Project::waiting_with(Waits::AfterSwitch, state(&postgres));
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    postgres.stop(Signal::QUIT);
    project.open_gate();
    let start = Instant::now();
    let ran = running.end().expect(3).says(&["postgres:///lockgate", "PostgreSQL runs there"]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(TURNED_BACK_SECONDS_MAX), "{took:?}:\n{ran}");
    project.expect_settled("v1");
    postgres.serve();

    // One that is back in time is as if it had not been away.
    std::fs::remove_file(project.path("open")).unwrap();
    let running = project.start("deploy web v3");
    project.wait_at_gate("v3");
    postgres.stop(Signal::INT);
    project.open_gate();
    postgres.serve();
    running.end().expect(0);
    load.expect_no_failure();
    project.expect_settled("v3");
    let history = project.run("history").expect(0).stdout;
    assert!(!history.contains("unfinished"), "{history}");
}
