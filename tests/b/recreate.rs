//! The real layout of system B: one Compose file, fixed names of containers, `${IMAGE_TAG}` without a default, dependencies.
//! Only the service that is deployed is ever touched (P1, P5, P8).

use super::host::{ComposeVersion, HostB};

/// The whole life of system B's service on one host.
fn lives(version: ComposeVersion, health: &str) {
    let Some(host) = HostB::start(version, health) else { return };
    let tag = |name: &str| host.tag(name).to_owned();
    let (first, second, missing) = (tag("first"), tag("second"), tag("missing"));
    let beside = || ["db", "queue"].map(|service| host.life(service));
    let untouched = beside();
    let by_hand = host.life("app");
    let file = std::fs::read(host.file()).unwrap();

    // What cannot be pulled changes nothing, whatever was asked for.
    let ran = host.run(&format!("deploy app {missing}")).expect(1);
    ran.says(&[missing.as_str()]);
    assert_eq!(host.life("app"), by_hand, "what runs is untouched");
    let first_digest = host.expect_live(&first);

    host.run("doctor").expect(0);
    host.run(&format!("deploy app {second}")).expect(0).says(&["dark: "]);
    let second_digest = host.expect_live(&second);
    assert_ne!(host.life("app"), by_hand);
    assert_eq!(host.containers(), host.named(), "the old container is removed, under whatever name");
    assert_eq!(beside(), untouched, "dependencies");

    // Unhealthy: it is stopped, and the tag before is started again.
    let ran = host.run(&format!("deploy app {} --format json", tag("sick"))).expect(3);
    let result = ran.last();
    assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
    assert!(result["dark_ms"]["local"].as_u64().is_some_and(|dark| dark > 0), "{result:#}");
    let begun = ran.lines().into_iter().find(|line| line["event"] == "run_started").unwrap();
    let sick_digest = begun["plan"]["release"]["digest"].as_str().unwrap().to_owned();
    host.expect_live(&second);
    assert_eq!(host.containers(), host.named());
    assert_eq!(beside(), untouched, "dependencies");

    host.run("rollback app").expect(0);
    assert_eq!(host.expect_live(&first), first_digest);

    // Two releases are kept: the live one, and the one to go back to.
    host.run(&format!("deploy app {}", tag("third"))).expect(0);
    let third_digest = host.expect_live(&tag("third"));
    host.run(&format!("deploy app {}", tag("fourth"))).expect(0);
    host.expect_live(&tag("fourth"));
    for (digest, is_kept) in [(&second_digest, false), (&sick_digest, false), (&third_digest, true)] {
        assert_eq!(host.has_image(digest), is_kept, "{digest}");
    }
    host.run("rollback app").expect(0);
    assert_eq!(host.expect_live(&tag("third")), third_digest);
    assert_eq!(beside(), untouched, "dependencies, after all of it");
    assert_eq!(host.containers(), host.named());
    assert_eq!(std::fs::read(host.file()).unwrap(), file, "the team's file is its own");
}

#[test]
fn a_service_with_dependencies_is_swapped_by_its_own_health_and_nothing_else_is_touched() {
    lives(ComposeVersion::V2, "docker");
}

#[test]
fn so_it_is_with_compose_v1_and_a_probe() {
    lives(ComposeVersion::V1, "{ path: /health, timeout: 3s }");
}
