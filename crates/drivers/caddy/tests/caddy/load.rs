//! Switches under load.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lockgate_model::Slot;
use lockgate_ports::PortError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::file::{FileWorld, HANDLES, Kind};
use crate::support::{NEW, SITE, Setup, World, caddy_is_there, new_caddy_is_there};

const CLIENTS: usize = 8;
const SWITCHES: usize = 100;
/// At a reload Caddy opens a new listening socket and closes the old one, with which the kernel resets the connections
/// that wait on it to be accepted: 35 in 3,000 switches under this load when this was written, and none in 3,000 with
/// `net.ipv4.tcp_migrate_req = 1`. No order of admin calls avoids it, as each of them is a reload.
const DROPPED_MAX: u64 = 15;
/// Far more than 100 switches take.
const LOAD_SECONDS_MAX: u64 = 60;

#[derive(Default)]
struct Tally {
    blue: AtomicU64,
    green: AtomicU64,
    /// Answers other than 200.
    bad: AtomicU64,
    /// Idle keep-alive connections that Caddy closed while a request was on its way, as every client must expect.
    resets: AtomicU64,
    /// Fresh connections that were reset unanswered.
    dropped: AtomicU64,
    /// Connections refused, and answers broken off in the middle.
    lost: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_under_load_give_no_error_and_break_off_no_answer() {
    if !caddy_is_there() {
        return;
    }
    let world = World::simple().await;
    let seen = under_load(world.site, |slot| world.switch(slot)).await;
    let migrates =
        std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").is_ok_and(|flag| flag.trim() == "1");
    let (_, dropped) = seen;
    assert!(
        dropped <= if migrates { 0 } else { DROPPED_MAX },
        "{dropped} fresh connections reset unanswered"
    );
}

/// What it loses is what `doctor` says: kept connections and fresh ones, no answer that has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_of_the_newest_caddy_by_its_admin_api_break_off_no_answer() {
    if !new_caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let (config, options) = (setup.simple().to_string(), setup.with_id());
    let world = setup.run_program(NEW, &config, "", options).await;
    under_load(world.site, |slot| world.switch(slot)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_by_a_file_reset_no_connection_at_all() {
    if !new_caddy_is_there() {
        return;
    }
    let world = FileWorld::new(Kind::default(), HANDLES).await;
    let seen = under_load(world.world.site, |slot| world.switch(slot)).await;
    assert_eq!(seen, (0, 0), "kept connections that were closed, fresh ones that were reset");
}

/// How many kept connections were closed while a request was on its way, and how many fresh ones were reset unanswered.
async fn under_load<S>(site: SocketAddr, switch: impl Fn(Slot) -> S) -> (u64, u64)
where
    S: Future<Output = Result<(), PortError>>,
{
    switch(Slot::Green).await.unwrap();
    let tally = Arc::new(Tally::default());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(site, tally.clone(), stop.clone()))).collect();

    let start = Instant::now();
    for turn in 0..SWITCHES {
        switch([Slot::Blue, Slot::Green][turn % 2]).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(LOAD_SECONDS_MAX), "{turn} switches took too long");
    }
    let elapsed = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (blue, green) = (count(&tally.blue), count(&tally.green));
    let (resets, dropped) = (count(&tally.resets), count(&tally.dropped));
    eprintln!(
        "{SWITCHES} switches in {elapsed:?}: {blue} answers from blue, {green} from green, \
         {resets} keep-alive resets, {dropped} fresh connections reset unanswered"
    );
    assert!(blue > 0 && green > 0, "both slots had traffic: {blue}, {green}");
    assert_eq!(count(&tally.bad), 0, "answers other than 200");
    assert_eq!(count(&tally.lost), 0, "connections refused or answers broken off");
    (resets, dropped)
}

async fn client(site: SocketAddr, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    let mut idle: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let reused = idle.is_some();
        let stream = match idle.take() {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(site).await,
        };
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                let reset = error.kind() == ErrorKind::ConnectionReset;
                let counter = if reset { &tally.dropped } else { &tally.lost };
                counter.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        let seen = exchange(&mut stream).await;
        let counter = match &seen {
            Ok(answer) if answer.status == 200 && answer.body == "blue" => &tally.blue,
            Ok(answer) if answer.status == 200 && answer.body == "green" => &tally.green,
            Ok(_) => &tally.bad,
            Err(Broken::BeforeAnswer) if reused => &tally.resets,
            Err(Broken::BeforeAnswer) => &tally.dropped,
            Err(Broken::InAnswer) => &tally.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        idle = seen.is_ok_and(|answer| !answer.last).then_some(stream);
    }
}

enum Broken {
    BeforeAnswer,
    InAnswer,
}

struct Answer {
    status: u16,
    body: String,
    /// The server said that it closes the connection.
    last: bool,
}

/// One keep-alive request; the answer has a content length.
async fn exchange(stream: &mut TcpStream) -> Result<Answer, Broken> {
    let head = format!("GET /slot HTTP/1.1\r\nhost: {SITE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(|_| Broken::BeforeAnswer)?;
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let broken = || if seen.is_empty() { Broken::BeforeAnswer } else { Broken::InAnswer };
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return Err(broken()),
            Ok(length) => seen.extend_from_slice(&piece[..length]),
        }
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            let last = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            return Ok(Answer { status, body: body.to_owned(), last });
        }
    }
}
