//! The driver against a real Caddy.

mod dials;
mod file;
mod hooked;
mod load;
mod lossless;
mod refusals;
mod support;
mod version;

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_caddy::{Caddy, CaddyOptions};
use lockgate_model::{Millis, Slot, Split};
use lockgate_ports::conformance::router::{RouterFixture, suite};
use lockgate_ports::{CheckState, Endpoint, Request, Router, Upstream, http};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{ID, NEW, SITE, Setup, World, caddy_is_there, local, new_caddy_is_there};

const CERTIFICATE_SECONDS_MAX: u64 = 20;

#[tokio::test]
async fn the_suite_passes_with_the_id_on_the_handler() {
    if caddy_is_there() {
        suite(&World::simple().await).await;
    }
}

#[tokio::test]
async fn the_suite_passes_on_the_newest_caddy_by_its_admin_api() {
    if !new_caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let (config, options) = (setup.simple().to_string(), setup.with_id());
    suite(&setup.run_program(NEW, &config, "", options).await).await;
    let setup = Setup::new().await;
    let file = setup.caddyfile(&format!("reverse_proxy {}", setup.dial(Slot::Blue)));
    let options = setup.options();
    suite(&setup.run_program(NEW, &file, "caddyfile", options).await).await;
    let mut setup = Setup::new().await;
    let sockets = tempfile::tempdir().unwrap();
    setup.admin = Endpoint::Unix(sockets.path().join("admin.sock").to_str().unwrap().to_owned());
    let (config, options) = (setup.simple().to_string(), setup.with_id());
    suite(&setup.run_program(NEW, &config, "", options).await).await;
}

#[tokio::test]
async fn the_suite_passes_with_the_id_on_a_route_around_a_subroute() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let inner = json!({"handler": "subroute", "routes": [{"handle": [
        {"handler": "headers", "response": {"set": {"X-Seen": ["yes"]}}},
        setup.proxy(),
    ]}]});
    let config = setup.json(&json!([
        {"match": [{"host": ["other.test"]}], "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}]},
        {"@id": ID, "match": [{"host": [SITE]}], "handle": [inner], "terminal": true},
    ]));
    let options = setup.with_id();
    let world = setup.run_json(&config, options).await;
    suite(&world).await;
    let route = &world.process.admin("GET", &format!("/id/{ID}"), &Value::Null).await;
    let route: Value = serde_json::from_slice(&route.body).unwrap();
    assert_eq!(route["handle"][0]["routes"][0]["handle"][0]["handler"], "headers", "nothing else is changed");
}

#[tokio::test]
async fn the_suite_passes_with_a_caddyfile_that_has_no_id() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let file = setup.caddyfile(&format!("reverse_proxy {}", setup.dial(Slot::Blue)));
    let options = setup.options();
    suite(&setup.run(&file, "caddyfile", options).await).await;
}

#[tokio::test]
async fn the_suite_passes_where_a_slots_address_is_only_known_at_the_switch() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut config = setup.simple();
    config["apps"]["http"]["servers"]["srv0"]["routes"][0]["handle"][0]["upstreams"] =
        json!([{"dial": "127.0.0.1:1", "max_requests": 1000}]);
    let mut options = setup.with_id();
    options.dial.clear();
    let world = setup.run_json(&config, options).await;
    suite(&world).await;
    let upstreams = world.process.admin("GET", &format!("/id/{ID}/upstreams"), &Value::Null).await;
    assert!(upstreams.text().contains("1000"), "an upstream keeps its other settings: {}", upstreams.text());
}

#[tokio::test]
async fn the_suite_passes_over_a_unix_socket_admin_api() {
    if !caddy_is_there() {
        return;
    }
    let mut setup = Setup::new().await;
    let sockets = tempfile::tempdir().unwrap();
    setup.admin = Endpoint::Unix(sockets.path().join("admin.sock").to_str().unwrap().to_owned());
    let (config, options) = (setup.simple(), setup.with_id());
    suite(&setup.run_json(&config, options).await).await;
}

#[tokio::test]
async fn an_id_lost_by_a_reload_is_made_good_by_looking_for_the_address() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let file = setup.caddyfile(&format!("reverse_proxy {}", setup.dial(Slot::Blue)));
    let options = setup.with_id();
    let world = setup.run(&file, "caddyfile", options).await;
    let place = "/config/apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0/@id";
    assert_eq!(
        world.process.admin("POST", place, &json!(ID)).await.status,
        200,
        "the hint's own way to add an @id"
    );
    world.switch(Slot::Green).await.unwrap();
    assert!(
        world
            .caddy
            .check()
            .await
            .iter()
            .all(|check| check.what != "Caddy's route" || check.state == CheckState::Ok)
    );

    world.process.reload().await;
    let route = world.caddy.route().await.unwrap();
    assert_eq!(route.only(), Some(Slot::Blue), "the reload went back to the file's upstream");
    let check = world.caddy.check().await.into_iter().find(|check| check.what == "Caddy's route").unwrap();
    assert_eq!(check.state, CheckState::Warn, "{check:?}");
    let error = world.caddy.in_flight(Slot::Green).await.unwrap_err();
    assert!(
        error.message.contains("lockgate_ghost_web"),
        "without the ghost a count is an error, never 0: {error}"
    );

    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer().await, "green");
    assert_eq!(world.caddy.in_flight(Slot::Blue).await.unwrap().requests, 0);
}

#[tokio::test]
async fn a_restart_from_the_file_is_repaired_by_the_next_switch_and_a_resume_keeps_everything() {
    if !caddy_is_there() {
        return;
    }
    let mut world = World::simple().await;
    world.switch(Slot::Green).await.unwrap();
    world.process.restart(&["--resume"]).await;
    assert_eq!(world.caddy.route().await.unwrap().only(), Some(Slot::Green));
    assert_eq!(world.caddy.in_flight(Slot::Blue).await.unwrap().requests, 0, "the ghost survives --resume");

    world.process.restart(&[]).await;
    assert_eq!(world.caddy.route().await.unwrap().only(), Some(Slot::Blue));
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer().await, "green");
    assert_eq!(world.caddy.in_flight(Slot::Blue).await.unwrap().requests, 0);
}

#[tokio::test]
async fn the_imported_snippet_brings_a_restarted_caddy_back_to_the_live_slot() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let folder = tempfile::tempdir().unwrap();
    let snippet = folder.path().join("web.caddy").to_str().unwrap().to_owned();
    std::fs::write(&snippet, format!("to {}\n", setup.dial(Slot::Blue))).unwrap();
    let file = setup.caddyfile(&format!("reverse_proxy {{\n  import {snippet}\n  header_up X-A b\n }}"));
    let (green, options) =
        (setup.dial(Slot::Green), CaddyOptions { snippet: Some(snippet.clone()), ..setup.options() });
    let mut world = setup.run(&file, "caddyfile", options).await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(std::fs::read_to_string(&snippet).unwrap(), format!("to {green}\n"));
    let checks = world.caddy.check().await;
    assert!(checks.iter().all(|check| check.state != CheckState::Bad), "{checks:?}");
    assert!(checks.iter().all(|check| check.mend.is_some() == (check.state != CheckState::Ok)), "{checks:?}");

    world.process.restart(&[]).await;
    assert_eq!(world.caddy.route().await.unwrap().only(), Some(Slot::Green));
    world.process.reload().await;
    assert_eq!(world.answer().await, "green");

    std::fs::write(&snippet, "to 127.0.0.1:1\n").unwrap();
    let check =
        world.caddy.check().await.into_iter().find(|check| check.what == "a restart of Caddy").unwrap();
    assert_eq!(check.state, CheckState::Warn, "a snippet out of step is told");
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(std::fs::read_to_string(&snippet).unwrap(), format!("to {green}\n"), "and mended by a switch");
}

#[tokio::test]
async fn the_ghost_is_added_once_in_front_and_answers_nobody_who_does_not_know_its_token() {
    if !caddy_is_there() {
        return;
    }
    let world = World::simple().await;
    for slot in [Slot::Green, Slot::Blue, Slot::Green] {
        world.switch(slot).await.unwrap();
    }
    let config = world.process.config().await;
    let routes = config["apps"]["http"]["servers"]["srv0"]["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 2, "{routes:?}");
    assert_eq!(routes[0]["@id"], "lockgate_ghost_web");

    let elsewhere = Request::get("/slot", Millis::from_secs(5)).header("host", "unknown.test");
    let guessed = elsewhere.clone().header("proxy-authorization", "Lockgate .blue");
    let site = Endpoint::Tcp(world.site.to_string());
    for request in [elsewhere.clone(), guessed] {
        let answer = http::send(&*local(), &site, request).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "no route answers an unknown host");
    }
    // Whoever asks through the router for the service gets the service, whatever else its users call it.
    let answer = world.caddy.ask(&elsewhere).await.unwrap().answer;
    assert_eq!((answer.status, answer.text().as_str()), (200, "green"));
}

#[tokio::test]
async fn a_second_service_in_the_same_server_gets_its_own_ghost() {
    if !caddy_is_there() {
        return;
    }
    let (setup, other) = (Setup::new().await, Setup::new().await);
    let mut proxy = other.proxy();
    proxy["@id"] = json!("shop_upstream");
    let mut config = setup.simple();
    config["apps"]["http"]["servers"]["srv0"]["routes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"match": [{"host": ["shop.test"]}], "handle": [proxy]}));
    let admin = setup.options().admin;
    let shop =
        CaddyOptions { label: "shop".into(), id: Some("shop_upstream".into()), admin, ..other.options() };
    let shop = Caddy::new(shop).unwrap();
    let options = setup.with_id();
    let world = setup.run_json(&config, options).await;
    let version = shop.route().await.unwrap().version;
    let green = Endpoint::Tcp(other.dial(Slot::Green));
    let split = Split::all_to(Upstream { endpoint: green, ..world.upstream(Slot::Green) });
    let (one, two) = tokio::join!(world.switch(Slot::Green), shop.set(&split, &version));
    one.unwrap();
    two.unwrap();
    let routes = world.process.config().await["apps"]["http"]["servers"]["srv0"]["routes"].clone();
    let ids: Vec<_> = routes.as_array().unwrap().iter().filter_map(|route| route["@id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "both at once add one ghost each: {ids:?}");
    assert_eq!(shop.route().await.unwrap().only(), Some(Slot::Green));
}

#[tokio::test]
async fn an_https_site_is_asked_over_tls_with_its_own_name() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut config = setup.simple();
    config["apps"]["http"]["https_port"] = json!(setup.site.port());
    config["apps"]["http"]["servers"]["srv0"]["automatic_https"] = json!({"disable_redirects": true});
    config["apps"]["tls"] = json!({"automation": {"policies": [{"issuers": [{"module": "internal"}]}]}});
    config["apps"]["pki"] = json!({"certificate_authorities": {"local": {"install_trust": false}}});
    let options = setup.with_id();
    let by_url =
        CaddyOptions { ask: Some(format!("https://{SITE}:{}", setup.site.port())), ..setup.with_id() };
    let world = setup.run_json(&config, options).await;
    await_certificate(&world).await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer().await, "green");
    let asked = Caddy::new(by_url).unwrap().ask(&Request::get("/slot", Millis::from_secs(5))).await.unwrap();
    assert_eq!(asked.answer.text(), "green");
}

/// Caddy makes its certificate after it has started to listen.
async fn await_certificate(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(CERTIFICATE_SECONDS_MAX);
    while let Err(error) = world.caddy.ask(&Request::get("/slot", Millis::from_secs(5))).await {
        assert!(
            Instant::now() < deadline,
            "Caddy has a certificate within {CERTIFICATE_SECONDS_MAX} s: {error}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_configured_ask_url_takes_the_routes_host_and_handle_paths_prefix_is_found() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let file =
        setup.caddyfile(&format!("handle_path /api/* {{\n reverse_proxy {}\n }}", setup.dial(Slot::Blue)));
    let url = |site: SocketAddr| CaddyOptions { ask: Some(format!("http://{site}/api")), ..setup.options() };
    let by_url = Caddy::new(url(setup.site)).unwrap();
    let options = setup.options();
    let world = setup.run(&file, "caddyfile", options).await;
    assert_eq!(world.answer().await, "blue");
    let asked = by_url.ask(&Request::get("/slot", Millis::from_secs(5))).await.unwrap();
    assert_eq!(asked.answer.text(), "blue");
}
