//! All or nothing across hosts (P3).

use crate::a::fleet::{Fleet, Host};
use crate::support::load::{Load, User};

#[test]
fn a_failure_on_the_second_host_returns_both_to_what_they_had() {
    let Some(fleet) = Fleet::start(2) else { return };
    fleet.run("m1", "deploy web v1").expect(0);
    fleet.expect_settled("v1");
    let states = || -> Vec<[Option<String>; 2]> {
        let of = |host: &Host| ["active_color", "previous_color"].map(|name| host.state(name));
        fleet.hosts.iter().map(of).collect()
    };
    let before = states();
    let loads: Vec<Load> = fleet.hosts.iter().map(|host| Load::start(host.port, &[User::Get])).collect();

    // On the second host, green never gets well; by then the first host has switched.
    let ran = fleet.run("m1", "deploy web v2").expect(3);
    let second = &fleet.hosts[1];
    ran.says(&[&second.id, "is not healthy"]);
    fleet.expect_settled("v1");
    assert_eq!(states(), before);

    let file = second.compose_file("green");
    let mended = std::fs::read_to_string(&file).unwrap().replace("UNHEALTHY: \"1\"", "MENDED: \"1\"");
    std::fs::write(&file, mended).unwrap();
    fleet.run("m1", "deploy web v2").expect(0);
    fleet.expect_settled("v2");
    fleet.run("m2", "rollback web").expect(0);
    fleet.expect_settled("v1");
    for load in loads {
        load.expect_no_failure();
    }
}
