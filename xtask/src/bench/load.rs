//! Clients on loopback: keep-alive, a new connection each, and POSTs whose bodies must come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::crowd::Crowd;
use super::http::{Address, Broken, Connection, Request, is_reset};

const KEEP_ALIVE_CLIENTS: usize = 4;
const NEW_CONNECTION_CLIENTS: usize = 3;
const POST_CLIENTS: usize = 3;
/// Leaves the machine to what is measured.
const PAUSE: Duration = Duration::from_millis(2);
const FAILURES_SHOWN_MAX: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    KeepAlive,
    NewConnection,
    /// On a connection that is kept.
    Post,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub posts: u64,
    pub server_errors: u64,
    /// Anything else that is not the right answer, but for resets.
    pub failed: u64,
    /// Idle connections that were closed before an answer began: a client may repeat a GET then, and was counted.
    pub idle_resets: u64,
    /// New connections that were closed before an answer began.
    pub new_resets: u64,
    pub failures: Vec<String>,
    pub by_release: BTreeMap<String, u64>,
}

impl Tally {
    pub fn all_wrong(&self) -> u64 {
        self.failed + self.server_errors + self.idle_resets + self.new_resets
    }

    fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.posts += other.posts;
        self.server_errors += other.server_errors;
        self.failed += other.failed;
        self.idle_resets += other.idle_resets;
        self.new_resets += other.new_resets;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_SHOWN_MAX);
        for (release, count) in other.by_release {
            *self.by_release.entry(release).or_default() += count;
        }
    }
}

/// Clients at work until they are stopped.
pub struct Load(Crowd<Tally>);

impl Load {
    pub fn start(address: &Address) -> Self {
        let address = address.clone();
        let manners = [
            (Manner::KeepAlive, KEEP_ALIVE_CLIENTS),
            (Manner::NewConnection, NEW_CONNECTION_CLIENTS),
            (Manner::Post, POST_CLIENTS),
        ];
        Self(Crowd::start(manners, move |manner, stop| client(&address, manner, stop)))
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
        tally.posts += u64::from(manner == Manner::Post);
        let result = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(address).map_err(|error| match is_reset(error.kind()) {
                true => Broken::NewReset,
                false => Broken::Other(error),
            }),
        }
        .and_then(|mut connection| {
            let release = ask(&mut connection, manner)?;
            Ok((connection, release))
        });
        match result {
            Ok((connection, Ok(release))) => {
                *tally.by_release.entry(release).or_default() += 1;
                kept = (manner != Manner::NewConnection && !connection.closing).then_some(connection);
            }
            Ok((_, Err(wrong))) => {
                tally.server_errors += u64::from(wrong.status >= 500);
                tally.failed += u64::from(wrong.status < 500);
                tally.failures.push(wrong.what);
            }
            Err(Broken::IdleReset) => tally.idle_resets += 1,
            Err(Broken::NewReset) => tally.new_resets += 1,
            Err(error @ Broken::Other(_)) => {
                tally.failed += 1;
                tally.failures.push(error.to_string());
            }
        }
        tally.failures.truncate(FAILURES_SHOWN_MAX);
        std::thread::sleep(PAUSE);
    }
    tally
}

struct Wrong {
    status: u16,
    what: String,
}

/// The release that answered.
fn ask(connection: &mut Connection, manner: Manner) -> Result<Result<String, Wrong>, Broken> {
    const BODY: &[u8] = b"every byte comes back";
    let request = match manner {
        Manner::Post => Request { method: "POST", path: "/echo", headers: &[], body: BODY },
        Manner::NewConnection => Request { headers: &[("connection", "close")], ..Request::get("/") },
        Manner::KeepAlive => Request::get("/"),
    };
    let answer = connection.exchange(&request)?;
    let wrong = |what: String| Ok(Err(Wrong { status: answer.status, what }));
    if answer.status != 200 {
        return wrong(format!("{} {} was answered {}", request.method, request.path, answer.status));
    }
    if manner == Manner::Post && answer.body != BODY {
        return wrong("a POST came back changed".to_owned());
    }
    match answer.header("x-release") {
        Some(release) => Ok(Ok(release.to_owned())),
        None => wrong("an answer does not say which release gave it".to_owned()),
    }
}
