//! Bodies in both directions: streamed, never buffered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Duration, Instant};

use crate::access_log::Record;
use crate::pool::Sender;
use crate::router::Claim;

/// When the request body last moved. The response timeout is measured from here, so that a long upload isn't one.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    moved_ms: AtomicU64,
}

impl Progress {
    fn now() -> Self {
        Self { begun: Instant::now(), moved_ms: AtomicU64::new(0) }
    }

    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    fn moved(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(elapsed, Ordering::Relaxed);
    }
}

/// What is sent to a slot.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Streamed(Incoming, Arc<Progress>),
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            Self::Empty
        } else {
            Self::Streamed(incoming, Arc::new(Progress::now()))
        }
    }

    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streamed(_, progress) => Some(progress.clone()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(incoming, progress) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                progress.moved();
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(incoming, _) => incoming.size_hint(),
        }
    }
}

/// A response on its way from a slot to a client: keeps the request in flight and the connection taken until it ends.
pub(crate) struct Exchange {
    incoming: Incoming,
    /// `None` once given back, or when the connection can't be used again.
    sender: Option<Sender>,
    claim: Claim,
    record: Record,
}

impl Exchange {
    pub(crate) fn new(incoming: Incoming, sender: Sender, claim: Claim, record: Record) -> Self {
        Self { incoming, sender: Some(sender), claim, record }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A body that wasn't read to its end leaves bytes on the connection, which is closed by dropping its sender.
        if let Some(sender) = self.sender.take().filter(|_| self.incoming.is_end_stream()) {
            self.claim.live.pool.put_back(sender);
        }
        self.record.finish(Some(&self.claim));
    }
}

/// What is sent to a client.
pub(crate) enum ResponseBody {
    /// Written by the proxy itself.
    Own(Bytes),
    Streamed(Box<Exchange>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(exchange) => {
                let frame = ready!(Pin::new(&mut exchange.incoming).poll_frame(cx));
                if let Some(Ok(frame)) = &frame {
                    exchange.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Streamed(exchange) => exchange.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(exchange) => exchange.incoming.size_hint(),
        }
    }
}
