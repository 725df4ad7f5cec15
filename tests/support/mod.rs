//! What the end-to-end tests stand on: a project in a folder of its own, the real binary, and cleaning up.

pub mod app;
pub mod certificate;
pub mod chaos;
pub mod cut;
pub mod dark;
pub mod double;
pub mod files;
pub mod http;
pub mod load;
pub mod mcp;
pub mod postgres;
pub mod processes;
pub mod project;
pub mod prometheus;
pub mod ran;
pub mod registry;
pub mod shape;
pub mod slack;
pub mod terminal;

use std::time::{Duration, Instant};

/// Looked at again this often.
const LOOK_MILLIS: u64 = 5;

/// Waits until `look` finds something.
///
/// # Panics
/// When it has not been found within `seconds_max`.
pub fn wait_for<T>(what: &str, seconds_max: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds_max);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {seconds_max} s in vain for {what}");
        std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
    }
}

/// For a test that needs something which is not here: says so, and panics when everything is required.
pub fn skipped(what: &str) {
    assert!(std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none(), "{what}, and everything is required");
    eprintln!("skipped: {what}");
}
