//! One master connection to a host, and what is forwarded through it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockgate_model::{FailureKind, HostId};
use lockgate_ports::{Endpoint, PortError};
use openssh::{ForwardType, Session, Socket};
use tokio::sync::{Mutex, Semaphore};

use crate::identity::Identity;
use crate::master::Master;
use crate::own_session::OWN_SESSIONS_MAX;
use crate::pool::Pool;
use crate::worker::Worker;
use crate::{folder, options, trouble};

/// Longest wait for the whole opening, jump hosts included.
const OPEN_SECONDS_MAX: u64 = 60;
/// For one TCP connection and greeting, unless the user's options say otherwise; and to a host that had answered before.
const CONNECT_SECONDS_MAX: u64 = 10;
const CONNECT_AGAIN_SECONDS_MAX: u64 = 5;
/// While nothing comes from a host it is asked this often whether it is there; when so many questions stayed without an
/// answer and one more was due, which is 5 s after it fell silent, the connection counts as broken. The host's sshd
/// answers by itself, however busy what was started there is.
const ALIVE_SECONDS: u64 = 1;
const ALIVE_MISSED_MAX: u64 = 4;
/// After which a master that nobody uses goes by itself: Lockgate was killed. As long as it lives its workers are a use,
/// also while they wait.
const IDLE_SECONDS_MAX: u64 = 15;
/// Forwarded endpoints kept; the oldest goes first.
const FORWARDS_MAX: usize = 64;

/// Connections that are being opened, of all hosts: behind a jump host they are all at one sshd, which turns some away when
/// more than ten have not authenticated yet (`MaxStartups`, sshd_config(5)).
static OPENING: Semaphore = Semaphore::const_new(8);

/// An open connection. Dropping it ends the master, whatever its sessions do, and removes its folder with all sockets.
pub(crate) struct Link {
    /// All are kept that can be asked again.
    pub(crate) workers: Pool<Worker>,
    /// For sessions that are no worker's.
    pub(crate) own_sessions: Semaphore,
    /// Goes before the session, which would only ask it to stop listening.
    master: Master,
    /// Whoever is told of silence has been told.
    told: AtomicBool,
    pub(crate) session: Arc<Session>,
    folder: PathBuf,
    forwards: Mutex<Forwards>,
    /// Locked as long as this process lives.
    _owner: File,
}

#[derive(Default)]
struct Forwards {
    /// Oldest first.
    open: Vec<(Endpoint, PathBuf)>,
    made: u64,
}

impl Link {
    /// Runs the user's `ssh` until it has authenticated and gone to the background. `again`: to a host that had answered
    /// before.
    pub(crate) async fn open(
        host: &HostId,
        settings: &lockgate_model::Ssh,
        again: bool,
    ) -> Result<Link, PortError> {
        options::check(&settings.options)?;
        let (folder, owner) = folder::make()?;
        let log = folder.path().join("log");
        let mut ssh = tokio::process::Command::new("ssh");
        // What is relied on comes first: for ssh, the first value of an option is the one that counts.
        ssh.args(["-M", "-N", "-f", "-T", "-S"]).arg(folder.path().join("master")).arg("-E").arg(&log);
        let identity = Identity::of(host, settings)?;
        ssh.args(&identity.arguments);
        let key = if settings.accept_new_host_keys { "accept-new" } else { "yes" };
        for option in [
            "BatchMode=yes".to_owned(),
            format!("StrictHostKeyChecking={key}"),
            format!("ControlPersist={IDLE_SECONDS_MAX}"),
            "ClearAllForwardings=yes".to_owned(),
            "PermitLocalCommand=no".to_owned(),
        ] {
            ssh.arg("-o").arg(option);
        }
        if let Some(port) = settings.port {
            ssh.arg("-p").arg(port.to_string());
        }
        ssh.args(&settings.options);
        let connect_seconds_max = if again { CONNECT_AGAIN_SECONDS_MAX } else { CONNECT_SECONDS_MAX };
        // These only where the user's options say nothing.
        for (name, value) in [
            ("ConnectTimeout", connect_seconds_max),
            ("ServerAliveInterval", ALIVE_SECONDS),
            ("ServerAliveCountMax", ALIVE_MISSED_MAX),
        ] {
            ssh.arg("-o").arg(format!("{name}={value}"));
        }
        ssh.arg("--").arg(host.as_str());
        // Ctrl-C is for Lockgate, which still needs the connection to undo what it did.
        ssh.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ssh.process_group(0).kill_on_drop(true);
        // Never closed, so there is always one to be had.
        let _opening = OPENING.acquire().await;
        let bound = Duration::from_secs(OPEN_SECONDS_MAX);
        let status = match tokio::time::timeout(bound, ssh.status()).await {
            Ok(status) => status.map_err(no_ssh)?,
            Err(_) => {
                return Err(trouble::connecting(
                    host,
                    settings,
                    &format!("timed out after {OPEN_SECONDS_MAX} s"),
                ));
            }
        };
        // Nobody needs the key any more.
        drop(identity);
        if !status.success() {
            let said = tokio::fs::read(&log).await.unwrap_or_default();
            return Err(trouble::connecting(host, settings, &String::from_utf8_lossy(&said)));
        }
        Ok(Link {
            master: Master::new(folder.path().join("master")),
            told: AtomicBool::new(false),
            folder: folder.path().to_owned(),
            workers: Pool::new(),
            own_sessions: Semaphore::new(OWN_SESSIONS_MAX),
            session: Arc::new(Session::new_native_mux(folder)),
            forwards: Mutex::default(),
            _owner: owner,
        })
    }

    /// The control socket, whose end is the master's.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("master")
    }

    /// The master has ended because nothing came from the host any more, and nobody has been told so yet.
    pub(crate) fn tells_of_silence(&self) -> bool {
        let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        trouble::is_silence(&said) && !self.told.swap(true, Ordering::Relaxed)
    }

    /// The local socket through which an endpoint is reached, made when first wanted.
    pub(crate) async fn forward(&self, endpoint: &Endpoint) -> Result<PathBuf, Forwarding> {
        let target = target(endpoint).map_err(Forwarding::Wrong)?;
        let mut forwards = self.forwards.lock().await;
        if let Some((_, path)) = forwards.open.iter().find(|(known, _)| known == endpoint) {
            return Ok(path.clone());
        }
        if forwards.open.len() >= FORWARDS_MAX {
            let (oldest, path) = forwards.open.remove(0);
            let target = self::target(&oldest).map_err(Forwarding::Wrong)?;
            self.session
                .close_port_forward(ForwardType::Local, path.as_path(), target)
                .await
                .map_err(Forwarding::Broken)?;
        }
        forwards.made += 1;
        let path = self.folder.join(format!("f{}", forwards.made));
        self.session
            .request_port_forward(ForwardType::Local, path.as_path(), target)
            .await
            .map_err(Forwarding::Broken)?;
        forwards.open.push((endpoint.clone(), path.clone()));
        Ok(path)
    }

    /// # Errors
    /// `Unreachable` when the master has gone already.
    pub(crate) fn close(self, host: &HostId) -> Result<(), PortError> {
        self.workers.clear();
        self.master.end().map_err(|error| trouble::broken(host, error))
    }
}

/// Why an endpoint could not be forwarded.
pub(crate) enum Forwarding {
    /// It is no address.
    Wrong(PortError),
    Broken(openssh::Error),
}

fn target(endpoint: &Endpoint) -> Result<Socket<'static>, PortError> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Socket::from(PathBuf::from(path))),
        Endpoint::Tcp(address) => {
            let wrong = || PortError::other(format!("{address:?} is not host:port"));
            let (name, port) = address.rsplit_once(':').ok_or_else(wrong)?;
            let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
            let port: u16 = port.parse().map_err(|_| wrong())?;
            if name.is_empty() { Err(wrong()) } else { Ok(Socket::new(name.to_owned(), port)) }
        }
    }
}

fn no_ssh(error: std::io::Error) -> PortError {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let error = PortError::from(error).context("cannot run ssh");
    if missing {
        error.of_kind(FailureKind::Other).hint("install the OpenSSH client on this machine")
    } else {
        error
    }
}
