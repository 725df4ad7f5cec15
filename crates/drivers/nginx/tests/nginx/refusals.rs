//! Bad days.

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{CheckState, PortError, Router};
use std::os::unix::fs::PermissionsExt;

use crate::hosts::Prefixed;
use crate::support::{SNIPPET, Setup, World, is_root, nginx_is_there};

async fn refused(setup: Setup) -> PortError {
    let world = World::new(setup).await;
    let error = world.nginx.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(world.switch(Slot::Green).await.is_err());
    assert!(!world.marker().exists(), "nothing was switched");
    // The place of what is refused is what an editor would be sent to.
    if let Some(line) = std::fs::read_to_string(world.process.config())
        .unwrap()
        .lines()
        .position(|line| line.starts_with("proxy_pass"))
    {
        assert!(error.message.contains(&format!("nginx.conf:{}: `proxy_pass http://", line + 1)), "{error}");
    }
    error
}

fn server(text: &str) -> Setup {
    Setup { server: text.to_owned(), ..Setup::default() }
}

/// What is told to be pasted in the place of a `proxy_pass` makes it the switch.
#[tokio::test]
async fn without_the_marker_the_way_that_is_there_is_named_and_what_to_paste() {
    if !nginx_is_there() {
        return;
    }
    let error = refused(server("location / {\nproxy_pass http://BLUE;\n}\n")).await;
    assert!(error.message.contains("leads to blue whatever the switch says"), "{error}");
    let hint = error.hints().to_string();
    let server_part =
        hint.split_once("before its locations:\n").unwrap().1.split_once("\nin each").unwrap().0;
    let location = hint.split_once("of its `proxy_pass`:\n").unwrap().1.split_once("\nthen").unwrap().0;
    let world = World::simple().await;
    let ours = format!("{server_part}\nlocation / {{\n{location}\n}}\n");
    let dial = |text: &str, key: &str| {
        text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect::<Vec<_>>()
    };
    let [blue, green] = dial(server_part, "set $dial_of_web ").try_into().unwrap();
    let marker = dial(server_part, "if (-f ").remove(0);
    let text = ours
        .replace(blue.trim_end_matches(';'), "BLUE")
        .replace(green.trim_end_matches(';'), "GREEN")
        .replace(marker.trim_end_matches(") {"), "MARKER");
    drop(world);
    let world = World::new(server(&text)).await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer("/").await, "green");
    world.nginx.in_force(Slot::Green).await.unwrap();
}

#[tokio::test]
async fn a_location_that_does_not_follow_is_refused_with_its_file_and_line() {
    if !nginx_is_there() {
        return;
    }
    let error = refused(server(&format!("{SNIPPET}location /api/ {{\nproxy_pass http://BLUE;\n}}\n"))).await;
    assert!(error.message.contains("leads to blue whatever the switch says"), "{error}");
    let cached = Setup { http: "open_file_cache max=100;\n".into(), ..Setup::default() };
    assert!(refused(cached).await.message.contains("`open_file_cache` keeps"), "a cache is refused");
}

#[tokio::test]
async fn a_configuration_that_nginx_has_not_loaded_is_noticed_by_asking_it() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(server("location / { return 204; }\n")).await;
    let config = std::fs::read_to_string(world.process.config()).unwrap();
    let fill = |text: &str| {
        text.replace("MARKER", world.marker().to_str().unwrap())
            .replace("BLUE", &world.apps[0].address.to_string())
            .replace("GREEN", &world.apps[1].address.to_string())
    };
    std::fs::write(world.process.config(), config.replace("location / { return 204; }\n", &fill(SNIPPET)))
        .unwrap();
    let error = world.nginx.route().await.unwrap_err();
    assert!(error.message.contains("answers 204 at /.lockgate/web"), "{error}");
    assert!(error.hints().to_string().contains("nginx -s reload"), "{error:?}");
}

#[tokio::test]
async fn a_marker_that_nginx_cannot_see_is_put_back() {
    if !nginx_is_there() || !is_root() {
        return;
    }
    let world = World::simple().await;
    std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = world.switch(Slot::Green).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused);
    assert!(error.message.contains("put back") && error.message.contains("nginx goes to blue"), "{error}");
    assert!(error.hints().to_string().contains("chmod o+x"), "{error:?}");
    assert!(!world.marker().exists());
    assert_eq!(world.answer("/").await, "blue");
    // One that is there is not believed either.
    std::fs::write(world.marker(), "green\n").unwrap();
    assert!(world.nginx.route().await.unwrap_err().message.contains("is there, and nginx goes to blue"));
    let check = world.check("the switch as nginx sees it").await;
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
    std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(world.nginx.route().await.unwrap().only(), Some(Slot::Green));
}

#[tokio::test]
async fn a_broken_configuration_and_a_missing_include_are_told_in_nginxs_words() {
    if !nginx_is_there() {
        return;
    }
    for (line, wanted) in [
        ("include DIR/gone.conf;\n", "gone.conf\" failed (2: No such file or directory)"),
        ("nonsense on;\n", "unknown directive \"nonsense\""),
    ] {
        let world = World::simple().await;
        let config = std::fs::read_to_string(world.process.config()).unwrap();
        let line = line.replace("DIR", world.process.dir.path().to_str().unwrap());
        std::fs::write(world.process.config(), config.replace("access_log off;\n", &line)).unwrap();
        let error = world.nginx.route().await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Refused, "{error}");
        assert!(error.message.contains("is broken") && error.message.contains(wanted), "{error}");
        assert!(error.message.contains("nginx.conf:"), "{error}");
    }
}

#[tokio::test]
async fn a_configuration_that_nobody_may_read_is_said_to_be_so() {
    if !nginx_is_there() || !is_root() {
        return;
    }
    let world = World::new(Setup { host: Some(Prefixed::by_nobody()), ..Setup::default() }).await;
    std::fs::remove_file(world.process.config()).unwrap();
    std::fs::create_dir(world.process.config()).unwrap();
    let error = world.nginx.route().await.unwrap_err();
    assert!(error.message.contains("nginx.conf"), "{error}");
}
