//! Starting, serving, stopping.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::daemon::{Served, encrypted, get_by};
use super::users::Users;
use crate::support::http;
use crate::support::wait_for;

#[test]
fn it_serves_by_tls_and_by_a_socket_until_it_is_stopped() {
    let served = Served::new("[]");
    let daemon = served.start();
    let mut client = encrypted(daemon.address, &[served.certificate()]).unwrap();
    let answer = client.send("GET", "/healthz", &[], b"").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"alive":true}"#));
    assert_eq!(daemon.get("/readyz").json()["ready"], true);
    let metrics = daemon.get("/metrics").text();
    assert!(
        metrics.contains("lockgate_calls_running 0\n")
            && metrics.contains("lockgate_certificate_refused 0\n"),
        "{metrics}"
    );

    // One is enough.
    served.run("serve").expect(1).says(&["already running here, process", "lockgate serve --upgrade"]);
    served.run("serve --check").expect(0).says(&[
        "it fits its key",
        "is running here, process",
        "/deploy deploys web to prod",
    ]);
    // A port of its own at each start cannot be asked; the socket can, and says whose it is.
    served.run("serve --check").expect(0).says(&[
        "! listen 127.0.0.1:0: not tried: ",
        "✓ listen unix:",
        "and answers there",
    ]);
    // Everybody else needs no secret.
    served.project.run("status web").expect(0).says(&["web"]);

    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.running.child.id())).unwrap();
    let of = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!("idle: {} {} {}", of("VmRSS"), of("RssAnon"), of("Threads"));
    // The rest is the program's own pages, which the debug build has more of than what is shipped.
    let anonymous: u64 = of("RssAnon").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(anonymous < 15_000, "{anonymous} kB");
    let ran = daemon.stop().expect(0);
    assert!(ran.stderr.contains("stopped"), "{ran}");
    assert!(!served.project.path("serve.sock").exists());
    served.run("serve --upgrade").expect(2).says(&["is not running here"]);
}

#[test]
fn a_new_certificate_is_taken_under_load_and_no_connection_is_dropped() {
    let served = Served::new("[]");
    let daemon = served.start();
    let first = served.certificate();
    let mut open = encrypted(daemon.address, std::slice::from_ref(&first)).unwrap();
    assert_eq!(open.send("GET", "/healthz", &[], b"").unwrap().status, 200);
    served.put_certificate("second");
    let second = served.certificate();
    let users = Users::start(daemon.address, &[first, second.clone()]);
    wait_for("the new certificate", 20, || {
        let mut new = encrypted(daemon.address, std::slice::from_ref(&second)).ok()?;
        new.send("GET", "/healthz", &[("connection", "close")], b"").ok()
    });
    assert_eq!(open.send("GET", "/healthz", &[], b"").unwrap().status, 200, "the one that was open goes on");
    users.expect_no_failure();
    daemon.stop().expect(0).says(&["the certificate has changed"]);
}

#[test]
fn logs_are_json_where_that_is_asked_for() {
    let served = Served::new("[]");
    let command = served.command("--format json serve");
    let running = crate::support::project::Running::start(command);
    running.wait_until_printed("\"event\":\"serving\"");
    running.signal(rustix::process::Signal::TERM);
    let ran = running.end().expect(0);
    assert_eq!(ran.lines()[0]["listening"].as_array().unwrap().len(), 2);
    let logged: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran}")))
        .collect();
    // What was looked for at the start may be told behind it: the look goes on beside.
    let stopped = logged.iter().find(|line| line["message"] == "stopped").unwrap_or_else(|| panic!("{ran}"));
    assert_eq!(stopped["level"], "INFO", "{ran}");
    assert!(stopped["timestamp"].as_str().unwrap().ends_with('Z'));
}

/// As systemd starts a service of `Type=notify` with a socket unit (`sd_listen_fds(3)`, `sd_notify(3)`).
#[test]
fn a_service_managers_sockets_are_taken_and_it_is_told() {
    let served = Served::new("[]");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let notify = UnixDatagram::bind(served.project.path("notify")).unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut message = [0; 300];
        let length = notify.recv(&mut message).expect("it is told");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let plain = served.command("serve");
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve 3<&0 </dev/null"]);
    command.arg(plain.get_program()).current_dir(plain.get_current_dir().unwrap());
    command.env("WEBHOOK_SECRET", super::daemon::SECRET).env("NOTIFY_SOCKET", served.project.path("notify"));
    command.stdin(OwnedFd::from(listener));
    let daemon = served.start_by(command);
    assert_eq!(daemon.address, address);
    assert_eq!(heard(), format!("READY=1\nSTATUS=listening at {address}"));
    assert!(
        http::unix(&served.project.path("serve.sock")).is_err(),
        "what is configured is not bound beside them"
    );
    let first = daemon.running.child.id();

    served.run("serve --upgrade").expect(0).says(&[&format!("in the place of {first}")]);
    let told = heard();
    let successor = told.strip_prefix("MAINPID=").and_then(|rest| rest.strip_suffix("\nREADY=1")).unwrap();
    let mut client = encrypted(address, &[served.certificate()]).unwrap();
    assert_eq!(client.send("GET", "/healthz", &[("connection", "close")], b"").unwrap().status, 200);
    daemon.running.end().expect(0);
    assert_ne!(successor, first.to_string());
    served.stop_all();
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn what_a_stranger_asks_for_is_not_there() {
    let served = Served::new("[]");
    let daemon = served.start();
    let socket = served.project.path("serve.sock");
    assert_eq!(get_by(&socket, "/").status, 404);
    assert_eq!(get_by(&socket, "/deploy").status, 405);
    let unsigned =
        http::unix(&socket).unwrap().send("POST", "/deploy", &[("connection", "close")], b"{}").unwrap();
    assert_eq!(unsigned.status, 401, "{}", unsigned.text());
    daemon.stop().expect(0);
}
