//! Connections to one target: dialling, and a bounded pool of idle ones.
//!
//! Our own, because the retry rules need to know whether a connection was used before and whether a request was
//! sent at all, and because a retired target's idle connections are closed at the switch.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::RequestBody;
use crate::flow::Flow;
use crate::socket::{Socket, Stretch};

/// How often connecting is tried for one request. Nothing was sent by then, so this is safe for any method.
const CONNECT_ATTEMPTS_MAX: u32 = 2;
/// How large a segment from a slot may be; the kernel on its side sizes its buffers by this. Loopback still moves many at
/// once.
const SEGMENT_BYTES_MAX: u32 = 1_400;
/// How much of a response the kernel keeps for us. It would let this grow to tens of megabytes for a client that reads fast
/// at first.
const KERNEL_UNREAD_BYTES_MAX: u32 = 64 * 1024;
/// The same for a response that has a lane.
const LANE_KERNEL_UNREAD_BYTES_MAX: u32 = 512 * 1024;
/// The pause between two attempts.
const CONNECT_PAUSE_MS: u64 = 20;

/// How long no connection to a target is used twice after it sent something unasked on one.
const DISTRUST_SECONDS: u64 = 60;

/// One connection to a slot, for one request at a time.
#[derive(Debug)]
pub(crate) struct Sender {
    requests: SendRequest<RequestBody>,
    flow: Arc<Flow>,
}

impl Sender {
    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    fn is_ready(&self) -> bool {
        self.requests.is_ready()
    }

    /// Gives the request back when nothing of it was sent.
    pub(crate) fn try_send_request(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        request.body_mut().over(&self.flow);
        self.requests.try_send_request(request)
    }
}

/// Where a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Dial {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || Err(format!("a dial is host:port or unix:/absolute/path, not {text:?}"));
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { refuse() };
        }
        let Some((host, port)) = text.rsplit_once(':') else { return refuse() };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
        let is_host = !bare.is_empty() && bare.bytes().all(allowed) && (bare != host || !bare.contains(':'));
        match port.parse() {
            Ok(port) if port > 0 && is_host => Ok(Self::Tcp(bare.to_owned(), port)),
            _ => refuse(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    TimedOut,
    /// Nobody can say where the slot is now, or it runs nowhere.
    Nowhere,
    /// There are already as many connections as there may be.
    NoRoom,
    Failed(String),
}

/// What a new connection takes.
pub(crate) struct Room<'a> {
    pub(crate) permit: OwnedSemaphorePermit,
    /// Held while a name is looked up.
    pub(crate) lookups: &'a Semaphore,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

#[derive(Debug)]
struct Shelf {
    /// Newest last; `None` once the target is retired.
    idle: Option<VecDeque<Idle>>,
    /// Set when bytes came after an answer: until then what is read next may be such bytes, not the next answer.
    distrusted_until: Option<Instant>,
}

impl Shelf {
    fn is_distrusted(&mut self) -> bool {
        self.distrusted_until = self.distrusted_until.filter(|until| Instant::now() < *until);
        self.distrusted_until.is_some()
    }

    fn distrust(&mut self) {
        self.distrusted_until = Some(Instant::now() + Duration::from_secs(DISTRUST_SECONDS));
        self.idle.iter_mut().for_each(VecDeque::clear);
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) dial: Dial,
    idle_max: Duration,
    connections_max: usize,
    shelf: Arc<Mutex<Shelf>>,
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // Held for a few instructions that can't panic half-way.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(dial: Dial, idle_max: Duration, connections_max: usize) -> Self {
        let shelf = Shelf { idle: Some(VecDeque::new()), distrusted_until: None };
        Self { dial, idle_max, connections_max, shelf: Arc::new(Mutex::new(shelf)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }

    /// The most recently used idle connection that is alive and young enough. One that still finishes its last
    /// exchange is left where it is.
    pub(crate) fn checkout(&self) -> Option<Sender> {
        let mut shelf = self.lock();
        let idle = shelf.idle.as_mut()?;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let entry = &idle[at];
            if entry.sender.is_closed() || entry.since.elapsed() >= self.idle_max {
                idle.remove(at);
            } else if entry.sender.is_ready() {
                return idle.remove(at).map(|entry| entry.sender);
            }
        }
        None
    }

    /// Gives a connection back after a complete exchange.
    pub(crate) fn put_back(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut shelf = self.lock();
        if shelf.is_distrusted() {
            return;
        }
        let Some(idle) = shelf.idle.as_mut() else { return };
        if idle.len() >= self.connections_max {
            idle.pop_front();
        }
        idle.push_back(Idle { sender, since: Instant::now() });
    }

    /// Closes what has been idle for too long.
    pub(crate) fn reap(&self) {
        if let Some(idle) = self.lock().idle.as_mut() {
            idle.retain(|entry| !entry.sender.is_closed() && entry.since.elapsed() < self.idle_max);
        }
    }

    /// The target sends bytes unasked: for a while none of its connections is used again.
    pub(crate) fn distrust(&self) {
        self.lock().distrust();
    }

    /// Closes what is idle, although it isn't old.
    pub(crate) fn close_idle(&self) {
        if let Some(idle) = self.lock().idle.as_mut() {
            idle.clear();
        }
    }

    /// The target is no longer used: closes the idle connections now, and the busy ones when they come back.
    pub(crate) fn retire(&self) {
        self.lock().idle = None;
    }

    /// A fresh connection.
    pub(crate) async fn connect(&self, limit: Duration, room: Room<'_>) -> Result<Sender, ConnectError> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut attempt = 1;
        loop {
            match tokio::time::timeout_at(deadline, self.dial_once(room.lookups)).await {
                Ok(Ok(Dialled::Tcp(stream))) => {
                    let shaken = self.handshake(stream, Some(stretch), room.permit).await;
                    return shaken.map_err(ConnectError::Failed);
                }
                Ok(Ok(Dialled::Unix(stream))) => {
                    // The kernel's buffers of these are small.
                    let shaken = self.handshake(stream, None, room.permit).await;
                    return shaken.map_err(ConnectError::Failed);
                }
                Err(_) => return Err(ConnectError::TimedOut),
                Ok(Err(reason)) if attempt == CONNECT_ATTEMPTS_MAX => {
                    return Err(ConnectError::Failed(reason));
                }
                Ok(Err(_)) => attempt += 1,
            }
            tokio::time::sleep(Duration::from_millis(CONNECT_PAUSE_MS)).await;
        }
    }

    async fn dial_once(&self, lookups: &Semaphore) -> Result<Dialled, String> {
        let text = |error: io::Error| error.to_string();
        match &self.dial {
            Dial::Tcp(host, port) => {
                if let Ok(address) = host.parse::<IpAddr>() {
                    return dial_tcp((address, *port).into()).await.map(Dialled::Tcp).map_err(text);
                }
                let addresses: Vec<SocketAddr> = {
                    // The semaphore is never closed, so this can't fail.
                    let _one_of_few = lookups.acquire().await;
                    lookup_host((host.as_str(), *port)).await.map_err(text)?.collect()
                };
                let mut failed = "the name has no address".to_owned();
                for address in addresses {
                    match dial_tcp(address).await {
                        Ok(stream) => return Ok(Dialled::Tcp(stream)),
                        Err(error) => failed = error.to_string(),
                    }
                }
                Err(failed)
            }
            Dial::Unix(path) => UnixStream::connect(path).await.map(Dialled::Unix).map_err(text),
        }
    }

    async fn handshake<S>(
        &self,
        stream: S,
        stretch: Option<Stretch>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Sender, String>
    where
        S: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static,
    {
        let flow = Arc::new(Flow::default());
        // A slot is trusted to read in its own time: what waits for it is bounded by the response timeout.
        let socket = Socket::new(stream, flow.clone(), None, stretch, permit);
        let shaken = http1::Builder::new().handshake(TokioIo::new(socket)).await;
        let (requests, connection) = shaken.map_err(|error| error.to_string())?;
        let shelf = Arc::downgrade(&self.shelf);
        // The connection ends by itself when the sender is dropped or the other side closes; whoever waits for a
        // response gets the error, so it is only told to the debug log here.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a slot ended");
                if is_unasked(&error) {
                    Weak::upgrade(&shelf).iter().for_each(|shelf| lock(shelf).distrust());
                }
            }
        });
        Ok(Sender { requests, flow })
    }
}

/// Whether a connection ended because bytes came while nothing was asked. hyper has no question for it; it is what is left
/// of the errors that nothing else caused, and whatever it may be beside: not using a connection again is safe.
fn is_unasked(error: &hyper::Error) -> bool {
    use std::error::Error;
    let known = error.is_closed() || error.is_canceled() || error.is_incomplete_message() || error.is_user();
    error.source().is_none() && !known
}

/// A slot on this machine would otherwise be given buffers for ten segments of 64 KiB twice over, and the kernel would keep
/// 3 MiB for every client that doesn't read.
async fn dial_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket2::SockRef::from(&socket).set_tcp_mss(SEGMENT_BYTES_MAX)?;
    // How far the window can ever open is settled when connecting.
    socket.set_recv_buffer_size(LANE_KERNEL_UNREAD_BYTES_MAX)?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(address).await?;
    stretch(stream.as_fd(), false)?;
    Ok(stream)
}

fn stretch(socket: BorrowedFd<'_>, wide: bool) -> io::Result<()> {
    let bytes = if wide { LANE_KERNEL_UNREAD_BYTES_MAX } else { KERNEL_UNREAD_BYTES_MAX };
    socket2::SockRef::from(&socket).set_recv_buffer_size(bytes as usize)
}

enum Dialled {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_read_and_nonsense_is_refused() {
        assert_eq!(Dial::parse("app-blue:5000"), Ok(Dial::Tcp("app-blue".into(), 5000)));
        assert_eq!(Dial::parse("[::1]:80"), Ok(Dial::Tcp("::1".into(), 80)));
        assert_eq!(Dial::parse("unix:/run/app.sock"), Ok(Dial::Unix("/run/app.sock".into())));
        for nonsense in
            ["", "app", "app:", "app:0", "app:99999", ":80", "::1:80", "unix:x", "http://a:80", "a b:80"]
        {
            assert!(Dial::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
