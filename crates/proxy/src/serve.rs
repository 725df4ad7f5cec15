//! Start, run, stop: what happens when.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockgate_sockets::{Inherited, Lock, Program, raise_descriptor_limit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::access_log::{AccessLog, Writer};
use crate::admin::{Admin, Bound};
use crate::config::{ProxyConfig, ProxyError};
use crate::descriptors;
use crate::handover::{self, HANDOVER, Link};
use crate::listen::Listeners;
use crate::predecessor::{self, Handed};
use crate::router::Router;
use crate::shared::{Command, Parts, Phase, Shared};
use crate::supervise::STOPPED;
use crate::wire::{ErrorKind, ErrorView, UpgradeRequest, UpgradeView};

/// How many commands wait for the main task.
const COMMANDS_MAX: usize = 16;
/// How often idle connections to slots are looked through.
const REAP_SECONDS: u64 = 1;
/// How long tasks may take to end once everything is aborted.
const ABORT_SECONDS_MAX: u64 = 2;
const ASK_TOKEN_BYTES: usize = 16;

/// A proxy running in this process. It keeps running when this is dropped, until the runtime ends.
#[derive(Debug)]
pub struct ProxyHandle {
    addresses: Vec<SocketAddr>,
    admin_socket: PathBuf,
    ask_token: String,
    commands: mpsc::Sender<Command>,
    main: JoinHandle<()>,
}

impl ProxyHandle {
    /// The addresses really bound, in the order they were asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the admin interface listens.
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// The value for the ask header, as the status tells it too.
    pub fn ask_token(&self) -> &str {
        &self.ask_token
    }

    /// Stops accepting, finishes what is in flight up to the bound, and ends.
    pub async fn shutdown(self) -> Result<(), ProxyError> {
        // When the main task is gone already there is nobody left to tell.
        let _ = self.commands.send(Command::Shutdown).await;
        self.wait().await
    }

    /// Waits until the proxy has ended, by shutdown or by handing over.
    pub async fn wait(self) -> Result<(), ProxyError> {
        self.main.await.map_err(|error| ProxyError::Stopped { reason: error.to_string() })
    }
}

/// Runs a proxy in this process, without touching signals or inherited descriptors. For tests, demos, benchmarks.
pub async fn start(config: ProxyConfig) -> Result<ProxyHandle, ProxyError> {
    launch(config, Inherited::default()).await
}

/// Runs the proxy until it is shut down or has handed over. SIGTERM and SIGINT shut down (a second one aborts),
/// SIGHUP upgrades to the same program and arguments. Listening sockets may come from a previous proxy or systemd. The
/// soft limit of open descriptors is raised to the hard one.
pub async fn serve(config: ProxyConfig) -> Result<(), ProxyError> {
    let inherited = Inherited::from_environment(HANDOVER).map_err(ProxyError::sockets)?;
    raise_descriptor_limit();
    let watch = |kind| signal(kind).map_err(|error| ProxyError::Stopped { reason: error.to_string() });
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hang_up = watch(SignalKind::hangup())?;
    let handle = launch(config, inherited).await?;
    let commands = handle.commands.clone();
    let mut ended = std::pin::pin!(handle.wait());
    loop {
        let command = tokio::select! {
            ended = ended.as_mut() => return ended,
            _ = terminate.recv() => Command::Shutdown,
            _ = interrupt.recv() => Command::Shutdown,
            _ = hang_up.recv() => upgrade_by_signal(),
        };
        // A main task that has just ended shows in the next round.
        let _ = commands.send(command).await;
    }
}

fn upgrade_by_signal() -> Command {
    let (reply, outcome) = oneshot::channel::<Result<UpgradeView, ErrorView>>();
    tokio::spawn(async move {
        match outcome.await {
            Ok(Ok(view)) => tracing::info!(pid = view.pid, "upgraded"),
            Ok(Err(error)) => tracing::error!(error = error.message, "the upgrade failed; serving on"),
            Err(_) => tracing::error!("the proxy stopped before it could upgrade"),
        }
    });
    Command::Upgrade(UpgradeRequest::default(), reply)
}

/// Everything that can fail happens before the first request is accepted.
async fn launch(mut config: ProxyConfig, inherited: Inherited) -> Result<ProxyHandle, ProxyError> {
    let program = Program::current().map_err(ProxyError::sockets)?;
    config.connections_max = descriptors::connections(config.connections_max);
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.dir);
    created.map_err(|error| ProxyError::io("create", &config.dir, error))?;
    let owned = lockgate_own::own_folder(&config.dir);
    owned.map_err(|error| ProxyError::own("look at", &config.dir, error))?;
    let mut lock = match inherited.lock {
        Some(lock) => Lock::inherited(lock),
        None => acquire(&config)?,
    };
    let router = Router::open(&config)?;
    let listeners = match inherited.listeners {
        none if none.is_empty() => Listeners::bind(&config.listen)?,
        some => Listeners::inherited(some)?,
    };
    let addresses = listeners.addresses()?;
    let (access_log, writer) = AccessLog::open(config.access_log(), config.access_log_bytes_max)?;
    let bound = Bound::bind(&config.dir)?;
    let handed = introduce(inherited.link, config.upgrade_ready).await?;

    let ask_token = match &handed {
        Some(handed) => handed.ask_token.clone(),
        None => new_ask_token()?,
    };
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let parts = Parts { config, router, access_log, ask_token, addresses, commands: commands.clone() };
    let shared = Arc::new(Shared::new(parts));
    shared.router.set_predecessor(handed.as_ref().map(|handed| handed.predecessor.clone()));
    let admin = bound.publish(&shared)?;
    lock.sign().map_err(|error| ProxyError::io("write", shared.config.lock_file(), error))?;
    listeners.serve(&shared);
    if let Some(handed) = handed {
        handed.serving(shared.clone()).await?;
    }
    tracing::info!(addresses = ?shared.addresses, routes = shared.router.route_count(), "the proxy serves");
    let handle = (shared.addresses.clone(), shared.config.admin_socket(), shared.ask_token.clone());
    let main = Main { shared, listeners, lock, admin, writer, inbox, program };
    let (addresses, admin_socket, ask_token) = handle;
    Ok(ProxyHandle { addresses, admin_socket, ask_token, commands, main: tokio::spawn(main.run()) })
}

fn acquire(config: &ProxyConfig) -> Result<Lock, ProxyError> {
    let acquired = Lock::acquire(&config.lock_file()).map_err(ProxyError::sockets)?;
    acquired.map_err(|pid| ProxyError::AlreadyRunning { dir: config.dir.clone(), pid })
}

async fn introduce(
    link: Option<std::os::unix::net::UnixStream>,
    limit: Duration,
) -> Result<Option<Handed>, ProxyError> {
    let Some(stream) = link else { return Ok(None) };
    let link = handover::link(stream).map_err(|error| ProxyError::Handover { reason: error.to_string() })?;
    predecessor::introduce(link, limit).await.map(Some)
}

fn new_ask_token() -> Result<String, ProxyError> {
    let mut bytes = [0; ASK_TOKEN_BYTES];
    let source = "/dev/urandom";
    let read = fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| ProxyError::io("read", source, error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The main task: owns what must not be shared, and ends the others.
struct Main {
    shared: Arc<Shared>,
    listeners: Listeners,
    lock: Lock,
    admin: Admin,
    writer: Writer,
    inbox: mpsc::Receiver<Command>,
    program: Program,
}

impl Main {
    async fn run(mut self) {
        let successor = self.serve().await;
        self.shared.stop_accepting.cancel();
        let handed_over = successor.is_some();
        let follower =
            successor.map(|link| tokio::spawn(handover::follow_successor(self.shared.clone(), link)));
        if handed_over {
            self.admin.stop().await;
        }
        drop(self.listeners);
        drain(&self.shared, &mut self.inbox, handed_over).await;
        self.shared.router.retire_all();
        if let Some(follower) = follower {
            // Closing the link tells the successor that nothing is in flight here any more.
            follower.abort();
        }
        if !handed_over {
            self.admin.stop().await;
            remove_socket(&self.shared.config.admin_socket());
            if let Err(error) = self.lock.write(STOPPED) {
                tracing::warn!(%error, "the lock file can't be written: a supervisor will start the proxy again");
            }
        }
        drop(self.shared);
        self.writer.finished().await;
        drop(self.lock);
    }

    /// Serves until told to stop (`None`) or replaced by a successor.
    async fn serve(&mut self) -> Option<Link> {
        let mut reap = tokio::time::interval(Duration::from_secs(REAP_SECONDS));
        loop {
            let command = tokio::select! {
                command = self.inbox.recv() => command,
                _ = reap.tick() => {
                    self.shared.router.reap();
                    continue;
                }
            };
            match command {
                None | Some(Command::Shutdown) => return None,
                Some(Command::Upgrade(request, reply)) => {
                    if let Some(link) = self.upgrade(request, reply).await {
                        return Some(link);
                    }
                }
            }
        }
    }

    async fn upgrade(
        &mut self,
        request: UpgradeRequest,
        reply: oneshot::Sender<Result<UpgradeView, ErrorView>>,
    ) -> Option<Link> {
        let handed =
            handover::hand_over(&self.shared, &self.listeners, &self.lock, request, &self.program).await;
        let (answer, link) = match handed {
            Ok((link, pid)) => (Ok(UpgradeView { pid }), Some(link)),
            Err(refused) => {
                if refused.admin_lost {
                    self.take_back().await;
                }
                let message = format!("the new process doesn't serve, so this one does: {}", refused.reason);
                let hint = "look at the new process's standard error";
                (Err(ErrorView::new(ErrorKind::UpgradeFailed, message).hint(hint)), None)
            }
        };
        // The caller may have hung up; the upgrade stands all the same.
        let _ = reply.send(answer);
        link
    }

    /// Undoes what a successor that failed at the last moment may have taken: the admin socket and the signature.
    async fn take_back(&mut self) {
        if let Err(error) = self.lock.sign() {
            tracing::error!(%error, "the lock file can't be signed again");
        }
        match Bound::bind(&self.shared.config.dir).and_then(|bound| bound.publish(&self.shared)) {
            Ok(admin) => {
                // The old one ends in its own time: it still owes the answer to this very upgrade.
                let before = std::mem::replace(&mut self.admin, admin);
                tokio::spawn(async move { before.stop().await });
            }
            Err(error) => tracing::error!(%error, "the admin socket can't be taken back"),
        }
    }
}

/// Lets connections end: gently, then firmly, then at once.
async fn drain(shared: &Arc<Shared>, inbox: &mut mpsc::Receiver<Command>, handed_over: bool) {
    let config = &shared.config;
    let begun = Instant::now();
    let (patience, limit) = match handed_over {
        true => (config.lame_duck, config.upgrade_drain.max(config.lame_duck)),
        // Without a successor a new connection would be refused anyway, so idle ones needn't be kept.
        false => (Duration::ZERO, config.shutdown_drain),
    };
    shared.tasks.close();
    if !handed_over {
        // Nobody will let go what waits. In a successor somebody can, and it passes that on.
        shared.router.holds.stop();
    }
    shared.enter_phase(Phase::LameDuck);
    let gently = async {
        if timeout_at(begun + patience, idle(shared, handed_over)).await.is_ok() {
            return true;
        }
        shared.enter_phase(Phase::Finishing);
        timeout_at(begun + limit, idle(shared, handed_over)).await.is_ok()
    };
    let ended = tokio::select! {
        ended = gently => ended,
        () = second_shutdown(inbox) => false,
    };
    if !ended {
        tracing::warn!(in_flight = ?shared.router.in_flight(), "closing connections that are still busy");
        shared.enter_phase(Phase::Aborting);
        let limit = Instant::now() + Duration::from_secs(ABORT_SECONDS_MAX);
        if timeout_at(limit, shared.tasks.wait()).await.is_err() {
            tracing::error!("some connections can't be closed");
        }
    }
}

/// Waits until nothing is in flight. The successor hears of our own predecessor, if one still drains after two
/// upgrades in a row, only through us, so we outlive it.
async fn idle(shared: &Shared, handed_over: bool) {
    shared.tasks.wait().await;
    if handed_over && let Some(predecessor) = shared.router.predecessor() {
        predecessor.ended().await;
    }
}

/// Waits for a shutdown during the drain, which means at once. Upgrades are refused meanwhile.
async fn second_shutdown(inbox: &mut mpsc::Receiver<Command>) {
    while let Some(Command::Upgrade(_, reply)) = inbox.recv().await {
        // The caller may have hung up.
        let _ = reply.send(Err(ErrorView::new(ErrorKind::Unavailable, "the proxy is stopping")));
    }
}

fn remove_socket(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "the admin socket can't be removed");
    }
}
