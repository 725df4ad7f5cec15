//! Line 4: clients that take a connection, or a place on one, and do not go on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Findings;
use super::http2;
use super::load::{Load, Seen};
use super::scene::{self, Scene};

/// What one hostile client may cost, and a further request of one that has streams: it takes a client's place.
const CLIENT_BYTES_MAX: u64 = 64 * 1024;
/// How much slower the slowest hundredth of the others may become, and what does not count on a busy machine.
const P99_RATIO_MAX: f64 = 2.0;
const P99_MS_FLOOR: f64 = 2.0;
const ADMIN_MS_MAX: f64 = 1_000.0;
const MEASURE: Duration = Duration::from_secs(3);
/// A round is a measurement without the hostile clients and one with them. The better half of either counts, because a
/// busy machine spoils some; two at least, so that a spoilt first one excuses nothing.
const ROUNDS_MIN: usize = 2;
const ROUNDS_MAX: usize = 5;
/// When the last of them must be gone: the 60 s of a stalled stream, then the 60 s of an idle connection.
const GONE_SECONDS_MAX: u64 = 150;
/// How many streams an HTTP/2 client asks for at once, and how many of them the proxy lets it have.
const STREAMS: u32 = 250;
const STREAMS_HAD: usize = 16;
/// How many clients of each kind there are while it is measured how long they last.
const LASTING_CLIENTS: usize = 100;
const ACCEPT_SECONDS_MAX: u64 = 20;
/// Well before the proxy gives the first of them up, after 60 s.
const STAND_STILL_SECONDS_MAX: u64 = 30;

/// One kind of hostile client.
struct Kind {
    name: &'static str,
    /// Everything that a client says at first.
    says: fn() -> Vec<u8>,
    /// What it says every second after that, once it has read this.
    goes_on: fn(&mut TcpStream, Duration) -> std::io::Result<()>,
    /// HTTP/2 has streams, so that a few clients are as many.
    clients_max: usize,
    /// How many requests each has in flight, at least. (More where there are extra places for more.)
    requests: usize,
}

const ALL: usize = usize::MAX;

const KINDS: [Kind; 8] = [
    Kind {
        name: "HTTP/1 that does not read",
        says: || head("/bytes?count=100000000"),
        goes_on: silent,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "a response that stalls",
        says: || head("/slow?ms=600000&stream=1"),
        goes_on: silent,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "a request body of a byte in 50 s",
        says: slow_body,
        goes_on: a_byte_in_50_s,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "HTTP/2 with window 0",
        says: || window(0, 1, "/bytes?count=100000000"),
        goes_on: silent,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "five HTTP/2 of 250 streams with window 0",
        says: || window(0, STREAMS, "/bytes?count=100000000"),
        goes_on: silent,
        clients_max: 5,
        requests: STREAMS_HAD,
    },
    Kind {
        name: "HTTP/2 of 250 streams with window 0",
        says: || window(0, STREAMS, "/version"),
        goes_on: silent,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "an HTTP/2 request body of a byte in 50 s",
        says: || [http2::open(65_535), http2::post(1, "/echo"), http2::data(1, b"x")].concat(),
        goes_on: a_frame_in_50_s,
        clients_max: ALL,
        requests: 1,
    },
    Kind {
        name: "idle HTTP/2 that answers pings",
        says: || http2::open(65_535),
        goes_on: answer_pings,
        clients_max: ALL,
        requests: 0,
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

fn a_frame_in_50_s(stream: &mut TcpStream, since: Duration) -> std::io::Result<()> {
    if since.as_secs() % 50 == 49 {
        stream.write_all(&http2::data(1, b"x"))?;
    }
    answer_pings(stream, since)
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
    /// So many of each kind, once each has the requests in flight that it is said to have, but no more than `requests_max`.
    fn gather(
        scene: &Scene,
        kinds: impl Iterator<Item = (&'static Kind, usize)>,
        requests_max: usize,
    ) -> Result<Self> {
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
        let requests: usize = clients.iter().map(|(_, kind)| kind.requests.min(requests_max)).sum();
        loop {
            let (accepted, in_flight) = (scene.connections()?, scene.in_flight()?);
            if accepted >= clients.len() && in_flight >= requests {
                break;
            }
            let saw = format!("{accepted} of {} clients, {in_flight} of {requests} requests", clients.len());
            ensure!(Instant::now() < limit, "the hostile clients are not all there: {saw}");
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
        cost(&scene.anew()?, findings, kind)?;
    }
    duration(scene, findings)
}

/// What so many of one kind cost: memory, the others' time, the admin socket, a switch.
fn cost(scene: &Scene, findings: &mut Findings, kind: &'static Kind) -> Result<()> {
    let count = scene.clients.min(kind.clients_max);
    let case = format!("{count} × {}", kind.name);
    let mut rounds = Rounds::default();
    while !rounds.are_enough() {
        rounds.quiet.push(Load::of(scene, MEASURE)?);
        let before = (scene.memory()?, scene::kernel_memory()?);
        let crowd = Crowd::gather(scene, std::iter::once((kind, count)), kind.requests)?;
        stand_still()?;
        // A process keeps memory that it needed once, so that only the first crowd shows what one costs.
        let first = rounds.attacked.is_empty();
        if first {
            memory(scene, findings, &case, kind, count, before)?;
        }
        rounds.attacked.push(Load::of(scene, MEASURE)?);
        if first {
            switch(scene, findings, &case)?;
        }
        drop(crowd);
        settle(scene)?;
    }
    findings.tell(&case, rounds.are_right(), &rounds.saw());
    Ok(())
}

/// Waits until the hostile have got all that they will get. Until then their slot is busy with what they asked for (5,000
/// times 100 MB, of which it fills its own kernel's buffers), as it would be without a proxy.
fn stand_still() -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(STAND_STILL_SECONDS_MAX);
    let mut before = scene::kernel_memory()?;
    while Instant::now() < limit {
        std::thread::sleep(Duration::from_secs(1));
        let now = scene::kernel_memory()?;
        if now.abs_diff(before) <= before / 100 {
            break;
        }
        before = now;
    }
    Ok(())
}

/// What each costs, here and in the kernel (where the clients' own sockets count too).
fn memory(
    scene: &Scene,
    findings: &mut Findings,
    case: &str,
    kind: &Kind,
    count: usize,
    before: (u64, u64),
) -> Result<()> {
    let each = |after: u64, before: u64, parts: usize| after.saturating_sub(before) / parts as u64;
    let (parts, what) = match kind.requests {
        0 | 1 => (count, "client"),
        requests => (count * requests, "request in flight"),
    };
    let in_flight = scene.in_flight()?;
    let bytes = each(scene.memory()?, before.0, parts);
    let kernel = each(scene::kernel_memory()?, before.1, count);
    // Who is one of a few has as many requests as it may, and not one more.
    let as_many_as_may_be = kind.clients_max == ALL || in_flight == count * kind.requests;
    let saw = format!(
        "{} kB for each {what}, {in_flight} requests in flight; {} kB of the kernel for each client",
        bytes / 1024,
        kernel / 1024
    );
    findings.tell(case, bytes <= CLIENT_BYTES_MAX && as_many_as_may_be, &saw);
    Ok(())
}

/// What the well-behaved saw without the hostile and with them, in turn.
#[derive(Default)]
struct Rounds {
    quiet: Vec<Seen>,
    attacked: Vec<Seen>,
}

impl Rounds {
    fn are_enough(&self) -> bool {
        let rounds = self.attacked.len();
        rounds >= ROUNDS_MAX || rounds >= ROUNDS_MIN && self.are_right()
    }

    fn are_right(&self) -> bool {
        let most = (best(&self.quiet, Seen::p99) * P99_RATIO_MAX).max(P99_MS_FLOOR);
        self.failures().next().is_none()
            && best(&self.attacked, Seen::p99) <= most
            && best(&self.attacked, Seen::admin_worst) <= ADMIN_MS_MAX
    }

    fn failures(&self) -> impl Iterator<Item = &String> {
        self.quiet.iter().chain(&self.attacked).flat_map(|seen| &seen.failures)
    }

    fn saw(&self) -> String {
        let listed = |all: &[Seen]| {
            let all: Vec<String> = all.iter().map(|seen| format!("{:.2}", seen.p99())).collect();
            all.join(" ")
        };
        format!(
            "p99 of the others {:.2} ms instead of {:.2} ms, best of {} rounds ({} instead of {}; {} requests), slowest admin \
             answer {:.0} ms, {} failures{}",
            best(&self.attacked, Seen::p99),
            best(&self.quiet, Seen::p99),
            self.attacked.len(),
            listed(&self.attacked),
            listed(&self.quiet),
            self.attacked.iter().map(Seen::requests).sum::<usize>(),
            best(&self.attacked, Seen::admin_worst),
            self.failures().count(),
            self.failures().next().map(|first| format!(" such as {first}")).unwrap_or_default()
        )
    }
}

fn best(all: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    all.iter().map(of).fold(f64::INFINITY, f64::min)
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
    let mut crowd = Crowd::gather(scene, KINDS.iter().map(|kind| (kind, each)), 1)?;
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
