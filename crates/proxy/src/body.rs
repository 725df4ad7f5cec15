//! Bodies in both directions: streamed, never buffered, and bounded in how long they may stand still.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_TYPE;
use tokio::time::{Duration, Instant};

use crate::access_log::Record;
use crate::config::STALL_BYTES_MIN;
use crate::flow::Flow;
use crate::forward::Client;
use crate::headers;
use crate::lanes::{LANE_AFTER_BYTES, Lane};
use crate::places::Place;
use crate::pool::Sender;
use crate::router::Claim;
use crate::slots::CutOff;
use crate::stall_timer::StallTimer;
use crate::streams::Stream;

/// What a stream of an HTTP/2 connection that has no room is given at once: hyper may keep a piece for every
/// stream whose client doesn't take it, and a stream that waits for the others could wait for ever.
const SLICE_BYTES_MAX: usize = 512;
/// What is meant to go on for as long as it likes, quiet or not.
const ENDLESS: [&str; 4] =
    ["text/event-stream", "multipart/x-mixed-replace", "application/x-ndjson", "application/grpc"];

/// When the request body last moved. The response timeout is measured from here, so that a long upload isn't one.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    moved_ms: AtomicU64,
    /// The client is waited for.
    waits: AtomicBool,
    /// It was given up, for the client was too slow.
    late: AtomicBool,
    /// It ended before its time, late or otherwise.
    failed: AtomicBool,
}

impl Progress {
    fn now() -> Self {
        Self {
            begun: Instant::now(),
            moved_ms: AtomicU64::new(0),
            waits: AtomicBool::new(false),
            late: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    /// The client's body was malformed, broke off or was given up.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The slot is still to get more of the body, and it is the client that keeps it waiting.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Whether the client sent it too slowly, so that it was given up.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
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
    Streamed(Box<Upload>),
}

/// A body on its way from a client to a slot. It keeps its request's place, for a slot may answer before it has read all.
#[derive(Debug)]
pub(crate) struct Upload {
    incoming: Incoming,
    progress: Arc<Progress>,
    stall_timer: StallTimer,
    /// The connection to the slot; `None` until one is chosen.
    flow: Option<Arc<Flow>>,
    /// How much of it has moved.
    bytes: u64,
    lane: Option<Lane>,
    place: Arc<Place>,
}

impl RequestBody {
    /// The client may let it stand still for `stall`.
    pub(crate) fn new(incoming: Incoming, stall: Duration, place: &Arc<Place>) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let stall_timer = StallTimer::new(stall, STALL_BYTES_MIN);
        let progress = Arc::new(Progress::now());
        let place = place.clone();
        let upload = Upload { incoming, progress, stall_timer, flow: None, bytes: 0, lane: None, place };
        Self::Streamed(Box::new(upload))
    }

    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streamed(upload) => Some(upload.progress.clone()),
        }
    }

    /// It is sent over this connection.
    pub(crate) fn over(&mut self, flow: &Arc<Flow>) {
        if let Self::Streamed(upload) = self {
            upload.flow = Some(flow.clone());
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self::Streamed(upload) = self.get_mut() else { return Poll::Ready(None) };
        if let Some(flow) = &upload.flow {
            ready!(flow.poll_room(cx));
        }
        let Poll::Ready(frame) = Pin::new(&mut upload.incoming).poll_frame(cx) else {
            upload.progress.waits.store(true, Ordering::Relaxed);
            ready!(upload.stall_timer.poll_out(cx));
            upload.progress.late.store(true, Ordering::Relaxed);
            upload.progress.failed.store(true, Ordering::Relaxed);
            let reason = "the client sends its request too slowly";
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, reason))));
        };
        upload.progress.waits.store(false, Ordering::Relaxed);
        upload.progress.moved();
        if let Some(Err(_)) = frame {
            upload.progress.failed.store(true, Ordering::Relaxed);
        }
        let bytes = data_bytes(frame.as_ref());
        upload.stall_timer.moved(bytes as u64);
        upload.bytes += bytes as u64;
        if let Some(flow) = &upload.flow {
            flow.handed(bytes);
            let known_to_be_large =
                flow.is_wide() && upload.bytes + upload.incoming.size_hint().lower() >= LANE_AFTER_BYTES;
            if upload.lane.is_none() && (known_to_be_large || upload.bytes >= LANE_AFTER_BYTES) {
                upload.lane = upload.place.lane(flow);
            }
        }
        Poll::Ready(frame.map(|frame| frame.map(passed_on).map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(upload) => upload.incoming.size_hint(),
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

fn data_bytes<E>(frame: Option<&Result<Frame<Bytes>, E>>) -> usize {
    frame.and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref).map_or(0, Bytes::len)
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
    /// With the slot; `None` for a response that may pause for as long as it likes.
    stall_timer: Option<StallTimer>,
    lane: Option<Lane>,
    /// What came from the slot and was too much for one piece.
    rest: Bytes,
    taker: Taker,
}

/// Whom a response goes to.
#[derive(Default)]
struct Taker {
    client: Option<Arc<Client>>,
    place: Option<Arc<Place>>,
    /// `None` on HTTP/1.
    stream: Option<Arc<Stream>>,
}

impl Exchange {
    pub(crate) fn new(
        incoming: Incoming,
        sender: Sender,
        claim: Claim,
        record: Record,
        upload: Option<Arc<Progress>>,
        headers: &HeaderMap,
    ) -> Self {
        let stall_timer = (!is_endless(headers)).then(|| StallTimer::new(claim.live.stall_timeout, 1));
        let (rest, taker) = (Bytes::new(), Taker::default());
        Self {
            incoming,
            sender: Some(sender),
            claim,
            record,
            upload,
            ended: false,
            stall_timer,
            lane: None,
            rest,
            taker,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(stream) = &self.taker.stream {
            stream.asked();
        } else if let Some(client) = &self.taker.client {
            ready!(client.flow.poll_room(cx));
        }
        let frame = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => ready!(self.poll_slot(cx)),
            rest => Some(Ok(Frame::data(rest))),
        };
        let frame = frame.map(|frame| frame.map(|frame| self.portion(frame)));
        let bytes = data_bytes(frame.as_ref());
        self.record.bytes += bytes as u64;
        if let Some(client) = &self.taker.client {
            client.flow.handed(bytes);
        }
        self.take_lane();
        if let Some(stream) = &self.taker.stream {
            stream.handed();
        }
        Poll::Ready(frame)
    }

    fn take_lane(&mut self) {
        if self.lane.is_none()
            && self.record.bytes >= LANE_AFTER_BYTES
            && let (Some(place), Some(sender)) = (&self.taker.place, &self.sender)
        {
            self.lane = place.lane(sender.flow());
        }
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            let Some(stall_timer) = &mut self.stall_timer else { return Poll::Pending };
            ready!(stall_timer.poll_out(cx));
            self.cut_off(CutOff::Slot);
            let (route, slot) = (&self.claim.live.route, &self.claim.live.target.slot);
            if let Some(left_out) = self.claim.live.stats.failures.due() {
                tracing::warn!(
                    route,
                    slot,
                    left_out,
                    "a response was given up, for the slot doesn't go on with it"
                );
            }
            let reason = "the slot doesn't go on with its response";
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, reason))));
        };
        if let Some(stall_timer) = &mut self.stall_timer {
            stall_timer.moved(1);
        }
        match &frame {
            Some(Ok(frame)) => self.ended = frame.is_trailers(),
            Some(Err(_)) => {
                // Where the client's own body broke off, so did the connection to the slot.
                let upload_failed = self.upload.as_ref().is_some_and(|upload| upload.failed());
                self.cut_off(if upload_failed { CutOff::Client } else { CutOff::Slot });
            }
            None => self.ended = true,
        }
        // Another request may have the connection, even if the client never takes the last piece.
        self.give_back();
        Poll::Ready(frame.map(|frame| frame.map(passed_on).map_err(io::Error::other)))
    }

    /// Nothing more comes from the slot, and its connection is closed by dropping the sender.
    fn cut_off(&mut self, by: CutOff) {
        self.record.cut_off = Some(by);
        self.sender = None;
        self.ended = true;
    }

    /// What is passed on of a frame now.
    fn portion(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let client = self.taker.client.as_ref().filter(|_| self.taker.stream.is_some());
        if client.is_none_or(|client| client.flow.has_room()) {
            return frame;
        }
        match frame.into_data() {
            Ok(mut data) => {
                self.rest = data.split_off(data.len().min(SLICE_BYTES_MAX));
                Frame::data(data)
            }
            Err(other) => other,
        }
    }

    /// Whether all that the slot sends was read.
    fn is_read(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn give_back(&mut self) {
        if self.is_read()
            && let Some(sender) = self.sender.take()
            && let Some(visit) = &self.claim.visit
        {
            visit.replica().pool.put_back(sender);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A body that wasn't read to its end leaves bytes on the connection, which is closed by dropping its sender.
        self.give_back();
        if !self.is_read() || !self.rest.is_empty() {
            self.record.cut_off = Some(CutOff::Client);
        }
        self.record.finish();
    }
}

/// Whether a response goes on for as long as it likes, by what it says it is.
fn is_endless(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(hyper::header::HeaderValue::as_bytes).unwrap_or_default();
    let begins =
        |with: &&str| kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    ENDLESS.iter().any(begins)
}

/// What is sent to a client.
pub(crate) enum ResponseBody {
    Own(Own),
    Streamed(Box<Exchange>),
}

/// Written by the proxy itself.
pub(crate) struct Own {
    bytes: Bytes,
    taker: Taker,
}

impl ResponseBody {
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self::Own(Own { bytes, taker: Taker::default() })
    }

    /// It goes to this client, and keeps its place until it is sent or given up.
    pub(crate) fn to(&mut self, client: &Arc<Client>, place: Option<Arc<Place>>) {
        let taker = Taker { client: Some(client.clone()), place, stream: Stream::current() };
        match self {
            Self::Own(own) => own.taker = taker,
            Self::Streamed(exchange) => exchange.taker = taker,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Own(own) => {
                if let Some(stream) = &own.taker.stream {
                    stream.handed();
                }
                let bytes = std::mem::take(&mut own.bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Streamed(exchange) => exchange.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.bytes.is_empty(),
            Self::Streamed(exchange) => exchange.rest.is_empty() && exchange.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => SizeHint::with_exact(own.bytes.len() as u64),
            Self::Streamed(exchange) => exchange.incoming.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_what_says_so_goes_on_for_ever() {
        for (kind, endless) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("application/grpc+proto", true),
            ("text/plain", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_endless(&headers), endless, "{kind}");
        }
        assert!(!is_endless(&HeaderMap::new()));
    }
}
