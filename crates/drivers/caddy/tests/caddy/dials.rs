//! What Caddy's configuration dials: all of it is switched at once, or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_caddy::{Caddy, CaddyOptions};
use lockgate_model::{FailureKind, Millis, Slot, Split};
use lockgate_ports::conformance::router::{RouterFixture, suite};
use lockgate_ports::{CheckState, Endpoint, Request, Router, Tried, Upstream, http};
use serde_json::{Value, json};

use crate::support::{ID, SITE, Setup, caddy_is_there, free_port, local};

const SWITCHES: usize = 20;

/// `/api/*` beside `*`, a second site on another port, and one of another service: `a.test`, `b.test`, `shop.test`.
fn several(setup: &Setup, second_port: u16) -> Value {
    let proxy = |id: &str| {
        let mut proxy = setup.proxy();
        proxy["@id"] = json!(id);
        proxy["headers"] = json!({"response": {"set": {"X-By": [id]}}});
        proxy
    };
    let shop = json!({"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]});
    let api = json!({"handler": "subroute", "routes": [{"handle": [proxy("api")]}]});
    let mut config = setup.json(&json!([
        {"match": [{"host": ["shop.test"]}], "handle": [shop], "terminal": true},
        {"match": [{"host": [SITE], "path": ["/api/*"]}], "handle": [api], "terminal": true},
        {"match": [{"host": [SITE]}], "handle": [proxy(ID)], "terminal": true},
    ]));
    config["apps"]["http"]["servers"]["second"] = json!({
        "listen": [format!("127.0.0.1:{second_port}")],
        "automatic_https": {"disable": true},
        "routes": [{"handle": [proxy("second")]}],
    });
    config
}

async fn asked(address: &str, host: &str, path: &str) -> String {
    let request = Request::get(path, Millis::from_secs(5)).header("host", host);
    http::send(&*local(), &Endpoint::Tcp(address.to_owned()), request).await.unwrap().text()
}

#[tokio::test]
async fn the_suite_passes_with_several_handlers_that_dial_a_slot() {
    if !caddy_is_there() {
        return;
    }
    for id in [Some(ID.to_owned()), None] {
        let setup = Setup::new().await;
        let config = several(&setup, free_port());
        let options = CaddyOptions { id, ..setup.options() };
        let world = setup.run_json(&config, options).await;
        suite(&world).await;
    }
}

/// `/api` was 502 after every other deployment.
#[tokio::test]
async fn all_handlers_that_dial_a_slot_are_switched_by_one_change_and_keep_their_ids() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let second = free_port();
    let (config, options) = (several(&setup, second), setup.with_id());
    let world = Arc::new(setup.run_json(&config, options).await);
    let done = Arc::new(AtomicBool::new(false));
    let (watched, ended) = (world.clone(), done.clone());
    let watching = tokio::spawn(async move {
        let mut looks = 0;
        while !ended.load(Ordering::SeqCst) || looks == 0 {
            if let Ok(route) = watched.caddy.route().await {
                assert_eq!(route.torn, None, "a switch is one change");
                looks += 1;
            }
        }
    });
    for turn in 0..SWITCHES {
        let slot = [Slot::Green, Slot::Blue][turn % 2];
        world.switch(slot).await.unwrap();
        let site = world.site.to_string();
        for (address, path) in
            [(&site, "/slot"), (&site, "/api/slot"), (&format!("127.0.0.1:{second}"), "/slot")]
        {
            assert_eq!(asked(address, SITE, path).await, slot.as_str(), "{address}{path}");
        }
    }
    done.store(true, Ordering::SeqCst);
    watching.await.unwrap();
    for id in [ID, "api", "second"] {
        let handler = world.process.admin("GET", &format!("/id/{id}"), &Value::Null).await;
        let handler: Value = serde_json::from_slice(&handler.body).unwrap();
        assert_eq!(handler["headers"]["response"]["set"]["X-By"][0], id, "{handler}");
    }
    let config = world.process.config().await;
    let shop = config.pointer("/apps/http/servers/srv0/routes/1/handle/0/upstreams/0/dial").unwrap();
    assert_eq!(shop, "127.0.0.1:1", "another service's handler is left alone");
}

#[tokio::test]
async fn an_imported_snippet_and_handlers_on_two_sites_of_a_caddyfile_are_switched_together() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let folder = tempfile::tempdir().unwrap();
    let snippet = folder.path().join("web.caddy").to_str().unwrap().to_owned();
    std::fs::write(&snippet, format!("to {}\n", setup.dial(Slot::Blue))).unwrap();
    let port = setup.site.port();
    let mut file = setup.caddyfile(&format!(
        "handle /api/* {{\n reverse_proxy {{\n import {snippet}\n }}\n }}\n handle {{\n reverse_proxy {{\n import {snippet}\n }}\n }}"
    ));
    file.push_str(&format!(
        "http://b.test:{port} {{\n bind 127.0.0.1\n reverse_proxy localhost:{}\n}}\n",
        setup.app_port(Slot::Blue)
    ));
    let options = CaddyOptions { snippet: Some(snippet.clone()), ..setup.options() };
    let mut world = setup.run(&file, "caddyfile", options).await;
    world.switch(Slot::Green).await.unwrap();
    let site = world.site.to_string();
    for (host, path) in [(SITE, "/slot"), (SITE, "/api/slot"), ("b.test", "/slot")] {
        assert_eq!(asked(&site, host, path).await, "green", "{host}{path}");
    }
    // The file does not import it for the second site, so a restart tears the service apart.
    world.process.restart(&[]).await;
    let route = world.caddy.route().await.unwrap();
    assert_eq!(route.only(), None);
    assert!(route.sends_to(Slot::Blue) && route.sends_to(Slot::Green), "{route:?}");
    let torn = route.torn.unwrap();
    assert!(torn.contains(&format!("(dials localhost:{})", world.app(Slot::Blue).address.port())), "{torn}");
    let check = world.caddy.check().await.into_iter().find(|check| check.what == "Caddy's route").unwrap();
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
    world.switch(Slot::Green).await.unwrap();
    let route = world.caddy.route().await.unwrap();
    assert_eq!((route.only(), route.torn), (Some(Slot::Green), None), "a switch to what is live mends it");
    assert_eq!(asked(&site, "b.test", "/slot").await, "green");
}

/// "Drained blue", then recreated while Caddy still dialled it.
#[tokio::test]
async fn a_handler_that_chooses_between_the_slots_sends_to_both_until_a_switch() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let [blue, green] = [Slot::Blue, Slot::Green].map(|slot| setup.dial(slot));
    let file = setup.caddyfile(&format!(
        "reverse_proxy {blue} {green} {{\n lb_policy first\n health_uri /slot\n health_interval 1s\n fail_duration 10s\n }}"
    ));
    let options = setup.options();
    let world = setup.run(&file, "caddyfile", options).await;
    let route = world.caddy.route().await.unwrap();
    assert!(route.sends_to(Slot::Blue) && route.sends_to(Slot::Green) && route.only().is_none(), "{route:?}");
    assert_eq!(route.torn, None, "it means to");
    let check = world.caddy.check().await.into_iter().find(|check| check.what == "Caddy's route").unwrap();
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
    assert!(check.mend.unwrap().contains(&format!("`reverse_proxy {blue}`")));
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.caddy.route().await.unwrap().only(), Some(Slot::Green));
    assert_eq!(world.answer().await, "green");
}

#[tokio::test]
async fn what_no_switch_would_change_is_refused_with_what_to_write() {
    if !caddy_is_there() {
        return;
    }
    for (second, why) in [
        ("reverse_proxy /x {\n dynamic a {dial}\n }", "dynamic upstreams"),
        ("reverse_proxy /x {\n dynamic multi {\n a {dial}\n srv _http._tcp.web\n }\n }", "dynamic upstreams"),
        ("reverse_proxy /x {\n dynamic srv _http._tcp.web\n }", "SRV record"),
        ("reverse_proxy /x {env.LOCKGATE_TEST_NOWHERE}", "placeholder"),
    ] {
        let setup = Setup::new().await;
        let blue = setup.dial(Slot::Blue);
        let second = second.replace("{dial}", &blue.replace(':', " "));
        let file = setup.caddyfile(&format!("{second}\n reverse_proxy {blue}"));
        let options = setup.options();
        let world = setup.run(&file, "caddyfile", options).await;
        let refused = world.caddy.route().await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused, "{refused}");
        assert!(refused.message.contains(why), "{refused}");
        assert!(
            refused.hints().to_string().contains(&format!("`reverse_proxy {blue}`")),
            "{}",
            refused.hints()
        );
        let checks = world.caddy.check().await;
        assert!(checks.iter().any(|check| check.what == "Caddy's route" && check.state == CheckState::Bad));
    }
}

/// A slot that Caddy finds, and one that it does not, before any user is sent there.
#[tokio::test]
async fn a_slot_is_tried_through_caddy_before_it_gets_users() {
    if !caddy_is_there() {
        return;
    }
    // A site that takes every host, one with a prefix, and one that has an `@id` on a route for a host.
    let all_hosts = |setup: &Setup| {
        let file = setup.caddyfile(&format!("reverse_proxy {}", setup.dial(Slot::Blue)));
        (file.replace(&format!("http://{SITE}:"), "http://:"), "caddyfile")
    };
    let prefixed = |setup: &Setup| {
        let site = format!("handle_path /api/* {{\n reverse_proxy {}\n }}", setup.dial(Slot::Blue));
        (setup.caddyfile(&site), "caddyfile")
    };
    for which in 0..3 {
        let setup = Setup::new().await;
        let (config, adapter) = match which {
            0 => all_hosts(&setup),
            1 => prefixed(&setup),
            _ => (setup.simple().to_string(), ""),
        };
        let options = setup.options();
        let world = setup.run(&config, adapter, options).await;
        let request = Request::get("/slot", Millis::from_secs(5));
        let tried = world.caddy.try_out(&world.upstream(Slot::Green), &request).await.unwrap();
        let Tried::Answered { dial, status: Some(200) } = tried else { panic!("{tried:?}") };
        assert_eq!(dial, world.app(Slot::Green).address.to_string());
        assert_eq!(world.answer().await, "blue", "users are where they were");
        assert_eq!(world.caddy.route().await.unwrap().only(), Some(Slot::Blue));
    }
}

#[tokio::test]
async fn a_name_that_caddy_does_not_find_is_found_out_before_the_switch() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut options = setup.with_id();
    options.dial.insert(Slot::Green, format!("127.0.0.1:{}", free_port()));
    let config = setup.simple();
    let world = setup.run_json(&config, options).await;
    let request = Request::get("/slot", Millis::from_secs(5));
    let tried = world.caddy.try_out(&world.upstream(Slot::Green), &request).await.unwrap();
    let Tried::NotReached { dial, why } = tried else { panic!("{tried:?}") };
    assert!(dial.starts_with("127.0.0.1:") && why.contains("502"), "{dial} {why}");
    assert_eq!(world.answer().await, "blue");
}

/// A question that cannot be put says nothing about the slot.
#[tokio::test]
async fn a_slot_that_cannot_be_asked_through_caddy_is_neither_found_nor_missed() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let options = CaddyOptions { ask: Some(nobody), ..setup.with_id() };
    let config = setup.simple();
    let world = setup.run_json(&config, options).await;
    let request = Request::get("/slot", Millis::from_secs(5));
    let tried = world.caddy.try_out(&world.upstream(Slot::Green), &request).await.unwrap();
    assert!(matches!(tried, Tried::NotAsked(_)), "{tried:?}");
}

#[tokio::test]
async fn an_address_of_lockgate_yaml_may_be_written_as_a_url() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut options = setup.with_id();
    for dial in options.dial.values_mut() {
        *dial = format!("http://{dial}/");
    }
    let config = setup.simple();
    suite(&setup.run_json(&config, options).await).await;
    let mut options = Setup::new().await.options();
    options.dial.insert(Slot::Blue, "https://web-blue".to_owned());
    let refused = Caddy::new(options).err().unwrap();
    assert_eq!(refused.kind, FailureKind::Refused);
}

/// What an older Lockgate put at the end is moved, and keeps what it counts.
#[tokio::test]
async fn a_ghost_of_an_older_lockgate_is_taken_over() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut config = setup.simple();
    let known = |slot: Slot| json!({"@id": format!("lockgate_ghost_web:{slot}"), "dial": setup.dial(slot)});
    let old = json!({"@id": "lockgate_ghost_web", "match": [{"not": [{}]}],
        "handle": [{"handler": "reverse_proxy", "upstreams": [known(Slot::Blue), known(Slot::Green)]}]});
    config["apps"]["http"]["servers"]["srv0"]["routes"].as_array_mut().unwrap().push(old);
    let options = CaddyOptions { dial: Default::default(), ..setup.with_id() };
    let world = setup.run_json(&config, options).await;
    assert_eq!(world.caddy.in_flight(Slot::Green).await.unwrap().requests, 0);
    let held = world.hold_request().await;
    let version = world.caddy.route().await.unwrap().version;
    let green: Split<Upstream> = Split::all_to(world.upstream(Slot::Green));
    world.caddy.set(&green, &version).await.unwrap();
    assert_eq!(world.caddy.in_flight(Slot::Blue).await.unwrap().requests, 1);
    assert_eq!(held.finish().await.as_deref(), Ok("blue"));
    let routes = world.process.config().await["apps"]["http"]["servers"]["srv0"]["routes"].clone();
    let ids: Vec<&str> =
        routes.as_array().unwrap().iter().filter_map(|route| route["@id"].as_str()).collect();
    assert_eq!(ids, ["lockgate_ghost_web"], "{routes}");
    assert_eq!(routes[0]["@id"], "lockgate_ghost_web");
}
