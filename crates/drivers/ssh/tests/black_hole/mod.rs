//! A host that stops answering: what is sent to it is dropped, within a network namespace that only the test has.

use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Host, PortError};

use crate::sshd::{self, Sshd};
use crate::{hello, until};

/// Set for the test as it runs again within a namespace.
const WITHIN: &str = "LOCKGATE_TEST_WITHIN_NAMESPACE";
/// The driver gives a host up 5 s after it fell silent; some more on a busy machine.
const GIVEN_UP_SECONDS_MAX: u64 = 9;
/// As long as the driver lets a host rest that did not answer, and some more.
const REST_SECONDS_MAX: u64 = 20;

/// Runs the test of this name (this one) in a network namespace of its own. True when this is it.
fn is_within_namespace(name: &str) -> bool {
    if std::env::var_os(WITHIN).is_some() {
        return true;
    }
    let possible = Program::new("unshare").args(["--net", "iptables", "-L", "-n"]).output();
    if !possible.is_ok_and(|ran| ran.status.success()) {
        sshd::skip::<()>("unshare and iptables, for root, are");
        return false;
    }
    let script = "ip link set lo up && exec \"$@\"";
    let ran = Program::new("unshare")
        .args(["--net", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([&format!("black_hole::{name}"), "--exact", "--nocapture"])
        .env(WITHIN, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(ran.success(), "{name} within a namespace: {ran}");
    false
}

/// Drops (`-A`) what goes to the host or comes from it, or lets it pass again (`-D`).
fn drops(how: &str, sshd: &Sshd) {
    for (chain, side) in [("INPUT", "--dport"), ("INPUT", "--sport")] {
        let port = sshd.port.to_string();
        let ran = Program::new("iptables")
            .args([how, chain, "-p", "tcp", side, &port, "-j", "DROP"])
            .status()
            .unwrap();
        assert!(ran.success(), "iptables {how}");
    }
}

fn sleep(seconds: u64) -> Command {
    let script = format!("echo > begun; sleep {seconds}");
    Command::new(["sh", "-c", &script]).timeout(Millis::from_secs(60))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_given_up_within_seconds() {
    if !is_within_namespace("a_host_that_falls_silent_is_given_up_within_seconds") {
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    let (host, work) = (sshd.host(), sshd.work());
    let begun = format!("{work}/begun");
    // A long command on a host that answers goes on, though it says nothing itself.
    let ran = host.exec(&sleep(7).cwd(work.clone())).await.unwrap();
    assert!(ran.ok());
    std::fs::remove_file(&begun).unwrap();

    let command = sleep(60).cwd(work.clone());
    let under_way = async {
        let ended = host.exec(&command).await;
        (Instant::now(), ended)
    };
    let gone = async {
        let gone = host.gone().await;
        (Instant::now(), gone)
    };
    let black_hole = async {
        until("the command runs", || std::path::Path::new(&begun).exists()).await;
        drops("-A", &sshd);
        Instant::now()
    };
    let ((ended_at, ended), (gone_at, gone), fell_silent) = tokio::join!(under_way, gone, black_hole);
    let error = ended.unwrap_err();
    assert_eq!((error.kind, gone.kind), (FailureKind::Unreachable, FailureKind::Unreachable), "{error}");
    assert!(gone.message.contains("does not answer any more") && !gone.hints().is_empty(), "{gone:?}");
    let bound = Duration::from_secs(GIVEN_UP_SECONDS_MAX);
    for at in [ended_at, gone_at] {
        assert!(at - fell_silent < bound, "after {:?}", at - fell_silent);
    }

    // It had answered a moment ago, so it is not waited for as long as one that is new.
    let failing = async |at_most: Duration| -> PortError {
        let asked = Instant::now();
        let error = hello(&host).await.unwrap_err();
        assert!(asked.elapsed() < at_most, "after {:?}: {error}", asked.elapsed());
        error
    };
    assert_eq!(failing(bound).await.kind, FailureKind::TimedOut);
    // Nor is it asked again by each who comes.
    for _ in 0..3 {
        failing(Duration::from_secs(1)).await;
    }
    drops("-D", &sshd);
    let asked = Instant::now();
    while let Err(error) = hello(&host).await {
        assert!(asked.elapsed() < Duration::from_secs(REST_SECONDS_MAX), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
