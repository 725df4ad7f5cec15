//! The switch that is a marker.

use lockgate_model::{FailureKind, Slot, Split};
use lockgate_ports::conformance::router::{RouterFixture, suite};
use lockgate_ports::{CheckState, Router};

use crate::hosts::Prefixed;
use crate::support::{NEWEST, Setup, World, is_root, newest_is_there, nginx_is_there};

const GROUPS: &str = "upstream web_blue { server BLUE; }\nupstream web_green { server GREEN; }\n";
const BY_GROUPS: &str = "set $slot blue;\nif (-f MARKER) { set $slot green; }\nlocation = /who { return 200 $slot; }\nlocation / { proxy_pass http://web_$slot; }\n";

#[tokio::test]
async fn the_suite_passes_with_what_is_told_to_be_pasted() {
    if !nginx_is_there() {
        return;
    }
    let world = World::simple().await;
    let before = std::fs::read(world.process.config()).unwrap();
    suite(&world).await;
    assert_eq!(
        std::fs::read(world.process.config()).unwrap(),
        before,
        "nginx's configuration is never changed"
    );
    assert!(!world.marker().exists(), "no marker is left");
    let bad: Vec<_> =
        world.nginx.check().await.into_iter().filter(|check| check.state != CheckState::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn the_suite_passes_with_upstream_groups_and_with_a_pass_within_the_condition() {
    if !nginx_is_there() {
        return;
    }
    for by_groups in [false, true] {
        let groups = Setup { server: BY_GROUPS.into(), http: GROUPS.into(), by_groups, ..Setup::default() };
        suite(&World::new(groups).await).await;
    }
    let server = "location / {\nif (-f MARKER) { proxy_pass http://GREEN; }\nproxy_pass http://BLUE;\n}\n";
    suite(&World::new(Setup { server: server.into(), ..Setup::default() }).await).await;
}

/// Its groups keep connections unless they are told not to, and Debian's do not even know how to be told.
#[tokio::test]
async fn the_suite_passes_on_the_newest_nginx_and_kept_connections_are_told() {
    if !newest_is_there() {
        return;
    }
    let newest = || Setup { program: Some(NEWEST), ..Setup::default() };
    let world = World::new(newest()).await;
    suite(&world).await;
    assert_eq!(world.nginx.remarks().await.len(), 2, "the switch, and bodies that are still read");
    let groups = |keeps: &str| Setup {
        server: BY_GROUPS.into(),
        http: GROUPS.replace(" }", &format!(" {keeps}}}")),
        ..newest()
    };
    suite(&World::new(groups("keepalive 0; ")).await).await;
    let world = World::new(groups("")).await;
    let remarks = world.nginx.remarks().await;
    assert!(remarks[1].contains("web_blue and web_green keeps connections"), "{remarks:?}");
    assert_eq!(world.check("counting requests in flight").await.state, CheckState::Warn);
}

#[tokio::test]
async fn the_suite_passes_with_two_servers_in_files_that_are_included() {
    if !nginx_is_there() {
        return;
    }
    let setup = Setup {
        server: "include DIR/snippets/web;\n".into(),
        http: "include sites/*.conf;\n".into(),
        files: vec![
            ("snippets/web", crate::support::SNIPPET.into()),
            ("sites/b.conf", "server { listen SITE; server_name b.test; include snippets/web; }".into()),
            ("sites/other", "server { broken".into()),
        ],
        ..Setup::default()
    };
    let world = World::new(setup).await;
    suite(&world).await;
    let check = world.check("nginx's switch").await;
    assert!(check.seen.contains("4 locations of nginx's"), "{check:?}");
    world.nginx.in_force(Slot::Blue).await.unwrap();
    let elsewhere = world.nginx.in_force(Slot::Green).await.unwrap_err();
    assert_eq!(elsewhere.message, "nginx goes to blue, not to green");
}

#[tokio::test]
async fn a_switch_is_found_after_a_restart_and_needs_no_reload() {
    if !nginx_is_there() {
        return;
    }
    let mut world = World::simple().await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer("/").await, "green");
    world.process.stop();
    let down = world.nginx.route().await.unwrap_err();
    assert_eq!(down.kind, FailureKind::Unreachable, "{down}");
    assert!(down.hints().to_string().contains("systemctl start nginx"), "{down:?}");
    let version = lockgate_ports::RouteVersion("marker green\n".into());
    let down = world.nginx.set(&Split::all_to(world.upstream(Slot::Blue)), &version).await.unwrap_err();
    assert!(down.is_silence() && !down.outcome_unknown(), "{down:?}");
    assert!(world.marker().exists(), "nothing is switched while nobody can say whether it is");
    world.process.start().await;
    assert_eq!(world.nginx.route().await.unwrap().only(), Some(Slot::Green));
    assert_eq!(world.answer("/").await, "green");
}

#[tokio::test]
async fn whoever_is_not_root_needs_only_the_files_and_the_folder() {
    if !nginx_is_there() || !is_root() {
        return;
    }
    let setup = Setup {
        http: "include sites/*.conf;\n".into(),
        files: vec![("sites/b.conf", "server { listen SITE; server_name b.test; }".into())],
        host: Some(Prefixed::by_nobody()),
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let check = world.check("nginx's configuration").await;
    assert!(check.seen.contains("only root can have nginx test it"), "{check:?}");
    suite(&world).await;
}
