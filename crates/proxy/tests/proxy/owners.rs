//! Addresses that somebody else may get: nobody is answered with another's page.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use lockgate_proxy::{ContainerOwner, Owner, ProcessOwner, Replica, RouteSpec};

use crate::backend::Backend;
use crate::client::{Admin, connect, get, once, text};
use crate::engine::{Container, Engine, id};
use crate::{eventually, spec, start_in};

/// How soon a container that has moved is followed.
const FOLLOWED_MILLIS_MAX: u128 = 1_000;

fn owned(slot: &str, dial: &str, owner: Owner) -> RouteSpec {
    let replicas = vec![Replica { dial: dial.to_owned(), owner: Some(owner) }];
    RouteSpec { replicas, ..spec(slot, dial) }
}

/// An app's process, for an address that the test itself listens on.
struct Process(Child);

impl Process {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn owner(&self) -> ProcessOwner {
        let pid = self.0.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let began = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
        ProcessOwner { pid, began, boot_id }
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn container(engine: &Engine, digit: char, port: u16) -> Owner {
    Owner::Container(ContainerOwner {
        engine: engine.socket.clone(),
        id: id(digit),
        labels: BTreeMap::from([("lockgate.slot".to_owned(), "blue".to_owned())]),
        network: Some("edge".to_owned()),
        port,
        process: None,
    })
}

fn at(digit: char, slot: &'static str, ip: Option<&str>) -> Container {
    Container { id: id(digit), slot, ip: ip.map(str::to_owned) }
}

#[tokio::test]
async fn a_port_whose_process_has_ended_is_nobodys_and_stays_so_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, admin) = (proxy.addresses()[0], Admin::of(dir.path()));
    let app = Process::start();
    // Who listens is not who is meant, as after the app has ended and another got its port.
    let listener = Backend::start("whoever").await;
    let dial = listener.address.to_string();
    admin.put("app", &owned("blue", &dial, Owner::Process(app.owner()))).await;
    let (status, body) = once(address, get("/")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "whoever"));
    assert!(admin.route("app").await.trouble.is_none());

    let owner = app.owner();
    app.end();
    eventually("connections to what is nobody's are closed", async || {
        once(address, get("/")).await.0 == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    let served = listener.state.served.load(std::sync::atomic::Ordering::SeqCst);
    let mut client = connect(address).await.unwrap();
    let response = client.send_request(get("/")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(text(response).await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    let view = admin.route("app").await;
    assert!(view.trouble.unwrap().contains(&dial) && !view.replicas[0].trusted);
    proxy.shutdown().await.unwrap();

    let proxy = start_in(dir.path()).await;
    assert_eq!(admin.route("app").await.told[0].owner, Some(Owner::Process(owner)));
    assert_eq!(once(proxy.addresses()[0], get("/")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        listener.state.served.load(std::sync::atomic::Ordering::SeqCst),
        served,
        "nobody was sent there"
    );
    // A route without an owner, as an older orchestrator sets it, asks nobody.
    admin.put("app", &spec("blue", &dial)).await;
    assert_eq!(once(proxy.addresses()[0], get("/")).await.0, StatusCode::OK);
    proxy.shutdown().await.unwrap();
}

/// An engine calls a container running until it has seen its process end, and deals its address to another right behind that.
#[tokio::test]
async fn a_container_whose_process_has_ended_is_nobodys_although_its_engine_says_that_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, admin) = (proxy.addresses()[0], Admin::of(dir.path()));
    let another = Backend::start_at("another", "127.0.0.2:0").await;
    let engine = Engine::start(dir.path(), vec![at('1', "blue", Some("127.0.0.2"))]);
    let app = Process::start();
    let process = app.owner();
    app.end();
    let Owner::Container(owner) = container(&engine, '1', another.address.port()) else { unreachable!() };
    let owner = Owner::Container(ContainerOwner { process: Some(process), ..owner });
    admin.put("app", &owned("blue", &another.address.to_string(), owner)).await;
    eventually("the engine to be listened to", async || engine.listeners() > 0).await;
    for _ in 0..5 {
        engine.tell("start", &at('1', "blue", Some("127.0.0.2")));
        assert_eq!(once(address, get("/")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(another.state.served.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody was sent there");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_container_that_moved_is_followed_within_a_second_and_nobody_gets_anothers_page() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, admin) = (proxy.addresses()[0], Admin::of(dir.path()));
    let two = Backend::start_at("two", "127.0.0.2:0").await;
    let port = two.address.port();
    let _three = Backend::start_at("three", &format!("127.0.0.3:{port}")).await;
    let asked = || once(address, get("/"));
    let follows = async |wanted: &str| {
        let begun = Instant::now();
        loop {
            let (status, body) = asked().await;
            if status == StatusCode::OK && body == wanted {
                break;
            }
            assert!(begun.elapsed().as_millis() < FOLLOWED_MILLIS_MAX, "{wanted}: {status} {body}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut engine = Engine::start(
        dir.path(),
        vec![at('a', "blue", Some("127.0.0.2")), at('b', "green", Some("127.0.0.3"))],
    );
    admin.put("app", &owned("blue", &two.address.to_string(), container(&engine, 'a', port))).await;
    follows("two").await;
    eventually("the engine is listened to", async || engine.listeners() == 1).await;

    // Told by an event. The two have changed places.
    let moved = vec![at('a', "blue", Some("127.0.0.3")), at('b', "green", Some("127.0.0.2"))];
    engine.becomes(moved.clone());
    engine.tell("start", &moved[0]);
    follows("three").await;
    assert_eq!(admin.route("app").await.target.dial, format!("127.0.0.3:{port}"));

    // It has ended: nobody, whoever has its address.
    engine.becomes(vec![at('a', "blue", None), at('b', "green", Some("127.0.0.3"))]);
    engine.tell("die", &moved[0]);
    eventually("it is nobody's", async || asked().await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
    let trouble = admin.route("app").await.trouble.unwrap();
    assert!(trouble.contains("1 of 1 containers do not run"), "{trouble}");

    // Another was made in its place.
    let heir = vec![at('c', "blue", Some("127.0.0.2")), at('b', "green", Some("127.0.0.3"))];
    engine.becomes(heir.clone());
    engine.tell("start", &heir[0]);
    follows("two").await;
    assert_eq!(admin.route("app").await.replicas[0].container, Some(id('c')));

    // The engine is gone, and what happens cannot be known: addresses are dealt anew meanwhile.
    engine.stop();
    eventually("nobody vouches for it", async || asked().await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
    engine.becomes(vec![at('c', "blue", Some("127.0.0.3")), at('b', "green", Some("127.0.0.2"))]);
    assert_eq!(asked().await.0, StatusCode::SERVICE_UNAVAILABLE);
    engine.resume();
    follows("three").await;
    proxy.shutdown().await.unwrap();

    // A proxy that starts does not trust what it has stored.
    engine.becomes(vec![at('c', "blue", Some("127.0.0.2")), at('b', "green", Some("127.0.0.3"))]);
    let proxy = start_in(dir.path()).await;
    assert_eq!(once(proxy.addresses()[0], get("/")).await.1, "two");
    proxy.shutdown().await.unwrap();
}
