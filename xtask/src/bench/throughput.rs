//! The built-in proxy beside nginx and Caddy.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use super::Options;
use super::place::{self, Programs, Proxy, Running};
use super::report::Report;
use super::stats::{Samples, number};

const ROUNDS: u32 = 5;
const SECONDS: &str = "3s";
const CONNECTIONS: &str = "32";
/// Clock ticks of /proc/PID/stat in a second (`getconf CLK_TCK` is 100 on every Linux in use).
const TICKS_PER_SECOND: f64 = 100.0;

const MEANING: &str = "`wrk` with 2 threads and 32 kept connections, 3 s each round, all in turn, on loopback: wrk, proxy and backend \
share this machine's processors, so requests/s are a comparison, no capacity. The backend is `hello` with a 14-byte answer. \
CPU is user and system time of the proxy's processes alone, divided by the requests answered. nginx has `worker_processes \
auto` and 64 kept connections to the backend. All write an access log to a file. The static program is what people \
install. \"of nginx\" is the CPU of a request beside nginx's in the same round.";
/// CPU of a request in the static program, beside nginx's.
const OF_NGINX_MAX: f64 = 1.1;

struct Proxied {
    name: &'static str,
    address: String,
    /// `None`: nothing in between.
    process: Option<Running>,
    rate: Samples,
    p99: Samples,
    cpu: Samples,
    memory_mib: f64,
    errors: u64,
}

impl Proxied {
    fn new(name: &'static str, address: String, process: Option<Running>) -> Self {
        let (rate, p99, cpu) = (Samples::default(), Samples::default(), Samples::default());
        Self { name, address, process, rate, p99, cpu, memory_mib: 0.0, errors: 0 }
    }

    fn round(&mut self) -> Result<()> {
        let ids = self.process.as_ref().map_or_else(Vec::new, |process| family(process.pid()));
        let before: f64 = ids.iter().map(|id| cpu_seconds(*id)).sum();
        let url = format!("http://{}/version", self.address);
        let said = place::run(Command::new("wrk").args([
            "-t2",
            "-c",
            CONNECTIONS,
            "-d",
            SECONDS,
            "--latency",
            &url,
        ]))?;
        let spent = ids.iter().map(|id| cpu_seconds(*id)).sum::<f64>() - before;
        let seen = Wrk::parse(&said).with_context(|| format!("wrk said:\n{said}"))?;
        self.rate.push_value(seen.rate);
        self.p99.push_value(seen.p99_ms);
        self.cpu.push_value(spent / seen.requests * 1_000_000.0);
        self.memory_mib = ids.iter().map(|id| memory_mib(*id)).sum();
        self.errors += seen.errors;
        Ok(())
    }
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    const TITLE: &str = "the built-in proxy beside nginx and Caddy";
    if !place::installed("wrk") {
        return Ok(Report::skipped("proxy", TITLE, "wrk is not installed"));
    }
    let dir = place::folder()?;
    let (_backend, port) = place::healthy_hello(programs, "v1")?;
    let mut all = vec![Proxied::new("direct", format!("127.0.0.1:{port}"), None)];
    let mut report = Report::new("proxy", TITLE);
    let builtin =
        [("builtin", Some(&programs.lockgate)), ("builtin, static", programs.static_lockgate.as_ref())];
    for (name, program) in builtin {
        let Some(program) = program else {
            report.note("The static program was not measured: `scripts/release` builds it.".to_owned());
            continue;
        };
        let proxy = Proxy::of(program, &dir.path().join(name))?;
        proxy.switch("blue", "v1", port)?;
        all.push(Proxied::new(name, proxy.listen.clone(), Some(proxy.process)));
    }
    for (name, start) in [("nginx", nginx as fn(&TempDir, u16) -> Result<Proxied>), ("caddy", caddy)] {
        match place::installed(name) {
            true => all.push(start(&dir, port)?),
            false => report.note(format!("{name} is not installed, so it was not measured.")),
        }
    }
    for one in &all {
        let address = place::Address::Tcp(one.address.clone());
        place::wait_until(one.name, Duration::from_millis(5), || place::healthy(&address))?;
    }
    for _ in 0..options.repetitions(ROUNDS) {
        for one in &mut all {
            one.round()?;
        }
    }
    report.meaning = MEANING.to_owned();
    report.header = vec![
        "what",
        "requests/s, median",
        "of direct",
        "p99, ms, median / worst",
        "CPU µs per request, median",
        "of nginx, median / worst",
        "memory, MiB",
        "errors",
    ];
    let direct = all[0].rate.median();
    let nginx = all.iter().find(|one| one.name == "nginx").map(|one| &one.cpu);
    for one in &all {
        let proxied = |text: String| if one.process.is_some() { text } else { "–".to_owned() };
        report.row([
            one.name,
            &format!("{:.0}", one.rate.median()),
            &number(one.rate.median() / direct),
            &one.p99.shown(),
            &proxied(number(one.cpu.median())),
            &nginx
                .filter(|_| one.process.is_some())
                .map_or("–".to_owned(), |nginx| one.cpu.over(nginx).shown()),
            &proxied(number(one.memory_mib)),
            &one.errors.to_string(),
        ]);
    }
    let ours = all.iter().find(|one| one.name == "builtin, static").map(|one| &one.cpu);
    if let (Some(ours), Some(nginx)) = (ours, nginx) {
        let ratio = ours.over(nginx).median();
        let shown = format!("{} ×", number(ratio));
        report.target(
            "CPU of a request in the static program, of nginx's",
            "≤ 1.1 ×",
            shown,
            ratio <= OF_NGINX_MAX,
        );
    }
    Ok(report)
}

fn nginx(dir: &TempDir, backend: u16) -> Result<Proxied> {
    let home = dir.path().join("nginx");
    std::fs::create_dir_all(&home)?;
    let (shown, listen) = (home.display(), format!("127.0.0.1:{}", place::free_port()?));
    let config = format!(
        "worker_processes auto;\ndaemon off;\npid {shown}/pid;\nerror_log {shown}/error.log;\nevents {{}}\n\
         http {{\n  access_log {shown}/access.log;\n  client_body_temp_path {shown}/body;\n  proxy_temp_path {shown}/proxy;\n  \
         fastcgi_temp_path {shown}/fastcgi;\n  uwsgi_temp_path {shown}/uwsgi;\n  scgi_temp_path {shown}/scgi;\n  \
         keepalive_requests 1000000;\n  upstream app {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000; }}\n  \
         server {{ listen {listen}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n"
    );
    let path = home.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command =
        Command::new(if Path::new("/usr/sbin/nginx").is_file() { "/usr/sbin/nginx" } else { "nginx" });
    // `-e`: the log that is opened before the configuration is read.
    let process = Running::start(command.arg("-e").arg(home.join("error.log")).arg("-c").arg(&path))?;
    Ok(Proxied::new("nginx", listen, Some(process)))
}

fn caddy(dir: &TempDir, backend: u16) -> Result<Proxied> {
    let listen = format!("127.0.0.1:{}", place::free_port()?);
    let log = dir.path().join("caddy.log");
    let config = json!({
        "admin": { "disabled": true },
        "logging": { "logs": { "default": { "writer": { "output": "file", "filename": log } } } },
        "apps": { "http": { "servers": { "bench": {
            "listen": [listen], "automatic_https": { "disable": true }, "logs": {},
            "routes": [{ "handle": [{ "handler": "reverse_proxy",
                "upstreams": [{ "dial": format!("127.0.0.1:{backend}") }] }] }],
        } } } },
    });
    let path = dir.path().join("caddy.json");
    std::fs::write(&path, serde_json::to_vec(&config)?)?;
    let process = Running::start(
        Command::new("caddy")
            .args(["run", "--config"])
            .arg(&path)
            .env("XDG_DATA_HOME", dir.path().join("caddy-data"))
            .env("XDG_CONFIG_HOME", dir.path().join("caddy-config")),
    )?;
    Ok(Proxied::new("caddy", listen, Some(process)))
}

#[derive(Debug, PartialEq)]
struct Wrk {
    rate: f64,
    requests: f64,
    p99_ms: f64,
    errors: u64,
}

impl Wrk {
    fn parse(text: &str) -> Option<Self> {
        let after =
            |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
        let not_ok = after("Non-2xx or 3xx responses:").and_then(|count| count.parse().ok()).unwrap_or(0);
        // `Socket errors: connect 0, read 1, write 0, timeout 2`
        let broken: u64 = after("Socket errors:")
            .map(|line| line.split([',', ' ']).filter_map(|word| word.parse::<u64>().ok()).sum())
            .unwrap_or(0);
        Some(Self {
            rate: after("Requests/sec:")?.parse().ok()?,
            requests: requests.parse().ok()?,
            p99_ms: milliseconds(after("99%")?)?,
            errors: not_ok + broken,
        })
    }
}

/// `312.00us`, `1.53ms`, `2.00s`
fn milliseconds(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[end..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(text[..end].parse::<f64>().ok()? * factor)
}

/// A process and its children.
fn family(id: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    std::iter::once(id).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

pub fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th words behind it.
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| words.get(index).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

pub fn memory_mib(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "Running 3s test @ http://127.0.0.1:1/version\n  Latency Distribution\n     50%  312.00us\n     99%    1.53ms\n  \
                    61234 requests in 3.00s, 9.99MB read\n  Socket errors: connect 0, read 1, write 0, timeout 2\n  \
                    Non-2xx or 3xx responses: 4\nRequests/sec:  20411.33\n";
        let wanted = Wrk { rate: 20411.33, requests: 61234.0, p99_ms: 1.53, errors: 7 };
        assert_eq!(Wrk::parse(text), Some(wanted));
        assert_eq!(Wrk::parse("unable to connect"), None);
        assert_eq!(milliseconds("312.00us"), Some(0.312));
    }
}
