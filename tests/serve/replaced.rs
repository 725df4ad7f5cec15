//! A new process in the place of the old one.

use rustix::process::Signal;

use super::daemon::Served;
use super::users::Users;
use crate::support::wait_for;

#[test]
fn two_upgrades_under_load_refuse_and_lose_nothing() {
    let served = Served::new("[]");
    let daemon = served.start();
    let users = Users::start(daemon.address, &[served.certificate()]);
    let mut before = daemon.running.child.id().to_string();
    // By the command, and by the signal.
    for by_signal in [false, true] {
        match by_signal {
            false => drop(served.run("serve --upgrade").expect(0)),
            true => crate::support::processes::send(before.parse().unwrap(), Signal::HUP),
        }
        before = wait_for("the successor to serve", 30, || {
            let text = std::fs::read_to_string(served.project.path("m1/.lockgate/serve/serve.lock")).ok()?;
            Some(text.trim().to_owned()).filter(|now| !now.is_empty() && *now != before)
        });
    }
    // Each ends once its clients have been told to come again by another connection.
    wait_for("the predecessors to end", 40, || (served.processes().len() == 1).then_some(()));
    let tally = users.expect_no_failure();
    assert!(tally.connections < tally.requests, "{tally:?}");
    assert_eq!(served.processes()[0].pid.to_string(), before);
    served.stop_all();
    drop(daemon);
    assert!(!served.project.path("serve.sock").exists(), "the last one removes the socket");
}

#[test]
fn a_successor_that_cannot_serve_changes_nothing_and_says_why() {
    let served = Served::new("[]");
    let daemon = served.start();
    let file = served.project.path("m1/lockgate.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("environment: prod, secrets", "environment: pord, secrets")).unwrap();
    served.run("serve --check").expect(2).says(&["there is no environment `pord`"]);
    std::fs::write(&file, &good).unwrap();
    // A key that everybody can read.
    std::fs::set_permissions(
        served.project.path("key.pem"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    served.run("serve --upgrade").expect(1).says(&["the one before does", "exit status: 2"]);
    assert_eq!(daemon.get("/healthz").status, 200);
    let ran = daemon.stop().expect(0);
    ran.says(&["every user of this machine can read the key", "the upgrade failed; this process serves on"]);
}
