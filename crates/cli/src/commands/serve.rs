//! `serve`: signed calls are taken, and deployed one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use lockgate_config::Purpose;
use lockgate_engine::Journal;
use lockgate_model::{Failure, FailureKind, ListenAt, Project, RunId, Serve};
use lockgate_orchestrator::InProcess;
use lockgate_orchestrator::queue::{Queue, QueueParts};
use lockgate_server::{
    Answer, AppParts, Bounds, Ended, Endpoints, Folder, Limits, Listeners, Metrics, Now, Parts, ServeError,
    Served, Tls, serve, signals,
};
use lockgate_sockets::{Lock, Program, raise_descriptor_limit};
use lockgate_store::SqlStore;
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::args::{self, Format, Global};
use crate::error::CliError;
use crate::exit::Exit;
use crate::given::Given;
use crate::output::Output;
use crate::watcher::{Counted, Watcher};
use crate::{requester, secrets, tools};

/// Where the daemon's own files are, below the folder of lockgate.yaml.
const FOLDER: &str = ".lockgate/serve";
/// How long calls wait for what is brought back at the start; after that both go on beside each other.
const WAKE_SECONDS_MAX: u64 = 10;
/// How long an upgrade may take: the new process has to become ready, and the old one waits for that itself.
const UPGRADE_SECONDS_MAX: u64 = 40;
const UPGRADE_LOOK_MS: u64 = 50;

pub async fn run(args: args::Serve, global: &Global, output: &Output) -> Result<Exit, CliError> {
    if args.upgrade {
        return upgrade(&Context::load(global, output)?).await;
    }
    let context = Context::load_whole_for(Purpose::Serve, global, output).await?;
    let Given { inherited, manager } = match args.given {
        Some(given) => given,
        None => return Err(CliError::failed("what this process was given is not known")),
    };
    raise_descriptor_limit();
    let configured = configured(&context)?;
    let folder = folder(&context.project)?;
    let lock = match inherited.lock {
        Some(lock) => Lock::inherited(lock),
        None => match folder.serve()? {
            Served::Free(lock) => lock,
            Served::By(pid) => return Err(ServeError::AlreadyRunning { pid }.into()),
        },
    };
    let clock = tools::clock();
    let now: Now = Arc::new(move || clock.now());
    let tls = configured.tls.as_ref().map(|files| Tls::open(files, now.clone()));
    let tls = tls.transpose().map_err(ServeError::from)?;
    let listeners = Listeners::open(configured, inherited.listeners, inherited.link.is_some())?;
    let daemon = Daemon::open(&context).await?;
    let parts = Parts {
        listeners,
        tls,
        lock,
        link: inherited.link,
        program: Program::current().map_err(ServeError::from)?,
        manager,
        folder: folder.clone(),
        limits: Limits::default().within_descriptors(),
        app: daemon.app()?,
        wishes: signals()?,
        leave: daemon.leave(),
        turn: daemon.turn(folder),
    };
    let ended = serve(parts, |places| say(output, configured, places)).await?;
    output.tell_the_rest().await;
    match ended {
        Ended::Stopped => tracing::info!("stopped"),
        Ended::ReplacedBy(pid) => tracing::info!(pid, "replaced"),
    }
    // What was under way is left as it is: dropping it would undo or end parts of it.
    lockgate_ssh::end_masters();
    std::process::exit(i32::from(Exit::Succeeded.code()))
}

/// What `serve:` says.
pub(super) fn configured<'a>(context: &'a Context<'_>) -> Result<&'a Serve, CliError> {
    context.project.serve.as_ref().ok_or_else(|| {
        CliError::usage(
            "lockgate.yaml has no `serve`",
            "add it: `serve: { endpoints: { /deploy: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] } } }`",
        )
    })
}

fn folder(project: &Project) -> Result<Folder, CliError> {
    Ok(Folder::open(project.root.join(FOLDER))?)
}

/// Where it listens, on stdout for who started it.
fn say(output: &Output, configured: &Serve, places: &[ListenAt]) {
    let url = |place: &ListenAt| match place {
        ListenAt::Unix(_) => place.to_string(),
        ListenAt::Tcp(address) if configured.tls.is_some() => format!("https://{address}"),
        ListenAt::Tcp(address) => format!("http://{address}"),
    };
    let urls: Vec<String> = places.iter().map(url).collect();
    match output.format {
        Format::Json => output.json(&serde_json::json!({ "event": "serving", "listening": urls })),
        Format::Text => output.text(&format!("listening at {}", urls.join(", "))),
    }
}

/// The parts behind the server.
struct Daemon {
    project: Arc<Project>,
    store: Arc<SqlStore>,
    orchestrator: InProcess,
    queue: Queue,
    metrics: Metrics,
    /// This process may begin runs.
    begin: CancellationToken,
}

impl Daemon {
    async fn open(context: &Context<'_>) -> Result<Self, CliError> {
        let project = context.project.clone();
        let store = tools::store(&project);
        let unusable = |error: lockgate_engine::JournalError| {
            let hint = error.hint().to_owned();
            CliError::from(Failure::new(FailureKind::Other, error.to_string()).hint(hint))
        };
        store.connect().await.map_err(unusable)?;
        let metrics = Metrics::default();
        let counted = metrics.clone();
        let watcher = Arc::new(Watcher(metrics.clone()));
        let orchestrator =
            tools::serving(&project, context.wires.clone(), store.clone(), watcher, move |notifier| {
                Arc::new(Counted { notifier, metrics: counted.clone() })
            });
        context.output.also_tells(orchestrator.teller().clone());
        let begin = CancellationToken::new();
        let turn = {
            let begin = begin.clone();
            Box::pin(async move { begin.cancelled().await })
        };
        let parts = QueueParts {
            project: project.name.clone(),
            orchestrator: Arc::new(orchestrator.clone()),
            store: store.clone(),
            clock: tools::clock(),
            new_run: Arc::new(tools::new_run),
            mask: secrets::mask(&project),
            spawn: tools::spawn(),
        };
        let queue = Queue::open_before(parts, turn);
        Ok(Self { project, store, orchestrator, queue, metrics, begin })
    }

    fn app(&self) -> Result<AppParts, CliError> {
        let unprotected = |error: lockgate_server::Unprotected| {
            CliError::usage(error.to_string(), "`openssl rand -hex 32` makes a good secret")
        };
        let mask = secrets::mask(&self.project);
        let endpoints = Endpoints::new(self.project.clone(), self.queue.clone(), mask, Bounds::default())
            .map_err(unprotected)?;
        let calls: Answer = Arc::new(move |request, peer| {
            let endpoints = endpoints.clone();
            Box::pin(async move { endpoints.answer(request, &peer.to_string()).await })
        });
        let (queue, store, clock) = (self.queue.clone(), self.store.clone(), tools::clock());
        Ok(AppParts {
            calls,
            metrics: self.metrics.clone(),
            queue: Arc::new(move || queue.counts()),
            store: Arc::new(move || {
                let store = store.clone();
                Box::pin(async move {
                    // Of no run: a question that reaches the store.
                    let read = store.load(RunId(uuid::Uuid::nil())).await;
                    read.map(drop).map_err(|error| error.to_string())
                })
            }),
            now: Arc::new(move || clock.now()),
            instance: instance(&self.project),
        })
    }

    fn leave(&self) -> BoxFuture<'static, ()> {
        let queue = self.queue.clone();
        Box::pin(async move { queue.leave().await })
    }

    /// What is done once this process is the one that may run something here: what was live is brought back, what was cut off
    /// is brought to its end, then calls are.
    fn turn(&self, folder: Folder) -> Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, ()> + Send + Sync> {
        let (orchestrator, begin) = (self.orchestrator.clone(), self.begin.clone());
        Arc::new(move |over| {
            let (folder, orchestrator, begin) = (folder.clone(), orchestrator.clone(), begin.clone());
            Box::pin(async move {
                let turn = tokio::select! {
                    () = over.cancelled() => return,
                    turn = folder.turn() => turn,
                };
                let lock = match turn {
                    Ok(lock) => lock,
                    Err(error) => {
                        tracing::error!(%error, hint = error.hint(), "no run can begin here");
                        return over.cancelled().await;
                    }
                };
                let waking = tokio::spawn(async move { wake(&orchestrator).await });
                tokio::select! {
                    () = over.cancelled() => return,
                    _ = tokio::time::timeout(Duration::from_secs(WAKE_SECONDS_MAX), waking) => {}
                }
                begin.cancel();
                over.cancelled().await;
                drop(lock);
            })
        })
    }
}

/// Brings back what was live on this machine, and what was cut off to its end.
async fn wake(orchestrator: &InProcess) {
    for woken in orchestrator.wake(&requester::here()).await {
        match woken.is_well() {
            true => tracing::info!("{}", woken.said()),
            false => tracing::error!("{}", woken.said()),
        }
    }
}

/// Has the process that serves here replaced, and waits until it is.
async fn upgrade(context: &Context<'_>) -> Result<Exit, CliError> {
    let nobody = || {
        CliError::usage(
            "`lockgate serve` is not running here",
            "`lockgate serve` starts it; nothing has to be replaced",
        )
    };
    let project = &context.project;
    let Some(before) = serving(project)?.flatten() else { return Err(nobody()) };
    let folder = folder(project)?;
    folder.forget_failed_upgrade()?;
    let pid = i32::try_from(before).ok().and_then(Pid::from_raw).ok_or_else(nobody)?;
    kill_process(pid, Signal::HUP).map_err(std::io::Error::from)?;
    let limit = Instant::now() + Duration::from_secs(UPGRADE_SECONDS_MAX);
    while Instant::now() < limit {
        if let Some(reason) = folder.failed_upgrade() {
            let failure = Failure::new(
                FailureKind::Other,
                format!("the new process does not serve, so the one before does: {reason}"),
            );
            return Err(failure.hint("its own messages are in the log of the one that serves").into());
        }
        match serving(project)? {
            Some(Some(now)) if now != before => {
                context.output.text(&format!("process {now} serves in the place of {before}"));
                return Ok(Exit::Succeeded);
            }
            Some(_) => {}
            None => return Err(CliError::failed("the process that served here has ended")),
        }
        tokio::time::sleep(Duration::from_millis(UPGRADE_LOOK_MS)).await;
    }
    let message = format!("process {before} has not been replaced within {UPGRADE_SECONDS_MAX} s");
    Err(Failure::new(FailureKind::TimedOut, message).hint("see its log").into())
}

/// What the project's daemon says of itself, wherever it is asked.
pub(super) fn instance(project: &Project) -> String {
    Folder::instance(&project.root.join(FOLDER))
}

/// Whether somebody serves; with the process id, where it is written down already.
pub(super) fn serving(project: &Project) -> Result<Option<Option<u32>>, CliError> {
    Ok(Folder::server(&project.root.join(FOLDER))?)
}
