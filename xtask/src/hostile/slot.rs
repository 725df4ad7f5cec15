//! A slot of our own, which keeps what it is sent and answers as it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// No request of ours takes longer to arrive.
const READ_SECONDS_MAX: u64 = 10;

/// It accepts for as long as this process runs.
pub struct FakeSlot {
    pub port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl FakeSlot {
    /// Every request's head is answered with `answer`, and `unasked` is sent a little later.
    pub fn start(answer: &'static str, unasked: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                // A connection that breaks is the proxy's to end.
                std::thread::spawn(move || drop(serve(stream, answer, unasked, &kept)));
            }
        });
        Ok(Self { port, seen })
    }

    /// What arrived since the last call.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn serve(mut stream: TcpStream, answer: &str, unasked: &str, seen: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(READ_SECONDS_MAX)))?;
    let mut bytes = [0; 64 * 1024];
    let mut request = Vec::new();
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let chunked = head.contains("transfer-encoding: chunked");
        if !chunked || body.contains("0\r\n") && body.ends_with("\r\n\r\n") {
            seen.lock().unwrap_or_else(PoisonError::into_inner).append(&mut request);
            stream.write_all(answer.as_bytes())?;
            if !unasked.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
                stream.write_all(unasked.as_bytes())?;
            }
        }
    }
}
