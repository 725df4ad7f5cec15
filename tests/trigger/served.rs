//! Against a real `lockgate serve`, with TLS.

use lockgate_model::Exit;
use rustix::process::Signal;

use super::site::{ABSENT, BAD, NEWER, OLDER, Site};
use super::{SECRET, trigger};
use crate::support::project::{Running, Setup, run};

#[test]
fn a_deployment_is_seen_from_ci_to_its_end() {
    let site = Site::with(Setup::default());
    let said = site.trigger(NEWER, "--committed-at 2026-11-27T06:40:00Z").expect(0);
    let said = said.says(&["accepted as run ", "switch traffic to ", "succeeded after ", "✓ "]);
    assert!(said.stdout.starts_with(&format!("succeeded: {NEWER} (")), "{said}");
    site.project.expect_live(NEWER);

    let again = site.trigger(NEWER, "--format json --committed-at 2026-11-27T06:40:00Z").expect(0);
    let last = again.last();
    assert_eq!((&last["event"], &last["status"]), (&"answer".into(), &"live_already".into()), "{again}");

    let older = "--committed-at 2026-11-20T06:40:00Z";
    site.trigger(OLDER, older).expect(Exit::Failed.code().into()).says(&["refused: nothing was changed"]);
    site.project.expect_live(NEWER);
    site.trigger(OLDER, &format!("{older} --force")).expect(0);
    site.project.expect_live(OLDER);
}

#[test]
fn what_the_daemon_refuses_is_told_in_its_words() {
    let site = Site::with(Setup::default());
    site.project.release(BAD, "HEALTH_STATUS=500");
    site.trigger(NEWER, "").expect(0);
    site.trigger(ABSENT, "")
        .expect(Exit::Failed.code().into())
        .says(&["failed: nothing was changed", ABSENT]);
    site.trigger(NEWER, "--service api")
        .expect(Exit::Usage.code().into())
        .says(&["refused: nothing was changed"]);
    let mut forged = site.call(NEWER, "");
    forged.env("WEBHOOK_SECRET", "another-secret-of-somebody");
    run(forged).expect(Exit::Usage.code().into()).says(&["unauthorized"]);
    let url = site.url();
    let untrusted = trigger(site.project.root(), &[&url, "--sha", NEWER], &[("WEBHOOK_SECRET", SECRET)]);
    run(untrusted)
        .expect(Exit::Failed.code().into())
        .says(&["does not trust its certificate", "--cacert FILE"]);
    site.project.expect_live(NEWER);
}

#[test]
fn a_release_that_fails_its_smoke_check_is_rolled_back_and_ci_says_why() {
    let site = Site::with(Setup::default());
    site.trigger(NEWER, "").expect(0);
    site.project.release(BAD, "FAIL_PATHS=/metrics");
    let page = site.project.path("page");
    let mut command = site.call(BAD, "--service web");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    let said = run(command).expect(Exit::RolledBack.code().into());
    let annotation = said.stderr.lines().last().unwrap();
    assert!(annotation.starts_with("::error title=Deploy web%3A rolled back::"), "{said}");
    let said = said.says(&["rolled back", "/metrics", "500"]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("is not live, the release from before is") && page.contains("/metrics"),
        "{said}{page}"
    );
    site.project.expect_live(NEWER);
}

#[test]
fn a_daemon_that_is_killed_loses_no_run_and_ci_comes_back_to_it() {
    run_goes_on_with_the_next(Signal::KILL);
}

/// Also by who does not wait: the run is theirs.
#[test]
fn a_daemon_that_is_stopped_leaves_the_run_and_ci_follows_it_to_the_next() {
    run_goes_on_with_the_next(Signal::TERM);
}

fn run_goes_on_with_the_next(signal: Signal) {
    let gate = "[{ name: wait, command: \"ROOT/gate\" }]".to_owned();
    let mut site = Site::with(Setup { before: gate, ..Setup::default() });
    site.project.script(
        "gate",
        &format!(
            "#!/bin/sh\n: > {root}/at-gate-$LOCKGATE_TAG\ni=0\nwhile [ ! -e {root}/open ] && [ $i -lt 1500 ]\ndo sleep 0.02; i=$((i+1)); done\n[ -e {root}/open ]\n",
            root = site.project.root().display()
        ),
    );
    let call = Running::start(site.call(NEWER, "--format json"));
    site.project.wait_at_gate(NEWER);
    call.wait_until_printed("accepted as run ");
    let daemon = site.daemon.take().unwrap();
    daemon.signal(signal);
    daemon.end();
    call.wait_until_printed("; again in ");
    site.project.open_gate();
    site.serve();
    let ended = call.end().expect(0);
    let runs: std::collections::BTreeSet<String> =
        ended.lines().iter().filter_map(|line| Some(line["run"].as_str()?.to_owned())).collect();
    assert_eq!(ended.last()["status"], "deployed", "{ended}");
    assert_eq!(runs.len(), 1, "one run, from its beginning to its end: {ended}");
    site.project.expect_live(NEWER);
}
