//! As much HTTP/1.1 as the benchmarks need, blocking, so that what is done "by hand" costs nothing of its own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Nothing that is asked here takes longer, unless it hangs.
const ANSWER_SECONDS_MAX: u64 = 30;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone)]
pub enum Address {
    /// `host:port`
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug)]
pub enum Broken {
    /// A connection that had been used before was closed before the first byte of an answer: the race that every
    /// HTTP/1.1 server and client with idle connections has.
    IdleReset,
    /// The same on a new connection, which was accepted and closed: a server that takes up a new configuration.
    NewReset,
    Other(std::io::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::IdleReset => write!(f, "an idle connection was closed"),
            Broken::NewReset => write!(f, "a new connection was closed before an answer"),
            Broken::Other(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Broken::Other(error)
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[], body: &[] }
    }
}

pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// As the `Host` header says: Caddy's admin interface takes no other than its own address.
    host: String,
    used: bool,
    /// The server said that it closes.
    pub closing: bool,
}

impl Connection {
    pub fn open(address: &Address) -> std::io::Result<Self> {
        let limit = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
        };
        let host = match address {
            Address::Tcp(address) => address.clone(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        Ok(Self { stream: BufReader::new(stream), host, used: false, closing: false })
    }

    pub fn exchange(&mut self, request: &Request<'_>) -> Result<Answer, Broken> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(request.body);
        let reused = std::mem::replace(&mut self.used, true);
        let first = self.stream.get_mut().write_all(&bytes).and_then(|()| self.line());
        let status_line = match first {
            Ok(line) if !line.is_empty() => line,
            Ok(_) => return Err(if reused { Broken::IdleReset } else { Broken::NewReset }),
            Err(error) if is_reset(error.kind()) => {
                return Err(if reused { Broken::IdleReset } else { Broken::NewReset });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(self.rest(&status_line)?)
    }

    fn rest(&mut self, status_line: &str) -> std::io::Result<Answer> {
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        self.closing = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        answer.body = self.body(&answer)?;
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> std::io::Result<Vec<u8>> {
        if matches!(answer.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length"))?;
            return self.bytes(length);
        }
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_none() {
            self.closing = true;
            self.stream.read_to_end(&mut body)?;
            return Ok(body);
        }
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("chunk size"))?;
            body.extend(self.bytes(size)?);
            // After the last chunk come trailers, up to an empty line; after another an empty line alone.
            while !self.line()?.is_empty() {}
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        if length > BODY_BYTES_MAX {
            return Err(invalid("body too long"));
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Without its end; empty also at the end of the stream.
    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "the answer was {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        match self.body.is_empty() {
            true => Ok(serde_json::Value::Null),
            false => Ok(serde_json::from_slice(&self.body)?),
        }
    }
}

/// One request on a connection of its own.
pub fn send(address: &Address, request: &Request<'_>) -> Result<Answer, Broken> {
    Connection::open(address)?.exchange(request)
}

/// JSON in, JSON out.
pub fn call(
    address: &Address,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<serde_json::Value> {
    let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    let headers: &[(&str, &str)] =
        if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
    send(address, &Request { method, path, headers, body: &body })?.json()
}

/// Closed by the other side.
pub fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

fn invalid(what: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each connection's requests with the given bytes, then closes.
    fn server(answers: Vec<&'static [u8]>) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut seen = Vec::new();
                let mut byte = [0];
                while !seen.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    seen.push(byte[0]);
                }
                stream.write_all(answer).unwrap();
            }
        });
        Address::Tcp(address)
    }

    #[test]
    fn bodies_are_read_by_length_and_in_chunks_on_one_connection() {
        let address = server(vec![
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nEtag: 1\r\n\r\n",
        ]);
        let mut connection = Connection::open(&address).unwrap();
        let first = connection.exchange(&Request::get("/")).unwrap();
        assert_eq!((first.status, first.body.as_slice()), (200, &b"hi"[..]));
        let second = connection.exchange(&Request::get("/")).unwrap();
        assert_eq!((second.status, second.body.as_slice()), (503, &b"hello"[..]));
        assert!(matches!(connection.exchange(&Request::get("/")), Err(Broken::IdleReset)));
    }

    #[test]
    fn a_fresh_connection_that_closes_is_no_idle_reset() {
        let address = server(vec![b""]);
        assert!(matches!(send(&address, &Request::get("/")), Err(Broken::NewReset)));
    }
}
