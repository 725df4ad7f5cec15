//! The switch that is a reload.

use lockgate_model::{FailureKind, NginxSwitch, Slot};
use lockgate_ports::conformance::router::{RouterFixture, suite};
use lockgate_ports::{CheckState, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::app::message;
use crate::support::{LIVE, MOMENT, SITE, SNIPPET, Setup, World, nginx_is_there};

const INCLUDE: &str = "include MARKER;\n";

/// As `doctor` has it.
fn setup() -> Setup {
    let (_, rest) = SNIPPET.split_once("}\nlocation =").unwrap();
    let server = format!("location ={rest}");
    Setup { switch: NginxSwitch::Reload, http: INCLUDE.into(), server, ..Setup::default() }
}

#[tokio::test]
async fn the_suite_passes_by_reloads() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(setup()).await;
    suite(&world).await;
    let bad: Vec<_> =
        world.nginx.check().await.into_iter().filter(|check| check.state == CheckState::Bad).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(world.nginx.remarks().await[0].contains("with which nginx is reloaded"));
}

#[tokio::test]
async fn a_configuration_that_fails_the_test_changes_nothing() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(setup()).await;
    world.nginx.route().await.unwrap();
    let config = std::fs::read_to_string(world.process.config()).unwrap();
    std::fs::write(world.process.config(), config.replace("access_log off;", "nonsense on;")).unwrap();
    let version =
        lockgate_ports::RouteVersion(format!("marker {}", std::fs::read_to_string(live(&world)).unwrap()));
    let to = lockgate_model::Split::all_to(world.upstream(Slot::Green));
    let error = world.nginx.set(&to, &version).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(error.message.contains("unknown directive \"nonsense\""), "nginx's own words: {error}");
    assert!(!error.outcome_unknown(), "{error:?}");
    assert!(std::fs::read_to_string(live(&world)).unwrap().contains("default blue;"), "it was put back");
}

fn live(world: &World) -> std::path::PathBuf {
    world.folder.path().join("nginx_live.conf")
}

/// A port that is taken: the test passes, and the master keeps its workers.
#[tokio::test]
async fn a_reload_that_the_master_refuses_is_noticed_and_put_back() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(setup()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = std::fs::read_to_string(world.process.config()).unwrap();
    let more = format!("access_log off;\nserver {{ listen {}; }}\n", taken.local_addr().unwrap());
    std::fs::write(world.process.config(), config.replace("access_log off;\n", &more)).unwrap();
    let error = world.switch(Slot::Green).await.unwrap_err();
    assert!(error.message.contains("workers of before still serve"), "{error}");
    assert!(error.hints().to_string().contains("error log"), "{error:?}");
    assert!(std::fs::read_to_string(live(&world)).unwrap().contains("default blue;"), "it was put back");
    drop(taken);
    assert_eq!(world.answer("/").await, "blue");
}

/// Killed between the file and the reload.
#[tokio::test]
async fn a_file_that_nginx_has_not_loaded_is_told_and_the_next_switch_mends_it() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(setup()).await;
    let blue = std::fs::read_to_string(live(&world)).unwrap();
    let green = blue
        .replace("default blue", "default green")
        .replace(&world.app(Slot::Blue).address.to_string(), &world.app(Slot::Green).address.to_string());
    for slot in [Slot::Green, Slot::Blue] {
        world.switch(Slot::Blue).await.unwrap();
        std::fs::write(live(&world), &green).unwrap();
        let route = world.nginx.route().await.unwrap();
        assert_eq!(route.only(), Some(Slot::Blue), "what nginx does is the truth");
        assert!(route.torn.unwrap().contains("says green, and nginx goes to blue"));
        world.switch(slot).await.unwrap();
        assert_eq!(world.answer("/").await, slot.as_str());
        assert_eq!(world.nginx.route().await.unwrap().torn, None);
    }
}

#[tokio::test]
async fn a_websocket_keeps_the_worker_and_the_slot_until_it_ends() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(setup()).await;
    let mut stream = TcpStream::connect(world.site).await.unwrap();
    let head =
        format!("GET /ws HTTP/1.1\r\nhost: {SITE}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(message(&mut stream, &mut Vec::new()).await.unwrap().0.contains("101"));
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer("/").await, "green");
    assert_eq!(world.nginx.in_flight(Slot::Blue).await.unwrap().requests, 1);
    stream.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    timeout(MOMENT.duration(), stream.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"ping", "it goes on");
    drop(stream);
    let deadline = Instant::now() + MOMENT.duration();
    while world.nginx.in_flight(Slot::Blue).await.unwrap().requests > 0 {
        assert!(Instant::now() < deadline, "it is drained once the WebSocket has ended");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_missing_is_named_and_what_to_write() {
    if !nginx_is_there() {
        return;
    }
    let world = World::new(Setup { http: format!("{LIVE}\n"), ..setup() }).await;
    let error = world.nginx.route().await.unwrap_err();
    assert!(error.message.contains("nginx does not include"), "{error}");
    let hint = error.hints().to_string();
    assert!(hint.contains(&format!("include {};", live(&world).display())), "{hint}");
    assert!(
        hint.contains("return 200 $slot_of_web;") && hint.contains("proxy_pass http://$dial_of_web;"),
        "{hint}"
    );
    let world = World::new(setup()).await;
    std::fs::write(live(&world), "map \"\" $slot_of_web { default blue; }\n").unwrap();
    let error = world.nginx.route().await.unwrap_err();
    assert!(
        error.message.contains("is not as Lockgate writes it") || error.message.contains("is broken"),
        "{error}"
    );
}
