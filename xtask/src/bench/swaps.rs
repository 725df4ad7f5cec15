//! A hundred swaps under load.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::Options;
use super::http::{self, Address};
use super::load::{Load, Tally};
use super::overhead::config;
use super::place::{self, Programs, Proxy, Running};
use super::project::Project;
use super::report::Report;
use super::stats::Samples;

const SWAPS: u32 = 100;
const DEPLOYMENTS: u32 = 10;
/// Load before the first swap, after each, and after the last.
const PAUSE: Duration = Duration::from_millis(30);

const MEANING: &str = "Ten clients send requests without a break: GETs on kept connections, GETs with a new connection each, \
POSTs on kept connections whose body must come back. Meanwhile the traffic is swapped between two running slots, or \
whole deployments are made, which also stop the old slot. A request counts as failed when its answer is missing, wrong or \
4xx; a reset is a connection that was closed before the answer began: a kept one, which every HTTP/1.1 client has to expect \
and most repeat by themselves (not a POST), or a new one. The built-in proxy must have none of either. For Caddy the swap is the same `PATCH /id/…/upstreams` that the driver sends.";

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let mut report = Report::new("swaps", "swaps under load");
    report.meaning = MEANING.to_owned();
    report.header = vec![
        "what",
        "requests",
        "POSTs",
        "failed",
        "5xx",
        "resets, kept / new",
        "the call, ms, median / worst",
    ];
    let (_blue, blue_port) = place::healthy_hello(programs, "blue")?;
    let (_green, green_port) = place::healthy_hello(programs, "green")?;
    let ports = [blue_port, green_port];

    let dir = place::folder()?;
    let proxy = Proxy::start(programs, &dir.path().join("proxy"))?;
    let swap = |slot: usize| proxy.switch(["blue", "green"][slot], ["blue", "green"][slot], ports[slot]);
    let swaps = options.repetitions(SWAPS);
    let (tally, took) = under_load(&proxy.public(), swaps, swap)?;
    add(&mut report, &format!("builtin, {swaps} swaps"), &tally, &took);
    zero(&mut report, "builtin, swaps: failed, 5xx and resets", tally.all_wrong());

    let deployments = options.repetitions(DEPLOYMENTS);
    let (tally, took) = deployments_under_load(programs, deployments)?;
    add(&mut report, &format!("builtin, {deployments} × `lockgate deploy --only-swap`"), &tally, &took);
    zero(&mut report, "builtin, deployments: failed, 5xx and resets", tally.all_wrong());

    match place::installed("caddy") {
        true => {
            let caddy = Caddy::start(&ports)?;
            let (tally, took) = under_load(&caddy.public(), swaps, |slot| caddy.switch(ports[slot]))?;
            add(&mut report, &format!("caddy, {swaps} swaps"), &tally, &took);
            zero(&mut report, "caddy, swaps: 5xx", tally.server_errors);
            zero(&mut report, "caddy, swaps: failed otherwise", tally.failed);
        }
        false => report.note("Caddy is not installed, so it was not measured."),
    }
    Ok(report)
}

fn add(report: &mut Report, what: &str, tally: &Tally, took: &Samples) {
    let count = |count: u64| count.to_string();
    report.row([
        what,
        &count(tally.requests),
        &count(tally.posts),
        &count(tally.failed),
        &count(tally.server_errors),
        &format!("{} / {}", tally.idle_resets, tally.new_resets),
        &took.shown(),
    ]);
    for failure in &tally.failures {
        report.note(format!("{what}: {failure}"));
    }
}

fn zero(report: &mut Report, what: &str, seen: u64) {
    report.target(what, "0", seen.to_string(), seen == 0);
}

/// Swaps to slot 0, 1, 0, … and tells how long each call took.
fn under_load(public: &Address, swaps: u32, swap: impl Fn(usize) -> Result<()>) -> Result<(Tally, Samples)> {
    swap(0)?;
    place::wait_until("the route", Duration::from_millis(5), || place::healthy(public))?;
    let load = Load::start(public);
    let mut took = Samples::default();
    std::thread::sleep(PAUSE);
    for round in 1..=swaps as usize {
        let start = Instant::now();
        swap(round % 2)?;
        took.push(start.elapsed());
        std::thread::sleep(PAUSE);
    }
    let tally = load.stop()?;
    ensure!(tally.by_release.len() == 2, "the swaps did nothing: {:?}", tally.by_release);
    Ok((tally, took))
}

fn deployments_under_load(programs: &Programs, deployments: u32) -> Result<(Tally, Samples)> {
    let listen = format!("127.0.0.1:{}", place::free_port()?);
    let project = Project::new(programs, &config(&listen, 2))?;
    project.lockgate(&["deploy", "hello", "v0"])?;
    let load = Load::start(&Address::Tcp(listen));
    let mut took = Samples::default();
    for round in 1..=deployments {
        let timeline = project.lockgate(&["deploy", "hello", &format!("v{round}"), "--only-swap"])?;
        took.push(timeline.total);
        std::thread::sleep(PAUSE);
    }
    let tally = load.stop()?;
    ensure!(
        tally.by_release.len() > deployments as usize,
        "a release never answered: {:?}",
        tally.by_release
    );
    Ok((tally, took))
}

/// A Caddy of our own with one route.
struct Caddy {
    _process: Running,
    _dir: TempDir,
    admin: Address,
    listen: String,
}

impl Caddy {
    fn start(ports: &[u16; 2]) -> Result<Self> {
        let dir = place::folder()?;
        let (listen, admin) =
            (format!("127.0.0.1:{}", place::free_port()?), format!("127.0.0.1:{}", place::free_port()?));
        let dial = |port: u16| json!([{ "dial": format!("127.0.0.1:{port}") }]);
        let handler = json!({ "@id": "bench", "handler": "reverse_proxy", "upstreams": dial(ports[0]) });
        // As the driver has it: a route that never matches keeps the count of what is in flight on both slots.
        let both = json!([dial(ports[0])[0], dial(ports[1])[0]]);
        let ghost = json!({ "match": [{ "path": ["/never"] , "host": ["never.invalid"] }],
            "handle": [{ "handler": "reverse_proxy", "upstreams": both }] });
        let config = json!({
            "admin": { "listen": admin },
            "logging": { "logs": { "default": { "level": "ERROR" } } },
            "apps": { "http": { "servers": { "bench": {
                "listen": [listen], "automatic_https": { "disable": true },
                "routes": [{ "handle": [handler] }, ghost],
            } } } },
        });
        let path = dir.path().join("caddy.json");
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        let process = Running::start(
            Command::new("caddy")
                .args(["run", "--config"])
                .arg(&path)
                .env("XDG_DATA_HOME", dir.path().join("data"))
                .env("XDG_CONFIG_HOME", dir.path().join("config")),
        )?;
        let caddy = Self { _process: process, _dir: dir, admin: Address::Tcp(admin), listen };
        place::wait_until("caddy", Duration::from_millis(10), || {
            http::call(&caddy.admin, "GET", "/config/", None).is_ok()
        })?;
        Ok(caddy)
    }

    fn public(&self) -> Address {
        Address::Tcp(self.listen.clone())
    }

    fn switch(&self, port: u16) -> Result<()> {
        let upstreams = json!([{ "dial": format!("127.0.0.1:{port}") }]);
        http::call(&self.admin, "PATCH", "/id/bench/upstreams", Some(&upstreams)).map(drop)
    }
}
