//! Ctrl-C: once undoes, twice leaves it to `resume`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::http;
use crate::support::load::{Load, User};
use crate::support::processes;
use crate::support::project::{DRAIN_BEGINS, Project, Running, Setup, Waits};

#[test]
fn ctrl_c_while_waiting_for_health_changes_nothing() {
    let project = Project::with(&Setup { health: "{ timeout: 40s }", ..Setup::default() });
    project.release("bad", "UNHEALTHY=1");
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web bad");
    crate::support::wait_for("the new app to run", 20, || (project.apps().len() == 2).then_some(()));
    let began = Instant::now();
    running.signal(Signal::INT);
    running.end().expect(1).says(&["cancelled: interrupted by the user", "nothing was changed"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    load.expect_no_failure();
    project.expect_settled("v1");
}

#[test]
fn ctrl_c_after_the_switch_brings_the_old_release_back() {
    let project = Project::waiting(Waits::AfterSwitch);
    let load = Load::start(project.port, &[User::Get]);
    for signal in [Signal::INT, Signal::TERM] {
        let running = project.start("deploy web v2 --format json");
        project.wait_at_gate("v2");
        assert_eq!(project.ask("/").release(), "v2");
        running.signal(signal);
        let ran = running.end().expect(3);
        assert_eq!(ran.last()["result"]["outcome"], "rolled_back", "{ran}");
        project.expect_settled("v1");
        let left: Vec<_> =
            processes::below(project.root()).into_iter().filter(|one| one.runs("sh")).collect();
        assert!(left.is_empty(), "the gate's program goes on: {left:#?}");
        std::fs::remove_file(project.path("at-gate-v2")).unwrap();
    }
    load.expect_no_failure();
}

#[test]
fn a_second_ctrl_c_leaves_it_to_resume() {
    let project = Project::with(&Setup { health: "{ timeout: 40s }", ..Setup::default() });
    // Stopping it takes the whole grace, which is when the second one comes.
    project.release("bad", "UNHEALTHY=1 IGNORE_TERM=1");
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web bad --format json");
    crate::support::wait_for("the new app to run", 20, || (project.apps().len() == 2).then_some(()));
    running.signal(Signal::INT);
    running.wait_until_printed("undo_started");
    running.signal(Signal::INT);
    let ran = running.end().expect(4);
    assert!(ran.stdout.contains("left as it is"), "{ran}");
    let result = ran.last();
    assert_eq!((&result["event"], &result["exit"]), (&"result".into(), &4.into()), "{result:#}");
    assert_eq!(result["result"]["outcome"], "abandoned", "{result:#}");
    assert_eq!(result["result"]["live"]["local"], "blue", "{result:#}");
    assert_eq!(result["release"]["tag"], "bad", "{result:#}");
    assert!(result["result"]["commands"].to_string().contains("resume web"), "{result:#}");
    assert_eq!(project.lease()["unfinished"]["run"], result["run"], "{result:#}");
    project.run("status").expect(1).says(&["v1", "was left unfinished: type `lockgate resume`"]);
    let status = project.run("status web --format json").expect(1).last();
    assert_eq!((&status["image_tag"], &status["status"]), (&"v1".into(), &"unfinished".into()), "{status:#}");
    assert!(status["notes"].as_str().unwrap().contains("a run was left unfinished"), "{status:#}");
    let ran = project.run("resume");
    // Whether traffic had moved is not known to who takes over, so it may call it either.
    assert!(matches!(ran.code, Some(1 | 3)), "it was undone:\n{ran}");
    load.expect_no_failure();
    project.expect_settled("v1");
}

#[test]
fn a_second_ctrl_c_says_what_is_live_and_what_to_type() {
    let project = Project::with(&Setup { health: "{ timeout: 3s }", ..Setup::default() });
    project.release("bad", "UNHEALTHY=1 IGNORE_TERM=1");
    project.deploy("v1");
    let running = project.start("deploy web bad");
    crate::support::wait_for("the new app to run", 20, || (project.apps().len() == 2).then_some(()));
    running.signal(Signal::INT);
    running.wait_until_printed("Once more leaves it");
    running.signal(Signal::INT);
    running.end().expect(4).says(&[
        "abandoned: web in prod is left as it is",
        "this machine: v1 (",
        ") in blue",
        "type, in this order:",
        "lockgate --env prod resume web",
    ]);
    project.run("resume");
    project.expect_settled("v1");
}

#[test]
fn ctrl_c_while_the_old_slot_drains_goes_back_to_it() {
    let project = Project::new();
    project.deploy("v1");
    let mut slow = http::tcp(project.port).unwrap();
    slow.write("GET", "/slow?ms=4000", &[], b"").unwrap();
    let running = project.start("deploy web v2 --format json");
    running.wait_until_printed(DRAIN_BEGINS);
    running.signal(Signal::INT);
    running.end().expect(3).says(&["interrupted by the user"]);
    assert_eq!(slow.answer().unwrap().release(), "v1");
    project.expect_settled("v1");
}

/// v1 takes its time to stop: that is waited for, and nothing is undone any more.
#[test]
fn ctrl_c_while_tidying_up_keeps_the_new_release() {
    let project = Project::new();
    project.release("stubborn", "IGNORE_TERM=1");
    project.deploy("stubborn");
    let running = project.start("deploy web v2 --format json");
    running.wait_until_printed("\"event\":\"committed\"");
    running.signal(Signal::INT);
    running.end().expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_deployment() {
    let project = Project::new();
    let mut command = project.command(["deploy", "web", "v1", "--format", "json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    project.expect_settled("v1");
}

#[test]
fn ctrl_c_at_any_moment_ends_soon_and_leaves_the_old_release_or_the_new_one() {
    let project = Project::with(&Setup { health: "{ timeout: 40s }", ..Setup::default() });
    project.release("bad", "UNHEALTHY=1");
    project.deploy("v1");
    let load = Load::start(project.port, &[User::Get]);
    for moment in 0..14 {
        let running = project.start("deploy web bad --format json");
        running.wait_until_printed("run_started");
        std::thread::sleep(Duration::from_millis(moment * 5));
        let began = Instant::now();
        running.signal(Signal::INT);
        let ran = running.end().expect(1);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}\n{ran}", began.elapsed());
        assert!(ran.stdout.contains("interrupted by the user"), "{ran}");
        project.expect_settled("v1");
    }
    load.expect_no_failure();
}

#[test]
fn a_terminal_that_goes_away_leaves_the_run_to_resume() {
    let project = Project::waiting(Waits::AfterSwitch);
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2 --format json");
    project.wait_at_gate("v2");
    let began = Instant::now();
    running.signal(Signal::HUP);
    let ran = running.end().expect(4);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}\n{ran}", began.elapsed());
    let result = ran.last();
    assert_eq!((&result["event"], &result["exit"]), (&"result".into(), &4.into()), "{result:#}");
    assert_eq!(result["result"]["outcome"], "abandoned", "{result:#}");
    assert_eq!(project.lease()["unfinished"]["run"], result["run"], "{result:#}");
    assert!(!ran.stdout.contains("unwind_started"), "nobody asked it to turn back: {ran}");
    project.open_gate();
    project.run("resume").expect(0);
    load.expect_no_failure();
    project.expect_settled("v2");
}

#[test]
fn under_nohup_a_deployment_goes_on_without_its_terminal() {
    let project = Project::waiting(Waits::AfterSwitch);
    let typed = project.command(["deploy", "web", "v2"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(typed.get_program()).args(typed.get_args());
    command.current_dir(typed.get_current_dir().unwrap());
    let running = Running::start(command);
    project.wait_at_gate("v2");
    running.signal(Signal::HUP);
    project.open_gate();
    running.end().expect(0);
    project.expect_settled("v2");
}
