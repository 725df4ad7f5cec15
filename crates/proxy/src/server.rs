//! One client connection: HTTP/1.1 or HTTP/2, until it ends or the proxy's phase ends it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::{Request, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::client_stream::ClientStream;
use crate::config::ProxyConfig;
use crate::forward::{self, Client};
use crate::shared::{Phase, Shared};

/// The read buffer of a connection; a request's head must fit.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How many requests one HTTP/2 connection may have at once.
const STREAMS_MAX: u32 = 250;

pub(crate) type Server = auto::Builder<TokioExecutor>;

pub(crate) fn builder(config: &ProxyConfig) -> Server {
    let mut server = auto::Builder::new(TokioExecutor::new());
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
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client was gone before it was served");
        return;
    }
    let client = Arc::new(Client::new(peer, stream.local_addr().ok()));
    let registered = shared.register_connection();
    let service = {
        let (shared, client) = (shared.clone(), client.clone());
        service_fn(move |request: Request<Incoming>| {
            let answer = forward::handle(shared.clone(), client.clone(), request);
            async { Ok::<_, Infallible>(answer.await) }
        })
    };
    let stream = TokioIo::new(ClientStream::new(stream, client.clone()));
    let mut connection = pin!(server.serve_connection_with_upgrades(stream, service));
    // Telling HTTP/1 from HTTP/2 waits for the first bytes without a bound of its own.
    let mut first_head = Some(Box::pin(tokio::time::sleep(shared.config.head_timeout)));
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
        if let Some(timer) = &mut first_head {
            if client.requests.load(Relaxed) > 0 {
                first_head = None;
            } else if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err("no request arrived".to_owned()));
            }
        }
        Poll::Pending
    });
    if let Err(reason) = ended.await {
        tracing::debug!(%peer, reason, "a client connection ended");
    }
    drop(permit);
}

/// Counts a request that hyper refused by itself (400, 414 or 431), and says why the connection ended.
fn told_off(shared: &Shared, error: Box<dyn std::error::Error + Send + Sync>) -> String {
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        shared.refused.fetch_add(1, Relaxed);
    }
    error.to_string()
}
