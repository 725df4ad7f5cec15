//! Finishing or undoing what another process left, from what the hosts say; the journal only adds detail.

use std::collections::BTreeMap;

use lockgate_engine::{Acquired, Direction, RunFilter, RunState};
use lockgate_model::{
    Event, EventKind, Failure, FailureKind, HostId, Intent, Millis, Outcome, Plan, Progress, RunEnd, RunId,
    Unfinished,
};

use lockgate_perform::Depth;

use crate::interrupted::before_anything;
use crate::session::{Session, Trouble, give_back};

/// Runs of the local journal looked at for ends that other machines gave them.
const UNSETTLED_RUNS_MAX: u32 = 20;

/// Where a run goes that was cut off before it was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    /// On, to what it was begun for.
    End,
    Back,
}

impl Session<'_> {
    /// Brings an unfinished run to its end. `None` when there is none.
    ///
    /// # Errors
    /// [`Trouble`]; `Stuck` when an undo failed again.
    pub async fn resume(&self) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let acquired = self.acquire().await?;
        let keep_alive = acquired.fence.keep_alive();
        let revived = before_anything(&self.tools.interrupt, self.revive_routers()).await;
        let recovered = match revived {
            Ok(()) => self.recover_leased(&acquired, Towards::End).await,
            Err(failure) => Err(failure.into()),
        };
        drop(keep_alive);
        if !matches!(recovered, Ok(Some(_))) {
            give_back(&acquired.fence).await;
        }
        recovered
    }

    /// Stops what still runs beside the live release: kept warm for long enough, or left when tidying up was cut short.
    /// `None` when there is nothing, or when it is still to be kept warm.
    ///
    /// # Errors
    /// [`Trouble`]; a run that was left unfinished is `resume`'s to end, first.
    pub async fn tidy_up(&self) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let acquired = self.acquire().await?;
        let tidied = self.tidy_up_leased(&acquired).await;
        if !matches!(tidied, Ok(Some(_))) {
            give_back(&acquired.fence).await;
        }
        tidied
    }

    async fn tidy_up_leased(&self, acquired: &Acquired) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let ended = acquired.last.values().map(|end| end.at).max().unwrap_or_default();
        let warm = self.tools.clock.now().since(ended)
            < self.site.environment.slots().map_or(Millis(0), |slots| slots.keep_warm);
        if warm || !acquired.unfinished.is_empty() {
            return Ok(None);
        }
        let observed = self.observe(Depth::Status).await?;
        if observed.hosts.values().all(|host| host.live().is_none()) {
            return Ok(None);
        }
        let site = self.site;
        let plan =
            lockgate_plan::plan(&site.project, &site.service, &site.environment, &Intent::TidyUp, &observed)?;
        if plan.is_empty() {
            return Ok(None);
        }
        let run = (self.tools.new_run)();
        let outcome = self.run_plan(acquired.fence.clone(), run, &plan).await?;
        Ok(Some((run, outcome)))
    }

    /// `towards` is where a run goes that has not decided yet: who asks for a rollback does not want a release that was
    /// on its way to go live first.
    pub(crate) async fn recover_leased(
        &self,
        acquired: &Acquired,
        towards: Towards,
    ) -> Result<Option<(RunId, Outcome)>, Trouble> {
        self.settle_journal(acquired).await?;
        let Some(mut unfinished) = oldest_unfinished(acquired) else { return Ok(None) };
        self.require_own(&unfinished.plan)?;
        // A stuck run stays unfinished on purpose: its undo is tried again, under the lease that we hold.
        if let Some(end) =
            acquired.last.values().find(|end| end.run == unfinished.run && !is_stuck(&end.outcome))
        {
            // Ended already, but not every host was told so.
            if was_undone(&end.outcome) {
                acquired.fence.finish(end, true).await?;
                return Ok(Some((end.run, end.outcome.clone())));
            }
            // One that was not may have lost its power since, and then the release serves no more there.
            unfinished.progress = Progress::Committed;
        }
        if towards == Towards::Back && unfinished.progress == Progress::Committed {
            return self.leave_untidied(unfinished.run, acquired).await.map(Some);
        }
        let left = self.left_behind(&unfinished, acquired);
        let (events, unfinished) = self.known_events(unfinished, acquired, towards, &left).await?;
        let conductor = self.site.conductor();
        let mut telling = self.tools.teller.adopting(self.tools, unfinished.run, &unfinished.plan);
        let outcome =
            self.engine(&conductor, acquired.fence.clone()).adopt(&events, &unfinished, &left).await?;
        telling.ended(&outcome);
        telling.finish().await;
        if matches!(outcome, Outcome::Stuck(_)) {
            let (outcome, plan) = (Box::new(outcome), Box::new(unfinished.plan));
            return Err(Trouble::Stuck { run: unfinished.run, outcome, plan });
        }
        Ok(Some((unfinished.run, outcome)))
    }

    /// What is to be gone back from need not be tidied up first, and what would be stopped is what may be gone back to.
    async fn leave_untidied(&self, run: RunId, acquired: &Acquired) -> Result<(RunId, Outcome), Trouble> {
        let left = Failure::new(FailureKind::Cancelled, "not tidied up any more: a rollback was asked for");
        let outcome = Outcome::Succeeded { warnings: vec![left] };
        let end = RunEnd { run, at: self.tools.clock.now(), outcome: outcome.clone() };
        acquired.fence.finish(&end, true).await?;
        Ok((run, outcome))
    }

    /// Hosts of the run that do not hold it as unfinished: while another host was out of the configuration, a later run
    /// has changed them, and that is not this one's to take back. (Those that are out of it now are not among them: what
    /// was begun there is still to be undone.)
    fn left_behind(&self, unfinished: &Unfinished, acquired: &Acquired) -> Vec<HostId> {
        let ours = self.site.hosts.iter().map(|ports| &ports.id);
        let forgot = |host: &&HostId| !acquired.unfinished.contains_key(*host);
        ours.filter(|host| unfinished.plan.hosts.contains(host)).filter(forgot).cloned().collect()
    }

    /// Another `lockgate.yaml` may place its service in the same folder: its run is not for our ports to finish.
    fn require_own(&self, plan: &Plan) -> Result<(), Failure> {
        let site = self.site;
        let ours = (&site.project.name, &site.service.name, &site.environment.name);
        if (&plan.project, &plan.service, &plan.environment) == ours {
            return Ok(());
        }
        let Plan { project, service, environment, .. } = plan;
        let message = format!(
            "what is unfinished in this service's place is a run of {service} in {environment} of the project {project}"
        );
        Err(Failure::new(FailureKind::Conflict, message)
            .hint("give each its own place (`dir` or `file` of the runtime), then `lockgate resume` in that project"))
    }

    /// This machine's events of the run. A run that has ended here (stuck, or before the hosts were told) goes on under
    /// a new id, for an ended run stays as it is, and in the direction of its end, for somebody has been told of it.
    async fn known_events(
        &self,
        mut unfinished: Unfinished,
        acquired: &Acquired,
        towards: Towards,
        left: &[HostId],
    ) -> Result<(Vec<Event>, Unfinished), Trouble> {
        let told = acquired.last.values().find(|end| end.run == unfinished.run);
        let mut events = self.tools.journal.load(unfinished.run).await?;
        let mut state = RunState::replay(&events)?;
        let ended = state.as_ref().and_then(|state| state.ended.clone());
        if let Some(outcome) = &ended {
            unfinished.run = (self.tools.new_run)();
            unfinished.progress = match outcome {
                Outcome::Succeeded { .. } => Progress::Committed,
                // What was settled is never undone.
                Outcome::Stuck(_) if unfinished.progress == Progress::Committed => Progress::Committed,
                Outcome::Failed { .. } | Outcome::RolledBack { .. } | Outcome::Stuck(_) => {
                    Progress::Unwinding
                }
            };
            (events, state) = (Vec::new(), None);
        }
        let forward = state.as_ref().is_none_or(|state| state.direction == Direction::Forward);
        let end = ended.as_ref().or(told.map(|end| &end.outcome));
        let mut cause = end.and_then(Outcome::failure).cloned();
        if let Some(reason) = reason_to_turn(towards, left)
            && unfinished.progress == Progress::Forward
            && forward
        {
            unfinished.progress = Progress::Unwinding;
            cause = Some(Failure::new(FailureKind::Cancelled, reason));
        }
        if let Some(cause) = cause
            && unfinished.progress == Progress::Unwinding
            && forward
        {
            let began = self.turned_back(&unfinished, state.map(|state| state.next_seq), &cause);
            self.tools.journal.append_all(&began).await?;
            events.extend(began);
        }
        Ok((events, unfinished))
    }

    /// That the run was turned back, and why, for a journal that has only its beginning (up to `next_seq`) or nothing of
    /// it: whoever adopts it sees from the hosts that it was, but not what for.
    fn turned_back(&self, unfinished: &Unfinished, next_seq: Option<u64>, cause: &Failure) -> Vec<Event> {
        let (run, at) = (unfinished.run, self.tools.clock.now());
        let event = |seq, kind| Event { run, seq, at, kind };
        let unwinding = EventKind::UnwindStarted { cause: cause.clone() };
        match next_seq {
            Some(seq) => vec![event(seq, unwinding)],
            None => {
                let owner = self.tools.identity.owner.clone();
                let started = EventKind::RunStarted { plan: Box::new(unfinished.plan.clone()), owner };
                vec![event(0, started), event(1, unwinding)]
            }
        }
    }

    /// Runs that this machine began and another one ended get that end in this machine's history.
    async fn settle_journal(&self, acquired: &Acquired) -> Result<(), Trouble> {
        let filter = RunFilter {
            service: Some(self.site.service.name.clone()),
            environment: Some(self.site.environment.name.clone()),
            unfinished: true,
            limit: UNSETTLED_RUNS_MAX,
        };
        let open: Vec<RunId> = self
            .tools
            .journal
            .runs(&filter)
            .await?
            .into_iter()
            .map(|run| run.run)
            .filter(|run| acquired.unfinished.values().all(|unfinished| unfinished.run != *run))
            .collect();
        for run in open {
            let events = self.tools.journal.load(run).await?;
            let Some(state) = RunState::replay(&events)? else { continue };
            let outcome = ended_elsewhere(run, acquired.last.values());
            let kind = EventKind::RunEnded { outcome };
            let event = Event { run, seq: state.next_seq, at: self.tools.clock.now(), kind };
            self.tools.journal.append(&event).await?;
        }
        Ok(())
    }
}

pub(crate) fn is_stuck(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Stuck(_))
}

pub(crate) fn was_undone(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RolledBack { .. } | Outcome::Failed { .. })
}

/// True when the unfinished run is one whose undo failed before, and whose user was told so.
pub(crate) fn known_stuck(acquired: &Acquired) -> bool {
    oldest_unfinished(acquired).is_some_and(|unfinished| {
        acquired.last.values().any(|end| end.run == unfinished.run && is_stuck(&end.outcome))
    })
}

fn ended_elsewhere<'a>(run: RunId, mut ends: impl Iterator<Item = &'a RunEnd>) -> Outcome {
    let known = ends.find(|end| end.run == run).map(|end| end.outcome.clone());
    known.unwrap_or_else(|| Outcome::Failed {
        failure: Failure::new(
            FailureKind::Other,
            "the hosts know of no unfinished run: it had changed nothing, or another machine ended it since",
        ),
    })
}

/// Why a run that was cut off does not go on to what it was begun for.
fn reason_to_turn(towards: Towards, left: &[HostId]) -> Option<String> {
    match (left, towards) {
        ([], Towards::End) => None,
        ([], Towards::Back) => Some("it was cut off, and a rollback was asked for".to_owned()),
        _ => {
            let hosts: Vec<&str> = left.iter().map(HostId::as_str).collect();
            Some(format!(
                "it was cut off, and {} went on without it, so it is taken back where it was left",
                hosts.join(", ")
            ))
        }
    }
}

/// The run that any host still holds as unfinished, with the furthest progress that any host knows of: progress is
/// marked on all hosts before anything that depends on it is done.
pub(crate) fn oldest_unfinished(acquired: &Acquired) -> Option<Unfinished> {
    let mut runs: BTreeMap<RunId, Unfinished> = BTreeMap::new();
    for seen in acquired.unfinished.values() {
        let known = runs.entry(seen.run).or_insert_with(|| seen.clone());
        if known.progress == Progress::Forward {
            known.progress = seen.progress;
        }
    }
    runs.into_values().next()
}
