//! The places that are listened at: own sockets, or those that were passed on.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::{ListenAt, Serve};
use lockgate_sockets::{Listener, SocketsError};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::error::ServeError;

/// How many connections the kernel queues before they are accepted (it caps this at `net.core.somaxconn`).
const BACKLOG_CONNECTIONS_MAX: u32 = 1024;
/// A Unix socket is for its owner and its group; what is signed is signed there, too.
const SOCKET_MODE: u32 = 0o660;

/// A place that is listened at.
#[derive(Debug, Clone)]
pub(crate) enum Listening {
    Tcp(Arc<TcpListener>),
    Unix(Arc<UnixListener>),
}

/// All of them, at least one.
#[derive(Debug)]
pub struct Listeners {
    all: Vec<Listening>,
    /// Sockets in the file system that this process made, or took over from the one that did.
    files: Vec<PathBuf>,
}

impl Listeners {
    /// Those that were passed on, else those of the configuration. Of a predecessor's (`is_handover`) those are taken that are
    /// configured now, and what else is configured is bound; the service manager's are all taken, and nothing else. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// [`ServeError::Listen`], [`ServeError::PlainHttp`], [`ServeError::Sockets`].
    pub fn open(serve: &Serve, inherited: Vec<Listener>, is_handover: bool) -> Result<Self, ServeError> {
        if inherited.is_empty() {
            return Self::bind(&serve.listen);
        }
        let adopted = adopt(inherited)?;
        if is_handover {
            return Self::matched(serve, adopted);
        }
        let is_open = serve.tls.is_none() && !serve.plain_http;
        let open = adopted.iter().filter_map(Listening::place).find(|place| is_open && !place.is_here_only());
        match open {
            Some(place) => Err(ServeError::PlainHttp { address: place.to_string() }),
            None => Ok(Self { all: adopted, files: Vec::new() }),
        }
    }

    fn matched(serve: &Serve, adopted: Vec<Listening>) -> Result<Self, ServeError> {
        let mut left: Vec<(Option<ListenAt>, Listening)> =
            adopted.into_iter().map(|listening| (listening.place(), listening)).collect();
        let mut taken = Vec::new();
        let mut missing = Vec::new();
        // Exact ones first, so that none of them is taken for a port that was left open.
        let (any_port, exact): (Vec<&ListenAt>, Vec<&ListenAt>) =
            serve.listen.iter().partition(|place| is_any_port(place));
        for place in exact.into_iter().chain(any_port) {
            match left.iter().position(|(known, _)| known.as_ref().is_some_and(|known| is_at(known, place))) {
                Some(index) => taken.push(left.swap_remove(index).1),
                None => missing.push(place.clone()),
            }
        }
        let mut listeners = Self::bind(&missing)?;
        listeners.all.extend(taken);
        Ok(listeners)
    }

    fn bind(places: &[ListenAt]) -> Result<Self, ServeError> {
        let mut listeners = Self { all: Vec::new(), files: Vec::new() };
        for place in places {
            let failed = |source| ServeError::Listen { place: place.clone(), source };
            listeners.all.push(match place {
                ListenAt::Tcp(address) => Listening::Tcp(Arc::new(bind_tcp(*address).map_err(failed)?)),
                ListenAt::Unix(path) => {
                    let bound = bind_unix(path).map_err(failed)?;
                    listeners.files.push(path.clone());
                    Listening::Unix(Arc::new(bound))
                }
            });
        }
        Ok(listeners)
    }

    /// Where they really are: the port that was chosen for port 0.
    #[must_use]
    pub fn places(&self) -> Vec<ListenAt> {
        self.all.iter().filter_map(Listening::place).collect()
    }

    pub(crate) fn all(&self) -> &[Listening] {
        &self.all
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().map(|listening| match listening {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener) => listener.as_fd(),
        })
    }

    /// The successor listens there now, and removes the files at its own end.
    pub(crate) fn give_away(&mut self) {
        self.files.clear();
    }

    /// The files of sockets that a predecessor gave away: those that are configured and that it listened at.
    pub(crate) fn take_over_files(&mut self) {
        let unix = |place: ListenAt| match place {
            ListenAt::Unix(path) => Some(path),
            ListenAt::Tcp(_) => None,
        };
        self.files = self.places().into_iter().filter_map(unix).collect();
    }
}

impl Listening {
    fn place(&self) -> Option<ListenAt> {
        match self {
            Listening::Tcp(listener) => listener.local_addr().ok().map(ListenAt::Tcp),
            Listening::Unix(listener) => {
                let address = listener.local_addr().ok()?;
                address.as_pathname().map(|path| ListenAt::Unix(path.to_owned()))
            }
        }
    }
}

fn is_any_port(place: &ListenAt) -> bool {
    matches!(place, ListenAt::Tcp(address) if address.port() == 0)
}

/// Whether a socket at `known` is one that is wanted at `place`.
fn is_at(known: &ListenAt, place: &ListenAt) -> bool {
    match (known, place) {
        (ListenAt::Tcp(known), ListenAt::Tcp(place)) if place.port() == 0 => known.ip() == place.ip(),
        _ => known == place,
    }
}

fn adopt(inherited: Vec<Listener>) -> Result<Vec<Listening>, SocketsError> {
    let adopt = |listener: Listener| -> io::Result<Listening> {
        Ok(match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Listening::Tcp(Arc::new(TcpListener::from_std(listener)?))
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Listening::Unix(Arc::new(UnixListener::from_std(listener)?))
            }
        })
    };
    let adopted: io::Result<_> = inherited.into_iter().map(adopt).collect();
    adopted.map_err(|error| SocketsError::Inherited { reason: error.to_string() })
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for path in &self.files {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "the socket cannot be removed");
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)
}

/// A socket that nobody listens at any more, as after a crash, is replaced; what is no socket is not.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match path.symlink_metadata() {
        Ok(seen) if !seen.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}
