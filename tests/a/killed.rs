//! SIGKILL right after the switch, and another machine, which has no journal, goes on (P1, P4).

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::a::fleet::Fleet;
use crate::support::http;
use crate::support::load::{Load, User};

/// Runs a deployment and kills it as soon as it says that the traffic was switched.
fn kill_after_the_switch(fleet: &Fleet, tag: &str) {
    let mut command = fleet.command("m1", &format!("deploy web {tag} --format json"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut switch = Value::Null;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match event["event"].as_str() {
            Some("run_started") => switch = switch_in(&event["plan"]),
            Some("step_succeeded") if event["step"] == switch => {
                child.kill().unwrap();
                child.wait().unwrap();
                return;
            }
            _ => {}
        }
    }
    panic!("the deployment ended before it switched: {:?}", child.wait());
}

fn switch_in(plan: &Value) -> Value {
    let phases = plan["phases"].as_array().unwrap().iter();
    let lanes = phases.flat_map(|phase| phase["lanes"].as_array().unwrap());
    let mut steps = lanes.flat_map(|lane| lane["steps"].as_array().unwrap());
    steps.find(|step| step["action"]["do"] == "switch").expect("a deployment switches")["id"].clone()
}

#[test]
fn killed_after_the_switch_it_is_brought_to_its_end_by_a_machine_without_a_journal() {
    let Some(fleet) = Fleet::start(1) else { return };
    fleet.run("m1", "deploy web v1").expect(0);
    let load = Load::start(fleet.hosts[0].port, &[User::Get, User::KeepAlive]);
    kill_after_the_switch(&fleet, "v2");
    assert_eq!(http::get(fleet.hosts[0].port, "/").unwrap().release(), "v2", "the traffic was switched");

    let ran = fleet.run("m2", "resume web");
    assert!(matches!(ran.code, Some(0 | 3)), "{ran}");
    let live = if ran.code == Some(0) { "v2" } else { "v1" };
    fleet.expect_settled(live);
    fleet.run("m2", "resume web").expect(0).says(&["nothing was left unfinished"]);
    fleet.run("m2", "deploy web v2").expect(0);
    fleet.expect_settled("v2");
    load.expect_no_failure();
}

/// Ends the live app of the first host, which has this machine's own engine, as a power failure does.
fn kill_the_app(fleet: &Fleet) {
    let status = fleet.run("m1", "status web --format json").expect(0).last();
    let seen = &status["hosts"][&fleet.hosts[0].id];
    let slot = seen["router"]["target"].as_str().unwrap();
    let endpoint = seen["slots"][slot]["endpoint"].as_str().unwrap();
    let address = endpoint.rsplit_once(':').unwrap().0;
    let script = "docker ps -q | xargs docker inspect -f '{{.Id}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' \
                  | grep -F \" $0 \" | cut -d' ' -f1 | xargs docker kill";
    let killed = std::process::Command::new("sh").args(["-c", script, address]).status().unwrap();
    assert!(killed.success(), "{address}");
}

/// It missed the run's end, and lost its power before anybody came by.
#[test]
fn a_host_that_was_not_told_of_the_end_is_looked_at_before_it_is_said_to_be_well() {
    let Some(fleet) = Fleet::start(2) else { return };
    let ran = fleet.run("m1", "deploy web v1 --format json").expect(0);
    let started: Value = ran.stdout.lines().next().map(|line| serde_json::from_str(line).unwrap()).unwrap();
    let host = &fleet.hosts[0];
    let mut record: Value = serde_json::from_str(&host.state(".lockgate/lease.json").unwrap()).unwrap();
    record["unfinished"] =
        serde_json::json!({ "run": started["run"], "plan": started["plan"], "progress": "committed" });
    record.as_object_mut().unwrap().remove("last");
    kill_the_app(&fleet);
    host.write_state(".lockgate/lease.json", &record.to_string());
    fleet.run("m2", "resume web").expect(0).says(&["succeeded"]);
    fleet.expect_settled("v1");
}

#[test]
fn what_a_host_went_on_with_is_not_taken_back_by_a_run_that_it_does_not_know_any_more() {
    let Some(fleet) = Fleet::start(2) else { return };
    fleet.run("m1", "deploy web v1").expect(0);
    kill_after_the_switch(&fleet, "v2");
    fleet.configure_hosts("m1", 1);
    // The host that is out of the configuration is left as it is, the other is put back.
    fleet.run("m1", "resume web").expect(3).says(&[&fleet.hosts[1].id]);
    fleet.run("m1", "deploy web v2").expect(0);

    // The second host is back, with the old run that never came to it.
    fleet.configure_hosts("m1", 2);
    // It was rolled back where it was left, and the whole is not well for it.
    let resumed = fleet.run("m1", "resume web --format json").expect(1);
    assert!(resumed.stdout.contains(&format!("\"left\":[\"{}\"]", fleet.hosts[0].id)), "{resumed}");
    let result = resumed.last();
    assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
    assert_eq!((&result["status"], &result["exit"]), (&"unwell".into(), &1.into()), "{result:#}");
    assert!(result["hosts"][&fleet.hosts[0].id].is_object(), "{result:#}");
    let releases = [0, 1].map(|host| http::get(fleet.hosts[host].port, "/").unwrap().release().to_owned());
    assert_eq!(releases, ["v2", "v1"]);
    fleet.run("m1", "status web").expect(1).says(&["the hosts differ", "deploy web TAG"]);
    fleet.run("m2", "resume web").expect(1).says(&["nothing was left unfinished", "the hosts differ"]);
    fleet.run("m2", "deploy web v1").expect(0);
    fleet.expect_settled("v1");
}
