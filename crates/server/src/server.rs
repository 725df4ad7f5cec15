//! Accepting connections, and the phases in which they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{self, Http};
use crate::limits::Limits;
use crate::listen::{Listeners, Listening};
use crate::peer::Peer;
use crate::places::{Place, PlaceCounts, Places};
use crate::shared::{Answer, Phase, Shared};
use crate::tls::Tls;

/// The pause after accepting failed for want of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 50;
/// How long connections may take to end once they are cut off.
const ABORT_SECONDS_MAX: u64 = 2;
/// After how long without a sign of a client the kernel asks whether it is still there.
const ALIVE_SECONDS: u64 = 60;

/// Serves connections until it is told to end them.
pub struct Server {
    shared: Arc<Shared>,
    places: Arc<Places>,
    accepting: CancellationToken,
    tasks: TaskTracker,
}

/// A look at a server's connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Places>);

impl Connections {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Places::new(limits))
    }

    pub(crate) fn counts(&self) -> PlaceCounts {
        self.0.counts()
    }
}

impl Server {
    /// Accepts from all listeners. `tls` is for those by TCP.
    pub(crate) fn start(
        listeners: &Listeners,
        tls: Option<&Tls>,
        limits: Limits,
        connections: &Connections,
        answer: Answer,
    ) -> Self {
        let shared = Arc::new(Shared { limits, answer, phase: watch::Sender::new(Phase::Serving) });
        let server = Self {
            shared,
            places: connections.0.clone(),
            accepting: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let http = Arc::new(connection::http(&limits));
        for listening in listeners.all() {
            let acceptor = Acceptor {
                listening: listening.clone(),
                tls: tls.filter(|_| matches!(listening, Listening::Tcp(_))).cloned(),
                shared: server.shared.clone(),
                places: server.places.clone(),
                http: http.clone(),
                tasks: server.tasks.clone(),
            };
            tokio::spawn(acceptor.run(server.accepting.clone()));
        }
        server
    }

    /// Accepts nothing any more; what is open goes on. `has_heir`: others accept from the same sockets, so idle connections may
    /// stay a while, for no request is to be lost.
    pub(crate) fn leave(&self, has_heir: bool) {
        self.accepting.cancel();
        self.tasks.close();
        if !has_heir {
            self.enter(Phase::Finishing);
            return;
        }
        self.enter(Phase::LameDuck);
        let (phase, pause) = (self.shared.phase.clone(), self.shared.limits.lame_duck);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            phase.send_if_modified(|now| std::mem::replace(now, (*now).max(Phase::Finishing)) != *now);
        });
    }

    /// Ends what is open: within the bound after its answers were taken, then at once.
    pub(crate) async fn finish(self) {
        self.accepting.cancel();
        self.tasks.close();
        self.enter(Phase::Finishing);
        let limit = self.shared.limits.stop_time_max;
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(open = self.places.counts().open, "closing connections whose answers were not taken");
        self.enter(Phase::Aborting);
        let limit = Duration::from_secs(ABORT_SECONDS_MAX);
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::error!("some connections cannot be closed");
        }
    }

    /// Returns once no connection is open.
    pub(crate) async fn is_empty(&self) {
        self.tasks.wait().await;
    }

    fn enter(&self, phase: Phase) {
        self.shared.phase.send_if_modified(|now| std::mem::replace(now, (*now).max(phase)) != *now);
    }
}

/// Accepts from one listener.
struct Acceptor {
    listening: Listening,
    tls: Option<Tls>,
    shared: Arc<Shared>,
    places: Arc<Places>,
    http: Arc<Http>,
    tasks: TaskTracker,
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Acceptor {
    async fn run(self, until: CancellationToken) {
        let mut failures: u64 = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = until.cancelled() => return,
                accepted = self.listening.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    failures = 0;
                    self.take(accepted);
                }
                Err(error) => {
                    // Once, and then each minute of it.
                    if failures.is_multiple_of(60_000 / ACCEPT_PAUSE_MS) {
                        tracing::warn!(%error, "accepting failed");
                    }
                    failures += 1;
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }

    fn take(&self, accepted: Accepted) {
        let peer = match &accepted {
            Accepted::Tcp(_, address) => Peer::of(address.ip()),
            Accepted::Unix(_) => Peer::Unix,
        };
        let Some(place) = self.places.take(peer) else {
            tracing::debug!(%peer, "a connection more than there may be was closed");
            return;
        };
        let (shared, http, tls) = (self.shared.clone(), self.http.clone(), self.tls.clone());
        self.tasks.spawn(async move {
            match accepted {
                Accepted::Unix(stream) => connection::serve(stream, shared, http, place).await,
                Accepted::Tcp(stream, _) => match prepare(&stream, &shared.limits) {
                    Err(error) => tracing::debug!(%peer, %error, "the client was gone before it was served"),
                    Ok(()) => match tls {
                        None => connection::serve(stream, shared, http, place).await,
                        Some(tls) => encrypted(stream, &tls, shared, http, place).await,
                    },
                },
            }
        });
    }
}

impl Listening {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listening::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, address))
            }
            Listening::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

async fn encrypted(stream: TcpStream, tls: &Tls, shared: Arc<Shared>, http: Arc<Http>, place: Place) {
    let activity = place.activity.clone();
    let mut phase = shared.phase.subscribe();
    let handshake = tokio::time::timeout(shared.limits.handshake_time_max, tls.acceptor().accept(stream));
    let stream = tokio::select! {
        done = handshake => done,
        () = activity.evicted() => return,
        _ = phase.wait_for(|phase| *phase == Phase::Aborting) => return,
    };
    match stream {
        Ok(Ok(stream)) => connection::serve(stream, shared, http, place).await,
        Ok(Err(error)) => tracing::debug!(peer = %activity.peer, %error, "no TLS came about"),
        Err(_) => tracing::debug!(peer = %activity.peer, "TLS took too long"),
    }
}

/// Bounds how long a client that has gone, or takes nothing, is waited for.
fn prepare(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let alive = Duration::from_secs(ALIVE_SECONDS);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(alive).with_interval(alive))?;
    socket.set_tcp_user_timeout(Some(limits.unsent_time_max))
}
