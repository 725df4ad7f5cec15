//! A running `hello`, and the plainest HTTP client that can look at every byte of an answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
pub const WAIT_SECONDS_MAX: u64 = 20;

/// A `hello` process, killed when dropped.
pub struct Hello {
    child: Child,
    lines: Receiver<String>,
}

impl Hello {
    /// Starts it on a free loopback port with these variables and no others.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hello"))
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", "0")])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hello starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Reading ends with the process, sending with the test: both are normal ends.
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines }
    }

    /// Starts it and waits until it listens.
    pub fn ready(variables: &[(&str, &str)]) -> (Self, SocketAddr) {
        let hello = Self::start(variables);
        let line = hello.line_with("hello: ready ");
        let address = line.split_once("listening=").expect("an address").1.parse().expect("an address");
        (hello, address)
    }

    /// The next line of stdout that contains `part`.
    pub fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(WAIT_SECONDS_MAX));
            let line = line.unwrap_or_else(|error| panic!("no line with {part:?}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for the end; returns the exit code and what stderr said.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let mut code = None;
        wait_until("hello ends", || {
            code = self.child.try_wait().expect("a child").map(|status| status.code());
            code.is_some()
        });
        let mut errors = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        (code.flatten(), errors)
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {WAIT_SECONDS_MAX} s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

pub fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[])
}

pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address);
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .expect("a head is sent");
    // Reads while it writes: an echoed body is longer than what the sockets hold.
    let mut writer = stream.try_clone().expect("a second handle");
    let body = body.to_vec();
    let sent = std::thread::spawn(move || writer.write_all(&body));
    let answer = read_answer(&mut stream);
    sent.join().expect("a thread").expect("a body is sent");
    answer
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("hello listens");
    stream.set_read_timeout(Some(Duration::from_secs(WAIT_SECONDS_MAX))).expect("a timeout");
    stream
}

/// Reads an answer whose connection closes at its end.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let (status, headers) = read_head(stream);
    let mut body = Vec::new();
    stream.read_to_end(&mut body).expect("a body");
    let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
    Answer { status, headers, body: if chunked { unchunk(&body) } else { body } }
}

/// Reads a head byte by byte, so that nothing of what follows is swallowed.
pub fn read_head(stream: &mut impl Read) -> (u16, BTreeMap<String, String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    (status.parse().expect("a status"), headers)
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk length");
        let length = std::str::from_utf8(&bytes[..end]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("a chunk length");
        if length == 0 {
            return body;
        }
        body.extend(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 2 + length + 2..];
    }
}
