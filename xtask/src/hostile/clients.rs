//! Line 4: clients that take a connection, or a place on one, and do not go on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Findings;
use super::http2;
use super::load::{Load, Seen};
use super::scene::Scene;

/// What one hostile client may cost.
const CLIENT_BYTES_MAX: u64 = 64 * 1024;
/// How much slower the slowest hundredth of the others may become, and what does not count on a busy machine.
const P99_RATIO_MAX: f64 = 2.0;
const P99_MS_FLOOR: f64 = 2.0;
const ADMIN_MS_MAX: f64 = 1_000.0;
const MEASURE: Duration = Duration::from_secs(4);
/// A busy machine may spoil a measurement, not several in a row.
const MEASURES_MAX: usize = 3;
/// When the last of them must be gone: the proxy's 60 s and what a look at it takes.
const GONE_SECONDS_MAX: u64 = 90;
/// How many streams an HTTP/2 client asks for at once.
const STREAMS: u32 = 250;
/// How many clients of each kind there are while it is measured how long they last.
const LASTING_CLIENTS: usize = 100;
const ACCEPT_SECONDS_MAX: u64 = 20;

/// One kind of hostile client.
struct Kind {
    name: &'static str,
    /// Everything that a client says at first.
    says: fn() -> Vec<u8>,
    /// What it says every second after that, once it has read this.
    goes_on: fn(&mut TcpStream, Duration) -> std::io::Result<()>,
    /// HTTP/2 has streams, so that a few clients are as many.
    clients_max: usize,
}

const ALL: usize = usize::MAX;

const KINDS: [Kind; 7] = [
    Kind {
        name: "HTTP/1 that does not read",
        says: || head("/bytes?count=100000000"),
        goes_on: silent,
        clients_max: ALL,
    },
    Kind {
        name: "a response that stalls",
        says: || head("/slow?ms=600000&stream=1"),
        goes_on: silent,
        clients_max: ALL,
    },
    Kind {
        name: "a request body of a byte in 50 s",
        says: slow_body,
        goes_on: a_byte_in_50_s,
        clients_max: ALL,
    },
    Kind {
        name: "HTTP/2 with window 0",
        says: || window(0, 1, "/bytes?count=100000000"),
        goes_on: silent,
        clients_max: ALL,
    },
    Kind {
        name: "five HTTP/2 of 250 streams with window 0",
        says: || window(0, STREAMS, "/bytes?count=100000000"),
        goes_on: silent,
        clients_max: 5,
    },
    Kind {
        name: "HTTP/2 of 250 streams with window 0",
        says: || window(0, STREAMS, "/version"),
        goes_on: silent,
        clients_max: ALL,
    },
    Kind {
        name: "idle HTTP/2 that answers pings",
        says: || http2::open(65_535),
        goes_on: answer_pings,
        clients_max: ALL,
    },
];

fn head(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: app.example\r\n\r\n").into_bytes()
}

fn slow_body() -> Vec<u8> {
    b"POST /echo HTTP/1.1\r\nhost: app.example\r\ncontent-length: 1000\r\n\r\nx".to_vec()
}

fn window(size: u32, streams: u32, path: &str) -> Vec<u8> {
    let mut bytes = http2::open(size);
    for n in 0..streams {
        bytes.extend(http2::get(1 + 2 * n, path));
    }
    bytes
}

fn silent(_: &mut TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

fn a_byte_in_50_s(stream: &mut TcpStream, since: Duration) -> std::io::Result<()> {
    if since.as_secs() % 50 == 49 { stream.write_all(b"x") } else { Ok(()) }
}

/// Reads what there is and answers every ping in it. The frames of an idle connection are small and come whole.
fn answer_pings(stream: &mut TcpStream, _: Duration) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    let n = match stream.read(&mut bytes) {
        Ok(n) => n,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut rest = &bytes[..n];
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let Some(payload) = rest.get(9..9 + length) else { break };
        if rest[3] == http2::PING && rest[4] & http2::ACK == 0 {
            stream.write_all(&http2::frame(http2::PING, http2::ACK, 0, payload))?;
        }
        rest = &rest[9 + length..];
    }
    Ok(())
}

/// Hostile clients that are connected and have said what they say at first.
struct Crowd {
    clients: Vec<(TcpStream, &'static Kind)>,
    begun: Instant,
}

impl Crowd {
    fn gather(scene: &Scene, kinds: impl Iterator<Item = (&'static Kind, usize)>) -> Result<Self> {
        let mut clients = Vec::new();
        for (kind, count) in kinds {
            let bytes = (kind.says)();
            for _ in 0..count {
                let stream = scene.say(&bytes)?;
                stream.set_nonblocking(true)?;
                clients.push((stream, kind));
            }
        }
        let begun = Instant::now();
        let limit = begun + Duration::from_secs(ACCEPT_SECONDS_MAX);
        while scene.connections()? < clients.len() {
            ensure!(
                Instant::now() < limit,
                "{} of {} clients were accepted",
                scene.connections()?,
                clients.len()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { clients, begun })
    }

    /// To be called every second. One that the proxy has closed stays in the crowd, for the proxy counts its own.
    fn go_on(&mut self) {
        let since = self.begun.elapsed();
        for (stream, kind) in &mut self.clients {
            // A connection that the proxy has closed is what is hoped for.
            let _ = (kind.goes_on)(stream, since);
        }
    }
}

pub fn run(scene: &Scene, findings: &mut Findings) -> Result<()> {
    for kind in &KINDS {
        cost(scene, findings, kind)?;
    }
    duration(scene, findings)
}

/// What so many of one kind cost: memory, the others' time, the admin socket, a switch.
fn cost(scene: &Scene, findings: &mut Findings, kind: &'static Kind) -> Result<()> {
    let count = scene.clients.min(kind.clients_max);
    let case = format!("{count} × {}", kind.name);
    let before = Load::of(scene, MEASURE)?;
    let memory_before = scene.memory()?;
    let crowd = Crowd::gather(scene, std::iter::once((kind, count)))?;
    let memory = scene.memory()?.saturating_sub(memory_before) / count as u64;
    // Five with 250 streams each are as many as their streams; there is a bound for each connection all the same.
    let few = kind.clients_max != ALL;
    let most = if few { CLIENT_BYTES_MAX * u64::from(STREAMS) } else { CLIENT_BYTES_MAX };
    findings.tell(&case, memory <= most, &format!("{} kB each", memory / 1024));
    let mut tried = Vec::new();
    let right = |seen: &Seen| {
        let most = (before.p99() * P99_RATIO_MAX).max(P99_MS_FLOOR);
        seen.p99() <= most && seen.failures.is_empty() && seen.admin_worst() <= ADMIN_MS_MAX
    };
    while tried.len() < MEASURES_MAX && !tried.last().is_some_and(right) {
        tried.push(Load::of(scene, MEASURE)?);
    }
    let last = tried.last().expect("measured at least once");
    let saw = format!(
        "p99 of the others {:.2} ms instead of {:.2} ms ({} requests, {} measurements), slowest admin answer {:.0} ms, {} failures{}",
        last.p99(),
        before.p99(),
        last.requests(),
        tried.len(),
        last.admin_worst(),
        last.failures.len(),
        last.failures.first().map(|first| format!(" such as {first}")).unwrap_or_default()
    );
    findings.tell(&case, right(last), &saw);
    switch(scene, findings, &case)?;
    drop(crowd);
    settle(scene)
}

/// A rollback is this: the route is sent to the other slot.
fn switch(scene: &Scene, findings: &mut Findings, case: &str) -> Result<()> {
    for slot in ["green", "blue"] {
        let begun = Instant::now();
        let switched = scene.switch(slot).and_then(|()| scene.release());
        let right = switched.as_ref().is_ok_and(|release| *release == format!("{slot}-1"));
        let saw = format!("a switch to {slot} in {} ms: {switched:?}", begun.elapsed().as_millis());
        findings.tell(case, right, &saw);
    }
    Ok(())
}

/// Waits until the connections of a crowd that has left are gone.
fn settle(scene: &Scene) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(ACCEPT_SECONDS_MAX);
    while scene.connections()? > 1 {
        ensure!(Instant::now() < limit, "connections stay open after their clients left");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How long each kind lasts: some of each at once.
fn duration(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let each = LASTING_CLIENTS.min(scene.clients);
    let mut crowd = Crowd::gather(scene, KINDS.iter().map(|kind| (kind, each)))?;
    let limit = crowd.begun + Duration::from_secs(GONE_SECONDS_MAX);
    while scene.connections()? > 0 && Instant::now() < limit {
        std::thread::sleep(Duration::from_secs(1));
        crowd.go_on();
    }
    let left = scene.connections()?;
    let saw =
        format!("{left} of {} are left after {} s", crowd.clients.len(), crowd.begun.elapsed().as_secs());
    findings.tell(&format!("{each} × each kind"), left == 0, &saw);
    Ok(())
}
