//! The core promise: a switch loses nothing, and the old slot's in-flight count tells when it may be stopped.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use lockgate_proxy::InFlight;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::Backend;
use crate::client::{Admin, connect, get, once, socket, text};
use crate::load::Load;
use crate::{eventually, spec, start_in};

const SWITCHES_MIN: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switching_under_load_loses_nothing_and_a_drained_slot_is_never_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let slots = [("blue", Backend::start("blue").await), ("green", Backend::start("green").await)];
    admin.put("app", &spec("blue", slots[0].1.address)).await;
    let load = Load::start(proxy.addresses()[0]);

    let begun = Instant::now();
    let mut switches = 0;
    while switches < SWITCHES_MIN || begun.elapsed() < Duration::from_secs(2) {
        let (old, new) = (&slots[switches as usize % 2], &slots[(switches as usize + 1) % 2]);
        new.1.state.closed.store(false, SeqCst);
        admin.put("app", &spec(new.0, new.1.address)).await;
        eventually("the old slot drains", async || admin.in_flight("app", old.0).await.is_zero()).await;
        old.1.state.closed.store(true, SeqCst);
        assert_eq!(old.1.state.busy.load(SeqCst), 0, "drained, but busy");
        switches += 1;
    }
    let answered = load.end().await;
    assert!(answered > 200, "only {answered} requests");
    for (name, slot) in &slots {
        assert_eq!(slot.state.mistakes.load(SeqCst), 0, "{name} was asked after it had drained");
        assert!(slot.state.served.load(SeqCst) > 0);
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn in_flight_is_exact_and_stays_with_the_old_slot() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let address = proxy.addresses()[0];
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    admin.put("app", &spec("blue", blue.address)).await;

    let held: Vec<_> = (0..7).map(|_| tokio::spawn(once(address, get("/hold")))).collect();
    let mut web_socket = socket(address).await;
    eventually("all are held", async || blue.state.busy.load(SeqCst) == 7).await;
    let view = admin.put("app", &spec("green", green.address)).await;
    assert_eq!(view.in_flight["blue"], InFlight { requests: 7, upgraded: 1 });
    assert_eq!(view.in_flight["green"], InFlight::default());
    assert_eq!(once(address, get("/")).await.1, "green");

    blue.state.released.store(true, SeqCst);
    for held in held {
        assert_eq!(held.await.unwrap().1, "blue");
    }
    eventually("requests end", async || admin.in_flight("app", "blue").await.requests == 0).await;
    assert_eq!(admin.in_flight("app", "blue").await.upgraded, 1);

    let mut bytes = [0; 5];
    web_socket.write_all(b"alive").await.unwrap();
    web_socket.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"alive");
    drop(web_socket);
    eventually("the WebSocket ends", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_gives_up_is_no_longer_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let held = tokio::spawn(once(proxy.addresses()[0], get("/hold")));
    eventually("it is held", async || admin.in_flight("app", "blue").await.requests == 1).await;
    held.abort();
    eventually("it is gone", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_keep_alive_connection_follows_the_switch() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    admin.put("app", &spec("blue", blue.address)).await;
    let mut sender = connect(proxy.addresses()[0]).await.unwrap();
    for (slot, backend) in [("blue", &blue), ("green", &green), ("blue", &blue)] {
        admin.put("app", &spec(slot, backend.address)).await;
        assert_eq!(text(sender.send_request(get("/")).await.unwrap()).await.unwrap().1, slot);
    }
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn events_stream_as_they_come_and_count_until_they_end() {
    use http_body_util::BodyExt;
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    admin.put("app", &spec("blue", blue.address)).await;
    let mut sender = connect(proxy.addresses()[0]).await.unwrap();
    let mut events = sender.send_request(get("/events")).await.unwrap().into_body();
    // The slot holds the second event back until it is released, so the first can't have been buffered.
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 0\n\n");
    let view = admin.put("app", &spec("green", green.address)).await;
    assert_eq!(view.in_flight["blue"], InFlight { requests: 1, upgraded: 0 });
    blue.state.released.store(true, SeqCst);
    assert_eq!(events.collect().await.unwrap().to_bytes(), "data: 1\n\ndata: 2\n\n");
    eventually("the stream ends", async || admin.in_flight("app", "blue").await.is_zero()).await;
    proxy.shutdown().await.unwrap();
}
