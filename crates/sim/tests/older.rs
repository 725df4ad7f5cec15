//! What the program of 2026-11-26 left on two hosts, its plan in the lease record, is taken up by this one.
//!
//! The records were written by that program, in this very scene. A recipe that has changed since makes another plan, so such
//! a run is taken back and not finished; the assertions then change with it.

use lockgate_model::Slot;
use lockgate_sim::{Beside, Initial, Scene, Story, Told, tell};

macro_rules! left {
    ($name:literal) => {
        vec![
            include_bytes!(concat!("../../perform/tests/older/", $name, ".web1.json")).to_vec(),
            include_bytes!(concat!("../../perform/tests/older/", $name, ".web2.json")).to_vec(),
        ]
    };
}

/// A plain `resume`, then a deployment, each with every check of the world; from a machine that knows nothing of the run.
fn resume(initial: Initial, records: Vec<Vec<u8>>) -> Told {
    let scene = Scene {
        hosts: vec![initial; 2],
        waves: vec![lockgate_model::Wave::Rest],
        records,
        ..Scene::default()
    };
    tell(&Story { seed: 1, scene, turns: Vec::new(), last_machine: 1, mutation: None, come_back: true }, true)
}

fn recovered(name: &str, initial: Initial, records: Vec<Vec<u8>>, end: &str) {
    let told = resume(initial, records);
    assert!(told.violations.is_empty(), "{name}: {:#?}\n{:#?}", told.violations, told.trace);
    assert_eq!(told.ends, [end, "succeeded"], "{name}: {:#?}", told.trace);
}

#[test]
fn a_run_that_an_older_program_left_is_brought_to_its_end() {
    let untouched = Initial::Live(Beside::Stopped);
    recovered("forward", untouched, left!("forward"), "resumed: rolled_back");
    recovered("unwinding", Initial::Switched(Slot::Blue), left!("unwinding"), "resumed: rolled_back");
    recovered("committed", Initial::Switched(Slot::Green), left!("committed"), "resumed: succeeded");
    recovered("stuck", Initial::Switched(Slot::Blue), left!("stuck"), "resumed: rolled_back");
}

#[test]
fn what_an_older_program_brought_to_its_end_stays_so() {
    recovered("held", Initial::Live(Beside::Stopped), left!("held"), "nothing to resume");
    recovered("succeeded", Initial::Switched(Slot::Green), left!("succeeded"), "nothing to resume");
    recovered("rolled_back", Initial::Live(Beside::Stopped), left!("rolled_back"), "nothing to resume");
}
