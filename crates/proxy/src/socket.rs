//! A connection's bytes: read in small pieces, written with a bound on how long that may stand still.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::sync::OwnedSemaphorePermit;

use crate::flow::Flow;
use crate::patience::Patience;

/// How much is read at once. One byte below hyper's first buffer size: one that is filled is doubled, up to hundreds of
/// kilobytes, and a client that stops reading would then hold pieces of that size.
pub(crate) const READ_BYTES_MAX: usize = 8 * 1024 - 1;

/// A connected socket. What it was permitted by is given back when it is closed, even after an upgrade.
pub(crate) struct Socket<S> {
    io: Take<S>,
    flow: Arc<Flow>,
    /// `None`: the other side may take as long as it likes.
    patience: Option<Patience>,
    _permit: OwnedSemaphorePermit,
}

impl<S: AsyncRead + AsyncWrite + Unpin + AsFd> Socket<S> {
    pub(crate) fn new(
        io: S,
        flow: Arc<Flow>,
        patience: Option<Patience>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { io: io.take(READ_BYTES_MAX as u64), flow, patience, _permit: permit }
    }

    pub(crate) fn get_ref(&self) -> &S {
        self.io.get_ref()
    }

    /// Judges what a write came to.
    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                self.flow.sent(*bytes);
                if let Some(patience) = &mut self.patience {
                    patience.moved(*bytes as u64);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.patience.as_mut().is_some_and(|patience| patience.poll_out(cx).is_ready()) {
                    // Otherwise the kernel would keep what is unsent for minutes.
                    if let Err(error) =
                        rustix::net::sockopt::set_socket_linger(self.io.get_ref(), Some(Duration::ZERO))
                    {
                        tracing::debug!(%error, "a stalled connection is closed without being reset");
                    }
                    let reason = "the other side has stopped reading";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
                }
            }
        }
        wrote
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + AsFd> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.set_limit(READ_BYTES_MAX as u64);
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + AsFd> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(self.io.get_mut()).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(self.io.get_mut()).poll_write_vectored(cx, slices);
        self.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_shutdown(cx)
    }
}
