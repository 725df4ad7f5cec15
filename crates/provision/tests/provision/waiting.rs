//! A host that is not ready yet, in memory and with a clock of its own.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_model::{FailureKind, HostId, Millis, SetupHeadway};
use lockgate_ports::fake::{Call, FakeHost, FakePorts, Fate, Faults, Machine, SharedMachine, shared};
use lockgate_ports::{Output, PortError};
use lockgate_provision::{Told, Wanted, ready};
use tokio::time::Instant;

fn says(text: &str) -> Output {
    Output { code: 0, stdout: text.into(), stderr: Vec::new() }
}

const READY: &str = "me 0 0 root\nthere\npower root\n";
const NOT_YET: &str = "me 0 0 root\nmissing - -\npower root\n";

fn wanted(patience: u64) -> Wanted {
    let wait_for = Some("/opt/setup_complete".to_owned());
    Wanted { wait_for, ..Wanted::nothing(Millis::from_secs(patience)) }
}

/// What the host says changes while it is waited for.
struct Days<'a> {
    machine: &'a SharedMachine,
    next: Mutex<Vec<Output>>,
    heard: Mutex<Vec<(u64, String)>>,
}

impl Told for Days<'_> {
    fn headway(&self, headway: &SetupHeadway) {
        let SetupHeadway::Waits { waited_millis, why, .. } = headway else { panic!("{headway:?}") };
        self.heard.lock().unwrap().push((*waited_millis, why.clone()));
        let mut next = self.next.lock().unwrap();
        if !next.is_empty() {
            self.machine.lock().unwrap().programs.insert("sh".into(), next.remove(0));
        }
    }
}

/// Does not answer as long as there is no program, as one that is booting.
struct Silent(SharedMachine);

#[async_trait]
impl Faults for Silent {
    async fn before(&self, _: &Call) -> Fate {
        match self.0.lock().unwrap().programs.is_empty() {
            true => Fate::Fails(PortError::unreachable("connection refused")),
            false => Fate::Happens,
        }
    }
    async fn after(&self, _: &Call) {}
    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }
    fn happened(&self, _: &Call, _: &mut Machine) {}
}

fn host(first: Option<&str>) -> (SharedMachine, FakeHost) {
    let machine = shared(Machine::new(HostId::new("web1").unwrap(), Arc::default()));
    if let Some(text) = first {
        machine.lock().unwrap().programs.insert("sh".into(), says(text));
    }
    let host = FakeHost(FakePorts::new(machine.clone(), Arc::new(Silent(machine.clone()))));
    (machine, host)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_boots_is_waited_for_and_each_wait_is_told() {
    let (machine, host) = host(None);
    let next = vec![says(NOT_YET), says(NOT_YET), says(READY)];
    let days = Days { machine: &machine, next: next.into(), heard: Mutex::default() };
    let plan = ready(&host, &wanted(900), Instant::now(), &days).await.unwrap();
    assert!(plan.is_done());
    let heard = days.heard.lock().unwrap().clone();
    assert_eq!(heard.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 2000, 4000]);
    assert!(heard[0].1.contains("does not answer yet"), "{heard:?}");
    assert!(heard[1].1.contains("/opt/setup_complete is not there yet"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_error_says_what_was_missing() {
    let (machine, host) = host(Some(NOT_YET));
    let began = Instant::now();
    let days = Days { machine: &machine, next: Mutex::default(), heard: Mutex::default() };
    let error = ready(&host, &wanted(61), began, &days).await.unwrap_err();
    assert_eq!((error.kind, began.elapsed().as_secs()), (FailureKind::TimedOut, 61), "{error}");
    assert!(error.message.contains("within 1m") && error.message.contains("/opt/setup_complete"), "{error}");
    assert!(!error.hints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_waited_for_fails_at_once() {
    let (machine, silent) = host(None);
    let days = Days { machine: &machine, next: Mutex::default(), heard: Mutex::default() };
    let nothing = Wanted::nothing(Millis::from_secs(900));
    let error = ready(&silent, &nothing, Instant::now(), &days).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable);
    let (machine, odd) = host(Some("hello"));
    let days = Days { machine: &machine, next: Mutex::default(), heard: Mutex::default() };
    let error = ready(&odd, &wanted(900), Instant::now(), &days).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Other, "a host that says what is not understood: {error}");
    assert!(days.heard.lock().unwrap().is_empty());
}
