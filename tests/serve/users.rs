//! Clients that ask all the time, by TLS, and count what goes wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::daemon::encrypted;

const PAUSE_MILLIS: u64 = 3;

pub struct Users {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub connections: u64,
    pub failures: Vec<String>,
}

impl Users {
    /// Two that open a connection for each request, and two that keep theirs until they are told otherwise.
    pub fn start(address: SocketAddr, believed: &[CertificateDer<'static>]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [false, false, true, true].map(|keeps| {
            let (stop, believed) = (stop.clone(), believed.to_vec());
            std::thread::spawn(move || work(address, &believed, keeps, &stop))
        });
        Self { stop, threads: threads.into() }
    }

    #[track_caller]
    pub fn expect_no_failure(self) -> Tally {
        self.stop.store(true, SeqCst);
        let mut all = Tally::default();
        for thread in self.threads {
            let tally = thread.join().unwrap();
            all.requests += tally.requests;
            all.connections += tally.connections;
            all.failures.extend(tally.failures);
        }
        assert!(
            all.failures.is_empty(),
            "{} of {}: {:#?}",
            all.failures.len(),
            all.requests,
            &all.failures[..all.failures.len().min(5)]
        );
        assert!(all.requests > 0, "nobody asked anything");
        all
    }
}

fn work(address: SocketAddr, believed: &[CertificateDer<'static>], keeps: bool, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while !stop.load(SeqCst) {
        let client = match kept.take() {
            Some(client) => Ok(client),
            None => {
                tally.connections += 1;
                encrypted(address, believed)
            }
        };
        let asked = client.and_then(|mut client| {
            let headers: &[(&str, &str)] = if keeps { &[] } else { &[("connection", "close")] };
            let answer = client.send("GET", "/healthz", headers, b"")?;
            Ok((answer, client))
        });
        tally.requests += 1;
        match asked {
            Ok((answer, client)) => {
                if answer.status != 200 {
                    tally.failures.push(format!("{}: {}", answer.status, answer.text()));
                }
                kept = (keeps && !client.closed).then_some(client);
            }
            Err(error) => tally.failures.push(format!("{error:?} (kept: {keeps})")),
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    }
    tally
}
