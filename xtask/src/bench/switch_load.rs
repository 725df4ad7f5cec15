//! Clients of every kind, who tell what was lost: an answer that never came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::crowd::Crowd;
use super::http::{Address, Connection, Request};

const CLIENTS: [(Manner, usize); 5] =
    [(Manner::Kept, 3), (Manner::Post, 2), (Manner::Fresh, 6), (Manner::Slow, 2), (Manner::WebSocket, 2)];
const SLOW: &str = "/slow?ms=300";
/// Leaves the machine to what is measured.
const PAUSE: Duration = Duration::from_millis(2);
const MESSAGE_PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for a message to come back.
const MESSAGE_SECONDS_MAX: u64 = 30;
const FAILURES_SHOWN_MAX: usize = 5;
const POST: &[u8] = b"every byte comes back";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// On a connection that is kept, as is `Post`.
    Kept,
    Post,
    /// A new connection each.
    Fresh,
    Slow,
    WebSocket,
}

/// What the clients saw. Without an answer: `kept`, `posts`, `fresh`, `slow`.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub kept: u64,
    pub posts: u64,
    pub fresh: u64,
    pub slow: u64,
    /// WebSockets that ended by themselves.
    pub cut: u64,
    /// WebSockets that lasted.
    pub whole: u64,
    /// Answers that were not the right ones.
    pub wrong: u64,
    pub failures: Vec<String>,
    pub by_release: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.kept += other.kept;
        self.posts += other.posts;
        self.fresh += other.fresh;
        self.slow += other.slow;
        self.cut += other.cut;
        self.whole += other.whole;
        self.wrong += other.wrong;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_SHOWN_MAX);
        for (release, count) in other.by_release {
            *self.by_release.entry(release).or_default() += count;
        }
    }

    fn lost(&mut self, manner: Manner) {
        *match manner {
            Manner::Kept => &mut self.kept,
            Manner::Post => &mut self.posts,
            Manner::Fresh => &mut self.fresh,
            Manner::Slow => &mut self.slow,
            Manner::WebSocket => &mut self.cut,
        } += 1;
    }
}

/// Clients at work until they are stopped.
pub struct Load(Crowd<Tally>);

impl Load {
    pub fn start(address: &Address) -> Self {
        let address = address.clone();
        Self(Crowd::start(CLIENTS, move |manner, stop| match manner {
            Manner::WebSocket => websockets(&address, stop),
            manner => client(&address, manner, stop),
        }))
    }

    pub fn stop(self) -> Result<Tally> {
        let mut tally = Tally::default();
        self.0.stop()?.into_iter().for_each(|one| tally.add(one));
        Ok(tally)
    }
}

fn client(address: &Address, manner: Manner, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        tally.requests += 1;
        let connection = kept.take().map_or_else(|| Connection::open(address), Ok);
        let asked = connection.map_err(super::http::Broken::from).and_then(|mut connection| {
            let request = match manner {
                Manner::Post => Request { method: "POST", path: "/echo", headers: &[], body: POST },
                Manner::Slow => Request::get(SLOW),
                Manner::Fresh => Request { headers: &[("connection", "close")], ..Request::get("/") },
                Manner::Kept | Manner::WebSocket => Request::get("/"),
            };
            connection.exchange(&request).map(|answer| (connection, answer))
        });
        match asked {
            Err(_) => tally.lost(manner),
            Ok((connection, answer)) => {
                let is_right = answer.status == 200 && (manner != Manner::Post || answer.body == POST);
                match answer.header("x-release").filter(|_| is_right) {
                    Some(release) => *tally.by_release.entry(release.to_owned()).or_default() += 1,
                    None => {
                        tally.wrong += 1;
                        tally.failures.push(format!("{manner:?} was answered {}", answer.status));
                    }
                }
                kept = (manner != Manner::Fresh && !connection.closing).then_some(connection);
            }
        }
        std::thread::sleep(PAUSE);
    }
    tally.failures.truncate(FAILURES_SHOWN_MAX);
    tally
}

fn websockets(address: &Address, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        // One that could not be opened is one that was cut.
        match websocket(address, stop) {
            Ok(()) => tally.whole += 1,
            Err(_) => tally.cut += 1,
        }
    }
    tally
}

/// Exchanges messages until it is stopped.
fn websocket(address: &Address, stop: &AtomicBool) -> std::io::Result<()> {
    let Address::Tcp(address) = address else { return Ok(()) };
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(MESSAGE_SECONDS_MAX)))?;
    let mut stream = BufReader::new(stream);
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.get_mut().write_all(head.as_bytes())?;
    let odd = |what: &str| std::io::Error::other(what.to_owned());
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 101") {
        return Err(odd("no upgrade"));
    }
    while line.trim_end() != "" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(odd("cut in its head"));
        }
    }
    while !stop.load(Ordering::Relaxed) {
        // RFC 6455: a text frame of four bytes, with a mask of zeros as a client's has; it comes back without.
        stream.get_mut().write_all(b"\x81\x84\0\0\0\0ping")?;
        let mut echoed = [0; 6];
        stream.read_exact(&mut echoed)?;
        if &echoed != b"\x81\x04ping" {
            return Err(odd("another message"));
        }
        std::thread::sleep(MESSAGE_PAUSE);
    }
    Ok(())
}
