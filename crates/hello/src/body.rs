//! Response bodies: whole, echoed, or sent piece by piece; each counts as in flight until its last byte.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The gauge of requests and upgraded connections in flight. It can be awaited to become zero.
#[derive(Clone)]
pub(crate) struct InFlight(watch::Sender<usize>);

impl InFlight {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn enter(&self) -> InFlightGuard {
        self.0.send_modify(|count| *count += 1);
        InFlightGuard(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    pub(crate) async fn none_left(&self) {
        // The sender lives in `self`, so the channel can't close while we wait.
        let closed = self.0.subscribe().wait_for(|count| *count == 0).await.is_err();
        debug_assert!(!closed);
    }
}

/// One request in flight, for as long as it lives.
pub(crate) struct InFlightGuard(watch::Sender<usize>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A response body that keeps its request in flight until it is sent or given up.
pub struct AppBody {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    guard: Option<InFlightGuard>,
}

impl AppBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::from_body(Full::new(bytes.into()).map_err(|never| match never {}))
    }

    pub(crate) fn from_body(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self { inner: body.boxed_unsync(), guard: None }
    }

    /// Sends what `receiver` yields, and ends when its sender is dropped.
    pub(crate) fn pieces(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self::from_body(Pieces(receiver))
    }

    pub(crate) fn in_flight(mut self, guard: InFlightGuard) -> Self {
        self.guard = Some(guard);
        self
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
