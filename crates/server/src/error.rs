//! Why nothing can be served.

use std::path::PathBuf;

use lockgate_model::ListenAt;
use lockgate_sockets::SocketsError;

use crate::certificate::CertificateError;

/// Why the server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another one serves this project here.
    #[error("`lockgate serve` is already running here{}", pid.map(|pid| format!(", process {pid}")).unwrap_or_default())]
    AlreadyRunning { pid: Option<u32> },
    /// An address cannot be listened at.
    #[error("cannot listen at {place}: {source}")]
    Listen { place: ListenAt, source: std::io::Error },
    /// A socket that was passed on can be reached by others, and there is no certificate.
    #[error("the socket {address} that was passed on would be plain HTTP that others can reach")]
    PlainHttp { address: String },
    /// What was passed on is not usable.
    #[error(transparent)]
    Sockets(#[from] SocketsError),
    /// The certificate or its key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The previous process went away or said something unexpected.
    #[error("the handover from the process before failed: {reason}")]
    Handover { reason: String },
    /// A file or folder of the server's own.
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadyRunning { .. } => {
                "`lockgate serve --upgrade` replaces it without a refused connection; or stop it first".to_owned()
            }
            Self::Listen { place: ListenAt::Tcp(address), source } => match source.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("`ss -ltnp 'sport = :{}'` shows who has it", address.port())
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege: listen at a higher one, or let systemd open the socket".to_owned()
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address: `ip -br address` lists those it has".to_owned()
                }
                _ => "change `serve.listen` in lockgate.yaml".to_owned(),
            },
            Self::Listen { place: ListenAt::Unix(path), .. } => {
                let folder = path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
                format!("this user must be able to write in {folder}, and nobody else may listen there")
            }
            Self::PlainHttp { .. } => {
                "add `serve: { tls: … }` to lockgate.yaml, or `plain_http: true` where something in front has the certificate".to_owned()
            }
            Self::Sockets(SocketsError::NotOurs { hint, .. }) => hint.clone(),
            Self::Sockets(SocketsError::Inherited { .. }) => {
                "start it without LOCKGATE_SERVE_HANDOVER and LISTEN_FDS, or mend the socket unit".to_owned()
            }
            Self::Sockets(SocketsError::Io { .. }) | Self::Io { .. } => {
                "see owner, mode and free space of the folder".to_owned()
            }
            Self::Certificate(error) => error.hint(),
            Self::Handover { .. } => "the previous process serves on; look at its log".to_owned(),
        }
    }
}
