//! The real layout of system B: one Compose file, fixed names of containers, `${IMAGE_TAG}` without a default, dependencies.
//! Only the service that is deployed is ever touched (P1, P5, P8).

use super::host::{ComposeVersion, HostB, Life};

/// A host whose service is swapped, and what is to stay as it is.
struct Swapped {
    host: HostB,
    /// Of the release that was started by hand, and of the first that Lockgate deployed.
    digests: [String; 2],
    /// Of the release that never gets healthy.
    sick: String,
    beside: [Life; 2],
    file: Vec<u8>,
}

fn beside(host: &HostB) -> [Life; 2] {
    ["db", "queue"].map(|service| host.life(service))
}

/// A release that is not there, one that is good, and one that never gets healthy.
fn swapped(version: ComposeVersion, health: &str) -> Option<Swapped> {
    let host = HostB::start(version, health)?;
    let tag = |name: &str| host.tag(name).to_owned();
    let (first, second, missing) = (tag("first"), tag("second"), tag("missing"));
    let untouched = beside(&host);
    let by_hand = host.life("app");
    let file = std::fs::read(host.file()).unwrap();

    // What cannot be pulled changes nothing.
    host.run(&format!("deploy app {missing}")).expect(1).says(&[missing.as_str()]);
    assert_eq!(host.life("app"), by_hand, "what runs is untouched");
    let first_digest = host.expect_live(&first);

    host.run("doctor").expect(0);
    host.run(&format!("deploy app {second}")).expect(0).says(&["dark: "]);
    let second_digest = host.expect_live(&second);
    assert_ne!(host.life("app"), by_hand);
    assert_eq!(host.containers(), host.named(), "the old container is removed, under whatever name");

    // Unhealthy: it is stopped, and the tag before is started again.
    let ran = host.run(&format!("deploy app {} --format json", tag("sick"))).expect(3);
    let result = ran.last();
    assert_eq!(result["result"]["outcome"], "rolled_back", "{result:#}");
    assert!(result["dark_ms"]["local"].as_u64().is_some_and(|dark| dark > 0), "{result:#}");
    let begun = ran.lines().into_iter().find(|line| line["event"] == "run_started").unwrap();
    let sick = begun["plan"]["release"]["digest"].as_str().unwrap().to_owned();
    host.expect_live(&second);
    let swapped = Swapped { host, digests: [first_digest, second_digest], sick, beside: untouched, file };
    swapped.expect_all_else_untouched();
    Some(swapped)
}

impl Swapped {
    #[track_caller]
    fn expect_all_else_untouched(&self) {
        assert_eq!(beside(&self.host), self.beside, "dependencies");
        assert_eq!(self.host.containers(), self.host.named());
        assert_eq!(std::fs::read(self.host.file()).unwrap(), self.file, "the team's file is its own");
    }
}

#[test]
fn a_service_with_dependencies_is_swapped_by_its_own_health_and_nothing_else_is_touched() {
    let Some(swapped) = swapped(ComposeVersion::V2, "docker") else { return };
    let Swapped { host, digests: [first, second], sick, .. } = &swapped;
    let tag = |name: &str| host.tag(name).to_owned();
    host.run("rollback app").expect(0);
    assert_eq!(host.expect_live(&tag("first")), *first);

    // Two releases are kept: the live one, and the one to go back to.
    host.run(&format!("deploy app {}", tag("third"))).expect(0);
    let third = host.expect_live(&tag("third"));
    host.run(&format!("deploy app {}", tag("fourth"))).expect(0);
    host.expect_live(&tag("fourth"));
    for (digest, is_kept) in [(second, false), (sick, false), (&third, true)] {
        assert_eq!(host.has_image(digest), is_kept, "{digest}");
    }
    host.run("rollback app").expect(0);
    assert_eq!(host.expect_live(&tag("third")), third);
    swapped.expect_all_else_untouched();
}

#[test]
fn so_it_is_with_compose_v1_and_a_probe() {
    swapped(ComposeVersion::V1, "{ path: /health, timeout: 3s }");
}
