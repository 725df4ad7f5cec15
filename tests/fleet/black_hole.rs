//! A host from which nothing comes any more, in the middle of a deployment.

use std::time::{Duration, Instant};

use crate::fleet::hosts::Fleet;
use crate::support::wait_for;

/// The host is given up 5 s after it fell silent; the rest is for a busy machine.
const OTHERS_BACK_SECONDS_MAX: u64 = 15;
/// Undoing is tried on the silent host for a while as well.
const COMMAND_SECONDS_MAX: u64 = 35;

#[test]
fn the_others_are_put_back_within_seconds_of_a_host_falling_silent() {
    let Some(fleet) = Fleet::start(3) else { return };
    fleet.run("deploy web v1").expect(0);
    fleet.close_gate();
    let running = fleet.start_and_wait_at_gate("v2");
    fleet.expect_live(&[0, 1, 2], "v2");
    let fell_silent = Instant::now();
    fleet.drops("-A", 1);
    for index in [0, 2] {
        wait_for("the others to be put back", OTHERS_BACK_SECONDS_MAX, || {
            (fleet.hosts[index].serves().as_deref() == Some("v1")).then_some(())
        });
    }
    let back = fell_silent.elapsed();
    assert!(back < Duration::from_secs(OTHERS_BACK_SECONDS_MAX), "the others were back after {back:?}");
    let ran = running.end().expect(4).says(&["web2", "does not answer any more", "not undone"]);
    let ended = fell_silent.elapsed();
    assert!(ended < Duration::from_secs(COMMAND_SECONDS_MAX), "after {ended:?}:\n{ran}");
    eprintln!("others back after {back:?}, the command ended after {ended:?}");

    // The network mends, and one command puts all in order.
    fleet.drops("-D", 1);
    fleet.open_gate();
    fleet.run("resume").expect(3);
    fleet.expect_live(&[0, 1, 2], "v1");
    fleet.status(0);
}
