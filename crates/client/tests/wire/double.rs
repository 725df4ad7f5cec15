//! A daemon's endpoint that says what a script says, one connection after the other. Made from the contract of `lockgate serve`:
//! statuses and bodies of `DeployAnswer`, `Location`, `Retry-After`, and a stream with `told` and `end`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// Longest wait for a request, so that a test that goes wrong ends.
const REQUEST_SECONDS_MAX: u64 = 20;

/// What one connection is answered.
pub enum Says {
    /// These bytes, then the end of the connection.
    All(Vec<u8>),
    /// These bytes, then nothing until the other side goes.
    Hangs(Vec<u8>),
    /// The head, then this piece again and again until the other side has had enough.
    ForEver(Vec<u8>, Vec<u8>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Double {
    pub address: SocketAddr,
    asked: mpsc::Receiver<Asked>,
}

impl Double {
    /// Behind the last of `script` nobody listens any more. `hears` is called with each request, before it is answered.
    pub fn new(script: Vec<Says>, hears: impl Fn(usize) + Send + 'static) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, says) in script.into_iter().enumerate() {
                let Ok((stream, _)) = listener.accept() else { return };
                stream.set_read_timeout(Some(Duration::from_secs(REQUEST_SECONDS_MAX))).unwrap();
                let Some(request) = read(&stream) else { return };
                let _ = send.send(request);
                hears(number);
                answer(stream, says);
            }
        });
        Double { address, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}/deploy", self.address)
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line: lines[0].clone(), headers, body })
}

/// Whoever went away in the midst of an answer is what a test is about.
fn answer(mut stream: TcpStream, says: Says) {
    match says {
        Says::All(bytes) => drop(stream.write_all(&bytes)),
        Says::Hangs(bytes) => {
            drop(stream.write_all(&bytes));
            std::thread::spawn(move || drop(stream.read(&mut [0])));
        }
        Says::ForEver(head, piece) => {
            drop(stream.write_all(&head));
            while stream.write_all(&piece).is_ok() {}
        }
    }
}

pub fn http(status: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

pub fn json(status: &str, headers: &[&str], body: &str) -> Vec<u8> {
    http(status, &[headers, &["content-type: application/json"]].concat(), body)
}

/// A stream, which ends with the connection.
pub fn stream(headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let kind = "content-type: text/event-stream; charset=utf-8";
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{kind}\r\n{headers}\r\n{body}").into_bytes()
}
