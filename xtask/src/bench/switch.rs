//! A thousand switches by a file beside a thousand through Caddy's admin API, under load of every kind.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Options;
use super::http::{self, Address};
use super::place::{self, Programs, Running};
use super::report::Report;
use super::stats::Samples;
use super::switch_load::{Load, Tally};

/// Where `scripts/setup` puts the newest one.
const NEWEST_CADDY: &str = "/usr/local/share/lockgate-test/caddy-2.11.7/caddy";
/// Those that are compared take turns, so that a busy machine is busy for all.
const TURNS: u32 = 10;
const SWITCHES_IN_A_TURN: u32 = 100;
/// Between two switches: a slow request sees several of them.
const PAUSE: Duration = Duration::from_millis(50);

const MEANING: &str = "Thirteen clients ask without a break: three GETs and two POSTs on kept connections (a POST's body must \
come back), six GETs with a new connection each, two requests that take 300 ms; two WebSockets exchange a message every \
10 ms and are opened again when they are cut. Meanwhile the traffic is switched every 50 ms between two running slots. \
*Lost* is a request whose answer never came: the connection was closed or reset instead. A WebSocket is *whole* when it \
lasted until the end of its turn. By the admin API the switch is the `PATCH …/upstreams` that the driver sends; by the file it is \
`active_color`, written anew (synced, renamed, its folder synced) as the driver writes it, and Caddy's configuration never \
changes. All take turns of a hundred switches in one run.";

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let mut report = Report::new("switch", "Caddy: the switch as a file beside the admin API");
    report.meaning = MEANING.to_owned();
    report.header = vec![
        "router",
        "how it switches",
        "switches",
        "requests",
        "kept lost",
        "POSTs lost",
        "fresh lost",
        "slow lost",
        "WebSockets cut / whole",
        "wrong answers",
        "the switch, ms, median / worst",
    ];
    let (_blue, blue_port) = place::healthy_hello(programs, "blue")?;
    let (_green, green_port) = place::healthy_hello(programs, "green")?;
    let ports = [blue_port, green_port];
    let mut all = Vec::new();
    for (program, name) in [("caddy", "caddy"), (NEWEST_CADDY, "the newest Caddy")] {
        match version(program) {
            Some(version) => {
                all.push(Compared::new(Caddy::by_admin(program, &ports)?, &version, "admin API"))
            }
            None => report.note(format!("{name} ({program}) is not there, so it was not measured.")),
        }
    }
    if let Some(version) = version(NEWEST_CADDY) {
        all.push(Compared::new(Caddy::by_file(NEWEST_CADDY, &ports)?, &version, "file"));
    }
    for _ in 0..options.repetitions(TURNS) {
        for one in &mut all {
            one.turn(options.repetitions(SWITCHES_IN_A_TURN))?;
        }
    }
    for one in &all {
        one.add(&mut report);
    }
    Ok(report)
}

/// `2.11.7`; `None` when there is no such program.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split_whitespace().next()?.trim_start_matches('v').to_owned())
}

/// One way to switch, and what it has come to.
struct Compared {
    caddy: Caddy,
    version: String,
    how: &'static str,
    switches: u32,
    tally: Tally,
    took: Samples,
}

impl Compared {
    fn new(caddy: Caddy, version: &str, how: &'static str) -> Self {
        let (tally, took) = (Tally::default(), Samples::default());
        Self { caddy, version: version.to_owned(), how, switches: 0, tally, took }
    }

    fn turn(&mut self, switches: u32) -> Result<()> {
        self.caddy.switch(0)?;
        let public = self.caddy.public();
        place::wait_until("the route", Duration::from_millis(5), || place::healthy(&public))?;
        let load = Load::start(&public);
        std::thread::sleep(PAUSE);
        for round in 1..=switches as usize {
            let start = Instant::now();
            self.caddy.switch(round % 2)?;
            self.took.push(start.elapsed());
            std::thread::sleep(PAUSE);
        }
        let tally = load.stop()?;
        ensure!(tally.by_release.len() == 2, "the switches did nothing: {:?}", tally.by_release);
        self.switches += switches;
        self.tally.add(tally);
        Ok(())
    }

    fn add(&self, report: &mut Report) {
        let Tally { requests, kept, posts, fresh, slow, cut, whole, wrong, .. } = &self.tally;
        let router = format!("Caddy {}", self.version);
        report.row([
            &router,
            self.how,
            &self.switches.to_string(),
            &requests.to_string(),
            &kept.to_string(),
            &posts.to_string(),
            &fresh.to_string(),
            &slow.to_string(),
            &format!("{cut} / {whole}"),
            &wrong.to_string(),
            &self.took.shown(),
        ]);
        for failure in &self.tally.failures {
            report.note(format!("{router}, {}: {failure}", self.how));
        }
        if self.how == "file" {
            let lost = kept + posts + fresh + slow + cut + wrong;
            report.target(
                &format!("{router}, {} switches by the file: lost, cut or wrong", self.switches),
                "0",
                lost.to_string(),
                lost == 0,
            );
        }
    }
}

/// A Caddy of our own with one route.
struct Caddy {
    _process: Running,
    _dir: TempDir,
    admin: Address,
    listen: String,
    /// `active_color`; `None` by the admin API.
    file: Option<PathBuf>,
    ports: [u16; 2],
}

impl Caddy {
    fn by_admin(program: &str, ports: &[u16; 2]) -> Result<Self> {
        let mut handler = proxy(ports[0]);
        handler["@id"] = json!("bench");
        // As the driver has it: a route that never matches keeps the count of what is in flight on both slots.
        let mut ghost = proxy(ports[0]);
        ghost["upstreams"] = json!([ghost["upstreams"][0], proxy(ports[1])["upstreams"][0]]);
        let routes = json!([{ "handle": [handler] }, { "match": [{ "not": [{}] }], "handle": [ghost] }]);
        Self::start(program, ports, place::folder()?, None, &routes)
    }

    fn by_file(program: &str, ports: &[u16; 2]) -> Result<Self> {
        let dir = place::folder()?;
        let file = dir.path().join("active_color");
        let asks = json!({ "vars": { (format!("{{file.{}}}", file.display())): ["green"] } });
        let routes =
            json!([{ "match": [asks], "handle": [proxy(ports[1])] }, { "handle": [proxy(ports[0])] }]);
        Self::start(program, ports, dir, Some(file), &routes)
    }

    fn start(
        program: &str,
        ports: &[u16; 2],
        dir: TempDir,
        file: Option<PathBuf>,
        routes: &Value,
    ) -> Result<Self> {
        let (listen, admin) =
            (format!("127.0.0.1:{}", place::free_port()?), format!("127.0.0.1:{}", place::free_port()?));
        let config = json!({
            "admin": { "listen": admin },
            // One that has no file yet says so at each request.
            "logging": { "logs": { "default": { "level": "PANIC" } } },
            "apps": { "http": { "servers": { "bench": {
                "listen": [listen], "automatic_https": { "disable": true }, "routes": routes,
            } } } },
        });
        let path = dir.path().join("caddy.json");
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        let process = Running::start(
            Command::new(program)
                .args(["run", "--config"])
                .arg(&path)
                .env("XDG_DATA_HOME", dir.path().join("data"))
                .env("XDG_CONFIG_HOME", dir.path().join("config")),
        )?;
        let admin = Address::Tcp(admin);
        place::wait_until("caddy", Duration::from_millis(10), || {
            http::call(&admin, "GET", "/config/", None).is_ok()
        })?;
        Ok(Self { _process: process, _dir: dir, admin, listen, file, ports: *ports })
    }

    fn public(&self) -> Address {
        Address::Tcp(self.listen.clone())
    }

    fn switch(&self, slot: usize) -> Result<()> {
        let Some(file) = &self.file else {
            let upstreams = json!([{ "dial": format!("127.0.0.1:{}", self.ports[slot]) }]);
            return http::call(&self.admin, "PATCH", "/id/bench/upstreams", Some(&upstreams)).map(drop);
        };
        let folder = file.parent().context("a folder")?;
        let beside = folder.join(".active_color.new");
        let mut new = File::create(&beside)?;
        new.write_all(["blue\n", "green\n"][slot].as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, file)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

fn proxy(port: u16) -> Value {
    json!({ "handler": "reverse_proxy", "upstreams": [{ "dial": format!("127.0.0.1:{port}") }] })
}
