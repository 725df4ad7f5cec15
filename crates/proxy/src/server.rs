//! One client connection: HTTP/1.1 or HTTP/2, until it ends or the proxy's phase ends it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client_stream::ClientStream;
use crate::config::{ProxyConfig, STALL_BYTES_MIN};
use crate::forward::{self, Client};
use crate::shared::{Phase, Shared};
use crate::socket::Socket;
use crate::stall_timer::StallTimer;
use crate::streams::Streams;

/// The read buffer of a connection; a request's head must fit.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How many requests one HTTP/2 connection may have at once. With 32 one that asks for all costs more than 64 KiB: what it
/// needs for a stream it keeps as long as it lasts.
const STREAMS_MAX: u32 = 16;
/// How much of request bodies an HTTP/2 connection may send ahead, for one stream and for all. The least there is for all.
const WINDOW_BYTES: u32 = 65_535;
/// How much of a response is kept for an HTTP/2 stream whose client doesn't take it.
const STREAM_SEND_BYTES_MAX: usize = 8 * 1024;
/// How long an HTTP/2 connection that was idle for too long may take to leave once it was told goodbye.
const GOODBYE_SECONDS_MAX: u64 = 5;
/// How much the kernel keeps for a client beside what the network has under way, and for one that has a lane.
const KERNEL_UNSENT_BYTES_MAX: u32 = 16 * 1024;
const LANE_KERNEL_UNSENT_BYTES_MAX: u32 = 512 * 1024;
/// After how long without a sign of a client the kernel asks whether it is still there.
const ALIVE_SECONDS: u64 = 60;

pub(crate) type Server = auto::Builder<Streams>;

pub(crate) fn builder(config: &ProxyConfig) -> Server {
    let mut server = auto::Builder::new(Streams { stall: config.stall_timeout });
    // The timer runs whenever a head is awaited, so it bounds idle keep-alive too.
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        // Such a client waits for its answer; `ClientStream` looks after the ones that have left.
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut http2 = server.http2();
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    // A dead HTTP/2 client is noticed by its missing answer to a ping.
    http2.keep_alive_interval(config.head_timeout).keep_alive_timeout(config.head_timeout);
    server
}

pub(crate) async fn serve_connection(
    server: Arc<Server>,
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: IpAddr,
    permit: OwnedSemaphorePermit,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "the client was gone before it was served");
        return;
    }
    let client = Arc::new(Client::new(peer, stream.local_addr().ok()));
    let registered = shared.register_connection();
    let service = {
        let (shared, client) = (shared.clone(), client.clone());
        service_fn(move |request: Request<Incoming>| {
            // On the heap, so that a response that waits for its client doesn't keep what made it.
            let answer = Box::pin(forward::handle(shared.clone(), client.clone(), request));
            async { Ok::<_, Infallible>(answer.await) }
        })
    };
    let stall_timer = StallTimer::new(shared.config.stall_timeout, STALL_BYTES_MIN);
    let socket = Socket::new(stream, client.flow.clone(), Some(stall_timer), Some(stretch), permit);
    let stream = TokioIo::new(ClientStream::new(socket, client.clone()));
    let mut connection = pin!(server.serve_connection_with_upgrades(stream, service));
    let mut idle = Some(Idle::new(shared.config.head_timeout));
    let mut told = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(|error| told_off(&shared, error)));
        }
        registered.waker.register(cx.waker());
        let phase = shared.phase();
        if phase == Phase::Aborting {
            return Poll::Ready(Err("the proxy stopped".to_owned()));
        }
        // HTTP/2 says goodbye without losing anything, so it does so at once. An idle HTTP/1 connection that is
        // closed may lose a request that is just arriving, so it is only closed when it stays idle.
        if !told && (phase >= Phase::Finishing || phase == Phase::LameDuck && client.http2.load(Relaxed)) {
            told = true;
            connection.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map_err(|error| told_off(&shared, error)));
            }
        }
        // From its first request on hyper bounds how long an HTTP/1 connection is idle.
        if client.requests.load(Relaxed) > 0 && !client.http2.load(Relaxed) {
            idle = None;
        }
        match idle.as_mut().map_or(Verdict::Busy, |idle| idle.poll(cx, &client)) {
            Verdict::Busy => Poll::Pending,
            Verdict::Goodbye => {
                told = true;
                connection.as_mut().graceful_shutdown();
                connection.as_mut().poll(cx).map_err(|error| told_off(&shared, error))
            }
            Verdict::Over => Poll::Ready(Err("it was idle for too long".to_owned())),
        }
    });
    if let Err(reason) = ended.await {
        tracing::debug!(%peer, reason, "a client connection ended");
    }
}

/// Bounds what is kept for a client, in memory and in time.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stretch(stream.as_fd(), false)?;
    let socket = socket2::SockRef::from(stream);
    let alive = Duration::from_secs(ALIVE_SECONDS);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(alive).with_interval(alive))
}

fn stretch(socket: BorrowedFd<'_>, wide: bool) -> std::io::Result<()> {
    let bytes = if wide { LANE_KERNEL_UNSENT_BYTES_MAX } else { KERNEL_UNSENT_BYTES_MAX };
    socket2::SockRef::from(&socket).set_tcp_notsent_lowat(bytes)
}

/// Watches a connection until its first request, and an HTTP/2 connection as long as it lasts: hyper waits for the first
/// bytes without a bound, and takes an answer to a ping for life.
struct Idle {
    limit: Duration,
    timer: std::pin::Pin<Box<Sleep>>,
    goodbye: bool,
}

enum Verdict {
    Busy,
    Goodbye,
    Over,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(sleep_until(Instant::now() + limit)), goodbye: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, client: &Client) -> Verdict {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let since = client.idle_since().unwrap_or(now);
            let over = since + self.limit;
            if over > now {
                self.timer.as_mut().reset(over);
                continue;
            }
            if self.goodbye || client.requests.load(Relaxed) == 0 && !client.http2.load(Relaxed) {
                return Verdict::Over;
            }
            self.goodbye = true;
            self.timer.as_mut().reset(now + Duration::from_secs(GOODBYE_SECONDS_MAX));
            return Verdict::Goodbye;
        }
        Verdict::Busy
    }
}

/// Counts a request that hyper refused by itself (400, 414 or 431), and says why the connection ended.
fn told_off(shared: &Shared, error: Box<dyn std::error::Error + Send + Sync>) -> String {
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        shared.refused.fetch_add(1, Relaxed);
    }
    error.to_string()
}
