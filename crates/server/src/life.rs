//! The life of a process that serves: it takes over or begins, serves, and ends by being stopped or replaced.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockgate_model::ListenAt;
use lockgate_orchestrator::queue::QueueCounts;
use lockgate_sockets::{Lock, Program};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppParts};
use crate::error::ServeError;
use crate::folder::Folder;
use crate::handover::{Predecessor, hand_over};
use crate::limits::Limits;
use crate::listen::Listeners;
use crate::server::{Connections, Server};
use crate::service_manager::ServiceManager;
use crate::tls::Tls;

/// How often the queue is looked at while it comes to its end.
const QUEUE_LOOK_MS: u64 = 50;
/// Wishes that wait while one is fulfilled.
const WISHES_MAX: usize = 8;

/// What the composition root hands in.
pub struct Parts {
    /// Where it listens.
    pub listeners: Listeners,
    /// The certificate. `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// The right to serve; of a predecessor, or this process's own.
    pub lock: Lock,
    /// The connection to the predecessor. `None`: there is none.
    pub link: Option<UnixStream>,
    /// How a successor is started.
    pub program: Program,
    /// Who wants to know how this process is.
    pub manager: ServiceManager,
    /// The daemon's own files.
    pub folder: Folder,
    /// What strangers may take.
    pub limits: Limits,
    /// What is answered.
    pub app: AppParts,
    /// What is to become of the process; a sender that is dropped stops it. See [`signals`].
    pub wishes: mpsc::Receiver<Wish>,
    /// Leaves all runs as they are, and answers who waits. Called once, before the turn is given back.
    pub leave: BoxFuture<'static, ()>,
    /// Given once this process may begin runs; the task that waits for the turn ends when it is cancelled.
    pub turn: Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// How the process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// This process has taken its place.
    ReplacedBy(u32),
}

/// What is to become of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It ends; runs are left to whoever comes next.
    Stop,
    /// A new process takes its place.
    Upgrade,
}

/// Wishes by signals: SIGTERM and SIGINT stop, SIGHUP upgrades. Listens until the receiver is dropped.
///
/// # Errors
/// [`ServeError::Io`]: signals cannot be watched.
pub fn signals() -> Result<mpsc::Receiver<Wish>, ServeError> {
    let watch = |kind| {
        signal(kind).map_err(|source| ServeError::Io {
            action: "watch signals of",
            path: "/proc/self".into(),
            source,
        })
    };
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hang_up = watch(SignalKind::hangup())?;
    let (sender, wishes) = mpsc::channel(WISHES_MAX);
    tokio::spawn(async move {
        loop {
            let wish = tokio::select! {
                _ = terminate.recv() => Wish::Stop,
                _ = interrupt.recv() => Wish::Stop,
                _ = hang_up.recv() => Wish::Upgrade,
            };
            if sender.send(wish).await.is_err() {
                return;
            }
        }
    });
    Ok(wishes)
}

/// Serves until it is asked to stop or is replaced. `serving` is told where it listens, once it does.
///
/// # Errors
/// [`ServeError`], before anything was accepted.
pub async fn serve(parts: Parts, serving: impl FnOnce(&[ListenAt])) -> Result<Ended, ServeError> {
    let Parts {
        mut listeners,
        tls,
        mut lock,
        link,
        program,
        manager,
        folder,
        limits,
        app,
        leave,
        turn,
        mut wishes,
    } = parts;
    let predecessor = match link {
        Some(link) => Some(Predecessor::meet(link).await?),
        None => None,
    };
    let queue = app.queue.clone();
    let connections = Connections::new(&limits);
    let app = App::new(app, connections.clone(), tls.clone());
    lock.sign().map_err(|source| ServeError::Io { action: "write", path: "serve.lock".into(), source })?;
    let server = Server::start(&listeners, tls.as_ref(), limits, &connections, app.answer());
    let places = listeners.places();
    match predecessor {
        Some(predecessor) => {
            listeners.take_over_files();
            // It tells the service manager that this process is the service now: to others it does not listen.
            let pid = predecessor.serving().await?;
            tracing::info!(pid, "took over from the process before");
        }
        None => manager.ready(&format!("listening at {}", shown(&places))),
    }
    serving(&places);
    let watching = tls.map(|tls| tokio::spawn(tls.watch(limits.certificate_look)));
    let end_of_turn = CancellationToken::new();
    let running = tokio::spawn(turn(end_of_turn.clone()));
    let heir = until_ended(&mut wishes, &listeners, &mut lock, &program, &manager, &folder).await;
    app.stops();
    if let Some(watching) = watching {
        watching.abort();
    }
    server.leave(heir.is_some());
    match heir {
        Some(pid) => {
            manager.replaced_by(pid);
            listeners.give_away();
            drop(listeners);
            finish_queue(&mut wishes, &server, queue.as_ref(), limits.lame_duck).await;
        }
        None => {
            manager.stopping();
            drop(listeners);
        }
    }
    leave.await;
    // From here on nothing is begun here: the successor may.
    end_of_turn.cancel();
    if let Err(error) = running.await {
        tracing::error!(%error, "the task that runs what was accepted ended abnormally");
    }
    server.finish().await;
    drop(lock);
    Ok(heir.map_or(Ended::Stopped, Ended::ReplacedBy))
}

fn shown(places: &[ListenAt]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The successor's process id; `None` where there is none.
async fn until_ended(
    wishes: &mut mpsc::Receiver<Wish>,
    listeners: &Listeners,
    lock: &mut Lock,
    program: &Program,
    manager: &ServiceManager,
    folder: &Folder,
) -> Option<u32> {
    loop {
        match wishes.recv().await {
            None | Some(Wish::Stop) => return None,
            Some(Wish::Upgrade) => match hand_over(listeners, lock, program, manager).await {
                Ok(pid) => return Some(pid),
                Err(reason) => {
                    // It may have signed before it failed.
                    if let Err(error) = lock.sign() {
                        tracing::error!(%error, "the lock file cannot be signed again");
                    }
                    tracing::error!(reason, "the upgrade failed; this process serves on");
                    folder.note_failed_upgrade(&reason);
                }
            },
        }
    }
}

/// Everything that was accepted here comes to its end here, unless somebody has no time for that.
async fn finish_queue(
    wishes: &mut mpsc::Receiver<Wish>,
    server: &Server,
    queue: &(dyn Fn() -> QueueCounts + Send + Sync),
    lame_duck: Duration,
) {
    let ended = async {
        // Until then a client may still send a call by a connection that it has.
        if tokio::time::timeout(lame_duck, server.is_empty()).await.is_err() {
            tracing::debug!("connections are still open");
        }
        loop {
            let QueueCounts { running, waiting, .. } = queue();
            if running + waiting == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(QUEUE_LOOK_MS)).await;
        }
    };
    let stopped = async {
        loop {
            match wishes.recv().await {
                None | Some(Wish::Stop) => return,
                Some(Wish::Upgrade) => tracing::info!("this process has been replaced already"),
            }
        }
    };
    tokio::select! {
        () = ended => {}
        () = stopped => tracing::info!("asked to stop: what is under way is left to the successor"),
    }
}
