//! Calls as bytes on a socket, and what comes back.

use std::time::Duration;

use lockgate_model::DeployAnswer;
use lockgate_signature::{Message, SigningSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon::{Daemon, SECRET};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(20);
pub const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request to be sent on a connection of its own.
#[derive(Clone)]
pub struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// JSON without a signature.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let call = Self { body: body.into(), ..Self::new("POST", path) };
        call.header("Content-Type", "application/json")
    }

    /// What `/deploy` takes: signed with its secret.
    pub fn deploy(body: impl Into<Vec<u8>>) -> Self {
        Self::post("/deploy", body).signed(SECRET)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// As GitHub does.
    pub fn signed(self, secret: &str) -> Self {
        let signature = SigningSecret::new(secret).unwrap().sign_github(&self.body);
        self.header("X-Hub-Signature-256", &signature)
    }

    /// As Standard Webhooks does.
    pub fn sent(self, secret: &str, id: &str, seconds: i64) -> Self {
        let time = seconds.to_string();
        let message = Message::new(id, &time).unwrap();
        let signature = SigningSecret::new(secret).unwrap().sign_standard(&message, &self.body);
        self.header("webhook-id", id)
            .header("webhook-timestamp", &time)
            .header("webhook-signature", &signature)
    }

    /// Head and body, for a connection that ends with the answer.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: deploy.example\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = format!("Content-Length: {}\r\n", self.body.len());
        let has_length = |(name, _): &(String, String)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        };
        if !self.headers.iter().any(has_length) {
            head.push_str(&length);
        }
        head.push_str("Connection: close\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    pub async fn send(&self, daemon: &Daemon) -> Answer {
        let text = raw(daemon, &self.bytes()).await;
        let mut answers = answers(&text, self.method == "HEAD");
        assert_eq!(answers.len(), 1, "{text}");
        answers.remove(0)
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn told(&self) -> DeployAnswer {
        serde_json::from_str(&self.body).unwrap_or_else(|bad| panic!("{bad}: {self:?}"))
    }

    /// Message of the error, or nothing.
    pub fn message(&self) -> String {
        self.told().error.map(|error| error.message).unwrap_or_default()
    }
}

/// All that comes back until the other side ends the connection.
pub async fn raw(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    // Who is refused early may not take all of it.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        // A connection that is reset after its answer has said what it had to say.
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
        }
    };
    let in_time = tokio::time::timeout(WAIT, read).await.is_ok();
    let text = String::from_utf8(answer).expect("answers are text");
    assert!(in_time, "the connection does not end: {text}");
    text
}

/// Every response in what came back.
pub fn answers(text: &str, without_body: bool) -> Vec<Answer> {
    let (mut rest, mut answers) = (text, Vec::new());
    while let Some((head, behind)) = rest.split_once("\r\n\r\n") {
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let header =
            |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (body, behind) = match (header("content-length"), header("transfer-encoding")) {
            _ if without_body => (String::new(), behind),
            (Some(length), _) => {
                let (body, behind) = behind.split_at(length.parse().unwrap());
                (body.to_owned(), behind)
            }
            (None, Some(_)) => (unchunked(behind), ""),
            (None, None) => (behind.to_owned(), ""),
        };
        let status = status.parse().unwrap_or_else(|_| panic!("no response: {text}"));
        if status != 100 {
            answers.push(Answer { status, headers, body });
        }
        rest = behind;
    }
    answers
}

fn unchunked(text: &str) -> String {
    let (mut rest, mut body) = (text, String::new());
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        body.push_str(&behind[..length]);
        rest = &behind[length + 2..];
    }
    body
}
