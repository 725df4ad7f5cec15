//! Line 5: clients that leave early, spoil their requests or close half, and a slot that speaks unasked.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Findings;
use super::load::Load;
use super::scene::Scene;
use super::slot::FakeSlot;
use crate::bench::http::{self, Request};
use crate::bench::place::wait_until;

/// How many of each kind there are.
const EACH_MAX: usize = 200;
const MEASURE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
/// What a request may cost in the access log, however long its head is.
const LINE_BYTES_MAX: u64 = 2_000;
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub fn run(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let load = Load::start(scene);
    spoilers(scene, findings)?;
    half_closers(scene, findings)?;
    long_paths(scene, findings)?;
    let seen = load.stop()?;
    let saw = format!("{} requests, failures: {:?}", seen.requests(), seen.failures);
    findings.tell("the others meanwhile", seen.failures.is_empty(), &saw);
    unasked(scene, findings)
}

/// The sum of a counter's lines that hold `label`.
fn counted(scene: &Scene, name: &str, label: &str) -> Result<u64> {
    let answer = http::send(&scene.admin(), &Request::get("/metrics"))?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&format!("lockgate_proxy_{name}_total{{")) && line.contains(label));
    let values = lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()));
    values.map(|value| value.context("a counter's value is no number")).sum()
}

/// Every one of them is counted as the client's, none as the slot's.
fn spoilers(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let each = scene.clients.min(EACH_MAX);
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let kinds = [
        ("bad chunks", format!("{chunked}zz\r\n")),
        ("chunks that lie about their length", format!("{chunked}2\r\nhiXX")),
        ("uploads broken off", "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhi".to_owned()),
        ("clients that leave before the answer", "GET /slow?ms=20000 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
    ];
    for (name, request) in kinds {
        let before = counted(scene, "cut_off_requests", "by=\"client\"")?;
        for _ in 0..each {
            // Closed without a word: half of the connection, as far as the proxy can tell.
            drop(scene.say(request.as_bytes())?);
        }
        let told = || {
            let now = counted(scene, "cut_off_requests", "by=\"client\"");
            now.is_ok_and(|now| now >= before + each as u64)
        };
        let all = wait_until(name, PAUSE, told);
        let failed = counted(scene, "requests", "status=\"5xx\"")?;
        let right = all.is_ok() && failed == 0;
        findings.tell(
            &format!("{each} × {name}"),
            right,
            &format!("counted: {all:?}; as the slot's: {failed}"),
        );
    }
    Ok(())
}

fn half_closers(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let each = scene.clients.min(EACH_MAX);
    let mut waiting = Vec::new();
    for _ in 0..each {
        let stream = scene.say(b"GET /slow?ms=500 HTTP/1.1\r\nhost: a\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        waiting.push(stream);
    }
    let answered = waiting.into_iter().filter_map(|stream| answer(stream).ok());
    let right = answered.filter(|answer| answer.starts_with("HTTP/1.1 200")).count();
    findings.tell(&format!("{each} × half-closed"), right == each, &format!("{right} got their answer"));
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn long_paths(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let each = scene.clients.min(EACH_MAX);
    let log = scene.proxy.dir.join("access.log");
    let size = || std::fs::metadata(&log).map_or(0, |file| file.len());
    let begun = counted(scene, "requests", "route=")?;
    let before = size();
    let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(60_000));
    for _ in 0..each {
        answer(scene.say(request.as_bytes())?)?;
    }
    // The load goes on meanwhile, and its lines are short.
    let requests = counted(scene, "requests", "route=")? - begun;
    let bytes = size().saturating_sub(before);
    let saw = format!("{bytes} bytes in the access log for {requests} requests");
    findings.tell(&format!("{each} × a path of 60 kB"), bytes < requests * LINE_BYTES_MAX, &saw);
    Ok(())
}

fn unasked(scene: &Scene, findings: &mut Findings) -> Result<()> {
    for (name, more) in [("garbage", "and more"), ("another answer", OK)] {
        let slot = FakeSlot::start(OK, more)?;
        scene.proxy.switch("blue", &format!("unasked {name}").replace(' ', "-"), slot.port)?;
        let seen = Load::of(scene, MEASURE)?;
        let saw = format!("{} requests, failures: {:?}", seen.requests(), seen.failures);
        let right = seen.failures.is_empty() && seen.requests() > 0;
        findings.tell(&format!("a slot that sends {name} after its answers"), right, &saw);
    }
    scene.switch("blue")
}
