//! A way to a server of this machine that takes as long as a network does: each byte comes out so much later than it went in.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;

const CHUNK_BYTES: usize = 64 * 1024;

/// Its threads end with the benchmark.
pub struct Relay {
    pub port: u16,
    one_way_micros: Arc<AtomicU64>,
}

impl Relay {
    /// To this port of loopback, at first without a delay.
    pub fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let one_way_micros = Arc::new(AtomicU64::new(0));
        let delay = one_way_micros.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if let Err(error) = hand_on(client, server, &delay) {
                    eprintln!("bench: the relay to port {server}: {error}");
                }
            }
        });
        Ok(Self { port, one_way_micros })
    }

    /// Of what goes in from now on, in each direction.
    pub fn delay(&self, one_way: Duration) {
        let micros = u64::try_from(one_way.as_micros()).unwrap_or(u64::MAX);
        self.one_way_micros.store(micros, Ordering::Relaxed);
    }
}

fn hand_on(client: TcpStream, server: u16, delay: &Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    carry(client.try_clone()?, server.try_clone()?, delay.clone());
    carry(server, client, delay.clone());
    Ok(())
}

/// What is read waits in a queue until its time has come, so that much can be under way at once.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Arc<AtomicU64>) {
    let (send, queue) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut bytes = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if send.send((due, bytes[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in queue {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // The other end may be gone already.
        let _gone = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exchange_takes_the_way_there_and_back_and_what_is_sent_at_once_takes_it_once() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(server.local_addr().unwrap().port()).unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = server.accept().unwrap();
            let mut echo = client.try_clone().unwrap();
            std::io::copy(&mut client, &mut echo)
        });
        let mut client = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
        let one_way = Duration::from_millis(20);
        relay.delay(one_way);
        let began = Instant::now();
        for number in 0..3_u8 {
            client.write_all(&[number]).unwrap();
            let mut answer = [9];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [number]);
        }
        assert!(began.elapsed() >= one_way * 6, "{:?}", began.elapsed());
        let all: Vec<u8> = (0..100).collect();
        all.chunks(1).for_each(|byte| client.write_all(byte).unwrap());
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, all);
    }
}
