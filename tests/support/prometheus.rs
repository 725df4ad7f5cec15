//! A real Prometheus server that watches a number of ours.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::{http, skipped, wait_for};

/// Until it answers that it is ready; it reads its log of samples first.
const READY_SECONDS_MAX: u64 = 30;
const SCRAPED_SECONDS_MAX: u64 = 20;
const TALK_SECONDS_MAX: u64 = 5;
const LOOK_MILLIS: u64 = 5;

/// `shop_errors{job="shop"}` of an exporter, looked at each second.
pub struct Prometheus {
    pub port: u16,
    exporter: Exporter,
    server: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// `None` where it is not installed, which is said.
    pub fn start() -> Option<Self> {
        if Command::new("prometheus").arg("--version").output().is_err() {
            skipped("Prometheus");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let exporter = Exporter::start();
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 900ms }}\nscrape_configs:\n  - job_name: shop\n    static_configs: [{{ targets: [\"127.0.0.1:{}\"] }}]\n",
            exporter.port
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Ended with the thread that starts it, so also when the test is killed.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "prometheus"])
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { port, exporter, server, _folder: folder };
        wait_for("Prometheus", READY_SECONDS_MAX, || {
            http::get(port, "/-/ready").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        prometheus.wait_until_seen(0);
        Some(prometheus)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What is seen from now on, once it was.
    pub fn see(&self, errors: u64) {
        self.exporter.errors.store(errors, Ordering::Relaxed);
        self.wait_until_seen(errors);
    }

    fn wait_until_seen(&self, errors: u64) {
        let wanted = errors.to_string();
        wait_for("the number to be seen", SCRAPED_SECONDS_MAX, || {
            let answer = http::get(self.port, "/api/v1/query?query=shop_errors").ok()?;
            let seen = answer.json()["data"]["result"][0]["value"][1].as_str()? == wanted;
            seen.then_some(())
        });
    }

    /// It is gone, and answers nobody.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // After `kill` it has ended already, which is no error.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Answers every request with the number.
struct Exporter {
    port: u16,
    errors: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Exporter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (errors, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (number, stopped) = (errors.clone(), stop.clone());
        let server = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(answer(stream, number.load(Ordering::Relaxed))),
                    Err(_) => std::thread::sleep(Duration::from_millis(LOOK_MILLIS)),
                }
            }
        });
        Self { port, errors, stop, server: Some(server) }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.server.take().is_some_and(|server| server.join().is_err()) {
            eprintln!("the exporter panicked");
        }
    }
}

/// One request on a connection of its own, in the text format of Prometheus.
fn answer(mut stream: TcpStream, errors: u64) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(TALK_SECONDS_MAX)))?;
    let mut asked = Vec::new();
    let mut piece = [0; 1024];
    while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => asked.extend_from_slice(&piece[..count]),
        }
    }
    let body = format!("# TYPE shop_errors gauge\nshop_errors {errors}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
