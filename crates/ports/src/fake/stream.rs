//! A connection to a fake app: takes one HTTP/1.1 request without a body, gives one answer, and ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fake::SharedMachine;

pub(super) struct FakeStream {
    machine: SharedMachine,
    address: String,
    heard: Vec<u8>,
    /// What is left to say; `None` until the request is whole.
    to_say: Option<Vec<u8>>,
    said: usize,
    reader: Option<Waker>,
}

impl FakeStream {
    pub(super) fn new(machine: SharedMachine, address: String) -> Self {
        Self { machine, address, heard: Vec::new(), to_say: None, said: 0, reader: None }
    }

    fn answer(&mut self) {
        if self.to_say.is_some() || !self.heard.windows(4).any(|four| four == b"\r\n\r\n") {
            return;
        }
        let text = String::from_utf8_lossy(&self.heard);
        let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
        let machine = self.machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An app that has died meanwhile says nothing: the connection just ends.
        let said = machine.http(&self.address, &path).map_or(Vec::new(), |answer| {
            let (status, length) = (answer.status, answer.body.len());
            let head =
                format!("HTTP/1.1 {status} Fake\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            [head.as_bytes(), &answer.body].concat()
        });
        drop(machine);
        self.to_say = Some(said);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for FakeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        let Some(to_say) = &stream.to_say else {
            stream.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let rest = &to_say[stream.said..];
        let part = &rest[..rest.len().min(buf.remaining())];
        buf.put_slice(part);
        stream.said += part.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FakeStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        self.answer();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
