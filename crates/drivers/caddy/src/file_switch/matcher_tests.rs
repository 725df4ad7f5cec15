use serde_json::json;

use super::*;

const FILE: &str = "/srv/apps/web/active_color";

fn proxy(dial: &str) -> Value {
    json!({"handler": "reverse_proxy", "upstreams": [{"dial": dial}]})
}

fn green() -> Value {
    json!({"vars": {format!("{{file.{FILE}}}"): ["green"]}})
}

fn to(dial: &str, matchers: Value) -> Value {
    match matchers {
        Value::Null => json!({"handle": [proxy(dial)]}),
        matchers => json!({"match": matchers, "handle": [proxy(dial)]}),
    }
}

fn found(routes: Value) -> Found {
    let config = json!({"apps": {"http": {"servers": {"srv0": {"routes": routes}}}}});
    find(&config, FILE, "web-blue:1", "web-green:1")
}

fn pairs(routes: Value) -> usize {
    match found(routes) {
        Found::Yes(routes) => routes.green.len(),
        other => panic!("{other:?}"),
    }
}

fn odd(routes: Value) -> String {
    match found(routes) {
        Found::Odd(why) => why.join("; "),
        other => panic!("{other:?}"),
    }
}

/// As `caddy adapt` writes what stands in the comment.
#[test]
fn the_forms_that_a_caddyfile_comes_to_are_known() {
    // handle @green { … } handle { … }
    let sub = |routes: Value| json!({"handler": "subroute", "routes": routes});
    let handles = json!([{"match": [{"host": ["a.test"]}], "handle": [sub(json!([
        {"group": "g", "match": [green()], "handle": [sub(json!([{"handle": [proxy("web-green:1")]}]))]},
        {"group": "g", "handle": [sub(json!([{"handle": [proxy("web-blue:1")]}]))]},
    ]))]}]);
    assert_eq!(pairs(handles), 1);
    // reverse_proxy @green … / reverse_proxy …
    assert_eq!(pairs(json!([to("web-green:1", json!([green()])), to("web-blue:1", Value::Null)])), 1);
    // @other not vars …
    let not = json!([{"not": [green()]}]);
    assert_eq!(pairs(json!([to("web-blue:1", not), to("web-green:1", json!([green()]))])), 1);
}

#[test]
fn several_routes_of_one_service_are_pairs_of_their_own() {
    let with = |path: &str, file: bool| {
        let mut set = if file { green() } else { json!({}) };
        set["path"] = json!([path]);
        json!([set])
    };
    let api = [to("web-green:1", with("/api/*", true)), to("web-blue:1", with("/api/*", false))];
    let rest = [to("web-green:1", json!([green()])), to("web-blue:1", Value::Null)];
    assert_eq!(pairs(json!([api, rest.clone()].concat())), 2);
    let lone = odd(json!([to("web-blue:1", with("/api/*", false)), rest[0], rest[1]]));
    assert!(lone.contains("routes/0/handle/0") && lone.contains("whatever the file says"), "{lone}");
    let lone = odd(json!([to("web-green:1", with("/api/*", false)), rest[0], rest[1]]));
    assert!(lone.contains("routes/0/handle/0") && lone.contains("whatever the file says"), "{lone}");
    let lone = odd(json!([to("web-green:1", with("/api/*", true)), rest[0], rest[1]]));
    assert!(lone.contains("no route to blue stands beside it"), "{lone}");
}

#[test]
fn what_does_not_follow_the_file_is_said_with_its_place() {
    assert_eq!(found(json!([to("web-blue:1", Value::Null)])), Found::No);
    assert_eq!(found(json!([to("other:1", json!([green()]))])), Found::No);
    let swapped = odd(json!([to("web-blue:1", json!([green()])), to("web-green:1", Value::Null)]));
    assert!(swapped.contains("is reached when the file says green"), "{swapped}");
    let behind = odd(json!([to("web-blue:1", Value::Null), to("web-green:1", json!([green()]))]));
    assert!(behind.contains("routes/0/handle/0"), "{behind}");
    let strange = json!([{"vars": {"{file./srv/apps/shop/active_color}": ["green"]}}]);
    let copied = odd(json!([to("web-green:1", strange), to("web-blue:1", Value::Null)]));
    assert!(copied.contains("/srv/apps/shop/active_color") && copied.contains(FILE), "{copied}");
    let both = json!([{"vars": {format!("{{file.{FILE}}}"): ["green", "canary"]}}]);
    assert!(odd(json!([to("web-green:1", both), to("web-blue:1", Value::Null)])).contains("something else"));
    let some = json!([green(), {"path": ["/x"]}]);
    assert!(odd(json!([to("web-green:1", some), to("web-blue:1", Value::Null)])).contains("only some"));
}
