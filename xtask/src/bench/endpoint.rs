//! The signed endpoint of `lockgate serve`: many calls a second beside a deployment, beside Debian's `webhook`; one call
//! beside one fsync; and what an idle daemon costs.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockgate_signature::{GITHUB_HEADER, SigningSecret};

use super::Options;
use super::http::{Broken, Connection, Request};
use super::place::{self, Address, Programs, Running};
use super::project::Project;
use super::report::Report;
use super::stats::{Samples, number};
use super::throughput::{cpu_seconds, memory_mib};

const TITLE: &str = "the signed endpoint, beside `webhook` and one fsync";
const SECRET: &str = "a secret of the benchmark's own";
const CALLS_PER_SECOND: u32 = 1_000;
const SECONDS: u32 = 60;
const SECONDS_QUICK: u32 = 5;
/// Clients that take turns in sending, so that a slow answer holds up none of the others' calls for long.
const CLIENTS: u32 = 32;
/// A call that is answered later than this after its time is late.
const LATE_MILLIS: u64 = 1_000;
const SYNCS: u32 = 200;
const SYNCED_BYTES: usize = 4096;
const IDLE_SECONDS: u64 = 20;

const RATE_MIN: f64 = 0.99;
const GROWTH_MIB_MAX: f64 = 32.0;
const ACCEPT_MILLIS_MAX: f64 = 5.0;
const IDLE_MIB_MAX: f64 = 30.0;
const IDLE_CORE_MAX: f64 = 0.001;

const MEANING: &str = "1,000 calls a second, each with a body, an id and a valid signature of its own, sent at their times over 32 kept \
connections on loopback, whether the answers before them have come or not; sender and server share two processors. Each asks `lockgate \
serve` for another commit with `Prefer: respond-async`, so each is written down durably, takes the place of the one that waits before it, \
and deployments run all the time. `webhook` (Debian's package) checks the same signature, keeps nothing, and starts `/bin/true`. Late: \
answered more than a second after its time. The call alone: one client, one call after the other, in turn with an append of 4 KiB and \
`fdatasync` in the same folder. Idle: no call for 20 s after the start, one deployed service.";

/// What came of calls that were sent at their times.
#[derive(Default)]
struct Calls {
    took: Samples,
    accepted: u64,
    /// Answered otherwise, by their status.
    refused: std::collections::BTreeMap<u16, u64>,
    broken: u64,
    late: u64,
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let secret = SigningSecret::new(SECRET).map_err(|why| anyhow::anyhow!("{why}"))?;
    let mut report = Report::new("endpoint", TITLE);
    report.meaning = MEANING.to_owned();
    report.header = vec![
        "what",
        "calls/s answered",
        "answer, ms, median / worst",
        "refused",
        "broken",
        "late",
        "CPU µs a call",
        "memory before / after, MiB",
    ];
    let serve = Served::start(programs)?;
    let idle = idle(serve.process.pid())?;
    alone(&serve, &secret, options, &mut report)?;
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let address = serve.address.clone();
    let ours =
        measured("lockgate serve", serve.process.pid(), &address, "/deploy", &secret, seconds, &mut report)?;
    let runs = serve.runs()?;
    report.note(format!("{runs} deployments ran to their end meanwhile."));
    drop(serve);
    match place::installed("webhook") {
        false => report.note("webhook is not installed, so it was not measured."),
        true => {
            let dir = place::folder()?;
            let (process, address) = webhook(dir.path())?;
            measured("webhook", process.pid(), &address, "/hooks/deploy", &secret, seconds, &mut report)?;
        }
    }
    let (rate, growth) = ours;
    let wanted = f64::from(CALLS_PER_SECOND);
    report.target(
        "calls answered within a second of their time",
        format!("≥ {:.0} % of {CALLS_PER_SECOND}/s", RATE_MIN * 100.0),
        format!("{:.1} %", rate / wanted * 100.0),
        rate >= wanted * RATE_MIN,
    );
    report.target(
        "memory that a minute of it adds",
        format!("≤ {GROWTH_MIB_MAX} MiB"),
        format!("{} MiB", number(growth)),
        growth <= GROWTH_MIB_MAX,
    );
    let (mib, core) = idle;
    report.target(
        "idle: memory",
        format!("≤ {IDLE_MIB_MAX} MiB"),
        format!("{} MiB", number(mib)),
        mib <= IDLE_MIB_MAX,
    );
    report.target(
        "idle: processor",
        "≤ 0.1 % of a core",
        format!("{:.2} %", core * 100.0),
        core <= IDLE_CORE_MAX,
    );
    Ok(report)
}

/// `lockgate serve` with one service, deployed once.
struct Served {
    process: Running,
    address: Address,
    project: Project,
}

impl Served {
    fn start(programs: &Programs) -> Result<Self> {
        let (proxy, port) = (place::free_port()?, place::free_port()?);
        let config = format!(
            "project: bench\nservices:\n  web: {{ command: \"./hello --version {{tag}}\", health: /health }}\nenvironments:\n  \
             local: {{ runtime: process, router: {{ builtin: {{ listen: \"127.0.0.1:{proxy}\" }} }} }}\nserve:\n  \
             listen: 127.0.0.1:{port}\n  endpoints:\n    /deploy: {{ environment: local, services: [web], secrets: [\"{SECRET}\"] }}\n"
        );
        let project = Project::new(programs, &config)?;
        project.lockgate(&["deploy", "web", "v1"])?;
        let (process, address) = project.serve(port)?;
        Ok(Self { process, address, project })
    }

    /// Deployments that have ended, by the journal.
    fn runs(&self) -> Result<usize> {
        let mut history = self.project.command(&["history", "-n", "10000", "--format", "json"]);
        let said = place::run(&mut history)?;
        Ok(said.lines().filter(|line| line.contains("\"outcome\"")).count())
    }
}

/// Memory in MiB, and the share of a core.
fn idle(pid: u32) -> Result<(f64, f64)> {
    let (before, start) = (cpu_seconds(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let core = (cpu_seconds(pid) - before) / start.elapsed().as_secs_f64();
    let mib = memory_mib(pid);
    ensure!(mib > 0.0, "the daemon is gone");
    Ok((mib, core))
}

/// One call after the other, in turn with an fsync.
fn alone(serve: &Served, secret: &SigningSecret, options: &Options, report: &mut Report) -> Result<()> {
    let path = serve.project.path().join("synced");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let (mut synced, mut accepted) = (Samples::default(), Samples::default());
    let mut connection = Connection::open(&serve.address)?;
    for number in 0..options.repetitions(SYNCS) {
        let start = Instant::now();
        file.write_all(&[b'x'; SYNCED_BYTES])?;
        file.sync_data()?;
        synced.push(start.elapsed());
        let start = Instant::now();
        let status = call(&mut connection, "/deploy", secret, u64::from(number) | 1 << 40)?;
        accepted.push(start.elapsed());
        ensure!(status == 202, "a call was answered with {status}");
    }
    let over = accepted.minus(&synced);
    report.row(["one call alone", "–", &accepted.shown(), "–", "–", "–", "–", "–"]);
    report.row(["one fsync", "–", &synced.shown(), "–", "–", "–", "–", "–"]);
    report.target(
        "one call alone, over one fsync, median",
        format!("≤ {ACCEPT_MILLIS_MAX} ms"),
        format!("{} ms", number(over.median())),
        over.median() <= ACCEPT_MILLIS_MAX,
    );
    Ok(())
}

/// Sends calls at their times; the rate of those that were answered in time, and by how much memory grew, in MiB.
fn measured(
    what: &'static str,
    pid: u32,
    address: &Address,
    path: &str,
    secret: &SigningSecret,
    seconds: u32,
    report: &mut Report,
) -> Result<(f64, f64)> {
    let (cpu, memory) = (cpu_seconds(pid), memory_mib(pid));
    let calls = send(address, path, secret, seconds)?;
    let (spent, after) = (cpu_seconds(pid) - cpu, memory_mib(pid));
    ensure!(after > 0.0, "{what} is gone");
    let sent = f64::from(CALLS_PER_SECOND * seconds);
    let rate = (calls.accepted - calls.late) as f64 / f64::from(seconds);
    let refused: Vec<String> =
        calls.refused.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    report.row([
        what,
        &format!("{:.0}", calls.accepted as f64 / f64::from(seconds)),
        &calls.took.shown(),
        &if refused.is_empty() { "0".to_owned() } else { refused.join(", ") },
        &calls.broken.to_string(),
        &calls.late.to_string(),
        &number(spent / sent * 1_000_000.0),
        &format!("{} / {}", number(memory), number(after)),
    ]);
    Ok((rate, after - memory))
}

fn send(address: &Address, path: &str, secret: &SigningSecret, seconds: u32) -> Result<Calls> {
    let next = AtomicU64::new(0);
    let total = u64::from(CALLS_PER_SECOND * seconds);
    let start = Instant::now();
    let client = || -> Result<Calls> {
        let (mut calls, mut open) = (Calls::default(), None);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                return Ok(calls);
            }
            let due = start + Duration::from_secs(1) * u32::try_from(number)? / CALLS_PER_SECOND;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let connection = match &mut open {
                Some(connection) => connection,
                none => none.insert(Connection::open(address)?),
            };
            let answered = call(connection, path, secret, number);
            let took = due.elapsed();
            match answered {
                Ok(200 | 202) => {
                    calls.accepted += 1;
                    calls.late += u64::from(took > Duration::from_millis(LATE_MILLIS));
                    calls.took.push(took);
                }
                Ok(status) => *calls.refused.entry(status).or_default() += 1,
                Err(_) => calls.broken += 1,
            }
            let is_over = answered.is_err() || open.as_ref().is_some_and(|open| open.closing);
            if is_over {
                open = None;
            }
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut all = Calls::default();
        for one in clients {
            let calls = one.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            all.took.extend(&calls.took);
            all.accepted += calls.accepted;
            all.broken += calls.broken;
            all.late += calls.late;
            for (status, count) in calls.refused {
                *all.refused.entry(status).or_default() += count;
            }
        }
        Ok(all)
    })
}

/// One signed call for a commit of its own; the status of the answer.
fn call(connection: &mut Connection, path: &str, secret: &SigningSecret, number: u64) -> Result<u16, Broken> {
    let body = format!(r#"{{"service":"web","image_sha":"{:040x}"}}"#, number + 1);
    let (signature, id) = (secret.sign_github(body.as_bytes()), format!("bench-{number}"));
    let headers = [
        ("content-type", "application/json"),
        (GITHUB_HEADER, signature.as_str()),
        ("X-GitHub-Delivery", id.as_str()),
        ("prefer", "respond-async"),
    ];
    Ok(connection
        .exchange(&Request { method: "POST", path, headers: &headers, body: body.as_bytes() })?
        .status)
}

fn webhook(dir: &Path) -> Result<(Running, Address)> {
    let port = place::free_port()?;
    let hooks = serde_json::json!([{
        "id": "deploy",
        "execute-command": "/bin/true",
        "trigger-rule": { "match": {
            "type": "payload-hmac-sha256", "secret": SECRET,
            "parameter": { "source": "header", "name": GITHUB_HEADER },
        } },
    }]);
    let path = dir.join("hooks.json");
    std::fs::write(&path, serde_json::to_vec(&hooks)?)?;
    let process = Running::start(Command::new("webhook").arg("-hooks").arg(&path).args([
        "-ip",
        "127.0.0.1",
        "-port",
        &port.to_string(),
    ]))?;
    let address = place::local(port);
    let answers = || super::http::send(&address, &Request::get("/")).is_ok();
    place::wait_until("webhook", Duration::from_millis(5), answers)?;
    Ok((process, address))
}
