//! A slot with several addresses: all get their part, and one that refuses is passed over.

use std::sync::atomic::Ordering::SeqCst;

use hyper::StatusCode;
use lockgate_proxy::{ASK_HEADER, REPLICA_HEADER, Replica, RouteSpec};

use crate::backend::Backend;
use crate::client::{Admin, connect, get, once, post};
use crate::{eventually, spec, start_in};

const REQUESTS: u64 = 30;

fn to_all(dials: &[String]) -> RouteSpec {
    let replicas = dials.iter().map(|dial| Replica { dial: dial.clone(), owner: None }).collect();
    RouteSpec { replicas, ..spec("blue", &dials[0]) }
}

/// An address that refuses.
fn refusing() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn requests_go_to_all_alike_past_one_that_refuses_and_first_to_the_idle() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let (address, admin) = (proxy.addresses()[0], Admin::of(dir.path()));
    let all = [Backend::start("one").await, Backend::start("two").await, Backend::start("three").await];
    let served = || all.each_ref().map(|one| one.state.served.load(SeqCst));
    let dials: Vec<String> = all.iter().map(|one| one.address.to_string()).chain([refusing()]).collect();
    admin.put("app", &to_all(&dials)).await;
    for n in 0..REQUESTS {
        // Also a POST with a body: where it is refused it was sent nowhere.
        let request = if n % 2 == 0 { get("/echo") } else { post("/echo", vec![b'.'; 100_000]) };
        let (status, body) = once(address, request).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let counts = served();
    assert_eq!(counts.iter().sum::<u64>(), REQUESTS);
    assert!(counts.iter().all(|count| *count >= REQUESTS / 4), "{counts:?}");

    // Three that are busy with the first, then the fourth: each goes where the fewest are.
    let mut held = Vec::new();
    for n in 1..=all.len() {
        let mut client = connect(address).await.unwrap();
        held.push(tokio::spawn(async move {
            client.send_request(get("/hold")).await.map(|answer| answer.status())
        }));
        let busy = || all.iter().map(|one| one.state.busy.load(SeqCst)).collect::<Vec<_>>();
        eventually("the request is there", async || busy().iter().sum::<u64>() == n as u64).await;
        assert!(busy().iter().all(|busy| *busy <= 1), "{:?}", busy());
    }
    assert_eq!(admin.in_flight("app", "blue").await.requests, all.len() as u64, "all are the slot's");
    all.iter().for_each(|one| one.state.released.store(true, SeqCst));
    for held in held {
        assert_eq!(held.await.unwrap().unwrap(), StatusCode::OK);
    }

    // Who asks can ask one of them.
    for (one, name) in all.iter().zip(["one", "two", "three"]) {
        let mut request = get("/");
        request.headers_mut().insert(ASK_HEADER, proxy.ask_token().parse().unwrap());
        request.headers_mut().insert(REPLICA_HEADER, one.address.to_string().parse().unwrap());
        let response = connect(address).await.unwrap().send_request(request).await.unwrap();
        assert_eq!(response.headers()[REPLICA_HEADER], one.address.to_string());
        assert_eq!(crate::client::text(response).await.unwrap().1, name);
    }
    let mut request = get("/head");
    request.headers_mut().insert(REPLICA_HEADER, "127.0.0.1:1".parse().unwrap());
    let (status, head) = once(address, request).await;
    assert!(status == StatusCode::OK && !head.contains(REPLICA_HEADER), "{status} {head}");
    proxy.shutdown().await.unwrap();
}
