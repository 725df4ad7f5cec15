//! A daemon runs many sessions on two threads, so no step of one may keep a thread for long.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Command, Runtime};

use crate::support::{Shape, World, executable, here, tag};

/// The longest time for which a step may compute without letting others have its thread.
const COMPUTED_MILLIS_MAX: u64 = 10;
/// How often each step is tried. What else goes on on this machine can only make it worse, so the best one counts.
const ROUNDS: usize = 12;

/// How a step has kept its thread from others. Both are about this thread alone, however busy the machine is.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// How often it gave up the processor to wait for something.
    waits: u64,
    /// The longest time on the processor between two moments at which others could have had it.
    computed: Duration,
}

/// Does `step` on a thread that something else wants to use all the time, so that it never waits for want of work.
async fn kept<T>(step: impl Future<Output = T>) -> Kept {
    let (longest, goes_on) = (Rc::new(Cell::new(Duration::ZERO)), Rc::new(Cell::new(true)));
    let (seen, wanted) = (longest.clone(), goes_on.clone());
    let other = tokio::task::spawn_local(async move {
        let mut last = on_processor();
        while wanted.get() {
            tokio::task::yield_now().await;
            let now = on_processor();
            seen.set(seen.get().max(now - last));
            last = now;
        }
    });
    tokio::task::yield_now().await;
    let before = waits();
    step.await;
    let waits = waits() - before;
    goes_on.set(false);
    other.await.unwrap();
    Kept { waits, computed: longest.get() }
}

/// Of this thread, by proc(5): `schedstat`, and `voluntary_ctxt_switches` in `status`. Being preempted is not among them.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn waits() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// The best of all rounds, step by step.
#[derive(Default)]
struct Steps(Vec<(&'static str, Kept)>);

impl Steps {
    fn note(&mut self, what: &'static str, kept: Kept) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, best)) => {
                *best =
                    Kept { waits: kept.waits.min(best.waits), computed: kept.computed.min(best.computed) };
            }
            None => self.0.push((what, kept)),
        }
    }
}

#[tokio::test]
async fn no_step_of_a_session_keeps_its_thread_for_long() {
    tokio::task::LocalSet::new().run_until(steps()).await;
}

async fn steps() {
    let world = World::new(here(), Shape::default());
    // Ends only when it is killed, and leaves a worker that outlives it.
    executable(
        &world.root.path().join("serve-v2"),
        b"#!/bin/sh\ntrap '' TERM\nsleep 1 &\nwhile :; do sleep 0.02; done\n",
    );
    let (runtime, host) = (&world.runtime, here());
    let mut steps = Steps::default();
    for _ in 0..ROUNDS {
        let (mut v1, mut v2) = (None, None);
        steps.note("resolve", kept(async { v1 = Some(runtime.resolve(&tag("v1")).await.unwrap()) }).await);
        v2.replace(runtime.resolve(&tag("v2")).await.unwrap());
        let (v1, v2) = (v1.unwrap(), v2.unwrap());
        steps.note("start", kept(async { runtime.start(Slot::Blue, &v1).await.unwrap() }).await);
        steps.note("look", kept(async { runtime.slots().await.unwrap() }).await);
        steps.note("logs", kept(async { runtime.logs(Slot::Blue, 10).await.unwrap() }).await);
        steps.note("replace", kept(async { runtime.start(Slot::Blue, &v2).await.unwrap() }).await);
        let grace = Millis(100);
        steps.note("kill", kept(async { runtime.stop(Slot::Blue, grace).await.unwrap() }).await);
        let path = world.root.path().join("record.json").display().to_string();
        let before = host.read(&path).await.unwrap().content;
        let swap = async { host.swap(&path, before.as_deref(), b"{\"token\":1}").await.unwrap() };
        steps.note("swap", kept(swap).await);
        let write = async { host.write(&path, &vec![b'x'; 1024 * 1024], 0o644).await.unwrap() };
        steps.note("write", kept(write).await);
        steps.note("read", kept(async { host.read(&path).await.unwrap() }).await);
        host.remove(&path).await.unwrap();
        steps.note("space", kept(async { host.disk_free_mib("/tmp").await.unwrap() }).await);
        let program = Command::new(["sh", "-c", "sleep 0.05"]);
        steps.note("program", kept(async { host.exec(&program).await.unwrap() }).await);
    }
    let long: Vec<_> = steps.0.iter().filter(|(_, kept)| is_long(*kept)).collect();
    assert!(long.is_empty(), "{long:?} of {:?}", steps.0);
}

fn is_long(kept: Kept) -> bool {
    kept.waits > 0 || kept.computed > Duration::from_millis(COMPUTED_MILLIS_MAX)
}

/// The measure itself: a step that waits and one that computes are found out.
#[tokio::test]
async fn a_step_that_keeps_its_thread_is_noticed() {
    let work = async {
        let waited = kept(async { std::thread::sleep(Duration::from_millis(1)) }).await;
        assert_eq!((waited.waits, is_long(waited)), (1, true), "{waited:?}");
        let computed = kept(async {
            let began = on_processor();
            while on_processor() - began < Duration::from_millis(COMPUTED_MILLIS_MAX + 5) {}
        });
        let computed = computed.await;
        assert!(is_long(computed), "{computed:?}");
        assert_eq!(kept(tokio::time::sleep(Duration::from_millis(5))).await.waits, 0, "that is no wait");
    };
    tokio::task::LocalSet::new().run_until(work).await;
}
