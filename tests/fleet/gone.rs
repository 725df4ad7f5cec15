//! A host that is gone for good: the others go on, and it is said that it is behind until it is brought along.

use rustix::process::Signal;

use crate::fleet::hosts::Fleet;

/// The command in backticks that has `part` in it.
fn hint<'t>(said: &'t str, part: &str) -> &'t str {
    let commands = said.split('`').skip(1).step_by(2);
    commands
        .into_iter()
        .find(|command| command.contains(part))
        .unwrap_or_else(|| panic!("no {part:?} in {said}"))
}

/// v1 is live; the deployment of v2 is killed after the switch, and then the host at `lost` loses its power.
fn crash_and_lose(lost: usize) -> Option<Fleet> {
    let mut fleet = Fleet::start(3)?;
    fleet.run("deploy web v1").expect(0);
    fleet.close_gate();
    let running = fleet.start_and_wait_at_gate("v2");
    fleet.expect_live(&[0, 1, 2], "v2");
    running.signal(Signal::KILL);
    drop(running);
    fleet.power_off(lost);
    fleet.open_gate();
    Some(fleet)
}

fn others(lost: usize) -> Vec<usize> {
    (0..3).filter(|index| *index != lost).collect()
}

#[test]
fn resume_goes_on_without_a_host_that_is_gone_and_the_next_deployment_brings_it_along() {
    // The first by name is the one that decides between two callers.
    let lost = 0;
    let Some(mut fleet) = crash_and_lose(lost) else { return };
    let resumed = fleet.run_on("m2", "resume").expect(1).says(&[
        "brought to its end: rolled_back",
        "it cannot be said of web1 how far it got there",
        "not all is well",
        "web1 is behind: run",
        "went on without it",
    ]);
    fleet.expect_live(&others(lost), "v1");
    let along = hint(&resumed.stdout, "deploy web v1");
    assert_eq!(along, "lockgate --env prod deploy web v1");
    let status = fleet.status(1);
    assert_eq!(status["status"], "unwell", "{status:#}");
    assert!(status["behind"]["web1"]["by"].is_string(), "{status:#}");
    // Without a word about the missing host nothing is begun, and what is said works when it is typed.
    let refused = fleet.run("deploy web v3").expect(1).says(&["web1", "to go on without"]);
    fleet.expect_live(&others(lost), "v1");
    let skip = hint(&refused.stderr, "--skip");
    assert_eq!(skip, "lockgate --env prod deploy web v3 --skip web1");
    let ran = fleet.type_hint(skip).expect(0).says(&["behind: web1 (left out)"]);
    fleet.expect_live(&others(lost), "v3");
    fleet.status(1);
    let history = fleet.run("history").expect(0);
    assert!(history.stdout.lines().any(|line| line.contains("v3") && line.contains("web1")), "{history}");
    let told = fleet.run("history --format json").expect(0).lines();
    let left_out = &told[0]["left_out"][0];
    assert_eq!(left_out["hosts"][0], "web1", "{told:#?}");
    assert!(left_out["by"].is_string() && left_out["at"].is_i64(), "{told:#?}");

    // It is back, with what it was in the middle of: that is ended first, though the others are where they should be.
    fleet.power_on(lost);
    fleet.status(1);
    let along = hint(&ran.stdout, "deploy web v3");
    fleet.type_hint(along).expect(0).says(&["first, run", "which had been cut off"]);
    fleet.expect_live(&[0, 1, 2], "v3");
    let status = fleet.status(0);
    assert!(status["behind"].as_object().unwrap().is_empty(), "{status:#}");
}

#[test]
fn a_deployment_or_rollback_after_a_crash_ends_what_was_left_before_it_names_the_missing_host() {
    let lost = 2;
    let Some(fleet) = crash_and_lose(lost) else { return };
    let refused =
        fleet.run("rollback web v1").expect(1).says(&["web3", "was brought to its end on the others"]);
    fleet.expect_live(&others(lost), "v1");
    let skip = hint(&refused.stderr, "--skip");
    assert_eq!(skip, "lockgate --env prod rollback web v1 --skip web3");
    fleet.type_hint(skip).expect(0).says(&["nothing to do"]);
    fleet.run("resume --skip web3").expect(1).says(&["nothing was left unfinished", "web3"]);
    let planned = fleet.run("plan web v2 --skip web3").expect(0);
    assert!(!planned.stdout.contains("web3"), "{planned}");
}
