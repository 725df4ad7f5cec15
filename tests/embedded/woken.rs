//! After a power failure `lockgate serve` brings back what was live on its host, by itself: the proxy, and the release that it
//! sent users to.

use rustix::process::Signal;

use crate::support::http;
use crate::support::project::{Project, Running, Setup, Waits};
use crate::support::wait_for;

/// The proxy, a start and a health check, on a busy machine.
const BACK_SECONDS_MAX: u64 = 30;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn serving() -> String {
    "serve:\n  listen: \"unix:ROOT/serve.sock\"\n  endpoints: { /deploy: { environment: prod, services: [web], secrets: \
                 [\"${WOKEN_SECRET}\"] } }\n"
        .to_owned()
}

/// The machine's power fails: nothing of ours runs any more.
fn power_fails(project: &Project) {
    project.kill_proxy();
    project.apps().iter().for_each(|app| app.signal(Signal::KILL));
    wait_for("the apps to end", 5, || project.apps().is_empty().then_some(()));
}

fn serve(project: &Project) -> Running {
    let mut command = project.command(["serve"]);
    command.env("WOKEN_SECRET", SECRET);
    Running::start(command)
}

#[track_caller]
fn comes_back(project: &Project, daemon: &Running, tag: &str) {
    daemon.wait_until_printed("web in prod: ");
    let answer = http::get(project.port, "/").unwrap();
    assert_eq!((answer.status, answer.release()), (200, tag));
    project.expect_settled(tag);
}

#[test]
fn what_was_live_comes_back_with_the_daemon_and_outlives_it() {
    let project = Project::with(&Setup { end: serving(), ..Setup::default() });
    project.deploy("v1");
    project.deploy("v2");
    power_fails(&project);
    let daemon = serve(&project);
    comes_back(&project, &daemon, "v2");
    let apps: Vec<_> = project.apps().iter().map(|app| app.pid).collect();
    daemon.signal(Signal::TERM);
    daemon.end().expect(0);
    project.expect_settled("v2");
    assert_eq!(project.apps().iter().map(|app| app.pid).collect::<Vec<_>>(), apps);
    // And where all is well it touches nothing.
    let before = project.lease();
    let daemon = serve(&project);
    wait_for("the daemon to answer", BACK_SECONDS_MAX, || {
        let mut client = http::unix(&project.path("serve.sock")).ok()?;
        let answer = client.send("GET", "/readyz", &[("connection", "close")], b"").ok()?;
        (answer.status == 200).then_some(())
    });
    daemon.signal(Signal::TERM);
    daemon.end().expect(0);
    assert_eq!(project.lease(), before);
    assert_eq!(project.apps().iter().map(|app| app.pid).collect::<Vec<_>>(), apps);
}

#[test]
fn a_run_that_the_power_failure_cut_off_is_brought_to_its_end() {
    let project = Project::waiting_with(Waits::AfterSwitch, serving());
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    running.signal(Signal::KILL);
    running.end();
    power_fails(&project);
    project.open_gate();
    let daemon = serve(&project);
    comes_back(&project, &daemon, "v2");
    daemon.signal(Signal::TERM);
    daemon.end().expect(0);
}
