//! The registry has a bad day: it is slow, silent, locked, down, or does not have the tag. A clear error in bounded
//! time, and nothing was changed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::a::here::{Here, RELOADS};
use crate::support::double::{Double, Manner};
use crate::support::load::{Load, User};
use crate::support::project::{self, Running};
use crate::support::wait_for;

/// A registry is waited for half a minute; the rest is for a busy machine.
const REFUSED_SECONDS_MAX: u64 = 45;

const LOCKED: Manner = Manner::Answers("401 Unauthorized\r\nwww-authenticate: Basic realm=\"test\"", "");
const BROKEN: Manner = Manner::Answers("503 Service Unavailable", "");

#[test]
fn a_registry_that_cannot_answer_is_said_in_bounded_time_and_nothing_is_changed() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    let before = here.world();
    let load = Load::start(here.port, &[User::Get]);

    // In the background, because this takes its half minute: nothing but looking goes on meanwhile.
    let silent = Double::start(Manner::Silent);
    let began = Instant::now();
    let slow = Running::start(here.command_asking(&silent.address, "plan web v2"));

    let locked = Double::start(LOCKED);
    let broken = Double::start(BROKEN);
    let nobody = "127.0.0.1:1";
    let refusals: [(&str, &[&str]); 3] = [
        (&locked.address, &["unauthorized", "docker login", &locked.address]),
        (&broken.address, &[&broken.address, "hint"]),
        (nobody, &["unreachable", "connection refused", nobody, "hint"]),
    ];
    for (registry, wanted) in refusals {
        project::run(here.command_asking(registry, "deploy web v2")).expect(1).says(wanted);
        assert_eq!(here.world(), before, "{registry}");
    }
    here.run("deploy web v9").expect(1).says(&["not found", "web:v9", "check the tag"]);
    assert_eq!(here.world(), before);

    // Somebody who does not want to wait need not.
    let running = Running::start(here.command_asking(&silent.address, "deploy web v2"));
    wait_for("the lease to be taken", 10, || here.run("status web").stdout.contains("at work").then_some(()));
    let interrupted = Instant::now();
    running.signal(Signal::INT);
    running.end().expect(1).says(&["interrupted by the user", "nothing was changed"]);
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
    assert_eq!(here.world(), before);

    let slow = slow.end().expect(1).says(&[&silent.address, "hint"]);
    // Whether the engine gives up first or we do depends on the engine's version.
    assert!(slow.stderr.contains("timed out") || slow.stderr.contains("unreachable"), "{slow}");
    assert!(began.elapsed() < Duration::from_secs(REFUSED_SECONDS_MAX), "{:?}", began.elapsed());
    assert_eq!(here.world(), before);
    here.run("deploy web v2").expect(0);
    load.expect_no_failure_but_of_reloads(RELOADS);
    here.expect_settled("v2");
}

#[test]
fn ctrl_c_while_an_image_is_pulled_ends_at_once_and_changes_nothing() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    let before = here.world();
    let running = Running::start(here.command("deploy web slow --format json"));
    here.wait_until_begun(&running, "fetch");
    here.signal_registry(Signal::STOP);
    let interrupted = Instant::now();
    running.signal(Signal::INT);
    let ran = running.end().expect(1);
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
    assert!(ran.stdout.contains("interrupted by the user"), "{ran}");
    assert_eq!(here.world(), before);
    here.signal_registry(Signal::CONT);
    here.run("deploy web slow").expect(0);
    here.expect_settled("slow");
}

#[test]
fn a_rollback_to_an_image_that_was_removed_fetches_it_again_or_changes_nothing() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    here.run("deploy web v2").expect(0);
    let load = Load::start(here.port, &[User::Get]);
    // Somebody cleans up: the stopped container and the image of the release before.
    let remove_what_is_not_live = || {
        here.docker(&["container", "prune", "-f"]);
        here.docker(&["image", "prune", "-a", "-f"]);
        let images = here.docker(&["images", "--no-trunc", "--quiet"]);
        let left: std::collections::BTreeSet<&str> = images.lines().collect();
        assert_eq!(left.len(), 1, "{images}");
    };
    remove_what_is_not_live();
    here.run("rollback web").expect(0);
    here.expect_settled("v1");

    remove_what_is_not_live();
    here.registry_down();
    let before = here.world();
    // By its name, for it was rejected by the rollback from it.
    here.run("rollback web v2").expect(1).says(&[&here.registry, "hint", "is still live", "v1"]);
    assert_eq!(here.world(), before);
    load.expect_no_failure_but_of_reloads(RELOADS);
    here.expect_settled("v1");
}
