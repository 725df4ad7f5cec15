//! The listening sockets, and accepting from them.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use lockgate_sockets::Listener;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::OwnedSemaphorePermit;

use crate::config::ProxyError;
use crate::log_limit::LogLimit;
use crate::server;
use crate::shared::Shared;

/// How many connections the kernel queues before they are accepted (it caps this at `net.core.somaxconn`).
const BACKLOG_CONNECTIONS_MAX: u32 = 4096;
/// The pause after accepting failed for want of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 50;

pub(crate) struct Listeners(Vec<Arc<TcpListener>>);

impl Listeners {
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, ProxyError> {
        if addresses.is_empty() {
            return Err(ProxyError::NothingToListenOn);
        }
        let bind = |address: &SocketAddr| {
            let bound = bind_one(*address).map_err(|source| ProxyError::Listen { address: *address, source });
            bound.map(Arc::new)
        };
        addresses.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn inherited(listeners: Vec<Listener>) -> Result<Self, ProxyError> {
        let adopt = |listener: Listener| {
            let Listener::Tcp(listener) = listener else {
                return Err(std::io::Error::other("the proxy listens by TCP, not at a Unix socket"));
            };
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Arc::new)
        };
        let adopted: Result<_, std::io::Error> = listeners.into_iter().map(adopt).collect();
        adopted.map(Self).map_err(|error| ProxyError::Inherited { reason: error.to_string() })
    }

    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, ProxyError> {
        let addresses: Result<_, _> = self.0.iter().map(|listener| listener.local_addr()).collect();
        addresses.map_err(|error| ProxyError::Inherited { reason: error.to_string() })
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|listener| listener.as_fd())
    }

    /// Accepts on every listener until `stop_accepting`.
    pub(crate) fn serve(&self, shared: &Arc<Shared>) {
        for listener in &self.0 {
            tokio::spawn(accept(listener.clone(), shared.clone()));
        }
    }
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)
}

async fn accept(listener: Arc<TcpListener>, shared: Arc<Shared>) {
    let server = Arc::new(server::builder(&shared.config));
    let failures = LogLimit::new();
    let next = async || -> std::io::Result<(tokio::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = shared.places.client().await?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, permit))
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop_accepting.cancelled() => return,
            accepted = next() => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let connection =
                    server::serve_connection(server.clone(), shared.clone(), stream, peer.ip(), permit);
                shared.tasks.spawn(connection);
            }
            Err(error) => {
                if let Some(left_out) = failures.due() {
                    tracing::warn!(%error, left_out, "accepting failed");
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
