//! One command on one service: lease, recover what was left, look, plan, run.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::FutureExt;
use lockgate_engine::{
    Acquired, Clock, Engine, EventSink, Fence, Interrupt, Journal, JournalError, LeaseError, LeaseStore,
    Leases, RunError,
};
use lockgate_model::{
    Action, Aim, Digest, Event, EventKind, Failure, FailureKind, Gates, Holder, HostId, Identity, Intent,
    Millis, Observed, Outcome, Plan, Rejected, Release, Report, Requester, RunEnd, RunId, Want, dark_times,
    goes_dark,
};
use lockgate_perform::{Conductor, Depth, HostLease, observe, own_environment};
use lockgate_ports::HostPorts;

use crate::Site;
use crate::agreed;
use crate::cut_off::{CutOff, is_stuck, known_stuck, was_undone};
use crate::interrupted::before_anything;
use crate::recover::Towards;
use crate::tell::{Teller, Telling};

/// Unfinished runs that one command brings to their end before it does what it was asked for.
pub(crate) const RECOVERIES_MAX: u32 = 5;

/// What a session works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) identity: Identity,
    /// True when a lease's holder ran on this machine and boot and is certainly gone.
    pub(crate) surely_dead: Arc<dyn Fn(&Holder) -> bool + Send + Sync>,
    pub(crate) new_run: Arc<dyn Fn() -> RunId + Send + Sync>,
    pub(crate) lease_ttl: Millis,
    pub(crate) interrupt: Interrupt,
    pub(crate) teller: Teller,
    /// Who asked, where that is not plainly the owner.
    pub(crate) requester: Option<Requester>,
}

/// What a run needs to begin.
struct Ready {
    /// The leases; given up already where there is nothing to do.
    fence: Option<Arc<Fence>>,
    plan: Plan,
    recovered: Option<(RunId, Outcome)>,
    rejected: Option<Rejected>,
}

/// Why a command came to nothing; nothing was changed, but for `LeaseLost`, where somebody else goes on, and for
/// `Midway`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Failure(#[from] Failure),
    /// What is to be deployed could not be made out.
    #[error(transparent)]
    NoImage(Failure),
    /// The run that somebody has named has begun before.
    #[error("run {0} has begun before, and a run begins once")]
    BegunBefore(RunId),
    #[error(transparent)]
    Held(LeaseError),
    #[error(transparent)]
    LeaseLost(Failure),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal does not make sense: {0}")]
    Illegal(#[from] lockgate_engine::IllegalTransition),
    /// The run was left in the middle: what it came to is not known, and what it had begun may still go on.
    #[error(
        "what the run came to is not known: it was left in the middle, for the journal does not make sense: {0}"
    )]
    Midway(lockgate_engine::IllegalTransition),
    /// An unfinished run was found first and could not be brought to a good end.
    #[error("an earlier run is stuck")]
    Stuck { run: RunId, outcome: Box<Outcome>, plan: Box<Plan> },
}

impl Trouble {
    /// As people are told of it, with a hint. `None` for an earlier run that is stuck: its own end says more.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let other = |kind| Failure::new(kind, self.to_string());
        match self {
            Trouble::Failure(failure) | Trouble::NoImage(failure) | Trouble::LeaseLost(failure) => {
                Some(failure.clone())
            }
            Trouble::BegunBefore(_) => Some(
                other(FailureKind::Conflict).hint("`lockgate history` says what became of it"),
            ),
            Trouble::Held(_) => Some(other(FailureKind::Conflict).hint(
                "wait for it, or look at `lockgate status`; a lease whose holder died frees itself within 15s",
            )),
            Trouble::Journal(error @ JournalError::NotOurs { .. }) => {
                Some(other(FailureKind::Refused).hint(error.hint()))
            }
            Trouble::Journal(error @ JournalError::Unusable { kind, .. }) => {
                Some(other(*kind).hint(error.hint()))
            }
            Trouble::Journal(error) => Some(other(FailureKind::Other).hint(error.hint())),
            Trouble::Illegal(_) => Some(
                other(FailureKind::Other)
                    .hint("move .lockgate/journal.db away; the hosts are the truth, only history is lost"),
            ),
            Trouble::Midway(_) => Some(other(FailureKind::Other).hint(
                "`lockgate status` says what is live; `lockgate resume` finishes or undoes what was begun",
            )),
            Trouble::Stuck { .. } => None,
        }
    }

    /// What to tell people who were not told that anything starts. Not that somebody else went on, who tells of it; nor
    /// that an earlier run is stuck, or that one was left in the middle, of which they were told, as of one that has begun
    /// before; nor of a Ctrl-C, which is no surprise to who typed it.
    fn news(&self) -> Option<Failure> {
        match self {
            Trouble::LeaseLost(_) | Trouble::Stuck { .. } | Trouble::Midway(_) | Trouble::BegunBefore(_) => {
                None
            }
            Trouble::Failure(_)
            | Trouble::NoImage(_)
            | Trouble::Held(_)
            | Trouble::Journal(_)
            | Trouble::Illegal(_) => self.failure().filter(|failure| failure.kind != FailureKind::Cancelled),
        }
    }
}

impl From<LeaseError> for Trouble {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Host(failure) => Trouble::Failure(failure),
            held @ LeaseError::Held { .. } => Trouble::Held(held),
        }
    }
}

impl From<RunError> for Trouble {
    fn from(error: RunError) -> Self {
        match error {
            RunError::LeaseLost(failure) => Trouble::LeaseLost(failure),
            RunError::Journal(error) => Trouble::Journal(error),
            RunError::Mark(failure) if failure.kind == FailureKind::LeaseLost => Trouble::LeaseLost(failure),
            RunError::Mark(failure) => Trouble::Failure(failure),
            RunError::Illegal(error) => Trouble::Illegal(error),
            RunError::Midway(error) => Trouble::Midway(error),
        }
    }
}

/// One command on one service.
pub(crate) struct Session<'a> {
    pub(crate) site: &'a Site,
    pub(crate) tools: &'a Tools,
    /// Tells it apart as a holder of leases from the other sessions of this process.
    pub(crate) id: RunId,
}

impl<'a> Session<'a> {
    pub(crate) fn new(site: &'a Site, tools: &'a Tools, id: RunId) -> Self {
        Self { site, tools, id }
    }

    /// The same holder of leases, at another site.
    pub(crate) fn at<'s>(&self, site: &'s Site) -> Session<'s>
    where
        'a: 's,
    {
        Session { site, tools: self.tools, id: self.id }
    }

    /// # Errors
    /// A host that cannot be looked at.
    pub(crate) async fn observe(&self, depth: Depth) -> Result<Observed, Failure> {
        observe(&self.site.hosts, depth).await
    }

    /// Looks and plans; changes nothing and takes no lease.
    ///
    /// # Errors
    /// No safe plan, no such release, or a host that cannot be looked at.
    pub(crate) async fn plan(&self, want: &Aim) -> Result<(Plan, Observed), Failure> {
        let (plan, mut observed) = self.plan_for(want, self.release(want), false).await?;
        if matches!(plan.intent, Intent::Rollback { .. }) {
            self.ask_own_environments(&plan, &mut observed).await?;
        }
        Ok((plan, observed))
    }

    /// What going back comes to on each host for the release's environment variables, for whoever reads the plan.
    async fn ask_own_environments(&self, plan: &Plan, observed: &mut Observed) -> Result<(), Failure> {
        for ports in &self.site.hosts {
            let started = plan.steps().find_map(|(_, host, step)| match &step.action {
                Action::Start { slot, release, own_environment: true } if host == Some(&ports.id) => {
                    Some((*slot, release))
                }
                _ => None,
            });
            if let (Some((slot, release)), Some(seen)) = (started, observed.hosts.get_mut(&ports.id)) {
                let own = own_environment(ports, slot, release).await;
                seen.own_environment = own.map_err(|failure| failure.at(&ports.id))?;
            }
        }
        Ok(())
    }

    /// What is to be deployed, where that is known without looking at the hosts.
    async fn release(&self, want: &Aim) -> Result<Option<Release>, Failure> {
        match want {
            Aim::Deploy { tag, artifact: None, .. } => self.site.resolve(tag).await.map(Some),
            Aim::Deploy { tag, artifact: Some(artifact), .. } => {
                self.site.resolve_artifact(tag, artifact).await.map(Some)
            }
            Aim::Promote { release, .. } => self.site.resolve_bytes(release).await.map(Some),
            Aim::Rollback { .. } => Ok(None),
        }
    }

    /// `gone_back`: a deployment was turned back first, or a rollback that had been cut off was finished, so that what is
    /// live now is what was live before.
    async fn plan_for(
        &self,
        want: &Aim,
        release: impl Future<Output = Result<Option<Release>, Failure>>,
        gone_back: bool,
    ) -> Result<(Plan, Observed), Failure> {
        // Looking and resolving do not need one another.
        let (observed, release) = tokio::try_join!(self.observe(Depth::Plan), release)?;
        let intent = match (want, release) {
            (Aim::Deploy { gates, again, .. }, Some(release)) => {
                Intent::Deploy { release, gates: *gates, again: *again }
            }
            (Aim::Promote { .. }, Some(release)) => {
                Intent::Deploy { release, gates: Gates::All, again: false }
            }
            (Aim::Rollback { release: Some(named) }, _) => {
                Intent::Rollback { release: Some(lockgate_plan::named_release(&observed, named)?) }
            }
            (Aim::Rollback { release: None } | Aim::Deploy { .. } | Aim::Promote { .. }, _) => {
                let live = gone_back.then(|| lockgate_plan::live_release(&observed)).flatten();
                Intent::Rollback { release: live }
            }
        };
        let plan = self.site.plan(&intent, &observed)?;
        Ok((plan, observed))
    }

    /// The whole of a deployment or rollback. People are told of every one that fails, also of one whose run does not
    /// begin.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(crate) async fn run(&self, want: &Want) -> Result<Report, Trouble> {
        let ready = match self.prepare(&want.aim, want.exactly.as_ref()).await {
            Ok(ready) => ready,
            Err(trouble) => {
                if let Some(failure) = trouble.news() {
                    self.tools.teller.unbegun(self, &want.aim, failure.into());
                }
                return Err(trouble);
            }
        };
        if let Some(report) = self.begun_before(want.run, &ready).await? {
            return Ok(report);
        }
        let Ready { fence, plan, recovered, rejected } = ready;
        if let Some(rejected) = &rejected {
            self.tools.sink.rejected(rejected);
        }
        let Some(fence) = fence else {
            let outcome = Outcome::Succeeded { warnings: Vec::new() };
            let dark = BTreeMap::new();
            return Ok(Report { run: None, plan, outcome, dark, recovered, rejected });
        };
        let run = want.run.unwrap_or_else(|| (self.tools.new_run)());
        let outcome = self.run_plan(fence, run, &plan, want.aim.allowed()).await?;
        let dark = self.dark_times(run, &plan).await?;
        Ok(Report { run: Some(run), plan, outcome, dark, recovered, rejected })
    }

    /// What became of the run that somebody has named, where it was this very one that was cut off and has now been brought
    /// to its end. Asked while the leases are held, so nobody begins it in between.
    ///
    /// # Errors
    /// `BegunBefore` where the journal knows of an earlier end of it.
    async fn begun_before(&self, named: Option<RunId>, ready: &Ready) -> Result<Option<Report>, Trouble> {
        let Some(run) = named else { return Ok(None) };
        let Ready { fence, plan, recovered, rejected } = ready;
        let looked = async {
            let events = self.tools.journal.load(run).await?;
            match recovered {
                Some((ended, outcome)) if *ended == run => {
                    let plan = events.iter().find_map(plan_of).unwrap_or(plan).clone();
                    let (dark, outcome) = (dark_times(&plan, &events), outcome.clone());
                    let rejected = rejected.clone();
                    Ok(Some(Report { run: named, plan, outcome, dark, recovered: None, rejected }))
                }
                _ if events.is_empty() => Ok(None),
                _ => Err(Trouble::BegunBefore(run)),
            }
        };
        let looked = looked.await;
        if let (Some(fence), false) = (fence, matches!(looked, Ok(None))) {
            give_back(fence).await;
        }
        looked
    }

    async fn dark_times(&self, run: RunId, plan: &Plan) -> Result<BTreeMap<HostId, Millis>, Trouble> {
        match goes_dark(plan) {
            true => Ok(dark_times(plan, &self.tools.journal.load(run).await?)),
            false => Ok(BTreeMap::new()),
        }
    }

    /// All that comes before the run.
    async fn prepare(&self, want: &Aim, exactly: Option<&Digest>) -> Result<Ready, Trouble> {
        // A registry takes longer to answer than a lease to be taken.
        let release = self.release(want).boxed().shared();
        let mut acquire = pin!(self.acquire_reached());
        let (mut acquired, gone) = tokio::select! {
            biased;
            acquired = &mut acquire => acquired?,
            _ = release.clone() => acquire.await?,
        };
        if exactly.is_some() && !acquired.is_at_rest() {
            give_back(&acquired.fence).await;
            return Err(agreed::unfinished().into());
        }
        if !gone.is_empty() {
            return Err(self.refuse(want, acquired, &gone).await);
        }
        match self.prepare_leased(want, exactly, release.clone(), &mut acquired).await {
            Ok(ready) => Ok(ready),
            Err(trouble) => {
                give_back(&acquired.fence).await;
                Err(match (trouble, release.peek()) {
                    (Trouble::Failure(failure), Some(Err(unknown))) if failure == *unknown => {
                        Trouble::NoImage(failure)
                    }
                    (trouble, _) => trouble,
                })
            }
        }
    }

    async fn prepare_leased(
        &self,
        want: &Aim,
        exactly: Option<&Digest>,
        release: impl Future<Output = Result<Option<Release>, Failure>>,
        acquired: &mut Acquired,
    ) -> Result<Ready, Trouble> {
        let interrupt = &self.tools.interrupt;
        before_anything(interrupt, self.revive_routers()).await?;
        let cut_off_rollback = cut_off_rollback(acquired);
        let towards = towards(want, cut_off_rollback.as_ref());
        let recovered = self.recover_all(acquired, towards).await?;
        let fence = acquired.fence.clone();
        let gone_back = recovered.as_ref().is_some_and(|(_, outcome)| match cut_off_rollback {
            Some(_) => matches!(outcome, Outcome::Succeeded { .. }),
            None => was_undone(outcome),
        });
        let (plan, observed) = before_anything(interrupt, self.plan_for(want, release, gone_back)).await?;
        agreed::require(exactly, &plan)?;
        let rejected = observed.rejected(&plan.release);
        if !plan.is_empty() {
            return Ok(Ready { fence: Some(fence), plan, recovered, rejected });
        }
        match &recovered {
            // What could not be undone is superseded by what is: nothing is left to resume.
            Some((run, outcome)) if is_stuck(outcome) => {
                let end = RunEnd { run: *run, at: self.tools.clock.now(), outcome: outcome.clone() };
                fence.finish(&end, true).await?;
            }
            _ => fence.release().await?,
        }
        Ok(Ready { fence: None, plan, recovered, rejected })
    }

    /// Brings what was left to its end. That gives the lease up, so it is taken again, and what is found then is
    /// looked at anew: somebody may have come in between.
    ///
    /// A run that was stuck before, and is again, is superseded by what is wanted now: plans start from the world.
    pub(crate) async fn recover_all(
        &self,
        acquired: &mut Acquired,
        towards: Towards,
    ) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let mut recovered = None;
        for _ in 0..RECOVERIES_MAX {
            let told = known_stuck(acquired);
            let end = self.recover_leased(acquired, towards).await;
            let superseded = match end {
                Ok(None) => return Ok(recovered),
                Ok(Some(end)) => {
                    recovered = Some(end);
                    false
                }
                Err(Trouble::Stuck { run, outcome, .. }) if told => {
                    recovered = Some((run, *outcome));
                    true
                }
                Err(trouble) => return Err(trouble),
            };
            *acquired = self.acquire().await?;
            if superseded && known_stuck(acquired) {
                return Ok(recovered);
            }
        }
        Err(Failure::new(FailureKind::Conflict, "other orchestrators keep leaving runs unfinished here")
            .into())
    }

    /// A router of ours that a reboot took down comes back before anything else is decided. Where a slot of the service has its
    /// place, what is looked at next says so.
    pub(crate) async fn revive_routers(&self) -> Result<(), Failure> {
        let revivals = self.site.hosts.iter().map(|ports| async move {
            match ports.router.revive().await {
                Err(error) if error.kind == FailureKind::Refused && has_its_place(ports).await => Ok(()),
                revived => revived.map_err(|error| Failure::from(error).at(&ports.id)),
            }
        });
        let revivals: Vec<_> = revivals.map(FutureExt::boxed).collect();
        futures_util::future::try_join_all(revivals).await.map(|_| ())
    }

    /// `allowed` is what has failed before and was allowed to.
    pub(crate) async fn run_plan(
        &self,
        fence: Arc<Fence>,
        run: RunId,
        plan: &Plan,
        allowed: &[Failure],
    ) -> Result<Outcome, Trouble> {
        let conductor = self.site.conductor();
        let telling = self.tools.teller.starting(self, run, plan, allowed);
        let ended =
            self.engine(&conductor, fence.clone()).run(run, plan.clone()).await.map_err(Trouble::from);
        self.tell_end(telling, &fence, &ended).await;
        ended
    }

    /// Tells people how a run ended, also one that came to none of its ends, whose lease is given back.
    pub(crate) async fn tell_end(
        &self,
        mut telling: Telling,
        fence: &Fence,
        ended: &Result<Outcome, Trouble>,
    ) {
        match ended {
            Ok(outcome) => telling.ended(outcome),
            Err(trouble) => {
                give_back(fence).await;
                // For all but a lost lease and a run that was left in the middle nothing was changed.
                if let Some(failure) = trouble.news() {
                    telling.ended(&Outcome::Failed { failure });
                } else if let (Trouble::Midway(_), Some(failure)) = (trouble, trouble.failure()) {
                    telling.left(failure);
                }
            }
        }
    }

    pub(crate) fn engine<'e>(&'e self, conductor: &'e Conductor, fence: Arc<Fence>) -> Engine<'e> {
        let tools = self.tools;
        Engine {
            journal: tools.journal.as_ref(),
            performer: conductor,
            fence,
            clock: tools.clock.as_ref(),
            sink: tools.sink.as_ref(),
            interrupt: tools.interrupt.clone(),
            owner: tools.identity.owner.clone(),
            requester: tools.requester.clone(),
        }
    }

    /// As whom it holds leases: it alone, and no other session of this process.
    pub(crate) fn identity(&self) -> Identity {
        Identity { session: self.id.to_string(), ..self.tools.identity.clone() }
    }

    pub(crate) fn leases(&self) -> Leases {
        let store = |ports| -> Arc<dyn LeaseStore> { Arc::new(HostLease::new(ports)) };
        Leases {
            stores: self.site.hosts.iter().map(store).collect(),
            identity: self.identity(),
            surely_dead: self.tools.surely_dead.clone(),
            ttl: self.tools.lease_ttl,
        }
    }
}

/// The plan that a run says it has, when it begins.
fn plan_of(event: &Event) -> Option<&Plan> {
    match &event.kind {
        EventKind::RunStarted { plan, .. } => Some(plan),
        _ => None,
    }
}

/// The plan of the run that was cut off, if it is a rollback.
pub(crate) fn cut_off_rollback(acquired: &Acquired) -> Option<Plan> {
    CutOff::oldest(acquired).and_then(|found| found.plan().filter(|plan| is_rollback(&plan.intent)).cloned())
}

/// Where a run that was cut off is brought for somebody who wants this.
pub(crate) fn towards(want: &Aim, cut_off_rollback: Option<&Plan>) -> Towards {
    match want {
        Aim::Deploy { .. } | Aim::Promote { .. } => Towards::End,
        // What was typed again after it had been cut off.
        Aim::Rollback { release } if cut_off_rollback.is_some_and(|plan| is_of(plan, release)) => {
            Towards::End
        }
        Aim::Rollback { .. } => Towards::Back,
    }
}

fn is_rollback(intent: &Intent) -> bool {
    matches!(intent, Intent::Rollback { .. })
}

/// Whether a rollback to `named` (`None`: to what was live before) is what this plan does.
fn is_of(plan: &Plan, named: &Option<String>) -> bool {
    named.as_ref().is_none_or(|named| lockgate_plan::is_named(named, &plan.release))
}

/// A slot that runs publishes what the router is to listen on.
async fn has_its_place(ports: &HostPorts) -> bool {
    match ports.router.public() {
        Some(public) => matches!(ports.runtime.publishes(public).await, Ok(Some(_))),
        None => false,
    }
}

/// A lease that cannot be given back expires.
pub(crate) async fn give_back(fence: &Fence) {
    if let Err(failure) = fence.release().await {
        tracing::debug!(%failure, "the lease is left to expire");
    }
}
