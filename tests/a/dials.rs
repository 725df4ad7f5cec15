//! What Caddy's configuration dials, seen by whoever deploys (P1): all of it is switched, or a plan refuses.

use std::process::Command;

use crate::a::here::{Here, RELOADS};
use crate::support::http;
use crate::support::load::{Load, User};

/// One request to Caddy's admin API, as an administrator would.
#[track_caller]
fn administer(here: &Here, method: &str, path: &str, body: &str) {
    let url = format!("{}{path}", here.admin());
    let sent = Command::new("curl")
        .args([
            "-sS",
            "--fail-with-body",
            "-X",
            method,
            "-H",
            "content-type: application/json",
            "-d",
            body,
            &url,
        ])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&sent.stdout));
}

#[track_caller]
fn release_at(here: &Here, path: &str) -> String {
    http::get(here.port, path).unwrap().release().to_owned()
}

/// `/api` was 502 after every other deployment, all of them "succeeded".
#[test]
fn a_path_of_its_own_is_switched_with_the_rest_and_what_a_reload_tore_apart_is_mended_by_resume() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    let api = r#"{"match": [{"path": ["/api/*"]}], "terminal": true, "handle": [
        {"@id": "api", "handler": "reverse_proxy", "upstreams": [{"dial": "web-blue:5000"}]}]}"#;
    administer(&here, "PUT", "/config/apps/http/servers/lockgate/routes/0", api);
    let load = Load::start(here.port, &[User::Get]);
    let deployed = here.run("deploy web v2 --format json").expect(0);
    deployed.says(&["caddy reaches green before any user is sent there", "answered 200 at web-green:5000"]);
    load.expect_no_failure_but_of_reloads(RELOADS);
    assert_eq!([release_at(&here, "/"), release_at(&here, "/api/x")], ["v2", "v2"]);
    here.expect_settled("v2");

    administer(&here, "PATCH", "/id/api/upstreams", r#"[{"dial": "web-blue:5000"}]"#);
    here.run("status web")
        .expect(1)
        .says(&["parts of the router send to different slots", "(dials web-blue:5000)"]);
    let before = here.world();
    for typed in ["plan web v1", "deploy web v1", "rollback web"] {
        here.run(typed).expect(1).says(&["to different slots", "`lockgate resume` sends all of it to green"]);
    }
    assert_eq!(here.world(), before, "nothing is touched");
    here.run("doctor").expect(1).says(&["its parts send to different slots"]);
    here.run("resume web").expect(0).says(&["goes to the live one again"]);
    assert_eq!([release_at(&here, "/"), release_at(&here, "/api/x")], ["v2", "v2"]);
    here.expect_settled("v2");
}

/// "Drained blue", then recreated while Caddy still dialled it.
#[test]
fn a_caddy_that_chooses_between_the_slots_itself_is_refused_before_anything_is_touched() {
    let Some(here) = Here::start() else { return };
    here.run("deploy web v1").expect(0);
    let both = r#"[{"dial": "web-blue:5000"}, {"dial": "web-green:5000"}]"#;
    let first = r#"{"selection_policy": {"policy": "first"}, "try_duration": "1s"}"#;
    administer(&here, "PUT", "/id/web_upstream/load_balancing", first);
    administer(&here, "PATCH", "/id/web_upstream/upstreams", both);
    let before = here.world();
    let load = Load::start(here.port, &[User::Get]);
    for typed in ["plan web v2", "deploy web v2"] {
        here.run(typed).expect(1).says(&["the router splits the traffic", "web-blue:5000, web-green:5000"]);
    }
    load.expect_no_failure_but_of_reloads(0);
    assert_eq!(here.world(), before, "nothing is touched");
}
