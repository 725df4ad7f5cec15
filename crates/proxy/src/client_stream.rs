//! A client's connection, which notices that the client has left while it is being answered.
//!
//! hyper reads nothing once it has a whole request, and allows that the client closes its sending half (it is told to, so
//! that such a client gets its answer). By itself it would then only find out that a client is gone by writing to it,
//! and a quiet stream of events would count as in flight for ever. But it flushes whenever it is woken, so that is
//! where this looks, without taking what it sees.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::forward::Client;
use crate::socket::Socket;

/// How long a client that has closed its sending half is sent nothing before it counts as gone. It may wait for its
/// answer, but mostly it has left, and a request that nobody waits for keeps a slot from being drained.
const HALF_CLOSED_SECONDS_MAX: u64 = 10;

pub(crate) struct ClientStream {
    socket: Socket<TcpStream>,
    client: Arc<Client>,
    /// Runs since a client closed its sending half, or since it was sent something after that.
    pause: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(crate) fn new(socket: Socket<TcpStream>, client: Arc<Client>) -> Self {
        Self { socket, client, pause: None }
    }

    /// An error once the client has left.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [0];
        // No system call unless something has arrived.
        match self.socket.get_ref().poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => {
                let limit = Duration::from_secs(HALF_CLOSED_SECONDS_MAX);
                let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(limit)));
                match pause.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client has left"))
                    }
                    Poll::Pending => Ok(()),
                }
            }
            // Nothing has, or a further request.
            _ => {
                self.pause = None;
                Ok(())
            }
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.pause = None;
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.client.may_be_looked_at() {
            self.look(cx)?;
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
