//! The orchestrator in this process: each session a task of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use lockgate_engine::{Clock, EventSink, Interrupt, Journal};
use lockgate_model::{
    Abandoned, Aim, CheckWant, Environment, EnvironmentName, Event, Failure, FailureKind, GateAnswer, Gates,
    HistoryFilter, HostId, HostLog, Identity, Leftover, LogsWant, Mask, Millis, Moment, PastRun, Planned,
    Project, Refusal, Rejected, Report, Requester, Resume, Resumed, RunId, Service, ServiceClosely,
    ServiceName, ServiceStatus, StepProgress, Told, Want,
};
use tokio::sync::watch;

use crate::doctor::{self, Around, Beside};
use crate::handle::{Handle, Seat, Stoppable, handle};
use crate::service::Orchestrator;
use crate::session::{Session, Tools};
use crate::state_files::{Conclude, StateFiles};
use crate::{Examined, Site, Teller, Unbegun, agreed, history, lookup, refused, waiting};

/// Longest wait until the hosts know that a run turns back, so that whoever comes next does not go on with it.
const HEEDED_SECONDS_MAX: u64 = 2;
/// Longest look at the hosts once somebody wants to be gone; all are looked at beside each other.
const LOOK_SECONDS_MAX: u64 = 2;
/// Longest time for which what was under way of a session that was left is kept, standing still, for whoever ends this
/// process now: so it is neither undone nor put in order. Afterwards it is dropped, as it would be with the process.
const LEFT_SECONDS_MAX: u64 = 5;

/// What makes a place for a session: concrete drivers, which only the composition root knows.
pub trait Wiring: Send + Sync {
    /// # Errors
    /// `Usage` when the configuration leaves something open that a driver needs.
    fn site(&self, service: &Service, environment: &Environment) -> Result<Site, Refusal>;
}

/// Starts a task that goes on by itself.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// What the composition root hands in.
#[derive(Clone)]
pub struct Parts {
    /// What `lockgate.yaml` says.
    pub project: Arc<Project>,
    /// Makes drivers for a service in an environment.
    pub wiring: Arc<dyn Wiring>,
    /// Where runs are written down.
    pub journal: Arc<dyn Journal>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Of this process; each session is a holder of leases by itself.
    pub identity: Identity,
    /// True when a lease's holder ran on this machine and boot and is certainly gone.
    pub surely_dead: Arc<dyn Fn(&lockgate_model::Holder) -> bool + Send + Sync>,
    /// Gives each run its id; each one is used once.
    pub new_run: Arc<dyn Fn() -> RunId + Send + Sync>,
    /// How long a lease holds after each heartbeat.
    pub lease_ttl: Millis,
    /// Through whom people are told.
    pub teller: Teller,
    /// `None`: no state files are asked for.
    pub state_files: Option<StateFiles>,
    /// What the project has beside its hosts, for `doctor`; `None`: that is not looked at.
    pub beside: Option<Arc<dyn Beside>>,
    /// Hears the events of all sessions; must not block. `None`: nobody does but who holds a session's handle.
    pub watcher: Option<Arc<dyn EventSink>>,
    /// Begins a session's task, which nobody waits for.
    pub spawn: Spawn,
}

/// One project's orchestrator. Cheap to clone.
#[derive(Clone)]
pub struct InProcess {
    parts: Arc<Parts>,
}

impl InProcess {
    /// Nothing is begun or looked at.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Through whom people are told, for whoever ends the process: see [`Teller::finish`].
    #[must_use]
    pub fn teller(&self) -> &Teller {
        &self.parts.teller
    }

    pub(crate) fn project(&self) -> &Project {
        &self.parts.project
    }

    pub(crate) fn site(&self, service: &str, environment: Option<&EnvironmentName>) -> Result<Site, Refusal> {
        let environment = lookup::environment(self.project(), environment.map(EnvironmentName::as_str))?;
        self.parts.wiring.site(lookup::service(self.project(), service)?, environment)
    }

    fn environment_of(&self, want: &Want) -> Result<&Environment, Refusal> {
        lookup::deployable(self.project(), want.environment.as_ref().map(EnvironmentName::as_str))
    }

    /// Where something is to be changed.
    fn site_of(&self, want: &Want) -> Result<Site, Refusal> {
        let environment = self.environment_of(want)?;
        let service = lookup::service(self.project(), want.service.as_str())?;
        let skipped = lookup::skipped(environment, want.skip.iter().map(HostId::as_str))?;
        Ok(self.parts.wiring.site(service, environment)?.without(&skipped))
    }

    pub(crate) fn new_run(&self) -> RunId {
        (self.parts.new_run)()
    }

    /// For what only looks.
    pub(crate) fn looking(&self) -> Tools {
        self.tools(Arc::new(Deaf), Interrupt::default(), None)
    }

    fn tools(&self, sink: Arc<dyn EventSink>, interrupt: Interrupt, requester: Option<Requester>) -> Tools {
        let Parts { journal, clock, identity, surely_dead, new_run, lease_ttl, teller, .. } = &*self.parts;
        Tools {
            journal: journal.clone(),
            clock: clock.clone(),
            sink,
            identity: identity.clone(),
            surely_dead: surely_dead.clone(),
            new_run: new_run.clone(),
            lease_ttl: *lease_ttl,
            interrupt,
            teller: teller.clone(),
            requester,
        }
    }

    /// Who asks, where that is not plainly the owner.
    fn asking(&self, requester: &Requester) -> Option<Requester> {
        (!requester.is_plainly(&self.parts.identity.owner)).then(|| requester.told())
    }

    /// Tells people of what came to nothing before a session could begin, and writes it down.
    ///
    /// # Errors
    /// `Usage`.
    pub async fn tell_unbegun(
        &self,
        want: &Want,
        requester: &Requester,
        unbegun: Unbegun,
    ) -> Result<(), Refusal> {
        let site = self.site_of(want)?;
        let tools = self.tools(Arc::new(Deaf), Interrupt::default(), self.asking(requester));
        let session = Session::new(&site, &tools, (self.parts.new_run)());
        let failure = unbegun.failure.clone();
        tools.teller.unbegun(&session, &want.aim, unbegun);
        if let Some(files) = &self.parts.state_files {
            let end: Result<Report, Refusal> = Err(Refusal::Failed { failure });
            session.note_end(files, want.aim.asked().as_deref(), &end).await;
        }
        Ok(())
    }

    /// Begins a session that comes to what `job` comes to.
    pub(crate) fn begin<T: Conclude + Send + Sync + 'static>(
        &self,
        site: Site,
        asked: Option<String>,
        requester: &Requester,
        job: impl for<'s> FnOnce(&'s Session<'s>) -> Job<'s, T> + Send + 'static,
    ) -> Handle<T> {
        let (id, interrupt) = ((self.parts.new_run)(), Interrupt::default());
        let (leave, asked_to_leave) = watch::channel(false);
        let stop = InSession { interrupt: interrupt.clone(), leave, for_whom: requester.clone() };
        let (handle, seat) = handle(id.to_string(), Arc::new(stop));
        let sink: Arc<dyn EventSink> = match &self.parts.watcher {
            None => seat.sink(),
            Some(watcher) => Arc::new(Both(watcher.clone(), seat.sink())),
        };
        let tools = self.tools(sink, interrupt, self.asking(requester));
        let note = self.parts.state_files.clone().map(|files| Note { files, asked });
        (self.parts.spawn)(drive(site, tools, id, note, seat, asked_to_leave, job).boxed());
        handle
    }
}

/// Where gates say what may come, nothing comes around them unless somebody says so.
///
/// # Errors
/// `Usage`.
fn demand_promotion(environment: &Environment, want: &Want) -> Result<(), Refusal> {
    let Aim::Deploy { tag, gates: Gates::All, .. } = &want.aim else { return Ok(()) };
    let (Some(from), [_, ..]) = (&environment.from, environment.soaks.as_slice()) else { return Ok(()) };
    let (service, to) = (&want.service, &environment.name);
    let message =
        format!("what goes live in {to} has been live in {from} before, and its gates say for how long");
    let failure = Failure::new(FailureKind::Refused, message)
        .hint(format!("`lockgate promote {service} --to {to}` promotes what is live in {from}"))
        .hint(format!(
            "`lockgate --env {to} deploy {service} {tag} --only-swap` deploys it without any gate"
        ));
    Err(Refusal::Usage { failure })
}

/// What a session does.
pub(crate) type Job<'s, T> = BoxFuture<'s, Result<T, Refusal>>;

/// That its end is written down.
struct Note {
    files: StateFiles,
    /// What is to be deployed or brought back, as it was asked for.
    asked: Option<String>,
}

/// A session from its beginning to its end.
async fn drive<T: Conclude>(
    site: Site,
    tools: Tools,
    id: RunId,
    note: Option<Note>,
    mut seat: Seat<T>,
    mut leave: watch::Receiver<bool>,
    job: impl for<'s> FnOnce(&'s Session<'s>) -> Job<'s, T>,
) {
    let session = Session::new(&site, &tools, id);
    let note_end = async |end: &Result<T, Refusal>| {
        if let Some(Note { files, asked }) = &note {
            session.note_end(files, asked.as_deref(), end).await;
        }
    };
    if let Some(Note { files, .. }) = &note {
        files.warn_early(&session).await;
    }
    // Whoever is told that it was left may end this process in the midst of it, so it is not dropped before.
    let mut work = job(&session);
    let ended = tokio::select! {
        biased;
        end = waiting::told(&session, &seat.voice, || seat.has_begun(), &mut work) => Some(end),
        () = asked_to_leave(&mut leave, &tools.interrupt) => None,
    };
    if let Some(end) = ended {
        let mask = Mask::of(&site.secrets);
        let end = end.map_err(|refusal| refusal.masked(&mask));
        note_end(&end).await;
        return seat.end(end);
    }
    seat.voice.tell(Told::Leaving);
    let abandoned = Box::new(session.abandoned().await);
    let end = Err(Refusal::Abandoned { abandoned });
    note_end(&end).await;
    seat.end(end);
    let bound = Duration::from_secs(LEFT_SECONDS_MAX);
    if tokio::time::timeout(bound, seat.is_given_up()).await.is_err() {
        tracing::debug!("what was under way of a session that was left ends now");
    }
    drop(work);
}

/// Returns when a session may be left. It may be at its end before, which says more than that it was left.
async fn asked_to_leave(leave: &mut watch::Receiver<bool>, interrupt: &Interrupt) {
    if leave.wait_for(|leave| *leave).await.is_err() {
        return std::future::pending().await;
    }
    if interrupt.requested() {
        let bound = Duration::from_secs(HEEDED_SECONDS_MAX);
        if tokio::time::timeout(bound, interrupt.heeded()).await.is_err() {
            tracing::debug!("it is left before the hosts know that it turns back");
        }
    }
}

impl Session<'_> {
    async fn abandoned(&self) -> Abandoned {
        let status = self.status_within(Millis::from_secs(LOOK_SECONDS_MAX)).await;
        let identity = self.identity();
        // While somebody else's is waited for there is nothing of ours to finish.
        let ours = status.leases.iter().find_map(|(host, lease)| {
            let is_ours = lease.holder.as_ref().is_some_and(|holder| identity.is(holder));
            lease.unfinished.as_ref().filter(|_| is_ours).map(|begun| (host, begun.run))
        });
        let release = ours.and_then(|(host, _)| status.wanted.get(host).cloned());
        Abandoned {
            run: ours.map(|(_, run)| run),
            release,
            hosts: self.site.hosts.iter().map(|ports| ports.id.clone()).collect(),
            status,
        }
    }
}

/// How a session of this process is stopped.
struct InSession {
    interrupt: Interrupt,
    leave: watch::Sender<bool>,
    for_whom: Requester,
}

impl Stoppable for InSession {
    fn undo(&self, by: &Requester) {
        let Requester { name, why, .. } = by;
        // Whom the run is for, who is told.
        let is_same = by.by == self.for_whom.by && *name == self.for_whom.name;
        match (is_same, why) {
            (true, None) => self.interrupt.request(),
            (true, Some(why)) => self.interrupt.request_by(&format!("the user: {why}")),
            (false, _) => self.interrupt.request_by(&by.to_string()),
        }
    }

    fn leave(&self) {
        self.leave.send_replace(true);
    }
}

struct Deaf;

impl EventSink for Deaf {
    fn event(&self, _: &Event) {}
}

struct Both(Arc<dyn EventSink>, Arc<dyn EventSink>);

impl EventSink for Both {
    fn event(&self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }

    fn progress(&self, progress: &StepProgress) {
        self.0.progress(progress);
        self.1.progress(progress);
    }

    fn rejected(&self, rejected: &Rejected) {
        self.0.rejected(rejected);
        self.1.rejected(rejected);
    }
}

fn running(want: Want) -> impl for<'s> FnOnce(&'s Session<'s>) -> Job<'s, Report> + Send + 'static {
    move |session| async move { session.run(&want).await.map_err(Refusal::from) }.boxed()
}

fn resuming(
    what: Resume,
    skip: Vec<HostId>,
) -> impl for<'s> FnOnce(&'s Session<'s>) -> Job<'s, Resumed> + Send + 'static {
    move |session| {
        let all = what.only.map_or(Leftover::ALL.to_vec(), |only| vec![only]);
        async move { session.bring_to_end(&all, &skip).await }.boxed()
    }
}

#[async_trait]
impl Orchestrator for InProcess {
    async fn start(&self, want: &Want, requester: &Requester) -> Result<Handle<Report>, Refusal> {
        demand_promotion(self.environment_of(want)?, want)?;
        Ok(self.begin(self.site_of(want)?, want.aim.asked(), requester, running(want.clone())))
    }

    async fn resume(&self, what: &Resume, requester: &Requester) -> Result<Handle<Resumed>, Refusal> {
        let environment =
            lookup::environment(self.project(), what.environment.as_ref().map(EnvironmentName::as_str))?;
        let skip = lookup::skipped(environment, what.skip.iter().map(HostId::as_str))?;
        let site = self.site(what.service.as_str(), Some(&environment.name))?;
        Ok(self.begin(site, None, requester, resuming(what.clone(), skip)))
    }

    async fn plan(&self, want: &Want) -> Result<Planned, Refusal> {
        demand_promotion(self.environment_of(want)?, want)?;
        let (site, tools) = (self.site_of(want)?, self.looking());
        let session = Session::new(&site, &tools, (self.parts.new_run)());
        let (plan, observed) = session.plan(&want.aim).await.map_err(|failure| told(&site, failure))?;
        let digest = agreed::digest(&plan).map_err(|failure| told(&site, failure))?;
        Ok(Planned::new(&plan, observed).with_digest(digest))
    }

    async fn status(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceStatus>, Refusal> {
        let tools = self.looking();
        let mut statuses = Vec::new();
        for service in lookup::services(self.project(), service.map(ServiceName::as_str))? {
            let site = self.site(service.name.as_str(), environment)?;
            statuses.push(Session::new(&site, &tools, (self.parts.new_run)()).status_with_health().await);
        }
        Ok(statuses)
    }

    async fn status_closely(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceClosely>, Refusal> {
        let tools = self.looking();
        let mut looked = Vec::new();
        for service in lookup::services(self.project(), service.map(ServiceName::as_str))? {
            let site = self.site(service.name.as_str(), environment)?;
            looked.push(Session::new(&site, &tools, (self.parts.new_run)()).status_closely().await);
        }
        Ok(looked)
    }

    async fn doctor(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<Examined>, Refusal> {
        let mut sites = Vec::new();
        for service in lookup::services(self.project(), service.map(ServiceName::as_str))? {
            sites.push(self.site(service.name.as_str(), environment)?);
        }
        let Parts { state_files, beside, teller, .. } = &*self.parts;
        let around = Around { state_files: state_files.as_ref(), beside: beside.as_deref(), teller };
        doctor::examine(&sites, &around, &self.looking()).await
    }

    async fn history(&self, filter: &HistoryFilter) -> Result<Vec<PastRun>, Refusal> {
        if let Some(service) = &filter.service {
            lookup::service(self.project(), service.as_str())?;
        }
        history::past_runs(self.parts.journal.as_ref(), self.project(), filter).await.map_err(refused::unread)
    }

    async fn events_of(&self, run: RunId) -> Result<Vec<Event>, Refusal> {
        self.parts.journal.load(run).await.map_err(refused::unread)
    }

    async fn check(&self, want: &CheckWant) -> Result<Vec<GateAnswer>, Refusal> {
        let (site, tools) = (self.site(want.service.as_str(), want.environment.as_ref())?, self.looking());
        let session = Session::new(&site, &tools, (self.parts.new_run)());
        let answers = session.check(want.moment).await.map_err(|failure| told(&site, failure))?;
        if answers.is_empty() {
            let (name, key) = (
                &site.environment.name,
                match want.moment {
                    Moment::Before => "before",
                    Moment::After => "after",
                },
            );
            return Err(Refusal::usage(
                format!("environment {name} has no gates there, so nothing was checked"),
                format!("set environments.{name}.{key} in lockgate.yaml"),
            ));
        }
        Ok(answers.into_iter().map(|(gate, answer)| GateAnswer::new(gate.name, answer)).collect())
    }

    async fn logs(&self, want: &LogsWant) -> Result<Vec<HostLog>, Refusal> {
        Ok(self.site(want.service.as_str(), want.environment.as_ref())?.logs(want).await)
    }
}

fn told(site: &Site, failure: lockgate_model::Failure) -> Refusal {
    Refusal::from(failure).masked(&Mask::of(&site.secrets))
}
