//! Switches by a file under load of every kind: nothing is lost. `cargo xtask bench switch` is the long form.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lockgate_model::Slot;
use lockgate_ports::conformance::router::RouterFixture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::file::{FileWorld, HANDLES, Kind};
use crate::support::{SITE, new_caddy_is_there};

const SWITCHES: usize = 50;
/// Between two switches.
const PAUSE: Duration = Duration::from_millis(20);
/// Long enough that several switches fall into one request.
const SLOW: Duration = Duration::from_millis(200);
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
async fn fifty_switches_by_a_file_lose_no_request_of_any_kind_and_cut_no_websocket() {
    if !new_caddy_is_there() {
        return;
    }
    let apps = [app(Slot::Blue).await, app(Slot::Green).await];
    let site = HANDLES.replace("reverse_proxy GREEN", &format!("reverse_proxy {}", apps[1]));
    let site = site.replace("reverse_proxy BLUE", &format!("reverse_proxy {}", apps[0]));
    let world = FileWorld::with_slots(Kind::default(), &site, apps).await;
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let at = world.world.site;
    let manners = [Manner::Kept, Manner::Kept, Manner::Posted, Manner::Posted, Manner::Fresh, Manner::Fresh];
    let manners = manners.into_iter().chain([Manner::Slow, Manner::Slow]);
    let mut clients: Vec<_> =
        manners.map(|manner| tokio::spawn(client(at, manner, tally.clone(), stop.clone()))).collect();
    clients.extend((0..2).map(|_| tokio::spawn(websocket(at, tally.clone(), stop.clone()))));
    for turn in 0..SWITCHES {
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
    eprintln!("{SWITCHES} switches: {counts:?} kept, posted, fresh, slow, WebSocket messages");
    assert!(counts.iter().all(|count| *count > 5), "every kind was asked: {counts:?}");
    assert!(count(&tally.blue) > 0 && count(&tally.green) > 0, "both slots had traffic");
    assert_eq!(world.router().in_flight(Slot::Blue).await.unwrap().requests, 0);
}

/// An app that says its slot, gives a body back, takes its time, or echoes on a WebSocket.
async fn app(slot: Slot) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(slot, stream));
        }
    });
    address
}

async fn serve(slot: Slot, mut stream: TcpStream) {
    while let Some((head, body)) = message(&mut stream, &mut Vec::new()).await {
        if header(&head, "upgrade").is_some() {
            let accepted =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            let _ = stream.write_all(accepted.as_bytes()).await;
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            return;
        }
        if head.contains(" /slow ") {
            tokio::time::sleep(SLOW).await;
        }
        let body = if body.is_empty() { slot.as_str().as_bytes().to_vec() } else { body };
        let head = format!("HTTP/1.1 200 OK\r\nx-slot: {slot}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

/// A head and as much of a body as it promises; `None` at the end.
async fn message(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if rest.len() >= end + 4 + length {
                return Some((head, rest.drain(..end + 4 + length).skip(end + 4).collect()));
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => rest.extend_from_slice(&piece[..count]),
        }
    }
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
}

async fn client(site: SocketAddr, manner: Manner, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    let mut idle = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = timeout(Duration::from_secs(ANSWER_SECONDS_MAX), ask(site, manner, idle.take())).await;
        match asked.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok((stream, slot)) => {
                idle = (manner != Manner::Fresh).then_some(stream);
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
) -> Result<(TcpStream, String), String> {
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
        true => Ok((stream, slot)),
        false => Err(format!("{head} {:?}", String::from_utf8_lossy(&body))),
    }
}

/// One that is kept for the whole time; Caddy gives what comes behind the 101 on as it is.
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
