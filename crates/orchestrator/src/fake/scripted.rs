//! The orchestrator that goes by a script.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{
    Abandoned, CheckWant, Ended, EnvironmentName, Event, EventKind, Failure, FailureKind, GateAnswer,
    HistoryFilter, HostId, HostLog, Leftover, LogsWant, Observed, Outcome, PastRun, Plan, Planned, Progress,
    ProjectName, Refusal, Report, Requester, Resume, Resumed, RunId, ServiceClosely, ServiceName,
    ServiceStatus, Timestamp, Told, Want,
};
use tokio::sync::watch;

use super::script::{self, Ending, Script};
use crate::{Examined, Handle, Orchestrator, Seat, Stoppable, handle};

/// Longest wait of a test for something that is to come about.
const WAIT_SECONDS_MAX: u64 = 20;

/// Deployments end as they are told to, by their tag; one of which nothing was said succeeds at once. What was begun stays in
/// its journal, so that one that is kept beyond the death of who used it is what a new process finds.
///
/// Two sessions of one service in one environment exclude each other, and a run that was named begins at most once, as of
/// the real one. Of what only looks it says nothing.
#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    project: ProjectName,
    script: Mutex<Script>,
    /// Something in the script has changed.
    news: watch::Sender<u64>,
}

impl Scripted {
    /// Nothing has begun.
    #[must_use]
    pub fn new(project: ProjectName) -> Self {
        Self(Arc::new(Inner { project, script: Mutex::default(), news: watch::Sender::new(0) }))
    }

    /// How the deployment of this tag ends.
    pub fn ends(&self, tag: &str, ending: Ending) {
        self.change(|script| drop(script.endings.insert(tag.to_owned(), ending)));
    }

    /// What is told while the tag is deployed, before it waits and ends.
    pub fn tells(&self, tag: &str, told: Vec<Told>) {
        self.change(|script| drop(script.told.insert(tag.to_owned(), told)));
    }

    /// The tag's deployment waits, once its run has begun, until [`Scripted::lets_go`].
    pub fn holds(&self, tag: &str) {
        self.change(|script| script.held.insert(tag.to_owned()));
    }

    /// See [`Scripted::holds`].
    pub fn lets_go(&self, tag: &str) {
        self.change(|script| script.held.remove(tag));
    }

    /// Whether its journal can be used, for beginning and for reading.
    pub fn journal_fails(&self, fails: bool) {
        self.change(|script| script.journal_fails = fails);
    }

    /// The process is killed: sessions end without a word, and their runs are left in the journal as they are.
    pub fn is_killed(&self) {
        self.change(|script| {
            script.life += 1;
            script.at_work.clear();
        });
    }

    /// What was asked for, in order, also where nothing came of it.
    #[must_use]
    pub fn started(&self) -> Vec<Want> {
        self.script().started.iter().map(|(want, _)| want.clone()).collect()
    }

    /// Who asked for it.
    #[must_use]
    pub fn requesters(&self) -> Vec<Requester> {
        self.script().started.iter().map(|(_, requester)| requester.clone()).collect()
    }

    /// Runs that were begun, in the order of their ids.
    #[must_use]
    pub fn runs(&self) -> Vec<RunId> {
        self.script().journal.keys().copied().collect()
    }

    /// How often something was resumed.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.script().resumed
    }

    /// Returns when so much was asked for.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn has_started(&self, count: usize) {
        self.until(|script| script.started.len() >= count).await;
    }

    /// Returns when so many runs have begun.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn has_begun(&self, count: usize) {
        self.until(|script| script.journal.len() >= count).await;
    }

    async fn until(&self, is_so: impl Fn(&Script) -> bool) {
        let mut news = self.0.news.subscribe();
        let came_about = async {
            loop {
                if is_so(&self.script()) || news.changed().await.is_err() {
                    return;
                }
            }
        };
        let bound = Duration::from_secs(WAIT_SECONDS_MAX);
        let waited = tokio::time::timeout(bound, came_about).await;
        assert!(waited.is_ok(), "it does not come about: {:?}", self.script());
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let changed = change(&mut self.script());
        self.0.news.send_modify(|news| *news += 1);
        changed
    }

    fn begin<T: Send + 'static>(&self, work: impl AsyncSession<T> + Send + 'static) -> Handle<T> {
        let (stop, stopped) = watch::channel(Stopped::No);
        let (handle, mut seat) = handle("scripted".to_owned(), Arc::new(Bell(stop)));
        let life = self.script().life;
        let this = self.clone();
        tokio::spawn(async move {
            if let Some(end) = work.run(&this, &mut seat, life, stopped).await {
                seat.end(end);
            }
        });
        handle
    }

    /// Takes the place, as a lease does. `None`: somebody else has it.
    fn take(&self, place: &str) -> bool {
        self.change(|script| script.at_work.insert(place.to_owned()))
    }

    fn give_back(&self, place: &str, life: u64) {
        self.change(|script| script.life == life && script.at_work.remove(place));
    }

    fn say(&self, seat: &Seat<impl Sized>, run: RunId, kind: EventKind) {
        let event = self.change(|script| {
            let at = Timestamp(i64::try_from(script.journal.len()).unwrap_or(i64::MAX));
            script.append(run, kind, at)
        });
        seat.sink().event(&event);
    }

    /// Waits for as long as the tag is held. `None`: the process is killed.
    async fn wait(&self, tag: &str, life: u64, stopped: &mut watch::Receiver<Stopped>) -> Option<Stopped> {
        let mut news = self.0.news.subscribe();
        loop {
            {
                let script = self.script();
                if script.life != life {
                    return None;
                }
                let stopped = *stopped.borrow();
                if stopped != Stopped::No || !script.held.contains(tag) {
                    return Some(stopped);
                }
            }
            tokio::select! {
                biased;
                changed = news.changed() => changed.ok()?,
                () = rung(stopped) => {}
            }
        }
    }

    async fn deploy(
        &self,
        seat: &Seat<Report>,
        want: &Want,
        run: RunId,
        life: u64,
        mut stopped: watch::Receiver<Stopped>,
    ) -> Option<Result<Report, Refusal>> {
        let plan = script::plan(&self.0.project, want);
        let tag = plan.release.tag.to_string();
        let ending = self.script().ending(&tag);
        if !matches!(ending, Ending::Run(_)) {
            self.wait(&tag, life, &mut stopped).await?;
        }
        let outcome = match ending {
            Ending::Refused(refusal) => return Some(Err(*refusal)),
            Ending::LiveAlready => {
                let outcome = Outcome::Succeeded { warnings: Vec::new() };
                return Some(Ok(script::report(None, plan, outcome)));
            }
            Ending::Run(outcome) => outcome,
        };
        if self.script().journal_fails {
            return Some(Err(Refusal::Journal { failure: unusable() }));
        }
        if self.script().journal.contains_key(&run) {
            let failure = Failure::new(FailureKind::Conflict, format!("run {run} has begun before"));
            return Some(Err(Refusal::BegunBefore { failure, run }));
        }
        let started = EventKind::RunStarted {
            plan: Box::new(plan.clone()),
            owner: "kim@desk".to_owned(),
            requester: None,
        };
        self.say(seat, run, started);
        let told = self.script().told.get(&tag).cloned().unwrap_or_default();
        told.into_iter().for_each(|told| seat.voice.tell(told));
        let outcome = match self.wait(&tag, life, &mut stopped).await? {
            Stopped::Leave => return Some(Err(abandoned(run, &plan))),
            Stopped::Undo => Outcome::Failed { failure: Failure::new(FailureKind::Cancelled, "undone") },
            Stopped::No => outcome,
        };
        self.say(seat, run, EventKind::RunEnded { outcome: outcome.clone() });
        Some(Ok(script::report(Some(run), plan, outcome)))
    }

    async fn go_on(
        &self,
        seat: &Seat<Resumed>,
        place: &str,
        plan: Plan,
        life: u64,
        mut stopped: watch::Receiver<Stopped>,
    ) -> Option<Result<Resumed, Refusal>> {
        let mut ended = Vec::new();
        while let Some((run, plan)) = { self.script().unfinished(place) } {
            let owner = "kim@desk".to_owned();
            let (left, without) = (Vec::new(), Vec::new());
            self.say(seat, run, EventKind::Adopted { owner, progress: Progress::Forward, left, without });
            let tag = plan.release.tag.to_string();
            if self.wait(&tag, life, &mut stopped).await? == Stopped::Leave {
                return Some(Err(abandoned(run, &plan)));
            }
            let outcome = match self.script().ending(&tag) {
                Ending::Run(outcome) => outcome,
                Ending::LiveAlready => Outcome::Succeeded { warnings: Vec::new() },
                Ending::Refused(refusal) => return Some(Err(*refusal)),
            };
            self.say(seat, run, EventKind::RunEnded { outcome: outcome.clone() });
            ended.push(Ended { run, what: Leftover::CutOff, outcome });
        }
        Some(Ok(Resumed { ended, status: script::status(&plan), refusal: None }))
    }
}

fn unusable() -> Failure {
    Failure::new(FailureKind::Unreachable, "the journal cannot be used")
}

fn abandoned(run: RunId, plan: &Plan) -> Refusal {
    let abandoned = Abandoned {
        run: Some(run),
        release: Some(plan.release.clone()),
        status: script::status(plan),
        hosts: vec![HostId::local()],
    };
    Refusal::Abandoned { abandoned: Box::new(abandoned) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    No,
    Undo,
    Leave,
}

/// How a session is stopped.
struct Bell(watch::Sender<Stopped>);

impl Stoppable for Bell {
    fn undo(&self, _: &Requester) {
        self.0.send_replace(Stopped::Undo);
    }

    fn leave(&self) {
        self.0.send_replace(Stopped::Leave);
    }
}

/// Returns when somebody stops the session; never when nobody can any more.
async fn rung(stopped: &mut watch::Receiver<Stopped>) {
    if stopped.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What a session does.
trait AsyncSession<T> {
    /// `None`: the process is killed, and says nothing more.
    fn run(
        self,
        scripted: &Scripted,
        seat: &mut Seat<T>,
        life: u64,
        stopped: watch::Receiver<Stopped>,
    ) -> impl Future<Output = Option<Result<T, Refusal>>> + Send;
}

struct Deploying {
    want: Want,
    run: RunId,
}

impl AsyncSession<Report> for Deploying {
    async fn run(
        self,
        scripted: &Scripted,
        seat: &mut Seat<Report>,
        life: u64,
        stopped: watch::Receiver<Stopped>,
    ) -> Option<Result<Report, Refusal>> {
        let place = script::place_of(&script::plan(&scripted.0.project, &self.want));
        if !scripted.take(&place) {
            return Some(Err(script::held()));
        }
        let end = scripted.deploy(seat, &self.want, self.run, life, stopped).await;
        scripted.give_back(&place, life);
        end
    }
}

struct Resuming {
    what: Resume,
}

impl AsyncSession<Resumed> for Resuming {
    async fn run(
        self,
        scripted: &Scripted,
        seat: &mut Seat<Resumed>,
        life: u64,
        stopped: watch::Receiver<Stopped>,
    ) -> Option<Result<Resumed, Refusal>> {
        let mut want = Want::rollback(self.what.service);
        want.environment = self.what.environment;
        let plan = script::plan(&scripted.0.project, &want);
        let place = script::place_of(&plan);
        if !scripted.take(&place) {
            return Some(Err(script::held()));
        }
        let end = scripted.go_on(seat, &place, plan, life, stopped).await;
        scripted.give_back(&place, life);
        end
    }
}

#[async_trait]
impl Orchestrator for Scripted {
    async fn start(&self, want: &Want, requester: &Requester) -> Result<Handle<Report>, Refusal> {
        let run = self.change(|script| {
            script.started.push((want.clone(), requester.clone()));
            let number = script.started.len() as u128;
            want.run.unwrap_or(RunId(uuid::Uuid::from_u128(number)))
        });
        Ok(self.begin(Deploying { want: want.clone(), run }))
    }

    async fn resume(&self, what: &Resume, _: &Requester) -> Result<Handle<Resumed>, Refusal> {
        self.change(|script| script.resumed += 1);
        Ok(self.begin(Resuming { what: what.clone() }))
    }

    async fn plan(&self, want: &Want) -> Result<Planned, Refusal> {
        Ok(Planned::new(&script::plan(&self.0.project, want), Observed::default()))
    }

    async fn status(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceStatus>, Refusal> {
        Ok(Vec::new())
    }

    async fn status_closely(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceClosely>, Refusal> {
        Ok(Vec::new())
    }

    async fn doctor(
        &self,
        _: Option<&ServiceName>,
        _: Option<&EnvironmentName>,
    ) -> Result<Vec<Examined>, Refusal> {
        Ok(Vec::new())
    }

    async fn history(&self, _: &HistoryFilter) -> Result<Vec<PastRun>, Refusal> {
        Ok(Vec::new())
    }

    async fn events_of(&self, run: RunId) -> Result<Vec<Event>, Refusal> {
        let script = self.script();
        match script.journal_fails {
            true => Err(Refusal::Journal { failure: unusable() }),
            false => Ok(script.journal.get(&run).cloned().unwrap_or_default()),
        }
    }

    async fn check(&self, _: &CheckWant) -> Result<Vec<GateAnswer>, Refusal> {
        Ok(Vec::new())
    }

    async fn logs(&self, _: &LogsWant) -> Result<Vec<HostLog>, Refusal> {
        Ok(Vec::new())
    }
}
