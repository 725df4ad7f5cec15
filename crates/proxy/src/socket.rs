//! A connection's bytes: read in small pieces, written with a bound on how long that may stand still.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::sync::OwnedSemaphorePermit;

use crate::flow::Flow;
use crate::stall_timer::StallTimer;

/// Sets how much the kernel keeps for a socket: more while one of its bodies has a lane.
pub(crate) type Stretch = fn(BorrowedFd<'_>, bool) -> io::Result<()>;

/// A connected socket. What it was permitted by is given back when it is closed, even after an upgrade.
pub(crate) struct Socket<S> {
    io: Take<S>,
    flow: Arc<Flow>,
    /// `None`: the other side may take as long as it likes.
    stall_timer: Option<StallTimer>,
    /// `None`: always the same.
    stretch: Option<Stretch>,
    is_wide: bool,
    _permit: OwnedSemaphorePermit,
}

impl<S: AsyncRead + AsyncWrite + Unpin + AsFd> Socket<S> {
    pub(crate) fn new(
        io: S,
        flow: Arc<Flow>,
        stall_timer: Option<StallTimer>,
        stretch: Option<Stretch>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let io = io.take(flow.read_bytes_max() as u64);
        Self { io, flow, stall_timer, stretch, is_wide: false, _permit: permit }
    }

    /// Follows the lanes of its bodies.
    fn adapt(&mut self) {
        let wide = self.flow.is_wide();
        if wide != self.is_wide {
            self.is_wide = wide;
            if let Some(stretch) = self.stretch
                && let Err(error) = stretch(self.io.get_ref().as_fd(), wide)
            {
                tracing::debug!(%error, wide, "a connection keeps the buffers that it has");
            }
        }
    }

    pub(crate) fn get_ref(&self) -> &S {
        self.io.get_ref()
    }

    /// Judges what a write came to.
    fn wrote(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                self.flow.sent(*bytes);
                if let Some(stall_timer) = &mut self.stall_timer {
                    stall_timer.moved(*bytes as u64);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.stall_timer.as_mut().is_some_and(|stall_timer| stall_timer.poll_out(cx).is_ready()) {
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
        self.adapt();
        let limit = self.flow.read_bytes_max() as u64;
        self.io.set_limit(limit);
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + AsFd> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.adapt();
        let wrote = Pin::new(self.io.get_mut()).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.adapt();
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
