//! A small HTTP/1.1 client over any stream, so that what is sent and what comes back is seen byte by byte.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nothing that the tests ask for takes longer.
const ANSWER_SECONDS_MAX: u64 = 10;
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Which release answered.
    pub fn release(&self) -> &str {
        self.header("x-release").unwrap_or("nobody")
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection that can be used again.
pub struct Client<S: Read + Write> {
    stream: BufReader<S>,
    pub closed: bool,
}

pub fn tcp(port: u16) -> io::Result<Client<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    stream.set_nodelay(true)?;
    Ok(Client { stream: BufReader::new(stream), closed: false })
}

pub fn unix(path: &Path) -> io::Result<Client<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    Ok(Client { stream: BufReader::new(stream), closed: false })
}

/// Over a stream that is there already.
pub fn over<S: Read + Write>(stream: S) -> Client<S> {
    Client { stream: BufReader::new(stream), closed: false }
}

/// One request on a connection of its own.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    tcp(port)?.send("GET", path, &[("connection", "close")], b"")
}

impl<S: Read + Write> Client<S> {
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        self.write(method, path, headers, body)?;
        self.answer()
    }

    pub fn write(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str("host: localhost\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\ncontent-type: application/json\r\n", body.len()));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let head = self.line()?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid(&head))?;
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if status != 101 && status != 204 {
            answer.body = self.body(&answer)?;
        }
        self.closed = answer.closes();
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let chunked = answer.header("transfer-encoding").is_some_and(|value| value == "chunked");
        if let Some(length) = answer.header("content-length") {
            return self.exactly(length.parse().map_err(|_| invalid(length))?);
        }
        let mut body = Vec::new();
        if !chunked {
            self.closed = true;
            (&mut self.stream).take(BODY_BYTES_MAX).read_to_end(&mut body)?;
            return Ok(body);
        }
        loop {
            let size = self.line()?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(|_| invalid(&size))?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    pub fn exactly(&mut self, length: u64) -> io::Result<Vec<u8>> {
        assert!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
        let mut bytes = vec![0; usize::try_from(length).expect("it fits")];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Bytes as they are, for a connection that was upgraded.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
