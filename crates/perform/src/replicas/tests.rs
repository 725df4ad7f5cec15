use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use lockgate_model::{Health, Millis, Slot, SlotState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::asking::tests::At;
use crate::health;
use crate::scene::{OneSlot, probe, release, serving};

/// An app that answers with what `status` is by then.
async fn app(status: Arc<AtomicU16>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") && stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
            let status = status.load(Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    Endpoint::Tcp(address)
}

fn replica(name: &str, endpoint: Option<Endpoint>) -> Replica {
    let state = if endpoint.is_some() { SlotState::Running } else { SlotState::Stopped };
    Replica { name: Some(name.to_owned()), state, endpoint, owner: None }
}

fn host_of(replicas: Vec<Replica>) -> HostPorts {
    let (_, mut ports) = serving(Slot::Blue, "v1");
    ports.host = Arc::new(At { host: ports.host.clone(), address: None });
    ports.runtime = Arc::new(OneSlot { release: Some(release("v1")), replicas, ..OneSlot::default() });
    ports
}

fn soon() -> Probe {
    let mut probe = probe();
    let Health::Http(http) = &mut probe.health else { unreachable!() };
    http.timeout = Millis(300);
    probe
}

/// Half of the users would get what the sick one answers.
#[tokio::test]
async fn a_slot_is_healthy_only_when_each_of_its_containers_is() {
    let statuses = [200, 200, 503].map(|status| Arc::new(AtomicU16::new(status)));
    let mut replicas = Vec::new();
    for (n, status) in statuses.iter().enumerate() {
        replicas.push(replica(&format!("web-{n}"), Some(app(status.clone()).await)));
    }
    let sick = replicas[2].endpoint.clone().unwrap();
    let ports = host_of(replicas.clone());
    let failure = health::wait(&ports, Slot::Blue, &release("v1"), &soon()).await.unwrap_err();
    assert!(failure.message.contains(&format!("{sick}: it answered 503")), "{failure}");
    assert!(health::once(&ports, Slot::Blue, &release("v1"), &soon()).await.is_err());
    statuses[2].store(200, Ordering::SeqCst);
    let seen = health::wait(&ports, Slot::Blue, &release("v1"), &soon()).await.unwrap();
    assert!(seen[0].seen.starts_with("200 from all 3"), "{seen:?}");
    let answers = health::once(&ports, Slot::Blue, &release("v1"), &soon()).await.unwrap();
    assert_eq!(answers.replicas, replicas, "the router is told of all");
}

#[tokio::test]
async fn a_container_that_has_stopped_is_not_made_up_for_by_the_others() {
    let well = app(Arc::new(AtomicU16::new(200))).await;
    let ports = host_of(vec![replica("web-1", Some(well)), replica("web-2", None)]);
    let failure = health::wait(&ports, Slot::Blue, &release("v1"), &probe()).await.unwrap_err();
    assert!(failure.message.contains("of its 2 containers web-2 has stopped"), "{failure}");
    let failure = health::once(&ports, Slot::Blue, &release("v1"), &probe()).await.unwrap_err();
    assert!(failure.message.contains("web-2 has stopped"), "{failure}");
}
