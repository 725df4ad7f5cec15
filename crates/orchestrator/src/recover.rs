//! Finishing or undoing what another process left, from what the hosts say; the journal only adds detail.

use futures_util::future::FutureExt;
use lockgate_engine::{Acquired, Direction, LeaseStore, RunFilter, RunState};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, HostId, Intent, Millis, Observed, Outcome, Plan,
    Progress, RunEnd, RunId, Unfinished, condemns,
};
use lockgate_perform::{Depth, HostLease, glimpse};
use lockgate_plan::Matched;

use crate::Site;
use crate::cut_off::CutOff;
use crate::interrupted::before_anything;
use crate::missing::{Resumed, reason_to_turn};
use crate::session::{RECOVERIES_MAX, Session, Trouble, give_back};

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
    /// Brings what is unfinished to its end, on the hosts that answer. Where they hold different runs, each is, and the end is
    /// that of the first that did not succeed.
    ///
    /// # Errors
    /// [`Trouble`]; `Stuck` when an undo failed again.
    pub(crate) async fn end_cut_off(&self) -> Result<Resumed, Trouble> {
        let (mut acquired, gone) = self.acquire_reached().await?;
        let site = self.site.without(gone.keys());
        let others = self.at(&site);
        let mut ended: Option<(RunId, Outcome)> = None;
        for round in 1..=RECOVERIES_MAX {
            let oldest = CutOff::oldest(&acquired).map(|found| found.run);
            // One that went on under another id, while not every host could be told, is two by now.
            let is_last = acquired.unfinished.values().all(|held| Some(held.run) == oldest);
            let end = others.resume_leased(&acquired).await?;
            let is_better = matches!(ended, Some((_, Outcome::Succeeded { .. })) | None);
            ended = if is_better { end.or(ended) } else { ended };
            if is_last || round == RECOVERIES_MAX {
                break;
            }
            acquired = others.acquire().await?;
        }
        Ok(Resumed { ended, gone })
    }

    async fn resume_leased(&self, acquired: &Acquired) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let revived = before_anything(&self.tools.interrupt, self.revive_routers()).await;
        let recovered = match revived {
            Ok(()) => self.recover_leased(acquired, Towards::End).await,
            Err(failure) => Err(failure.into()),
        };
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
    pub(crate) async fn tidy_up(&self) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let acquired = self.acquire().await?;
        let tidied = self.tidy_up_leased(&acquired).await;
        if !matches!(tidied, Ok(Some(_))) {
            give_back(&acquired.fence).await;
        }
        tidied
    }

    async fn tidy_up_leased(&self, acquired: &Acquired) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let keep_warm = self.site.environment.slots().map_or(Millis(0), |slots| slots.keep_warm);
        let warm = acquired.quiet.values().any(|quiet| *quiet < keep_warm);
        if warm || !acquired.is_at_rest() {
            return Ok(None);
        }
        let observed = self.observe(Depth::Status).await?;
        if observed.hosts.values().all(|host| host.live().is_none()) {
            return Ok(None);
        }
        let plan = self.site.plan(&Intent::TidyUp, &observed)?;
        if plan.is_empty() {
            return Ok(None);
        }
        let run = (self.tools.new_run)();
        let outcome = self.run_plan(acquired.fence.clone(), run, &plan, &[]).await?;
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
        self.require_plans(acquired)?;
        let Some(found) = CutOff::oldest(acquired) else { return Ok(None) };
        for (host, plan) in found.plans() {
            self.require_own(plan).map_err(|failure| failure.at(&host))?;
        }
        let seen = before_anything(&self.tools.interrupt, self.glimpses()).await?;
        if let Some(end) = found.undone(&acquired.last, &seen) {
            acquired.fence.finish(end, true).await?;
            return Ok(Some((end.run, end.outcome.clone())));
        }
        let missing = self.missing(&found);
        let progress = match missing.is_empty() {
            true => found.progress(&acquired.last, &seen),
            false => found.progress_without_some(&acquired.last, &seen),
        };
        if towards == Towards::Back && progress == Progress::Committed {
            return self.leave_untidied(found.run, acquired).await.map(Some);
        }
        let known = self.known(found.run).await?;
        let matched = self.matched(&found, &known, &seen, progress)?;
        let left = self.left_behind(&found);
        // From here on the journal is told where the run goes.
        acquired.fence.confirm_overdue().await.map_err(lost_or_failed)?;
        let (events, unfinished) = self
            .known_events(
                &found,
                progress,
                known,
                matched,
                acquired,
                reason_to_turn(towards, &left, &missing),
            )
            .await?;
        let conductor = self.site.conductor();
        let telling = self.tools.teller.adopting(self, unfinished.run, &unfinished.plan);
        let engine = self.engine(&conductor, acquired.fence.clone());
        let ended = engine.adopt(&events, &unfinished, &left, &missing).await.map_err(Trouble::from);
        // A run that could not be taken over is as unfinished as it was, of which people were told.
        if matches!(ended, Ok(_) | Err(Trouble::Midway(_))) {
            self.tell_end(telling, &acquired.fence, &ended).await;
        }
        let outcome = ended?;
        if matches!(outcome, Outcome::Stuck(_)) {
            let (outcome, plan) = (Box::new(outcome), Box::new(unfinished.plan));
            return Err(Trouble::Stuck { run: unfinished.run, outcome, plan });
        }
        Ok(Some((unfinished.run, outcome)))
    }

    /// What is there now. A host that cannot be looked at is missing: what is to be done there fails by itself.
    async fn glimpses(&self) -> Result<Observed, Failure> {
        let looks =
            self.site.hosts.iter().map(|ports| async move { (ports.id.clone(), glimpse(ports).await) });
        let looks: Vec<_> = looks.map(FutureExt::boxed).collect();
        let mut seen = Observed::default();
        for (host, looked) in futures_util::future::join_all(looks).await {
            match looked {
                Ok((one, _)) => drop(seen.hosts.insert(host, one)),
                Err(failure) => tracing::debug!(%failure, %host, "not looked at before a run is taken over"),
            }
        }
        Ok(seen)
    }

    /// What this machine's journal knows of the run.
    async fn known(&self, run: RunId) -> Result<Known, Trouble> {
        let events = self.tools.journal.load(run).await?;
        Ok(match RunState::replay(&events)? {
            None => Known::Not,
            // The id comes from a host, and may be that of any run.
            Some(state) if self.require_own(&state.plan).is_err() => Known::Another,
            Some(state) => Known::Ours { events, state: Box::new(state) },
        })
    }

    /// What may be done with the run; see [`lockgate_plan::match_run`].
    fn matched(
        &self,
        found: &CutOff<'_>,
        known: &Known,
        seen: &Observed,
        progress: Progress,
    ) -> Result<Matched, Failure> {
        let Site { project, service, environment, .. } = self.site;
        let settled = progress == Progress::Committed || known.is_settled(progress);
        let held = found.plans();
        let journaled = known.plan();
        let found = lockgate_plan::Found { held: &held, journaled, seen, settled };
        let here = lockgate_plan::Here { project, service, environment };
        lockgate_plan::match_run(here, found).map_err(|failure| self.where_it_is(failure))
    }

    /// A run whose plan a host does not have any more cannot be matched, nor is it known to be over.
    fn require_plans(&self, acquired: &Acquired) -> Result<(), Failure> {
        let Some((host, unread)) = acquired.unread.iter().next() else { return Ok(()) };
        let message = format!(
            "the run {} that was cut off cannot be matched with this configuration: {}",
            unread.run, unread.failure.message
        );
        Err(self.where_it_is(Failure::new(FailureKind::Refused, message).at(host)))
    }

    /// With what to type about a record that no plan of ours can be made from.
    fn where_it_is(&self, failure: Failure) -> Failure {
        let Some(ports) = self.site.hosts.iter().find(|ports| Some(&ports.id) == failure.host.as_ref())
        else {
            return failure;
        };
        let (service, environment) = (&self.site.service.name, &self.site.environment.name);
        let place = HostLease::new(ports).path();
        let on = if ports.id.is_local() { String::new() } else { format!(" on {}", ports.id) };
        failure.hint(format!(
            "nothing was done; see with `lockgate --env {environment} status {service}` what is live, move the record away{on} with `mv {place} {place}.bad`, and deploy again"
        ))
    }

    /// What is to be gone back from need not be tidied up first, and what would be stopped is what may be gone back to.
    async fn leave_untidied(&self, run: RunId, acquired: &Acquired) -> Result<(RunId, Outcome), Trouble> {
        let left = Failure::new(FailureKind::Cancelled, "not tidied up any more: a rollback was asked for");
        let outcome = Outcome::Succeeded { warnings: vec![left] };
        let end = RunEnd { run, at: self.tools.clock.now(), outcome: outcome.clone() };
        acquired.fence.finish(&end, true).await?;
        Ok((run, outcome))
    }

    /// Hosts that do not hold the run as unfinished: while another host was out of the configuration, a later run has
    /// changed them, and that is not this one's to take back. (Those that are out of it now are not among them: what was
    /// begun there is still to be undone, by who has them in the configuration again.) One that whoever began the run left
    /// out by name has never had it.
    fn left_behind(&self, found: &CutOff<'_>) -> Vec<HostId> {
        let had_it = |host: &&HostId| found.plan().is_none_or(|plan| !plan.without.contains(host));
        let ours = self.site.hosts.iter().map(|ports| &ports.id).filter(had_it);
        ours.filter(|host| !found.held.contains_key(*host)).cloned().collect()
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

    /// The run as it goes on, with this machine's events of it. A run that has ended here (stuck, or before the hosts were
    /// told) goes on under a new id, for an ended run stays as it is, and in the direction of its end, for somebody has
    /// been told of it. So does one that goes on by another plan than this machine's events are about.
    async fn known_events(
        &self,
        found: &CutOff<'_>,
        progress: Progress,
        known: Known,
        matched: Matched,
        acquired: &Acquired,
        reason_to_turn: Option<String>,
    ) -> Result<(Vec<Event>, Unfinished), Trouble> {
        let told = acquired.last.values().find(|end| end.run == found.run).map(|end| &end.outcome);
        let (plan, mut cause) = match matched {
            Matched::Same(plan) => (*plan, None),
            Matched::Differs { plan, differences } => {
                let why = lockgate_plan::not_finished(&differences, &plan);
                (*plan, Some(why))
            }
        };
        let mut unfinished = Unfinished { run: found.run, plan, progress, cause: None };
        let (mut events, mut next_seq, mut forward, mut end) = (Vec::new(), None, true, told.cloned());
        if let Known::Another = known {
            unfinished.run = (self.tools.new_run)();
            // A host knows by the run's name whether a hook was begun.
            cause = cause.or_else(|| hooks_by_another_name(&unfinished));
        }
        if let Known::Ours { events: known_events, state } = known {
            let overruled = found.cause().filter(|told| overrules(told, &state.direction));
            let goes_on = state.ended.is_none() && state.plan == unfinished.plan && overruled.is_none();
            forward = state.direction == Direction::Forward;
            if goes_on {
                (events, next_seq) = (known_events, Some(state.next_seq));
            } else {
                unfinished.run = (self.tools.new_run)();
                unfinished.progress = direction_of_end(&state, progress);
                // The events of the new run say nothing of a direction yet.
                forward = true;
                match (&state.ended, cause.as_ref().or(overruled.as_ref())) {
                    (Some(outcome), _) => end = Some(outcome.clone()),
                    (None, Some(why)) => self.give_up(&state, why).await?,
                    (None, None) => {}
                }
            }
        }
        if unfinished.progress == Progress::Forward && forward {
            let turned = reason_to_turn.map(|reason| Failure::new(FailureKind::Cancelled, reason));
            cause = cause.or(turned);
            if cause.is_some() {
                unfinished.progress = Progress::Unwinding;
            }
        } else if let Some(why) = cause.take() {
            // It goes where it went, but by another plan.
            tracing::warn!("{}", why.message);
        }
        let cause =
            cause.or_else(|| end.as_ref().and_then(Outcome::failure).cloned()).or_else(|| found.cause());
        if let Some(cause) = cause
            && unfinished.progress == Progress::Unwinding
            && forward
        {
            let began = self.turned_back(&unfinished, next_seq, &cause);
            self.tools.journal.append_all(&began).await?;
            events.extend(began);
        }
        Ok((events, unfinished))
    }

    /// This machine's run goes on as another one.
    async fn give_up(&self, state: &RunState, why: &Failure) -> Result<(), Trouble> {
        let kind = EventKind::RunEnded { outcome: Outcome::Failed { failure: why.clone() } };
        let event = Event { run: state.run, seq: state.next_seq, at: self.tools.clock.now(), kind };
        Ok(self.tools.journal.append(&event).await?)
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
                let (owner, requester) = (self.tools.identity.owner.clone(), self.tools.requester.clone());
                let started =
                    EventKind::RunStarted { plan: Box::new(unfinished.plan.clone()), owner, requester };
                vec![event(0, started), event(1, unwinding)]
            }
        }
    }

    /// Runs that this machine began and another one ended get that end in this machine's history.
    async fn settle_journal(&self, acquired: &Acquired) -> Result<(), Trouble> {
        let filter = RunFilter {
            project: Some(self.site.project.name.clone()),
            service: Some(self.site.service.name.clone()),
            environment: Some(self.site.environment.name.clone()),
            unfinished: true,
            limit: UNSETTLED_RUNS_MAX,
            ..RunFilter::default()
        };
        let open: Vec<RunId> = self
            .tools
            .journal
            .runs(&filter)
            .await?
            .into_iter()
            .map(|run| run.run)
            .filter(|run| acquired.unfinished.values().all(|unfinished| unfinished.run != *run))
            .filter(|run| acquired.unread.values().all(|unread| unread.run != *run))
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

/// What this machine's journal has under a run's id.
enum Known {
    Not,
    /// A run of another service or environment.
    Another,
    Ours {
        events: Vec<Event>,
        state: Box<RunState>,
    },
}

impl Known {
    fn plan(&self) -> Option<&Plan> {
        match self {
            Known::Not | Known::Another => None,
            Known::Ours { state, .. } => Some(&state.plan),
        }
    }

    /// `progress` is what the hosts say.
    fn is_settled(&self, progress: Progress) -> bool {
        match self {
            Known::Not | Known::Another => false,
            Known::Ours { state, .. } => {
                matches!(state.ended, Some(Outcome::Succeeded { .. }))
                    || (state.direction == Direction::Committed && progress != Progress::Unwinding)
            }
        }
    }
}

/// Why a run with hooks does not go on under another name: whether they were begun could not be told any more.
fn hooks_by_another_name(unfinished: &Unfinished) -> Option<Failure> {
    let is_hook = |action: &Action| matches!(action, Action::RunHook { .. });
    let has_hooks = unfinished.plan.steps().any(|(_, _, step)| is_hook(&step.action));
    let message = "this machine's journal has another run of this name, so it cannot be told whether the hooks were begun";
    has_hooks.then(|| Failure::new(FailureKind::Refused, message).hint("deploy again"))
}

/// Whether a host's reason for turning back counts more than this machine's own: it is the release's fault, which this machine
/// had not come to see when it was cut off.
fn overrules(told: &Failure, direction: &Direction) -> bool {
    condemns(told) && matches!(direction, Direction::Unwinding(own) if !condemns(own))
}

fn lost_or_failed(failure: Failure) -> Trouble {
    match failure.kind {
        FailureKind::LeaseLost => Trouble::LeaseLost(failure),
        _ => Trouble::Failure(failure),
    }
}

/// In which direction a run goes on that this machine's journal has, under a new id. Where it has not ended here, what the
/// hosts were told counts more than what this machine had in mind when it was cut off: others have gone on from that.
fn direction_of_end(state: &RunState, progress: Progress) -> Progress {
    match (&state.ended, &state.direction) {
        (Some(Outcome::Succeeded { .. }), _) => Progress::Committed,
        // What was settled is never undone.
        (Some(Outcome::Stuck(_)), _) if progress == Progress::Committed => Progress::Committed,
        (Some(Outcome::Failed { .. } | Outcome::RolledBack { .. } | Outcome::Stuck(_)), _) => {
            Progress::Unwinding
        }
        (None, _) if progress != Progress::Forward => progress,
        (None, Direction::Unwinding(_)) => Progress::Unwinding,
        (None, Direction::Committed) => Progress::Committed,
        (None, Direction::Forward) => Progress::Forward,
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{
        Digest, EnvironmentName, Gates, ProjectName, Release, ServiceName, Strategy, Tag, Timestamp,
    };

    use super::*;

    fn failure() -> Failure {
        Failure::new(FailureKind::Other, "as told")
    }

    fn state(direction: Direction, ended: Option<Outcome>) -> RunState {
        let service = ServiceName::new("web").unwrap();
        let digest = Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap();
        let tag = Tag::new("v1").unwrap();
        let release =
            Release { service: service.clone(), tag, digest, image: None, commit: None, provenance: None };
        let plan = Plan {
            project: ProjectName::new("p").unwrap(),
            service,
            environment: EnvironmentName::new("prod").unwrap(),
            strategy: Strategy::BlueGreen,
            intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
            hosts: Vec::new(),
            without: Vec::new(),
            before: BTreeMap::new(),
            release,
            phases: Vec::new(),
        };
        let kind = EventKind::RunStarted { plan: Box::new(plan), owner: "me".into(), requester: None };
        let run = "01978a3b-0000-7000-8000-000000000001".parse().unwrap();
        let started = Event { run, seq: 0, at: Timestamp(0), kind };
        RunState { direction, ended, ..RunState::begin(&started).unwrap() }
    }

    /// By another plan, too, a run that the hosts say was settled is never undone, and what others have undone is not settled,
    /// whatever this machine had written down before it was cut off or replaced.
    #[test]
    fn a_run_that_has_not_ended_here_goes_on_as_the_hosts_say() {
        let unwinding = || Direction::Unwinding(failure());
        for (direction, told, wanted) in [
            (Direction::Forward, Progress::Forward, Progress::Forward),
            (Direction::Forward, Progress::Unwinding, Progress::Unwinding),
            (Direction::Forward, Progress::Committed, Progress::Committed),
            (unwinding(), Progress::Forward, Progress::Unwinding),
            (unwinding(), Progress::Unwinding, Progress::Unwinding),
            (unwinding(), Progress::Committed, Progress::Committed),
            (Direction::Committed, Progress::Forward, Progress::Committed),
            (Direction::Committed, Progress::Unwinding, Progress::Unwinding),
            (Direction::Committed, Progress::Committed, Progress::Committed),
        ] {
            let shown = format!("{direction:?}, and the hosts say {told:?}");
            let state = state(direction, None);
            assert_eq!(direction_of_end(&state, told), wanted, "{shown}");
            let known = Known::Ours { events: Vec::new(), state: Box::new(state) };
            let is_settled = told == Progress::Committed || known.is_settled(told);
            assert_eq!(is_settled, wanted == Progress::Committed, "{shown}");
        }
    }

    /// Somebody was told of its end.
    #[test]
    fn a_run_that_has_ended_here_goes_on_in_the_direction_of_its_end() {
        let succeeded = Some(Outcome::Succeeded { warnings: Vec::new() });
        let failed = Some(Outcome::Failed { failure: failure() });
        for told in [Progress::Forward, Progress::Unwinding, Progress::Committed] {
            let goes_on =
                |ended: &Option<Outcome>| direction_of_end(&state(Direction::Forward, ended.clone()), told);
            assert_eq!(goes_on(&succeeded), Progress::Committed, "{told:?}");
            assert_eq!(goes_on(&failed), Progress::Unwinding, "{told:?}");
        }
    }
}
