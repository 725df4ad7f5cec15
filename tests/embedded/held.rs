//! One slot behind the built-in proxy: while nothing runs in it requests wait, so users notice nothing, whatever happens
//! to the deployment.

use serde_json::Value;

use crate::support::cut::cut;
use crate::support::http;
use crate::support::load::{Load, User};
use crate::support::project::Project;

const USERS: [User; 4] = [User::Get, User::Post, User::KeepAlive, User::KeepAlive];
const DEPLOYMENTS: usize = 6;
/// A run has fewer lines than this.
const LINES_MAX: usize = 60;
/// How long a release of these tests takes to listen.
const BOOT_MILLIS: u64 = 150;

/// Two machines' projects that mean one host.
fn project() -> Project {
    let project = Project::empty();
    let (root, port) = (project.root().display().to_string(), project.port);
    let config = format!(
        r#"project: shop
services:
  web:
    command: ["{root}/app-{{tag}}"]
    cwd: "{root}"
    health: {{ path: /health, timeout: 5s }}
environments:
  prod:
    strategy: recreate
    runtime: {{ process: {{ dir: "{root}/host" }} }}
    router: {{ builtin: {{ listen: "127.0.0.1:{port}", dir: "{root}/host/proxy" }} }}
    stop_grace: 2s
    drain: 3s
"#
    );
    for machine in ["m1", "m2"] {
        std::fs::create_dir(project.path(machine)).unwrap();
        std::fs::write(project.path(machine).join("lockgate.yaml"), &config).unwrap();
    }
    for tag in ["v1", "v2"] {
        project.release(tag, &format!("BOOT_MS={BOOT_MILLIS}"));
    }
    project
}

fn status(project: &Project) -> Value {
    project.run("status web --format json").expect(0).last()
}

#[test]
fn recreating_under_load_loses_no_request() {
    let project = project();
    project.deploy("v1");
    let load = Load::start(project.port, &USERS);
    for turn in 0..DEPLOYMENTS {
        project.deploy(if turn % 2 == 0 { "v2" } else { "v1" });
    }
    let tally = load.expect_no_failure();
    assert!(tally.requests > 50 && tally.by_release.len() == 2, "{tally:?}");
    assert_eq!(tally.resets, 0, "{tally:?}");
    assert_eq!(status(&project)["image_tag"], "v1");
}

#[test]
fn a_release_that_fails_is_gone_back_from_without_a_lost_request() {
    let project = project();
    project.release("dies", "CRASH=1");
    project.deploy("v1");
    let load = Load::start(project.port, &USERS);
    let result = project.run("deploy web dies --format json").expect(3).last();
    assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
    let tally = load.expect_no_failure();
    assert_eq!(tally.by_release.keys().collect::<Vec<_>>(), ["v1"], "{tally:?}");
}

/// Killed after each of its lines in turn, and resumed at once: as long as that is within the hold's time.
#[test]
fn a_killed_deployment_that_is_resumed_loses_no_request() {
    let project = project();
    project.deploy("v1");
    let load = Load::start(project.port, &USERS);
    for after in 0..LINES_MAX {
        let live = status(&project)["image_tag"].as_str().unwrap().to_owned();
        let tag = if live == "v1" { "v2" } else { "v1" };
        let cut = cut(project.command(["deploy", "web", tag, "--format", "json"]), after);
        if !cut.killed {
            let tally = load.expect_no_failure();
            assert!(after > 10 && tally.by_release.len() == 2, "{after} lines, {tally:?}");
            assert_eq!(http::get(project.port, "/version").unwrap().text().trim(), tag);
            return;
        }
        eprintln!("killed after line {after}: {}", cut.last());
        project.run_on(if after % 2 == 0 { "m1" } else { "m2" }, "resume").expect(0);
    }
    panic!("a deployment has more than {LINES_MAX} lines");
}
