//! What one call, and all calls together, may cost.

use lockgate_model::Millis;

/// Longest body of a call. GitHub's events of a push are far below it.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest wait for a whole body.
const BODY_MILLIS_MAX: Millis = Millis::from_secs(10);
/// Memory for bodies beyond what each may have without asking.
const LARGE_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Between two signs of life of a stream in which nothing is told: proxies cut silent connections after a minute.
const KEEP_ALIVE_MILLIS: Millis = Millis::from_secs(10);
/// Longest stream of a run that somebody looks at; they come back with the number of the last event.
const LOOK_MILLIS_MAX: Millis = Millis::from_secs(3600);

/// Runs that are looked up in the store at once. Anybody may ask for any run, and calls are kept through the same connection.
pub const LOOKUPS_MAX: usize = 2;
/// Longest wait for a look into the store, its turn included.
pub const LOOKUP_SECONDS_MAX: u64 = 5;

/// Bounds of the endpoints; the default is what is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of a call's body, in bytes.
    pub body_bytes_max: usize,
    /// From the end of the headers to the end of the body.
    pub body_millis_max: Millis,
    /// Of all large bodies together, in bytes.
    pub large_bodies_bytes_max: usize,
    /// Between two signs of life of a stream.
    pub keep_alive: Millis,
    /// Longest stream of a run.
    pub look_millis_max: Millis,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            body_millis_max: BODY_MILLIS_MAX,
            large_bodies_bytes_max: LARGE_BODIES_BYTES_MAX,
            keep_alive: KEEP_ALIVE_MILLIS,
            look_millis_max: LOOK_MILLIS_MAX,
        }
    }
}
