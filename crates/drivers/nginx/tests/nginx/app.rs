//! An app in a slot: it says its name, gives a body back, takes its time, waits until it is let go, or echoes on a WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::Slot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Long enough that several switches fall into one request.
const SLOW: Duration = Duration::from_millis(200);

pub struct App {
    pub slot: Slot,
    pub address: SocketAddr,
    /// How many requests for `/hold` have come.
    pub held: watch::Sender<usize>,
    pub go: Semaphore,
}

impl App {
    /// On any port of an address of this machine.
    pub async fn start(slot: Slot, ip: &str) -> Arc<App> {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Arc::new(App { slot, address, held: watch::Sender::new(0), go: Semaphore::new(0) });
        let accepting = app.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        app
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut rest = Vec::new();
        while let Some((head, body)) = message(&mut stream, &mut rest).await {
            if header(&head, "upgrade").is_some() {
                let accepted =
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                let _ = stream.write_all(accepted.as_bytes()).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
            if head.starts_with("GET /hold") {
                self.held.send_modify(|held| *held += 1);
                self.go.acquire().await.unwrap().forget();
            }
            if head.contains(" /slow ") {
                tokio::time::sleep(SLOW).await;
            }
            let slot = self.slot;
            let body = if body.is_empty() { slot.as_str().as_bytes().to_vec() } else { body };
            let head = format!("HTTP/1.1 200 OK\r\nx-slot: {slot}\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                return;
            }
        }
    }
}

/// A head and as much of a body as it promises; `None` at the end.
pub async fn message(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if rest.len() >= end + 4 + length {
                return Some((head, rest.drain(..end + 4 + length).skip(end + 4).collect()));
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => rest.extend_from_slice(&piece[..count]),
        }
    }
}

pub fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
}
