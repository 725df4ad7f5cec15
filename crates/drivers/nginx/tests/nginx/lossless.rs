//! Switches by a file under load of every kind: nothing is lost. `LOCKGATE_NGINX_SWITCHES=1000` is the long form.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lockgate_model::Slot;
use lockgate_ports::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::{header, message};
use crate::support::{SITE, World, nginx_is_there};

/// How many, unless `LOCKGATE_NGINX_SWITCHES` says otherwise.
const SWITCHES: usize = 100;
/// Between two switches.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for an answer.
const ANSWER_SECONDS_MAX: u64 = 20;

const POST: &str = "every byte comes back";

/// Requests that were answered as they must be, by kind, and what became of the others.
#[derive(Default)]
struct Tally {
    kept: AtomicU64,
    posted: AtomicU64,
    fresh: AtomicU64,
    slow: AtomicU64,
    messages: AtomicU64,
    blue: AtomicU64,
    green: AtomicU64,
    lost: std::sync::Mutex<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Kept,
    Posted,
    Fresh,
    Slow,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_by_a_marker_lose_no_request_of_any_kind_and_cut_no_websocket() {
    if !nginx_is_there() {
        return;
    }
    let switches: usize =
        std::env::var("LOCKGATE_NGINX_SWITCHES").map_or(SWITCHES, |count| count.parse().unwrap());
    let world = World::simple().await;
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let at = world.site;
    let manners = [Manner::Kept, Manner::Kept, Manner::Posted, Manner::Posted, Manner::Fresh, Manner::Fresh];
    let manners = manners.into_iter().chain([Manner::Slow, Manner::Slow]);
    let mut clients: Vec<_> =
        manners.map(|manner| tokio::spawn(client(at, manner, tally.clone(), stop.clone()))).collect();
    clients.extend((0..2).map(|_| tokio::spawn(websocket(at, tally.clone(), stop.clone()))));
    for turn in 0..switches {
        world.switch([Slot::Green, Slot::Blue][turn % 2]).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(*tally.lost.lock().unwrap(), Vec::<String>::new(), "nothing is lost");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = [&tally.kept, &tally.posted, &tally.fresh, &tally.slow, &tally.messages].map(count);
    eprintln!("{switches} switches: {counts:?} kept, posted, fresh, slow, WebSocket messages");
    assert!(counts.iter().all(|count| *count > 5), "every kind was asked: {counts:?}");
    assert!(count(&tally.blue) > 0 && count(&tally.green) > 0, "both slots had traffic");
    let drained = tokio::time::Instant::now() + Duration::from_secs(ANSWER_SECONDS_MAX);
    for slot in [Slot::Blue, Slot::Green] {
        while world.nginx.in_flight(slot).await.unwrap().requests > 0 {
            assert!(tokio::time::Instant::now() < drained, "{slot} is drained once nobody asks");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn client(site: SocketAddr, manner: Manner, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    let mut idle = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = timeout(Duration::from_secs(ANSWER_SECONDS_MAX), ask(site, manner, idle.take())).await;
        match asked.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok((stream, slot)) => {
                idle = stream.filter(|_| manner != Manner::Fresh);
                let kind = match manner {
                    Manner::Kept => &tally.kept,
                    Manner::Posted => &tally.posted,
                    Manner::Fresh => &tally.fresh,
                    Manner::Slow => &tally.slow,
                };
                kind.fetch_add(1, Ordering::Relaxed);
                let of = if slot == "green" { &tally.green } else { &tally.blue };
                of.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => tally.lost.lock().unwrap().push(format!("{manner:?}: {why}")),
        }
    }
}

async fn ask(
    site: SocketAddr,
    manner: Manner,
    kept: Option<TcpStream>,
) -> Result<(Option<TcpStream>, String), String> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(site).await.map_err(|error| error.to_string())?,
    };
    let request = match manner {
        Manner::Kept => format!("GET / HTTP/1.1\r\nhost: {SITE}\r\n\r\n"),
        Manner::Slow => format!("GET /slow HTTP/1.1\r\nhost: {SITE}\r\n\r\n"),
        Manner::Fresh => format!("GET / HTTP/1.1\r\nhost: {SITE}\r\nconnection: close\r\n\r\n"),
        Manner::Posted => {
            format!("POST / HTTP/1.1\r\nhost: {SITE}\r\ncontent-length: {}\r\n\r\n{POST}", POST.len())
        }
    };
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let Some((head, body)) = message(&mut stream, &mut Vec::new()).await else {
        return Err("the connection ended before the answer".to_owned());
    };
    let slot = header(&head, "x-slot").unwrap_or_default().to_owned();
    let wanted = if manner == Manner::Posted { POST } else { slot.as_str() };
    match head.starts_with("HTTP/1.1 200") && body == wanted.as_bytes() {
        // nginx ends a connection after so many requests, and says so.
        true => Ok(((header(&head, "connection") != Some("close")).then_some(stream), slot)),
        false => Err(format!("{head} {:?}", String::from_utf8_lossy(&body))),
    }
}

/// One that is kept for the whole time; nginx gives what comes behind the 101 on as it is.
async fn websocket(site: SocketAddr, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    let mut stream = TcpStream::connect(site).await.unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: {SITE}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (accepted, _) = message(&mut stream, &mut Vec::new()).await.unwrap();
    assert!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    let mut echoed = [0; 4];
    while !stop.load(Ordering::Relaxed) {
        let exchange = async {
            stream.write_all(b"ping").await?;
            stream.read_exact(&mut echoed).await
        };
        match timeout(Duration::from_secs(ANSWER_SECONDS_MAX), exchange).await {
            Ok(Ok(_)) if &echoed == b"ping" => tally.messages.fetch_add(1, Ordering::Relaxed),
            broken => {
                return tally.lost.lock().unwrap().push(format!("a WebSocket was cut: {broken:?}"));
            }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
