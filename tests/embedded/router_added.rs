//! `router: builtin` put in the place of what a service listened on by itself, and taken away again: both are found out when
//! planning, nobody is a stranger to Lockgate who is its own, and no deployment ends stuck over it.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::project::Project;
use crate::support::{http, wait_for};

/// The service listens on the port that users know, or its router does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listens {
    Itself,
    Router,
    /// Which cannot be.
    Both,
}

/// One slot. The proxy lies in its usual folder, which a configuration without it does not name.
fn configure(project: &Project, listens: Listens) {
    let (root, port) = (project.root().display(), project.port);
    let own = match listens {
        Listens::Itself | Listens::Both => format!("    port: {port}\n"),
        Listens::Router => String::new(),
    };
    let router = match listens {
        Listens::Itself => String::new(),
        Listens::Router | Listens::Both => {
            format!("    router: {{ builtin: {{ listen: \"127.0.0.1:{port}\" }} }}\n")
        }
    };
    let config = format!(
        r#"project: shop
services:
  web:
    command: ["{root}/app-{{tag}}"]
    cwd: "{root}"
{own}    health: {{ path: /health, timeout: 3s }}
environments:
  prod:
    strategy: recreate
    runtime: {{ process: {{ dir: "{root}/host" }} }}
{router}    drain: 2s
    stop_grace: 2s
"#
    );
    std::fs::create_dir_all(project.path("m1")).unwrap();
    std::fs::write(project.path("m1/lockgate.yaml"), config).unwrap();
}

/// v1 is live and listens by itself.
fn project() -> Project {
    let project = Project::empty();
    for (tag, knobs) in [("v1", ""), ("v2", ""), ("v3", ""), ("sick", "UNHEALTHY=1")] {
        project.release(tag, knobs);
    }
    configure(&project, Listens::Itself);
    project.deploy("v1");
    project
}

#[track_caller]
fn expect_live(project: &Project, tag: &str) -> Value {
    assert_eq!(http::get(project.port, "/version").unwrap().text().trim(), tag);
    let status = project.run("status web --format json").expect(0).last();
    assert_eq!((&status["image_tag"], &status["status"]), (&tag.into(), &"success".into()), "{status:#}");
    status
}

#[test]
fn a_router_in_the_place_of_what_is_live_is_put_there_by_the_next_deployment_and_the_dark_time_is_told() {
    let project = project();
    configure(&project, Listens::Both);
    for command in ["plan web v2", "deploy web v2", "doctor"] {
        let port = format!("web listens on port {} itself", project.port);
        project.run(command).expect(1).says(&[&port, "take `port` out"]);
    }
    configure(&project, Listens::Router);
    let address = format!("127.0.0.1:{}", project.port);
    let reached = format!("in main, which users reach at {address} without the router");
    let doctor = project.run("doctor").expect(0).says(&[&reached, "the next deployment stops it"]);
    assert!(!doctor.stdout.contains("another program"), "{doctor}");
    let itself = format!("main publishes {address} itself");
    project.run("plan web v2").expect(0).says(&["v1 (", "in main", &itself, "will be dark", "stop main"]);
    let seen = expect_live(&project, "v1");
    assert_eq!(seen["hosts"]["local"]["router"]["direct"], address.as_str(), "{seen:#}");

    let result = project.run("deploy web v2 --format json").expect(0).last();
    assert!(result["dark_ms"]["local"].as_u64().is_some_and(|dark| dark > 0), "{result:#}");
    let seen = expect_live(&project, "v2");
    assert!(seen["hosts"]["local"]["router"]["direct"].is_null(), "{seen:#}");
    assert_eq!(project.proxies().len(), 1, "{:#?}", project.proxies());
    project.run("doctor").expect(0);
    // From now on requests wait instead.
    let result = project.run("deploy web v3 --format json").expect(0).last();
    assert!(result["dark_ms"].is_null(), "{result:#}");
    expect_live(&project, "v3");
}

#[test]
fn where_the_first_release_behind_it_fails_the_old_one_is_live_behind_it() {
    let project = project();
    configure(&project, Listens::Router);
    let result = project.run("deploy web sick --format json").expect(3).last();
    assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
    assert_eq!(http::get(project.port, "/version").unwrap().text().trim(), "v1");
    let status = project.run("status web --format json").expect(0).last();
    assert_eq!(
        (&status["image_tag"], &status["status"]),
        (&"v1".into(), &"rolled_back".into()),
        "{status:#}"
    );
    project.run("doctor").expect(0);
    project.deploy("v2");
    expect_live(&project, "v2");
}

#[test]
fn a_proxy_of_ours_that_is_left_over_is_named_when_planning_and_nothing_is_stopped() {
    let project = project();
    configure(&project, Listens::Router);
    project.deploy("v1");
    expect_live(&project, "v1");
    configure(&project, Listens::Itself);
    let pid = project.proxies()[0].pid.to_string();
    let who =
        format!("Lockgate's own proxy (process {pid}, in {}", project.path("m1/.lockgate/proxy").display());
    for command in ["doctor", "plan web v2", "deploy web v2"] {
        let ran = project.run(command).expect(1).says(&[
            &who,
            "no other service is behind it",
            "put `router: builtin` back",
        ]);
        assert!(!ran.to_string().contains("stuck"), "{ran}");
    }
    assert_eq!(http::get(project.port, "/version").unwrap().text().trim(), "v1", "nothing was stopped");
    // What is to be typed is there, whole.
    let said = project.run("plan web v2").expect(1).stderr;
    let typed = said.split('`').find(|part| part.starts_with("kill ")).unwrap_or_else(|| panic!("{said}"));
    assert!(Command::new("sh").args(["-c", typed]).status().unwrap().success(), "{typed}");
    wait_for("the proxy to end", 10, || project.proxies().is_empty().then_some(()));
    let result = project.run("deploy web v2 --format json").expect(0).last();
    assert!(result["dark_ms"]["local"].as_u64().is_some(), "{result:#}");
    expect_live(&project, "v2");
    // And there again; also where the proxy was stopped by somebody who left its routes.
    configure(&project, Listens::Router);
    project.deploy("v3");
    expect_live(&project, "v3");
    configure(&project, Listens::Itself);
    project.supervisors().iter().chain(&project.proxies()).for_each(|process| process.signal(Signal::KILL));
    wait_for("the proxy to end", 10, || project.proxies().is_empty().then_some(()));
    project.deploy("v2");
    expect_live(&project, "v2");
    configure(&project, Listens::Router);
    let said = project
        .run("deploy web v3")
        .expect(1)
        .says(&["main publishes", "has kept a route from before"])
        .stderr;
    let typed = said.split('`').find(|part| part.starts_with("rm ")).unwrap_or_else(|| panic!("{said}"));
    assert!(Command::new("sh").args(["-c", typed]).status().unwrap().success(), "{typed}");
    project.deploy("v3");
    expect_live(&project, "v3");
}
