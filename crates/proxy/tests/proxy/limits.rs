//! What the proxy does not run out of: descriptors, and the disk that its log is on.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::backend::Backend;
use crate::client::{Admin, get, once};
use crate::upgrade::Process;
use crate::{eventually, spec, start_in};

#[tokio::test]
async fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::after(dir.path(), "ulimit -Sn 300; ulimit -Hn 3000").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["3000", "3000"]);
}

/// With 200 descriptors there are 36 connections at once; each further one waits for its turn.
#[tokio::test]
async fn more_clients_than_there_are_descriptors_for_wait_and_none_fails() {
    const CLIENTS: usize = 150;
    const AT_ONCE: u64 = 36;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::after(dir.path(), "ulimit -n 200").await;
    let blue = Backend::start("blue").await;
    process.admin.put("app", &spec("blue", blue.address)).await;
    let via = process.admin.status().await.listeners[0];
    let mut clients: JoinSet<_> = (0..CLIENTS).map(|_| once(via, get("/hold"))).collect();
    eventually("all descriptors are taken", async || blue.state.busy.load(SeqCst) >= AT_ONCE).await;
    assert_eq!(process.admin.in_flight("app", "blue").await.requests, AT_ONCE);
    blue.state.released.store(true, SeqCst);
    while let Some(answered) = clients.join_next().await {
        assert_eq!(answered.unwrap(), (StatusCode::OK, "blue".to_owned()));
    }
}

/// Keeps what warnings say. Set for one thread, so that it sees one test.
#[derive(Clone, Default)]
struct Warnings {
    said: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("lockgate_proxy")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, SeqCst) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{field}={value:?} "));
        });
        self.said.lock().unwrap().push(text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_dead_slot_is_in_the_log_once_a_second() {
    let warnings = Warnings::default();
    let _kept = tracing::subscriber::set_default(warnings.clone());
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    Admin::of(dir.path()).put("app", &spec("blue", unused)).await;
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(once(proxy.addresses()[0], get("/")).await.0, StatusCode::BAD_GATEWAY);
    }
    let lines_max = 1 + begun.elapsed().as_secs() as usize;
    proxy.shutdown().await.unwrap();
    let said = warnings.said.lock().unwrap();
    let told: Vec<_> = said.iter().filter(|text| text.contains("the slot can't be reached")).collect();
    assert!((1..=lines_max).contains(&told.len()), "{} lines: {told:?}", told.len());
    assert!(told[0].contains("route=\"app\"") && told[0].contains("left_out=0"), "{told:?}");
}
