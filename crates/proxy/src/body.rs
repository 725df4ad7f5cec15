//! Bodies in both directions: streamed, never buffered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Duration, Instant};

use crate::access_log::Record;
use crate::headers;
use crate::pool::Sender;
use crate::router::Claim;
use crate::slots::CutOff;

/// When the request body last moved. The response timeout is measured from here, so that a long upload isn't one.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    moved_ms: AtomicU64,
    /// The client is asked for more, and hasn't sent it.
    awaited: AtomicBool,
    failed: AtomicBool,
}

impl Progress {
    fn now() -> Self {
        Self {
            begun: Instant::now(),
            moved_ms: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    /// The client's body was malformed or broke off.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The slot is still to get more of the body, and it is the client that keeps it waiting.
    pub(crate) fn awaits_client(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
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
                let polled = Pin::new(incoming).poll_frame(cx);
                progress.awaited.store(polled.is_pending(), Ordering::Relaxed);
                let frame = ready!(polled);
                progress.moved();
                if let Some(Err(_)) = frame {
                    progress.failed.store(true, Ordering::Relaxed);
                }
                Poll::Ready(frame.map(|frame| frame.map(passed_on)))
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

/// The frame with its trailers, if it is them, freed of what may not be one.
fn passed_on(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::prepare_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// A response on its way from a slot to a client: keeps the request in flight and the connection taken until it ends.
pub(crate) struct Exchange {
    incoming: Incoming,
    /// `None` once given back, or when the connection can't be used again.
    sender: Option<Sender>,
    claim: Claim,
    record: Record,
    /// Of the request's body, which may still be on its way.
    upload: Option<Arc<Progress>>,
    /// The end was read, or the error.
    ended: bool,
}

impl Exchange {
    pub(crate) fn new(
        incoming: Incoming,
        sender: Sender,
        claim: Claim,
        record: Record,
        upload: Option<Arc<Progress>>,
    ) -> Self {
        Self { incoming, sender: Some(sender), claim, record, upload, ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.ended = frame.is_trailers();
            }
            Some(Err(_)) => {
                // Where the client's own body broke off, so did the connection to the slot.
                let upload_failed = self.upload.as_ref().is_some_and(|upload| upload.failed());
                self.record.cut_off = Some(if upload_failed { CutOff::Client } else { CutOff::Slot });
                self.sender = None;
                self.ended = true;
            }
            None => self.ended = true,
        }
        Poll::Ready(frame.map(|frame| frame.map(passed_on).map_err(io::Error::other)))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended && !self.incoming.is_end_stream() {
            // It is closed, for there are bytes left on it, by dropping the sender.
            self.sender = None;
            self.record.cut_off = Some(CutOff::Client);
        }
        if let Some(sender) = self.sender.take() {
            self.claim.live.pool.put_back(sender);
        }
        self.record.finish();
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
            Self::Streamed(exchange) => exchange.poll(cx),
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
