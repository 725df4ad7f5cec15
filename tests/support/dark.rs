//! One who asks all the time whether anybody answers, and for how long nobody did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http;

/// Between two questions.
const PAUSE_MILLIS: u64 = 5;

/// What was seen.
#[derive(Debug)]
pub struct Dark {
    pub requests: u64,
    /// What failed, each with how long it was dark around it: from the last good answer before to the first behind.
    pub failures: Vec<String>,
    /// The longest time without a good answer, with a failure in it.
    pub longest: Duration,
}

impl Dark {
    #[track_caller]
    pub fn at_most(&self, millis: u128, what: &str) {
        let longest = self.longest.as_millis();
        assert!(longest <= millis, "dark for {longest} ms, {millis} at most: {what}\n{:#?}", self.failures);
    }
}

pub struct Lookout {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Dark>,
}

impl Lookout {
    pub fn start(port: u16) -> Lookout {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        Lookout { stop, looking: std::thread::spawn(move || look(port, &flag)) }
    }

    pub fn finish(self) -> Dark {
        self.stop.store(true, Ordering::Relaxed);
        let dark = self.looking.join().expect("the lookout does not panic");
        assert!(dark.requests > 0, "nobody looked");
        dark
    }
}

fn look(port: u16, stop: &AtomicBool) -> Dark {
    let mut dark = Dark { requests: 0, failures: Vec::new(), longest: Duration::ZERO };
    let mut good = Instant::now();
    let mut failed = false;
    while !stop.load(Ordering::Relaxed) {
        dark.requests += 1;
        let answered = match http::get(port, "/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(error) => Err(format!("{error:?}")),
        };
        match answered {
            Ok(()) => {
                if std::mem::take(&mut failed) {
                    dark.longest = dark.longest.max(good.elapsed());
                }
                good = Instant::now();
            }
            Err(seen) => {
                failed = true;
                dark.failures.push(format!("{seen}, dark for {} ms", good.elapsed().as_millis()));
            }
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
    if failed {
        dark.longest = dark.longest.max(good.elapsed());
    }
    dark
}
