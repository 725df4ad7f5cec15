//! nginx in front, switched by a marker that it looks for at each request.

use crate::a::here::Here;
use crate::support::load::{Load, User};

#[test]
fn releases_go_live_behind_nginx_and_back_without_a_lost_request_or_a_changed_configuration() {
    let Some(here) = Here::start_behind_nginx() else { return };
    let config = std::path::Path::new(here.told("root")).join("nginx/nginx.conf");
    let before = std::fs::read(&config).unwrap();
    here.run("deploy web v1").expect(0);
    here.expect_settled("v1");
    here.run("doctor").expect(0).says(&["nginx's switch", "1 location of nginx's to the service go by it"]);
    let load = Load::start(here.port, &[User::Get, User::Get, User::Post, User::KeepAlive]);
    here.run("plan web v2").expect(0).says(&["green_is_live, which nginx looks for at each request"]);
    here.run("deploy web v2").expect(0);
    here.run("rollback web").expect(0);
    here.expect_live("v1");
    here.run("deploy web v2").expect(0);
    let tally = load.expect_no_failure();
    assert!(tally.by_release.len() == 2 && tally.resets == 0, "{tally:?}");
    here.expect_settled("v2");
    assert_eq!(std::fs::read(&config).unwrap(), before);

    // A location that somebody added past the switch is refused before anything is touched.
    let past = "location / {\nproxy_pass http://web_$web_slot;\n}\nlocation /api/ {\nproxy_pass http://web_green;\n}\n";
    let text = String::from_utf8(before).unwrap();
    let text = text.replace("location / { proxy_pass http://web_$web_slot; }\n", past);
    std::fs::write(&config, &text).unwrap();
    let line = text.lines().position(|line| line == "proxy_pass http://web_green;").unwrap() + 1;
    let place =
        format!("nginx.conf:{line}: `proxy_pass http://web_green` leads to green whatever the switch says");
    for typed in ["plan web v1", "deploy web v1"] {
        here.run(typed).expect(1).says(&[&place]);
    }
    here.run("doctor").expect(1).says(&[&place, "set $slot_of_web blue;"]);
    here.expect_live("v2");
}
