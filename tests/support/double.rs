//! Servers that misbehave: they never answer, or answer everything with one status, and keep what they were sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nobody who talks to a double is waited for longer.
const TALK_SECONDS_MAX: u64 = 5;
const LOOK_MILLIS: u64 = 5;
const BODY_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Takes connections and says nothing until it is dropped.
    Silent,
    /// Answers every request with a status, which may be followed by whole header lines, and a body.
    Answers(&'static str, &'static str),
}

pub struct Double {
    pub address: String,
    bodies: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Double {
    pub fn start(manner: Manner) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (bodies, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (bodies.clone(), stop.clone());
        let server = std::thread::spawn(move || serve(&listener, manner, &kept, &stopped));
        Double { address, bodies, stop, server: Some(server) }
    }

    /// What was sent to it, in the order of arrival.
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.server.take().is_some_and(|server| server.join().is_err()) {
            eprintln!("a double panicked");
        }
    }
}

/// One connection after another; those of a silent one are held open.
fn serve(listener: &TcpListener, manner: Manner, bodies: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match (listener.accept(), manner) {
            (Ok((stream, _)), Manner::Silent) => held.push(stream),
            (Ok((stream, _)), Manner::Answers(head, said)) => {
                // Whoever speaks no HTTP (a TLS hello) is answered all the same, which is what a plain server does.
                let body = talk(&stream, head, said).unwrap_or_default();
                if !body.is_empty() {
                    bodies.lock().unwrap().push(body);
                }
            }
            (Err(_), _) => std::thread::sleep(Duration::from_millis(LOOK_MILLIS)),
        }
    }
}

fn talk(stream: &TcpStream, head: &str, said: &str) -> std::io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(TALK_SECONDS_MAX)))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut body = String::new();
    let asked = loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 || !line.is_ascii() {
            break false;
        }
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break true;
        }
    };
    if asked {
        reader.take(length.min(BODY_BYTES_MAX)).read_to_string(&mut body)?;
    }
    let mut stream = stream;
    let length = said.len();
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}");
    stream.write_all(answer.as_bytes())?;
    Ok(body)
}
