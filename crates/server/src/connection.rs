//! One connection: HTTP/1.1 or HTTP/2, until it ends, is idle for too long, has to make room, or this process ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::limits::Limits;
use crate::places::{Activity, Busy, Place};
use crate::shared::{AnswerBody, Phase, Shared};

/// How long an HTTP/2 connection that was idle for too long may take to leave once it was told goodbye.
const GOODBYE_SECONDS_MAX: u64 = 2;
/// How long a connection that has just been made may take to its first request, where this process ends: its client does not
/// know that, and nobody else has the connection.
const FIRST_REQUEST_MILLIS_MAX: u64 = 1_000;
/// How much of a request's body an HTTP/2 connection may send ahead, for one stream and for all. The least there is for all.
const WINDOW_BYTES: u32 = 65_535;
/// How much of a response is kept for an HTTP/2 stream whose client does not take it.
const STREAM_SEND_BYTES_MAX: usize = 64 * 1024;

pub(crate) type Http = auto::Builder<TokioExecutor>;

pub(crate) fn http(limits: &Limits) -> Http {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_buf_size(limits.head_bytes_max)
        .max_headers(limits.headers_max);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        // A client that is gone is noticed by its missing answer to a ping.
        .keep_alive_interval(limits.head_time_max)
        .keep_alive_timeout(limits.head_time_max);
    http
}

/// Serves it to its end.
pub(crate) async fn serve<S>(stream: S, shared: Arc<Shared>, http: Arc<Http>, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = place.activity.clone();
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        service_fn(move |request| {
            let (shared, activity) = (shared.clone(), activity.clone());
            async move { Ok::<_, Infallible>(answer(&shared, &activity, request).await) }
        })
    };
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut phase = shared.phase.subscribe();
    let limit = shared.limits.head_time_max;
    let mut told = false;
    let mut idle = pin!(sleep_until(Instant::now() + limit));
    let first = Instant::now() + Duration::from_millis(FIRST_REQUEST_MILLIS_MAX);
    loop {
        let now = *phase.borrow_and_update();
        if now == Phase::Aborting {
            return;
        }
        // HTTP/2 says goodbye without losing anything, so it does so at once. An idle HTTP/1 connection that is closed may lose
        // a request that is just arriving, so it is closed only when it stays idle.
        let awaited = now == Phase::Finishing && !activity.has_begun() && Instant::now() < first;
        let leaves =
            now == Phase::Finishing && !awaited || now == Phase::LameDuck && activity.is_http2.load(Relaxed);
        if leaves && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %activity.peer, %error, "a connection ended");
                }
                return;
            }
            () = activity.evicted() => return,
            () = sleep_until(first), if awaited => {}
            changed = phase.changed() => if changed.is_err() { return },
            () = idle.as_mut() => match activity.idle_since() {
                None => idle.as_mut().reset(Instant::now() + limit),
                Some(since) if since + limit > Instant::now() => idle.as_mut().reset(since + limit),
                // Said goodbye to before, or nothing was ever said to it.
                Some(_) if told || !activity.is_http2.load(Relaxed) => return,
                Some(_) => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                    idle.as_mut().reset(Instant::now() + Duration::from_secs(GOODBYE_SECONDS_MAX));
                }
            },
        }
    }
}

async fn answer(shared: &Shared, activity: &Arc<Activity>, request: Request<Incoming>) -> Response<Counted> {
    let busy = activity.begin();
    let version = request.version();
    if version == Version::HTTP_2 {
        activity.is_http2.store(true, Relaxed);
    }
    // If there was a length, too, somebody in front may have taken what follows for another request (RFC 9112, 6.1).
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = match request.headers().len() > shared.limits.headers_max {
        // HTTP/1's were counted before they got here.
        true => too_many_headers(),
        false => (shared.answer)(request, activity.peer).await,
    };
    if version <= Version::HTTP_11 && (is_chunked || *shared.phase.borrow() != Phase::Serving) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Counted { body, _busy: busy })
}

fn too_many_headers() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// A response's body; while it is written its connection is not idle.
pub(crate) struct Counted {
    body: AnswerBody,
    _busy: Busy,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
