//! One life of a daemon: a process with a queue, whose sessions each have a bad day of their own, and which dies as a whole.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_model::{
    CheckWant, EnvironmentName, Event, GateAnswer, HistoryFilter, HostLog, LogsWant, Mask, PastRun, Planned,
    Refusal, Report, Requester, Resume, Resumed, RunId, ServiceClosely, ServiceName, ServiceStatus, Want,
};
use lockgate_orchestrator::queue::QueueParts;
use lockgate_orchestrator::{Examined, Handle, InProcess, Orchestrator};
use lockgate_ports::fake::FakeStore;

use crate::Random;
use crate::actor::Actor;
use crate::bad_day::BadDay;
use crate::sessions::Kin;
use crate::story::{Command, Turn, day};
use crate::telling::{Stage, VirtualClock};

/// On which machine the daemon is.
const MACHINE: usize = 0;

pub(crate) struct Daemon {
    stage: Arc<Stage>,
    pid: u32,
    /// Polls all that is not a session's.
    pub(crate) process: Arc<Actor>,
    sessions: Mutex<Vec<Arc<Actor>>>,
    next: AtomicU32,
    /// `None`: every day is good.
    luck: Mutex<Option<Random>>,
}

impl Daemon {
    pub(crate) fn new(stage: Arc<Stage>, pid: u32, luck: Option<Random>) -> Arc<Self> {
        let process = stage.actor(&turn(BadDay::default()), pid);
        Arc::new(Self {
            stage,
            pid,
            process,
            sessions: Mutex::default(),
            next: AtomicU32::new(1),
            luck: Mutex::new(luck),
        })
    }

    pub(crate) fn parts(self: &Arc<Self>, store: Arc<FakeStore>, runs: Arc<AtomicU64>) -> QueueParts {
        let (project, ..) = self.stage.story.scene.project();
        let process = self.process.clone();
        QueueParts {
            project: project.name.clone(),
            orchestrator: self.clone(),
            store,
            clock: Arc::new(VirtualClock(self.stage.began)),
            new_run: Arc::new(move || run(runs.fetch_add(1, Ordering::SeqCst))),
            mask: Mask::default(),
            spawn: Arc::new(move |task| {
                let process = process.clone();
                drop(tokio::spawn(async move {
                    process.live(task).await;
                }));
            }),
        }
    }

    /// A session of this process, with its own luck.
    fn session(&self) -> InProcess {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let hosts = self.stage.story.scene.hosts.len() as u64;
        let mut luck = self.luck.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turn(luck.as_mut().map(|random| day(random, hosts)).unwrap_or_default());
        drop(luck);
        let actor = self.stage.actor_in(&turn, self.pid, number);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Kin::unite(&self.process, &actor);
        sessions.iter().for_each(|other| Kin::unite(other, &actor));
        if self.process.is_dead() {
            actor.dies("with its process");
        }
        sessions.push(actor.clone());
        InProcess::new(self.stage.parts(&actor, &turn))
    }
}

/// A run that a call has named.
pub(crate) fn run(number: u64) -> RunId {
    RunId(uuid::Uuid::from_u128((8 << 76) | u128::from(number)))
}

/// What its command is does not matter: its queue says what is done.
fn turn(day: BadDay) -> Turn {
    Turn::new(Command::Resume, MACHINE, day)
}

fn not_played() -> Refusal {
    Refusal::usage("no queue asks for that", "it is not played")
}

#[async_trait]
impl Orchestrator for Daemon {
    async fn start(&self, want: &Want, requester: &Requester) -> Result<Handle<Report>, Refusal> {
        self.session().start(want, requester).await
    }

    async fn resume(&self, what: &Resume, requester: &Requester) -> Result<Handle<Resumed>, Refusal> {
        self.session().resume(what, requester).await
    }

    async fn events_of(&self, run: RunId) -> Result<Vec<Event>, Refusal> {
        Ok(self.stage.memories[MACHINE].of(run))
    }

    async fn plan(&self, _: &Want) -> Result<Planned, Refusal> {
        Err(not_played())
    }

    async fn status(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceStatus>, Refusal> {
        Err(not_played())
    }

    async fn status_closely(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceClosely>, Refusal> {
        Err(not_played())
    }

    async fn doctor(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<Examined>, Refusal> {
        Err(not_played())
    }

    async fn history(&self, _: &HistoryFilter) -> Result<Vec<PastRun>, Refusal> {
        Err(not_played())
    }

    async fn check(&self, _: &CheckWant) -> Result<Vec<GateAnswer>, Refusal> {
        Err(not_played())
    }

    async fn logs(&self, _: &LogsWant) -> Result<Vec<HostLog>, Refusal> {
        Err(not_played())
    }
}
