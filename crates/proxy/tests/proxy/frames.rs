//! HTTP/2 by hand: what no client library does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// A connection that answers pings when it is read, and never opens a window.
pub struct Raw(TcpStream);

/// Kind, stream and payload.
pub type Frame = (u8, u32, Vec<u8>);

impl Raw {
    /// Every stream gets this window at first.
    pub async fn open(address: SocketAddr, window: u32) -> Self {
        let mut raw = Self(TcpStream::connect(address).await.unwrap());
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        raw.0.write_all(PREFACE).await.unwrap();
        raw.send(SETTINGS, 0, 0, &settings).await;
        raw
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// `GET` (0x82) or, with a body to follow, `POST` (0x83).
    async fn head(&mut self, method: u8, stream: u32, path: &str) {
        let mut block = vec![method, 0x86, 0x04, path.len() as u8];
        block.extend(path.as_bytes());
        block.extend([0x01, 11]);
        block.extend(b"app.example");
        self.send(HEADERS, if method == 0x82 { 0x5 } else { 0x4 }, stream, &block).await;
    }

    pub async fn get(&mut self, stream: u32, path: &str) {
        self.head(0x82, stream, path).await;
    }

    /// A part of a body.
    pub async fn post(&mut self, stream: u32, path: &str, body: &[u8]) {
        self.head(0x83, stream, path).await;
        self.send(DATA, 0, stream, body).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == PING && head[4] & ACK == 0 {
            self.send(PING, ACK, 0, &payload).await;
        }
        Some((head[3], stream, payload))
    }

    /// Reads up to a frame of this kind; panics at the end of the connection.
    pub async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection ended");
            if frame.0 == kind {
                return frame;
            }
        }
    }
}
