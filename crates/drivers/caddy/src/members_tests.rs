use serde_json::json;

use super::*;

fn proxy(dial: &str) -> Value {
    json!({"handler": "reverse_proxy", "upstreams": [{"dial": dial}]})
}

fn config(routes: Value) -> Value {
    json!({"apps": {"http": {"servers": {"srv 0": {"routes": routes}}}}})
}

fn slots() -> Dials {
    Dials::from([(Slot::Blue, "web-blue:1".to_owned()), (Slot::Green, "web-green:1".to_owned())])
}

fn found(config: &Value, id: Option<&str>) -> Members {
    find(config, id, &slots()).unwrap_or_else(|unfit| panic!("{unfit:?}"))
}

fn refused(config: &Value, id: Option<&str>) -> String {
    match find(config, id, &slots()) {
        Err(Unfit::NotUnderstood(reasons)) => reasons.join("; "),
        seen => panic!("{seen:?}"),
    }
}

#[test]
fn a_route_with_the_id_leads_to_its_one_handler_however_deep() {
    let config = config(json!([
        {"handle": [proxy("other:1")]},
        {"@id": "web_upstream", "handle": [{"handler": "subroute", "routes": [{"handle": [proxy("anything:1")]}]}]},
    ]));
    let members = found(&config, Some("web_upstream"));
    assert_eq!((members.by, members.split(), members.all.len()), (By::Id, None, 1));
    assert_eq!(
        members.first().upstreams_path().url(),
        "/config/apps/http/servers/srv%200/routes/1/handle/0/routes/0/handle/0/upstreams"
    );
    assert_eq!(members.first().path.route().get(&config).and_then(tree::id_of), Some("web_upstream"));
}

#[test]
fn of_two_handlers_under_the_id_the_one_that_dials_a_slot_is_meant() {
    let config = |second: &str| config(json!([{"@id": "x", "handle": [proxy("auth:1"), proxy(second)]}]));
    assert_eq!(found(&config("web-blue:1"), Some("x")).dials(), ["web-blue:1"]);
    let unfit = find(&config("elsewhere:1"), Some("x"), &slots());
    assert!(matches!(&unfit, Err(Unfit::Several(both)) if both.len() == 2), "{unfit:?}");
}

#[test]
fn every_handler_that_dials_a_slot_is_the_services_and_the_ghost_is_not() {
    let config = config(json!([
        {"@id": "lockgate_ghost_web", "handle": [proxy("web-green:1")]},
        {"match": [{"path": ["/metrics"]}], "handle": [proxy("web-blue:9090")]},
        {"match": [{"host": ["b.test"]}], "handle": [proxy("Web-Blue:1")]},
        {"match": [{"host": ["c.test"]}], "handle": [proxy("shop:1")]},
        {"@id": "x", "handle": [proxy("web-blue:1")]},
    ]));
    for (id, first) in [(None, "Web-Blue:1"), (Some("x"), "web-blue:1"), (Some("gone"), "Web-Blue:1")] {
        let members = found(&config, id);
        assert_eq!(
            (members.all.len(), members.first().dials.as_slice()),
            (3, &[first.to_owned()][..]),
            "{id:?}"
        );
        assert_eq!((members.split(), members.torn()), (Some(Split::all_to(Slot::Blue)), None));
        let moved: Vec<Value> = members.all.iter().map(|member| member.upstreams_at("web-green:1")).collect();
        let green = |port: &str| json!([{"dial": format!("web-green:{port}")}]);
        assert_eq!(moved.iter().filter(|list| **list == green("1")).count(), 2);
        assert!(moved.contains(&green("9090")), "another port goes with the slot: {moved:?}");
    }
}

#[test]
fn handlers_that_disagree_are_torn_and_one_that_names_both_slots_means_to() {
    let torn =
        found(&config(json!([{"handle": [proxy("web-blue:1")]}, {"handle": [proxy("web-green:1")]}])), None);
    assert!(torn.torn().is_some_and(|how| how.contains("routes/1/handle/0 (dials web-green:1)")), "{torn:?}");
    let both = json!({"handler": "reverse_proxy", "load_balancing": {"selection_policy": {"policy": "first"}},
        "upstreams": [{"dial": "web-blue:1", "max_requests": 7}, {"dial": "web-green:1"}]});
    let both = found(&config(json!([{"handle": [both]}])), None);
    assert_eq!(both.torn(), None);
    for members in [&torn, &both] {
        let split = members.split().unwrap();
        assert!(
            split.sends_to(Slot::Blue) && split.sends_to(Slot::Green) && split.only().is_none(),
            "{split}"
        );
    }
    assert_eq!(both.all[0].upstreams_at("web-green:1"), json!([{"dial": "web-green:1", "max_requests": 7}]));
}

#[test]
fn what_a_switch_would_not_change_is_refused_with_the_place() {
    let a = |name: &str| json!({"handler": "reverse_proxy", "dynamic_upstreams": {"source": "a", "name": name, "port": "1"}});
    let checked = json!({"handler": "reverse_proxy", "upstreams": [{"dial": "web-blue:1"}],
        "health_checks": {"active": {"uri": "/", "upstream": "web-blue:1"}}});
    let partly =
        json!({"handler": "reverse_proxy", "upstreams": [{"dial": "web-blue:1"}, {"dial": "old:1"}]});
    for (second, why) in [
        (a("web-green"), "dynamic upstreams"),
        (proxy("web-{http.vars.color}:1"), "for some requests"),
        (proxy("{env.BACKEND}"), "whatever its placeholder says"),
        (
            json!({"handler": "reverse_proxy", "upstreams": [{"lookup_srv": "_x._tcp.web"}]}),
            "SRV record _x._tcp.web",
        ),
        (checked, "health_upstream"),
        (partly, "not all of it is a slot"),
    ] {
        let said = refused(&config(json!([{"handle": [proxy("web-blue:1")]}, {"handle": [second]}])), None);
        assert!(said.contains("routes/1/handle/0") && said.contains(why), "{said}");
    }
    let said = refused(
        &config(json!([{"@id": "x", "handle": [proxy("old:1")]}, {"handle": [proxy("web-blue:1")]}])),
        Some("x"),
    );
    assert!(said.contains("(dials old:1), which is neither slot"), "{said}");
    let mut layer4 = config(json!([{"handle": [proxy("web-blue:1")]}]));
    layer4["apps"]["layer4"] = json!({"servers": {"s": {"routes": [{"handle": [{"handler": "proxy", "upstreams": [{"dial": ["web-blue:1"]}]}]}]}}});
    assert!(refused(&layer4, None).contains("/config/apps/layer4/"), "{layer4}");
}

/// Nobody's deployment stands or falls with a site that has nothing to do with it.
#[test]
fn what_may_lead_anywhere_on_another_site_is_only_told() {
    let of = |host: &str, handler: Value| json!({"match": [{"host": [host]}], "handle": [handler]});
    let elsewhere = config(json!([of("a.test", proxy("web-blue:1")), of("b.test", proxy("{env.BACKEND}"))]));
    let members = found(&elsewhere, None);
    assert_eq!((members.all.len(), members.doubts.len()), (1, 1), "{members:?}");
    let here = config(json!([of("a.test", proxy("web-blue:1")), of("A.test", proxy("{env.BACKEND}"))]));
    refused(&here, None);
}

#[test]
fn none_says_what_there_is() {
    let config = config(json!([{"handle": [proxy("a:1")]}, {"handle": [proxy("a:1")]}]));
    for (id, seen) in [(None, IdSeen::NotConfigured), (Some("gone"), IdSeen::Missing)] {
        let unfit = find(&config, id, &slots());
        assert!(
            matches!(&unfit, Err(Unfit::None { others, id }) if others.len() == 2 && *id == seen),
            "{unfit:?}"
        );
    }
}
