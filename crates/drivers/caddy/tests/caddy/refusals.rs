//! What is refused, and what the error says.

use std::sync::Arc;

use lockgate_caddy::{Caddy, CaddyOptions};
use lockgate_model::{FailureKind, Millis, Slot, Split};
use lockgate_ports::conformance::router::RouterFixture;
use lockgate_ports::{CheckState, Effect, Request, Router};
use serde_json::{Value, json};

use crate::hooked::Hooked;
use crate::support::{ID, Setup, World, caddy_is_there};

/// True when the installed Caddy kills requests at a change of configuration; says so when it does not.
fn caddy_kills_streams() -> bool {
    let version = std::process::Command::new("caddy").arg("version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let old = version.trim_start_matches('v').starts_with("2.6.");
    if !old {
        eprintln!("skipped: Caddy 2.6 is not installed, but {}", version.trim());
    }
    old
}

/// The service's own route, and another site's whose handler has `flush_interval -1`.
async fn beside_a_streaming_site() -> (Setup, Value) {
    let setup = Setup::new().await;
    let mut config = setup.simple();
    let other =
        json!({"handler": "reverse_proxy", "flush_interval": -1, "upstreams": [{"dial": "127.0.0.1:1"}]});
    config["apps"]["http"]["servers"]["srv0"]["routes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"match": [{"host": ["stream.test"]}], "handle": [other]}));
    (setup, config)
}

/// Nobody's deployment, status or way back depends on what another site is set up like.
#[tokio::test]
async fn flush_interval_minus_one_of_another_site_is_only_warned_of() {
    if !caddy_is_there() || !caddy_kills_streams() {
        return;
    }
    let (setup, config) = beside_a_streaming_site().await;
    let options = setup.with_id();
    let world = setup.run_json(&config, options).await;
    assert_eq!(world.caddy.route().await.unwrap().cuts, None);
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer().await, "green");
    let check = world.caddy.check().await.into_iter().find(|check| check.what == "flush_interval").unwrap();
    assert_eq!(check.state, CheckState::Warn, "{check:?}");
    assert!(check.seen.contains("routes/2/handle/0, not this service's: every switch kills"), "{check:?}");
}

/// The plan refuses a deployment for it; going back is never refused.
#[tokio::test]
async fn flush_interval_minus_one_of_the_service_is_told_as_what_a_switch_cuts() {
    if !caddy_is_there() || !caddy_kills_streams() {
        return;
    }
    for knows in [true, false] {
        let setup = Setup::new().await;
        let mut config = setup.simple();
        config["apps"]["http"]["servers"]["srv0"]["routes"][0]["handle"][0]["flush_interval"] = json!(-1);
        let mut options = setup.with_id();
        if !knows {
            options.host = Arc::new(Hooked::without_programs());
        }
        let world = setup.run_json(&config, options).await;
        let cuts = world.caddy.route().await.unwrap().cuts.unwrap();
        let version = if knows { "Caddy 2.6." } else { "whose version is not known" };
        assert!(
            cuts.contains("routes/0/handle/0") && cuts.contains("2.7") && cuts.contains(version),
            "{cuts}"
        );
        let check =
            world.caddy.check().await.into_iter().find(|check| check.what == "flush_interval").unwrap();
        assert_eq!(check.state, CheckState::Bad);
        world.switch(Slot::Green).await.unwrap();
        assert_eq!(world.answer().await, "green");
    }
}

#[tokio::test]
async fn a_change_between_looking_and_switching_is_caddys_412_and_takes_the_snippet_back() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let folder = tempfile::tempdir().unwrap();
    let snippet = folder.path().join("web.caddy").to_str().unwrap().to_owned();
    let foreign = br#"[{"dial":"127.0.0.1:9"}]"#.to_vec();
    let meddle = Request::json("PATCH", format!("/id/{ID}/upstreams"), foreign, Millis::from_secs(5));
    let host = Arc::new(Hooked::meddling(setup.admin.clone(), meddle));
    let options = CaddyOptions { host, snippet: Some(snippet.clone()), ..setup.with_id() };
    let config = setup.simple();
    let world = setup.run_json(&config, options).await;

    let error = world.switch(Slot::Green).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict, "{error}");
    assert!(error.message.contains("412"), "{error}");
    assert!(!std::path::Path::new(&snippet).exists(), "the snippet is as it was: absent");
    let route = world.caddy.route().await.unwrap();
    assert_eq!(
        (route.only(), route.dial.as_deref()),
        (None, Some("127.0.0.1:9")),
        "the other's change stands"
    );
}

/// Nothing was sent to it, so the switch has certainly not happened, and the snippet must not name the new address.
#[tokio::test]
async fn a_caddy_that_is_gone_before_the_switch_takes_the_snippet_back() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let folder = tempfile::tempdir().unwrap();
    let snippet = folder.path().join("web.caddy").to_str().unwrap().to_owned();
    let stop = Request::json("POST", "/stop", Vec::new(), Millis::from_secs(5));
    let host = Arc::new(Hooked::meddling(setup.admin.clone(), stop));
    let options = CaddyOptions { host, snippet: Some(snippet.clone()), ..setup.with_id() };
    let config = setup.simple();
    let world = setup.run_json(&config, options).await;
    let error = world.switch(Slot::Green).await.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::Unreachable, Effect::None), "{error}");
    assert!(!std::path::Path::new(&snippet).exists(), "the snippet is as it was: absent");
}

#[tokio::test]
async fn a_missing_route_says_what_there_is_and_how_to_mend_it() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let elsewhere = json!({"handler": "reverse_proxy", "upstreams": [{"dial": "elsewhere:1"}]});
    let config = setup.json(&json!([{"handle": [elsewhere]}]));
    let (blue, options) = (setup.dial(Slot::Blue), setup.with_id());
    let world = setup.run_json(&config, options).await;
    let error = world.caddy.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound);
    assert!(error.message.contains(ID) && error.message.contains("elsewhere:1"), "{error}");
    assert!(error.hints().to_string().contains(&format!("reverse_proxy {blue}")));
}

#[tokio::test]
async fn dynamic_upstreams_are_refused() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut config = setup.simple();
    config["apps"]["http"]["servers"]["srv0"]["routes"][0]["handle"][0]["dynamic_upstreams"] =
        json!({"source": "a", "name": "web.test", "port": "80"});
    let options = setup.with_id();
    let world = setup.run_json(&config, options).await;
    let error = world.caddy.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused);
    assert!(error.hints().to_string().contains("static upstreams"));
}

#[tokio::test]
async fn a_caddy_that_is_down_is_unreachable_at_once_with_a_hint() {
    if !caddy_is_there() {
        return;
    }
    let mut world = World::simple().await;
    let version = world.caddy.route().await.unwrap().version;
    world.process.stop();
    let look = world.caddy.route().await.unwrap_err();
    let switch = world.caddy.set(&Split::all_to(world.upstream(Slot::Green)), &version).await.unwrap_err();
    let count = world.caddy.in_flight(Slot::Blue).await.unwrap_err();
    for error in [look, switch, count] {
        assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
        assert!(error.hints().to_string().contains("systemctl status caddy"));
    }
    let checks = world.caddy.check().await;
    let names: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(names, ["Caddy's admin API", "Caddy's version", "Caddy's service"], "{checks:?}");
    assert_eq!(checks[0].state, CheckState::Bad, "{checks:?}");
}

#[tokio::test]
async fn a_count_of_a_slot_that_caddy_does_not_dial_is_an_error_and_never_zero() {
    if !caddy_is_there() {
        return;
    }
    let world = World::simple().await;
    assert_eq!(
        world.caddy.in_flight(Slot::Blue).await.unwrap().requests,
        0,
        "the live slot is counted at once"
    );
    let error = world.caddy.in_flight(Slot::Green).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Other);
    assert!(!error.hints().is_empty());
}

#[test]
fn slots_with_the_same_address_are_refused() {
    let dial = [Slot::Blue, Slot::Green].into_iter().map(|slot| (slot, "web:5000".to_owned())).collect();
    let options = CaddyOptions {
        host: crate::support::local(),
        label: "web".into(),
        admin: "http://127.0.0.1:2019".into(),
        id: None,
        dial,
        ask: None,
        snippet: None,
    };
    let error = Caddy::new(options).err().unwrap();
    assert!(error.hints().to_string().contains("{slot}"));
}
