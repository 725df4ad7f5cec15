//! A daemon runs many sessions on two threads, so no step of one may keep a thread for long.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Command, Runtime};

use crate::support::{Shape, World, executable, here, tag};

/// The longest time for which a step may compute without letting others have its thread.
const COMPUTED_MILLIS_MAX: u64 = 10;
/// How often each step is tried. What else goes on on this machine can only make it worse, so the best one counts.
const ROUNDS: usize = 12;

/// The longest time for which a step may wait on its thread in all. The kernel lets a thread wait for a moment while another
/// one of the same process forks, which says nothing of the step.
const WAITED_MICROS_MAX: u64 = 500;

/// How a step has kept its thread from others. Both are about this thread alone, however busy the machine is.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// For how long it had given up the processor, and waited for something.
    waited: Duration,
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
    let before = Spent::now();
    step.await;
    let waited = Spent::now().waited_since(before);
    goes_on.set(false);
    other.await.unwrap();
    Kept { waited, computed: longest.get() }
}

/// The time that this thread has had on the processor.
fn on_processor() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).unwrap()
}

/// Where this thread's time has gone.
#[derive(Clone, Copy)]
struct Spent {
    at: Instant,
    computed: Duration,
    /// Ready to go on, while others had the processor: the second number of `schedstat`, by proc(5).
    ready: Duration,
}

impl Spent {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let ready = Duration::from_nanos(text.split_whitespace().nth(1).unwrap().parse().unwrap());
        Self { at: Instant::now(), computed: on_processor(), ready }
    }

    /// What is left of the time is what it waited.
    fn waited_since(self, before: Self) -> Duration {
        let known = (self.computed - before.computed) + (self.ready - before.ready);
        (self.at - before.at).saturating_sub(known)
    }
}

/// The best of all rounds, step by step.
#[derive(Default)]
struct Steps(Vec<(&'static str, Kept)>);

impl Steps {
    fn note(&mut self, what: &'static str, kept: Kept) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, best)) => {
                *best =
                    Kept { waited: kept.waited.min(best.waited), computed: kept.computed.min(best.computed) };
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
    kept.waited > Duration::from_micros(WAITED_MICROS_MAX)
        || kept.computed > Duration::from_millis(COMPUTED_MILLIS_MAX)
}

/// The measure itself: a step that waits and one that computes are found out.
#[tokio::test]
async fn a_step_that_keeps_its_thread_is_noticed() {
    let work = async {
        let waited = kept(async { std::thread::sleep(Duration::from_millis(1)) }).await;
        assert!(waited.waited >= Duration::from_millis(1) && is_long(waited), "{waited:?}");
        let computed = kept(async {
            let began = on_processor();
            while on_processor() - began < Duration::from_millis(COMPUTED_MILLIS_MAX + 5) {}
        });
        let computed = computed.await;
        assert!(is_long(computed), "{computed:?}");
        let mut asleep = Steps::default();
        for _ in 0..ROUNDS {
            asleep.note("sleep", kept(tokio::time::sleep(Duration::from_millis(5))).await);
        }
        assert!(asleep.0.iter().all(|(_, kept)| !is_long(*kept)), "that is no wait: {:?}", asleep.0);
    };
    tokio::task::LocalSet::new().run_until(work).await;
}
