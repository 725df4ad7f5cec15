use super::*;
use crate::dials::written;
use crate::syntax::parse;

const MARKER: &str = "/m/green_is_live";
const SET: &str = "set $slot blue; set $dial 127.0.0.1:5001; if (-f /m/green_is_live) { set $slot green; set $dial 127.0.0.1:5002; }";

fn found_for(text: &str, [blue, green]: [&str; 2]) -> Found {
    let dials = Dials { blue: blue.to_owned(), green: green.to_owned() };
    find(&parse("/x", &format!("http {{ {text} }}")).unwrap(), &By::Marker(MARKER), &dials)
}

fn found(text: &str) -> Found {
    found_for(text, ["127.0.0.1:5001", "127.0.0.1:5002"])
}

fn routes(text: &str) -> Routes {
    match found(text) {
        Found::Yes(routes) => routes,
        other => panic!("{text}: {other:?}"),
    }
}

fn odd(text: &str) -> String {
    match found(text) {
        Found::Odd(why) => why.join("\n"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_variable_that_the_marker_decides_leads_to_the_slots() {
    let site = "location = /who { return 200 $slot; } location / { proxy_pass http://$dial; } location /api/ { proxy_pass http://$dial; }";
    let seen = routes(&format!("server {{ listen 81; {SET} {site} }}"));
    assert_eq!(seen.count(), "2 locations");
    assert_eq!(seen.sites[0].probe.as_deref(), Some("/who"));
    assert!(seen.doubts.is_empty() && seen.groups.is_empty());
    assert!(seen.sites[0].places[0].buffers && seen.sites[0].places[0].groups.is_empty());
    assert!(seen.sites[0].fits("/api/x?y") > seen.sites[0].fits("/x"));
}

#[test]
fn upstream_groups_and_a_pass_within_the_condition_are_ways_too() {
    let groups = "upstream web_blue { server localhost:5001; keepalive 4; } upstream web_green { server 127.0.0.1:5002; }";
    let seen = routes(&format!(
        "{groups} server {{ set $slot blue; if (-f {MARKER}) {{ set $slot green; }} location / {{ proxy_request_buffering off; proxy_pass http://web_$slot; }} }}"
    ));
    assert_eq!(seen.sites[0].places[0].groups, ["web_blue", "web_green"]);
    assert_eq!(seen.groups["web_blue"].keepalive, Some(4));
    assert!(!seen.sites[0].places[0].buffers);
    let seen = routes(&format!(
        "server {{ location / {{ if (-f {MARKER}) {{ proxy_pass http://127.0.0.1:5002; }} proxy_pass http://127.0.0.1:5001; }} }}"
    ));
    assert_eq!(seen.count(), "2 locations");
}

/// As nginx's own people write it: the ports stand in the groups alone.
#[test]
fn a_slot_may_be_the_one_server_of_a_group() {
    let groups = "upstream web_blue { server 127.0.0.1:5001; } upstream web_green { server 127.0.0.1:5002; }";
    let site = format!(
        "server {{ set $d web_blue; if (-f {MARKER}) {{ set $d web_green; }} location / {{ proxy_pass http://$d; }} }}"
    );
    let Found::Yes(routes) = found_for(&format!("{groups} {site}"), ["web_blue", "web_green"]) else {
        panic!()
    };
    assert_eq!(routes.dials.unwrap().green, "127.0.0.1:5002");
    // Whoever goes to the server past the group goes to the slot.
    let past = "server { location /x { proxy_pass http://127.0.0.1:5001; } }";
    let Found::Odd(why) = found_for(&format!("{groups} {site} {past}"), ["web_blue", "web_green"]) else {
        panic!()
    };
    assert!(why[0].contains("leads to blue whatever"), "{why:?}");
    let two = groups.replace("server 127.0.0.1:5001;", "server 127.0.0.1:5001; server 127.0.0.1:5003;");
    let Found::Odd(why) = found_for(&format!("{two} {site}"), ["web_blue", "web_green"]) else { panic!() };
    assert!(why[0].contains("the group web_blue has 2 servers"), "{why:?}");
    let Found::Odd(why) = found_for(&site, ["web_blue", "web_green"]) else { panic!("names of no group") };
    assert_eq!(why, ["nginx has no upstream group web_blue", "nginx has no upstream group web_green"]);
    assert_eq!(found_for("server { }", ["web_blue", "web_green"]), Found::No(Vec::new()));
}

#[test]
fn where_nothing_asks_for_the_marker_the_ways_to_the_slots_are_told() {
    assert_eq!(found("server { location / { proxy_pass http://10.0.0.9; } }"), Found::No(Vec::new()));
    let seen = found("server {\n location / {\n proxy_pass http://localhost:5001/; } }");
    assert_eq!(
        seen,
        Found::No(vec![
            "/x:3: `proxy_pass http://localhost:5001/` leads to blue whatever the switch says".into()
        ])
    );
}

#[test]
fn a_way_that_does_not_follow_is_named_with_its_place() {
    let rest =
        |site: &str| odd(&format!("server {{ {SET} location / {{ proxy_pass http://$dial; }} }}\n{site}"));
    for (site, wanted) in [
        (
            "server { location /x { proxy_pass http://127.0.0.1:5001; } }",
            "/x:2: `proxy_pass http://127.0.0.1:5001` leads to blue whatever",
        ),
        (
            "upstream b { server 127.0.0.1:5001; server 127.0.0.1:5002 backup; } server { location / { proxy_pass http://b; } }",
            "has a slot and something else",
        ),
        (
            "server { location / { limit_except GET { proxy_pass http://127.0.0.1:5002; } } }",
            "leads to green whatever",
        ),
        (
            "server { open_file_cache max=9; if (-f /m/green_is_live) { set $x 1; } }",
            "/x:2: `open_file_cache` keeps what",
        ),
        (
            "server { set $d 127.0.0.1:5002; if (-f /m/green_is_live) { set $d 127.0.0.1:5001; } location / { proxy_pass http://$d; } }",
            "leads to green when blue is to be live",
        ),
        (
            "server { set $d 127.0.0.1:5001; if (-f /m/green_is_live) { set $d 127.0.0.1:5003; } location / { proxy_pass http://$d; } }",
            "leads to 127.0.0.1:5003 when green is to be live, which is no slot",
        ),
    ] {
        assert!(rest(site).contains(wanted), "{site}: {}", rest(site));
    }
    let dials = Dials { blue: written("127.0.0.1:5001"), green: written("127.0.0.1:5002") };
    let text = format!(
        "http {{ server {{ {SET} location / {{ proxy_pass http://$dial; }} }} }} stream {{ server {{ listen 9; proxy_pass 127.0.0.1:5001; }} }}"
    );
    let Found::Odd(why) = find(&parse("/x", &text).unwrap(), &By::Marker(MARKER), &dials) else { panic!() };
    assert!(why[0].contains("in `stream`"), "{why:?}");
    // A cache that is off again beside the condition, or elsewhere, is none.
    routes(&format!(
        "open_file_cache max=9; server {{ open_file_cache off; {SET} location / {{ proxy_pass http://$dial; }} }} server {{ }}"
    ));
}

#[test]
fn names_want_a_resolver_and_variables_of_others_are_only_a_doubt() {
    let names = ["web-blue:5000", "web-green:5000"];
    let script = "set $slot blue; if (-f /m/green_is_live) { set $slot green; }";
    let site = format!("{script} location / {{ proxy_pass http://web-$slot:5000; }}");
    let Found::Odd(why) = found_for(&format!("server {{ {site} }}"), names) else { panic!() };
    assert!(why[0].contains("no `resolver`") && why[0].contains("127.0.0.11"), "{why:?}");
    let seen = found_for(&format!("resolver 127.0.0.11; server {{ {site} }}"), names);
    assert!(matches!(seen, Found::Yes(ref routes) if routes.doubts.is_empty()), "{seen:?}");
    let groups =
        "upstream g_blue { server web-blue:5000; } upstream g_green { server web-green:5000 resolve; }";
    let seen = found_for(
        &format!("{groups} server {{ {script} location / {{ proxy_pass http://g_$slot; }} }}"),
        names,
    );
    let Found::Yes(routes) = seen else { panic!("{seen:?}") };
    assert_eq!(routes.doubts.len(), 1, "{:?}", routes.doubts);
    assert!(routes.doubts[0].contains("looks web-blue up only when it loads"), "{:?}", routes.doubts);
    let site = "server { location /x { proxy_pass http://$backend; } }";
    let seen =
        super::tests::routes(&format!("server {{ {SET} location / {{ proxy_pass http://$dial; }} }} {site}"));
    assert!(seen.doubts[0].contains("may lead to a slot"), "{:?}", seen.doubts);
}
