//! The proxy against real sockets: real clients, real slots, and, for upgrades, real processes.

mod admin;
mod backend;
mod client;
mod engine;
mod forward;
mod frames;
mod framing;
mod heads;
mod hold;
mod leaving;
mod limits;
mod load;
mod owners;
mod replicas;
mod stalls;
mod switch;
mod upgrade;

use std::future::Future;
use std::time::Duration;

use lockgate_proxy::{ProxyConfig, ProxyHandle, RouteSpec, Target, start};

/// No test waits longer for anything.
const WAIT_SECONDS_MAX: u64 = 20;

pub fn config(dir: &std::path::Path) -> ProxyConfig {
    ProxyConfig::new(dir).listen([([127, 0, 0, 1], 0).into()])
}

pub async fn start_in(dir: &std::path::Path) -> ProxyHandle {
    start(config(dir)).await.expect("the proxy starts")
}

/// A route for any host and path to this slot; its release is called `{slot}-1`.
pub fn spec(slot: &str, dial: impl ToString) -> RouteSpec {
    let target = Target { slot: slot.to_owned(), release: format!("{slot}-1"), dial: dial.to_string() };
    RouteSpec::to(target)
}

/// Waits until `look` says so; panics with `what` when it takes too long.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let wait = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), wait).await;
    assert!(waited.is_ok(), "still waiting: {what}");
}
