//! The proxy dies, or somebody else changes its route.

use rustix::process::Signal;
use serde_json::json;

use crate::support::cut::cut;
use crate::support::load::{Load, User};
use crate::support::project::{Project, Waits, run};
use crate::support::wait_for;

const ROUTE: &str = "/v1/routes/shop-prod-web";

fn current(project: &Project) -> serde_json::Value {
    project.admin("GET", ROUTE, "").json()
}

fn put(project: &Project, slot: &str, dial: &str) {
    let version = current(project)["version"].clone();
    let spec = json!({ "target": { "slot": slot, "release": "somebody", "dial": dial } }).to_string();
    let mut client = crate::support::http::unix(&project.path("host/proxy/admin.sock")).unwrap();
    let version = format!("\"{version}\"");
    let answer = client.send("PUT", ROUTE, &[("if-match", &version)], spec.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_proxy_that_was_killed_is_started_again_by_the_next_deployment() {
    let project = Project::new();
    project.deploy("v1");
    project.kill_proxy();
    project.run("status").says(&["no proxy runs", "`lockgate resume` starts it again"]);
    project.deploy("v2");
    project.expect_settled("v2");
    project.kill_proxy();
    project.run("resume").expect(0);
    project.expect_settled("v2");
    project.kill_proxy();
    project.run("rollback web").expect(0);
    project.expect_settled("v1");
}

#[test]
fn logs_are_shown_of_the_recorded_slot_when_the_proxy_is_dead() {
    let project = Project::new();
    project.deploy("v1");
    project.kill_proxy();
    project.run("logs web").expect(0).says(&[
        "no proxy runs",
        "blue, recorded as active",
        "ready release=v1",
    ]);
    std::fs::remove_file(project.path("host/prod/web/active_color")).unwrap();
    project.run("logs web").expect(0).says(&["blue, the one that runs", "ready release=v1"]);
}

#[test]
fn a_proxy_that_is_killed_before_the_switch_is_started_again() {
    let project = Project::waiting(Waits::BeforeSwitch);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    project.kill_proxy();
    project.open_gate();
    running.end().expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_proxy_that_is_killed_after_the_switch_ends_with_a_release_that_answers() {
    let project = Project::waiting(Waits::AfterSwitch);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    project.kill_proxy();
    project.open_gate();
    let ran = running.end();
    assert!(matches!(ran.code, Some(0 | 3)), "{ran}");
    let tag = if ran.code == Some(0) { "v2" } else { "v1" };
    project.run("resume").expect(0);
    project.expect_settled(tag);
}

#[test]
fn a_route_that_somebody_changed_before_the_switch_is_set_right() {
    for (slot, dial) in [("outside", "127.0.0.1:9"), ("green", "127.0.0.1:9")] {
        let project = Project::waiting(Waits::BeforeSwitch);
        let running = project.start("deploy web v2");
        project.wait_at_gate("v2");
        put(&project, slot, dial);
        project.open_gate();
        let ran = running.end();
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{slot}:\n{ran}");
        project.deploy("v2");
        project.expect_settled("v2");
    }
}

#[test]
fn a_route_that_dials_where_the_slot_was_before_is_mended_by_the_same_deployment() {
    let project = Project::new();
    project.deploy("v1");
    let before = project.apps();
    // As when a container comes back with another address.
    put(&project, "blue", "127.0.0.1:9");
    project.run("status").expect(1).says(&["dials 127.0.0.1:9", "deploying the live release again"]);
    project.run("doctor").expect(1).says(&[
        "but the router dials 127.0.0.1:9, where blue is not",
        "mend the route: `lockgate --env prod deploy web v1`",
    ]);
    project.run("plan web v1").expect(0).says(&["mend the route"]);
    project.run("deploy web v1").expect(0);
    project.expect_settled("v1");
    assert_eq!(project.apps()[0].pid, before[0].pid, "nothing is started for it");
    project.run("deploy web v1").expect(0).says(&["nothing to do"]);
}

#[test]
fn doctor_names_the_release_that_was_live_when_the_router_went_back_to_a_dead_slot() {
    let project = Project::new();
    project.deploy("v1");
    project.deploy("v2");
    // As Caddy does that is restarted with a file that dials blue.
    put(&project, "blue", "127.0.0.1:9");
    project.run("doctor").expect(1).says(&[
        "the traffic goes to blue, which does not run; green, recorded as active, runs v2",
        "bring it back: `lockgate --env prod deploy web v2`",
    ]);
    // Who asks for anything else about it is told the same.
    for (command, said) in [("status web", "web in prod"), ("resume web", "nothing was left unfinished, but")]
    {
        project.run(command).expect(1).says(&[said, "bring it back: `lockgate --env prod deploy web v2`"]);
    }
    let result = project.run("resume web --format json").expect(1).last();
    assert_eq!((&result["run"], &result["exit"]), (&serde_json::Value::Null, &1.into()), "{result:#}");
    project.run("deploy web v2").expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_host_that_is_new_is_well_though_its_router_dials_a_slot_already() {
    let project = Project::new();
    project.deploy("v1");
    put(&project, "blue", "127.0.0.1:9");
    project.apps().iter().for_each(|app| app.signal(Signal::KILL));
    wait_for("the app to end", 5, || project.apps().is_empty().then_some(()));
    std::fs::remove_dir_all(project.path("host/prod/web")).unwrap();
    project.run("doctor").expect(0).says(&["live release: none yet"]);
    project.run("status").expect(0).says(&["blue, which holds nothing of this project"]);
}

#[test]
fn a_route_that_somebody_changed_after_the_switch_does_not_cost_the_old_slot() {
    let project = Project::waiting(Waits::AfterSwitch);
    let old = current(&project)["target"]["dial"].as_str().unwrap().to_owned();
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    // Somebody sends the traffic back to the old slot: what has passed the gates since is not the release.
    put(&project, "blue", &old);
    project.open_gate();
    running.end().expect(3).says(&["blue answers, wanted green", "rolled back"]);
    load.expect_no_failure();
    project.expect_settled("v1");
    project.deploy("v2");
    project.expect_settled("v2");
}

#[test]
fn a_route_that_was_removed_is_made_again() {
    let project = Project::waiting(Waits::BeforeSwitch);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    let version = format!("\"{}\"", current(&project)["version"]);
    let mut client = crate::support::http::unix(&project.path("host/proxy/admin.sock")).unwrap();
    assert_eq!(client.send("DELETE", ROUTE, &[("if-match", &version)], b"").unwrap().status, 200);
    project.open_gate();
    running.end().expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_proxy_port_that_is_taken_is_said() {
    let project = Project::new();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", project.port)).unwrap();
    let ran = project.run("deploy web v1");
    assert!(matches!(ran.code, Some(1 | 3)), "{ran}");
    assert!(
        ran.stderr.contains(&project.port.to_string()) && ran.stderr.contains("another program listens"),
        "{ran}"
    );
    assert!(ran.stderr.contains("router.builtin.listen"), "{ran}");
    assert!(project.apps().is_empty());
}

#[test]
fn a_proxy_that_cannot_start_says_what_to_do() {
    let project = Project::new();
    let folder = project.path("a-proxy").display().to_string();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    run(project.command(["proxy", "--dir", &folder, "--listen", &listen])).expect(1).says(&[
        "refused",
        &format!("can't listen on {listen}"),
        "hint:",
        "another program may own the port",
    ]);
    run(project.command(["proxy", "--dir", &folder]))
        .expect(1)
        .says(&["nothing to listen on", "hint: name at least one address"]);
}

#[test]
fn the_proxy_has_a_worker_for_each_processor() {
    let project = Project::new();
    project.deploy("v1");
    let pid = project.admin("GET", "/v1/status", "").json()["pid"].as_i64().unwrap();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    let workers = names.filter(|name| name.trim_end() == "lockgate-worker").count();
    assert!(workers >= std::thread::available_parallelism().unwrap().get(), "{workers} workers");
}

#[test]
fn a_listen_address_that_changed_under_a_running_proxy_is_said() {
    let project = Project::new();
    project.deploy("v1");
    let config = std::fs::read_to_string(project.path("m1/lockgate.yaml")).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let old = format!("127.0.0.1:{}", project.port);
    assert!(config.contains(&old), "{config}");
    std::fs::write(project.path("m1/lockgate.yaml"), config.replace(&old, &free)).unwrap();
    let said = format!("listens on {old}, not on {free}");
    project.run("deploy web v2").expect(1).says(&[&said, "hint: stop it on the host (kill "]);
    std::fs::write(project.path("m1/lockgate.yaml"), config).unwrap();
    project.expect_settled("v1");
}

#[test]
fn a_proxy_is_upgraded_under_load_without_losing_a_request() {
    let project = Project::new();
    project.deploy("v1");
    let pid = |project: &Project| project.admin("GET", "/v1/status", "").json()["pid"].clone();
    let before = pid(&project);
    let load = Load::start(project.port, &[User::Get, User::Post, User::KeepAlive]);
    let folder = project.path("host/proxy").display().to_string();
    run(project.command(["proxy", "--upgrade", "--dir", &folder])).expect(0);
    assert_ne!(pid(&project), before);
    project.deploy("v2");
    load.expect_no_failure();
    project.expect_settled("v2");
}

#[test]
fn two_services_share_one_proxy_and_one_folder_even_when_both_are_first() {
    let project = Project::empty();
    let (root, port) = (project.root().display(), project.port);
    let config = format!(
        r#"project: shop
services:
  web: {{ command: ["./app-{{tag}}"] }}
  api: {{ command: ["./app-{{tag}}"] }}
environments:
  prod:
    runtime: {{ process: {{ dir: "{root}/state" }} }}
    router: {{ builtin: {{ listen: "127.0.0.1:{port}", host: "{{service}}.test", dir: "{root}/proxy" }} }}
"#
    );
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    ["v1", "v2"].iter().for_each(|tag| project.release(tag, ""));
    let running = ["web", "api"].map(|service| project.start(&format!("deploy {service} v1")));
    running.into_iter().for_each(|one| drop(one.end().expect(0)));
    project.run("deploy api v2").expect(0);
    for (host, tag) in [("web.test", "v1"), ("api.test", "v2")] {
        let mut client = crate::support::http::tcp(port).unwrap();
        let answer = client.send("GET", "/", &[("host", host)], b"").unwrap();
        assert_eq!((answer.status, answer.release()), (200, tag), "{host}");
    }
    let (proxies, supervisors) = (project.proxies(), project.supervisors());
    assert_eq!((proxies.len(), supervisors.len()), (1, 1), "{proxies:?} {supervisors:?}");
    let status = project.run("status --format json").expect(0).lines();
    assert_eq!(status.len(), 2, "{status:#?}");

    // One that cannot be resumed does not keep the other from it, and is what the exit code tells.
    let record = project.path("state/prod/api/.lockgate/lease.json");
    std::fs::write(record, "garbage").unwrap();
    let cut = cut(project.command(["deploy", "web", "v2", "--format", "json"]), 4);
    assert!(cut.killed);
    project.run("resume").expect(1).says(&[
        "api cannot be resumed",
        "does not parse",
        "web: what had been cut off",
    ]);
    project.run("resume web").expect(0);
}
