//! What happens to a host beside deployments: containers that somebody removes or stops, a router that is added to what ran
//! without one, and taken away again. What is said of it is never greener than what users see.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::host::{ComposeVersion, HostB};
use crate::support::{http, processes, wait_for};

fn status(host: &HostB) -> (Option<i32>, Value) {
    let ran = host.run("status app --format json");
    (ran.code, ran.last())
}

/// Ends what lies in the project's folder and serves on: the proxy and who starts it again.
struct Proxies<'a>(&'a HostB);

impl Drop for Proxies<'_> {
    fn drop(&mut self) {
        processes::end_all(self.0.config().parent().unwrap());
    }
}

#[test]
fn what_somebody_else_removes_or_stops_is_told_with_what_brings_it_back() {
    let Some(host) = HostB::start(ComposeVersion::V2, "docker") else { return };
    let [second, sick] = ["second", "sick"].map(|name| host.tag(name).to_owned());
    host.run(&format!("deploy app {second}")).expect(0);

    // Nobody but its team starts what the service depends on.
    host.docker(&["stop", "-t", "1", &host.container("queue")]);
    let missing = "services beside it: Lockgate starts app alone (`--no-deps`), and queue does not run";
    let typed = format!("-f {} up -d queue`", host.file());
    host.run("doctor").expect(0).says(&[missing, "start it yourself: `docker compose", &typed]);
    host.docker(&["start", &host.container("queue")]);
    let doctor = host.run("doctor").expect(0);
    assert!(!doctor.stdout.contains("services beside it"), "{doctor}");

    // The live container is removed by hand.
    host.docker(&["rm", "-f", &host.container("app")]);
    let gone = format!("which holds nothing any more: {second} (");
    let again = format!("`lockgate --env prod deploy app {second}`");
    for command in ["status", "status -v", "doctor"] {
        let ran = host.run(command).expect(1).says(&[&gone, "was live there and has been removed", &again]);
        assert!(!ran.stdout.contains("nothing of this project"), "{ran}");
    }
    let (code, seen) = status(&host);
    assert_eq!((code, &seen["status"]), (Some(1), &"unwell".into()), "{seen:#}");
    let notes = seen["notes"].as_str().unwrap();
    assert!(notes.contains(&gone) && notes.contains(&again), "{notes}");
    host.run(&format!("deploy app {second}")).expect(0);
    host.expect_live(&second);

    // What starts still is told as starting, by the container's own word: for ten seconds it may.
    let file = std::fs::read_to_string(host.file()).unwrap();
    std::fs::write(host.file(), file.replacen("retries: 2 }", "retries: 20 }", 1)).unwrap();
    let deploying = host.begin(&format!("deploy app {sick} --format json"));
    let look = || {
        let (code, seen) = status(&host);
        (seen["hosts"]["local"]["unhealthy"]["seen"] == "it is starting").then_some((code, seen))
    };
    let (code, seen) = wait_for("it to be seen while it starts", 30, look);
    assert_eq!(
        (code, &seen["status"], &seen["image_tag"]),
        (Some(1), &"unwell".into(), &Value::Null),
        "{seen:#}"
    );
    deploying.signal(Signal::KILL);
    drop(deploying.end());
    host.run("status").expect(1).says(&["in main, ", "was left unfinished: type `lockgate resume`"]);
    let resumed = host.run("resume");
    assert!(matches!(resumed.code, Some(1 | 3)), "it was undone:\n{resumed}");
    host.expect_live(&second);
}

#[test]
fn a_router_is_added_to_what_publishes_its_port_and_taken_away_again() {
    let Some(host) = HostB::start(ComposeVersion::V2, "docker") else { return };
    let _proxies = Proxies(&host);
    let [second, third] = ["second", "third"].map(|name| host.tag(name).to_owned());
    host.run(&format!("deploy app {second}")).expect(0);
    let answers = |tag: &str| {
        let answer =
            wait_for("an answer", 10, || http::get(host.port, "/").ok().filter(|one| one.status == 200));
        assert_eq!(answer.release(), tag);
    };
    let address = format!("127.0.0.1:{}", host.port);
    let router = format!("router: {{ builtin: {{ listen: \"{address}\" }} }}");

    // The Compose file still publishes what the router is to listen on.
    host.change(&router, &host.ports());
    for command in ["doctor".to_owned(), format!("plan app {third}"), format!("deploy app {third}")] {
        let publishes =
            format!("publishes the host port {address}/tcp itself, where its router is to listen");
        host.run(&command).expect(1).says(&[&publishes, "take it out of `ports`"]);
    }
    answers(&second);

    // As it was told.
    host.change(&router, "ports: []");
    let doctor = host
        .run("doctor")
        .expect(0)
        .says(&[&format!("in main, which users reach at {address} without the router")]);
    assert!(!doctor.stdout.contains("another program"), "{doctor}");
    let plan = host.run(&format!("plan app {third}")).expect(0);
    let now = format!("{second} (");
    plan.says(&[&now, "in main", &format!("main publishes {address} itself"), "will be dark"]);
    let result = host.run(&format!("deploy app {third} --format json")).expect(0).last();
    assert!(result["dark_ms"]["local"].as_u64().is_some_and(|dark| dark > 0), "{result:#}");
    answers(&third);
    let (code, seen) = status(&host);
    assert_eq!(
        (code, &seen["status"], &seen["image_tag"]),
        (Some(0), &"success".into(), &third.clone().into()),
        "{seen:#}"
    );
    host.run("doctor").expect(0);

    // Back: our own proxy has the port, and is named before anything is stopped.
    host.change("router: none", &host.ports());
    for command in ["doctor".to_owned(), format!("plan app {second}"), format!("deploy app {second}")] {
        let ran = host
            .run(&command)
            .expect(1)
            .says(&["Lockgate's own proxy (process ", "no other service is behind it"]);
        assert!(!ran.to_string().contains("stuck"), "{ran}");
    }
    answers(&third);
    let said = host.run(&format!("plan app {second}")).expect(1).stderr;
    let typed = said.split('`').find(|part| part.starts_with("kill ")).unwrap_or_else(|| panic!("{said}"));
    assert!(Command::new("sh").args(["-c", typed]).status().unwrap().success(), "{typed}");
    wait_for("the port to be free", 10, || std::net::TcpListener::bind(("127.0.0.1", host.port)).ok());
    let result = host.run(&format!("deploy app {second} --format json")).expect(0).last();
    assert!(result["dark_ms"]["local"].as_u64().is_some_and(|dark| dark > 0), "{result:#}");
    host.expect_live(&second);
}
