//! Users: threads that ask all the time and count what goes wrong.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http::{self, Answer, Client};

/// Between two requests of one user.
const PAUSE_MILLIS: u64 = 4;
const FAILURES_SHOWN_MAX: usize = 5;

#[derive(Debug, Clone, Copy)]
pub enum User {
    /// A connection for every request.
    Get,
    /// A body that must come back as it was sent.
    Post,
    /// One connection for as long as the server keeps it.
    KeepAlive,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub failures: Vec<String>,
    /// Kept connections that the server closed without a word before it saw the request.
    pub resets: u64,
    pub by_release: BTreeMap<String, u64>,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<Tally>>,
}

impl Load {
    pub fn start(port: u16, users: &[User]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let users = users.iter().map(|user| {
            let (user, stop) = (*user, stop.clone());
            std::thread::spawn(move || work(user, port, &stop))
        });
        let users = users.collect();
        Load { stop, users }
    }

    /// Stops all users.
    ///
    /// # Panics
    /// When a single request failed, or none was sent.
    #[track_caller]
    pub fn expect_no_failure(mut self) -> Tally {
        let tally = self.finish();
        let shown = &tally.failures[..tally.failures.len().min(FAILURES_SHOWN_MAX)];
        assert!(
            tally.failures.is_empty(),
            "{} of {} failed: {shown:#?}",
            tally.failures.len(),
            tally.requests
        );
        assert!(tally.requests > 0, "nobody asked anything");
        tally
    }

    /// Like [`Load::expect_no_failure`], for a Caddy that shares this machine's network: where the kernel does not hand
    /// connections over that are just being opened, each reload may reset one or two (README, `tcp_migrate_req`).
    #[track_caller]
    pub fn expect_no_failure_but_of_reloads(mut self, reloads: usize) {
        let handed_over = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req")
            .is_ok_and(|flag| flag.trim() == "1");
        let allowed = if handed_over { 0 } else { reloads * self.users.len() };
        let tally = self.finish();
        let (reset, failed): (Vec<&String>, Vec<&String>) =
            tally.failures.iter().partition(|failure| failure.contains("ConnectionReset"));
        assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), tally.requests);
        assert!(reset.len() <= allowed, "{} of {} reset: {reset:#?}", reset.len(), tally.requests);
        assert!(tally.requests > 0, "nobody asked anything");
    }

    fn finish(&mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for user in self.users.drain(..) {
            let Ok(one) = user.join() else { panic!("a user panicked") };
            all.requests += one.requests;
            all.resets += one.resets;
            all.failures.extend(one.failures);
            for (release, count) in one.by_release {
                *all.by_release.entry(release).or_default() += count;
            }
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for user in self.users.drain(..) {
            drop(user.join());
        }
    }
}

fn work(user: User, port: u16, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<Client<TcpStream>> = None;
    while !stop.load(Ordering::Relaxed) {
        tally.requests += 1;
        let body = format!("{{\"order\":{}}}", tally.requests);
        let answered = match user {
            User::Get => http::get(port, "/"),
            User::Post => post(port, &body),
            User::KeepAlive => keep_alive(port, &mut kept, &mut tally.resets),
        };
        match answered {
            Ok(answer) if answer.status != 200 => {
                tally.failures.push(format!("{user:?} {}: {}", answer.status, answer.text()));
            }
            Ok(answer) if matches!(user, User::Post) && answer.text() != body => {
                tally.failures.push(format!("{user:?} sent {body} and got {}", answer.text()));
            }
            Ok(answer) => *tally.by_release.entry(answer.release().to_owned()).or_default() += 1,
            Err(error) => tally.failures.push(format!("{user:?} {error:?}")),
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
    tally
}

fn post(port: u16, body: &str) -> io::Result<Answer> {
    http::tcp(port)?.send("POST", "/echo", &[("connection", "close")], body.as_bytes())
}

/// A kept connection may be closed while it is idle, and then the request goes to a new one, as browsers do.
fn keep_alive(port: u16, kept: &mut Option<Client<TcpStream>>, resets: &mut u64) -> io::Result<Answer> {
    if let Some(mut client) = kept.take() {
        match client.send("GET", "/version", &[], b"") {
            Ok(answer) => {
                *kept = (!client.closed).then_some(client);
                return Ok(answer);
            }
            Err(error) if was_idle(&error) => *resets += 1,
            Err(error) => return Err(error),
        }
    }
    let mut client = http::tcp(port)?;
    let answer = client.send("GET", "/version", &[], b"")?;
    *kept = (!client.closed).then_some(client);
    Ok(answer)
}

fn was_idle(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
