//! Well-behaved clients that measure what the others do to them, and a caller of the admin socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::scene::Scene;
use crate::bench::http::{self, Address, Connection, Request};

const KEEP_ALIVE_CLIENTS: usize = 3;
const NEW_CONNECTION_CLIENTS: usize = 1;
/// Leaves the machine to what is measured.
const PAUSE: Duration = Duration::from_millis(2);
const ADMIN_PAUSE: Duration = Duration::from_millis(50);

/// What the well-behaved saw in a while.
#[derive(Debug, Default)]
pub struct Seen {
    millis: Vec<f64>,
    admin_millis: Vec<f64>,
    pub failures: Vec<String>,
}

impl Seen {
    /// In milliseconds.
    pub fn p99(&self) -> f64 {
        percentile(&self.millis, 0.99)
    }

    pub fn requests(&self) -> usize {
        self.millis.len()
    }

    /// The slowest answer of the admin socket, in milliseconds.
    pub fn admin_worst(&self) -> f64 {
        percentile(&self.admin_millis, 1.0)
    }
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.max(1) - 1).copied().unwrap_or(f64::NAN)
}

pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Load {
    pub fn start(scene: &Scene) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for n in 0..KEEP_ALIVE_CLIENTS + NEW_CONNECTION_CLIENTS {
            let (address, stop) = (scene.proxy.public(), stop.clone());
            let kept = n < KEEP_ALIVE_CLIENTS;
            clients.push(std::thread::spawn(move || client(&address, kept, &stop)));
        }
        let (address, stopped) = (scene.admin(), stop.clone());
        clients.push(std::thread::spawn(move || admin(&address, &stopped)));
        Self { stop, clients }
    }

    pub fn stop(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().map_err(|_| anyhow!("a client panicked"))?;
            all.millis.extend(seen.millis);
            all.admin_millis.extend(seen.admin_millis);
            all.failures.extend(seen.failures);
        }
        Ok(all)
    }

    /// The load of this long.
    pub fn of(scene: &Scene, time: Duration) -> Result<Seen> {
        let load = Self::start(scene);
        std::thread::sleep(time);
        load.stop()
    }
}

fn client(address: &Address, kept: bool, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let opened =
            connection.take().map_or_else(|| Connection::open(address).map_err(http::Broken::Other), Ok);
        match opened.and_then(|mut open| Ok((open.exchange(&Request::get("/version"))?, open))) {
            Ok((answer, open)) if answer.status == 200 => {
                seen.millis.push(begun.elapsed().as_secs_f64() * 1000.0);
                connection = (kept && !open.closing).then_some(open);
            }
            Ok((answer, _)) => seen.failures.push(format!("a client was answered {}", answer.status)),
            // The proxy may close a connection that was idle, just as a client asks again.
            Err(http::Broken::IdleReset) => {}
            Err(error) => seen.failures.push(format!("a client: {error}")),
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

fn admin(address: &Address, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match http::call(address, "GET", "/v1/status", None) {
            Ok(_) => seen.admin_millis.push(begun.elapsed().as_secs_f64() * 1000.0),
            Err(error) => seen.failures.push(format!("the admin socket: {error:#}")),
        }
        std::thread::sleep(ADMIN_PAUSE);
    }
    seen
}
