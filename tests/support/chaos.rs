//! Rounds in which something is killed at any moment. The test command plays a few seeds; `scripts/test --chaos` plays for twenty
//! minutes, and `LOCKGATE_CHAOS_SEED=17` plays one again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::http;

/// How long it may be dark where what has the traffic was killed and something else can serve.
pub const DARK_MILLIS_MAX: u128 = 1_000;
/// A run looks at who is live at least this often, so one that ends sooner after a death may not know of it.
pub const LOOK_MILLIS_MAX: u128 = 500;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// From 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Plays so many seeds, or those of [`number`]'s variables.
pub fn play(rounds: u64, mut round: impl FnMut(u64)) {
    if let Some(seed) = number("LOCKGATE_CHAOS_SEED") {
        return round(seed);
    }
    let Some(seconds) = number("LOCKGATE_CHAOS_SECONDS") else { return (0..rounds).for_each(round) };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let end = Instant::now() + Duration::from_secs(seconds);
    let first = since_1970.as_secs() * 1_000;
    let mut seeds = first..;
    while Instant::now() < end {
        seeds.next().into_iter().for_each(&mut round);
    }
    eprintln!("{} rounds of chaos in {seconds} s, none as it must not be", seeds.start - first);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// One who always has a request under way that takes a while, so that draining takes a while.
pub struct Slow {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<()>,
}

impl Slow {
    pub fn start(port: u16) -> Slow {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let asking = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                // Its end is no promise: it may be in the app that is killed.
                drop(http::get(port, "/slow?ms=400"));
            }
        });
        Slow { stop, asking }
    }

    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.join().expect("whoever asks slowly does not panic");
    }
}
