//! Finishing or undoing what another process left, from what the hosts say; the journal only adds detail.

use std::collections::BTreeMap;

use lockgate_engine::{Acquired, RunFilter, RunState};
use lockgate_model::{Event, EventKind, Outcome, Progress, RunEnd, RunId, Unfinished};

use crate::session::{Session, Trouble, give_back};

/// Runs of the local journal looked at for ends that other machines gave them.
const UNSETTLED_RUNS_MAX: u32 = 20;

impl Session<'_> {
    /// Brings an unfinished run to its end. `None` when there is none.
    ///
    /// # Errors
    /// [`Trouble`]; `Stuck` when an undo failed again.
    pub async fn resume(&self) -> Result<Option<(RunId, Outcome)>, Trouble> {
        let acquired = self.leases().acquire().await?;
        let recovered = self.recover_leased(&acquired).await;
        if !matches!(recovered, Ok(Some(_))) {
            give_back(&acquired.fence).await;
        }
        recovered
    }

    pub(crate) async fn recover_leased(&self, acquired: &Acquired) -> Result<Option<(RunId, Outcome)>, Trouble> {
        self.settle_journal(acquired).await?;
        let Some(unfinished) = oldest_unfinished(acquired) else { return Ok(None) };
        if let Some(end) = acquired.last.values().find(|end| end.run == unfinished.run) {
            // Ended already, but not every host was told so.
            acquired.fence.finish(end, !matches!(end.outcome, Outcome::Stuck(_))).await?;
            if !matches!(end.outcome, Outcome::Stuck(_)) {
                return Ok(Some((end.run, end.outcome.clone())));
            }
        }
        let (events, unfinished) = self.known_events(unfinished).await?;
        let conductor = self.site.conductor();
        let mut telling = self.tools.teller.adopting(self.tools, unfinished.run, &unfinished.plan);
        let outcome = self.engine(&conductor, acquired.fence.clone()).adopt(&events, &unfinished).await?;
        telling.ended(&outcome);
        telling.finish().await;
        if matches!(outcome, Outcome::Stuck(_)) {
            let (outcome, plan) = (Box::new(outcome), Box::new(unfinished.plan));
            return Err(Trouble::Stuck { run: unfinished.run, outcome, plan });
        }
        Ok(Some((unfinished.run, outcome)))
    }

    /// This machine's events of the run. A run that ended stuck goes on under a new id: an ended run stays as it is.
    async fn known_events(&self, mut unfinished: Unfinished) -> Result<(Vec<Event>, Unfinished), Trouble> {
        let events = self.tools.journal.load(unfinished.run).await?;
        let ended = RunState::replay(&events)?.is_some_and(|state| state.ended.is_some());
        if !ended {
            return Ok((events, unfinished));
        }
        unfinished.run = (self.tools.new_run)();
        Ok((Vec::new(), unfinished))
    }

    /// Runs that this machine began and another one ended get that end in this machine's history.
    async fn settle_journal(&self, acquired: &Acquired) -> Result<(), Trouble> {
        let filter = RunFilter {
            service: Some(self.site.service.name.clone()),
            environment: Some(self.site.environment.name.clone()),
            limit: UNSETTLED_RUNS_MAX,
        };
        let open: Vec<RunId> = self
            .tools
            .journal
            .runs(&filter)
            .await?
            .into_iter()
            .filter(|run| run.outcome.is_none())
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

fn ended_elsewhere<'a>(run: RunId, mut ends: impl Iterator<Item = &'a RunEnd>) -> Outcome {
    use lockgate_model::{Failure, FailureKind};
    let known = ends.find(|end| end.run == run).map(|end| end.outcome.clone());
    known.unwrap_or_else(|| Outcome::Failed {
        failure: Failure::new(
            FailureKind::Other,
            "the hosts know of no unfinished run: it had changed nothing, or another machine ended it since",
        ),
    })
}

/// The run that any host still holds as unfinished, with the furthest progress that any host knows of: progress is
/// marked on all hosts before anything that depends on it is done.
fn oldest_unfinished(acquired: &Acquired) -> Option<Unfinished> {
    let mut runs: BTreeMap<RunId, Unfinished> = BTreeMap::new();
    for seen in acquired.unfinished.values() {
        let known = runs.entry(seen.run).or_insert_with(|| seen.clone());
        if known.progress == Progress::Forward {
            known.progress = seen.progress;
        }
    }
    runs.into_values().next()
}
